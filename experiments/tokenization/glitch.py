"""What becomes of entries that the tokenizer has and the model never meets?

One vocabulary of 2,048 entries is learned from children's stories and Python's standard library.
The model is then trained on the stories alone, so entries such as those for deep indents never
occur. Two arms: the table of embeddings is the head, too (tied), or the head has its own. What the
training left of those entries is compared with entries that it met often: the length and direction
of their rows, whether the rows alone give them away, what one does to the text around it, and
whether the model can ever say it. The known unused entries are thirteen bytes that UTF-8 never has.
"""

import random
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from minimind_wiki.book.experiment import Experiment, Measurement
from minimind_wiki.lite.plot import Axis, Bars, Figure, Panel
from minimind_wiki.tokenizer.layout import CHATML
from minimind_wiki.tokenizer.library import LibraryTokenizer, chunks, train_library

from ..attention._train import trained
from ._kinds import code
from ._passages import BOS, build, described, documents, passages, summed

IMPOSSIBLE = {0xC0, 0xC1, *range(0xF5, 0x100)}  # bytes that no UTF-8 text has


@dataclass(frozen=True, slots=True)
class Settings:
    """often: so many times in training makes an entry a common one; after: tokens of a passage
    behind the place of an insertion whose loss is taken; said: how often an entry is repeated."""

    entries: int = 2048
    width: int = 64
    layers: int = 2
    heads: int = 4
    passage: int = 256
    batch: int = 8
    steps: int = 500
    warmup: int = 40
    often: int = 100
    held: int = 60
    drawn: int = 60
    after: int = 8
    said: int = 12
    learning_rate: float = 1e-2


experiment = Experiment(
    name="tokenization/glitch",
    factors=("tied",),
    arms={
        "tied": {"title": "one table", "role": "model", "tied": True},
        "untied": {"title": "a head of its own", "role": "b", "tied": False},
    },
    settings=Settings(),
    quick=Settings(steps=40, warmup=5, passage=96, held=12, drawn=12, often=20),
    primary="found_by_norm",
)


@cache
def vocabulary(entries: int) -> LibraryTokenizer:
    texts = [*documents("train"), *code()]
    return LibraryTokenizer(train_library(chunks(texts), entries, CHATML).to_str())


@cache
def rows(part: str, s: Settings) -> list[list[int]]:
    texts = passages(part, s.passage, s.held if part == "val" else 0)
    return [[BOS, *ids] for ids in vocabulary(s.entries).encode_batch(texts)]


@cache
def groups(s: Settings) -> dict[str, list[int]]:
    """never: entries that stand in no training passage; often: those that stand there often;
    unused: the impossible bytes, which are in no other group."""
    tokenizer, times = vocabulary(s.entries), [0] * s.entries
    for row in rows("train", s):
        for token in row:
            times[token] += 1
    spelled = [tokenizer.token_bytes(token) for token in range(s.entries)]
    unused = [t for t, raw in enumerate(spelled) if len(raw) == 1 and raw[0] in IMPOSSIBLE]
    rest = [t for t in range(len(CHATML), s.entries) if t not in unused]
    return {"unused": unused, "never": [t for t in rest if times[t] == 0],
            "often": [t for t in rest if times[t] >= s.often]}  # fmt: skip


def cosine(rows_ND: Tensor, to_D: Tensor) -> Tensor:
    return torch.cosine_similarity(rows_ND, to_D[None], dim=1)


def separated(low: Tensor, high: Tensor) -> float:
    """Chance that one drawn from `high` is above one drawn from `low` (ties count half)."""
    above = (high[:, None] > low[None]).float() + 0.5 * (high[:, None] == low[None]).float()
    return above.mean().item()


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    s, train, found = settings, rows("train", settings), groups(settings)
    model = build(s.entries, s.width, s, seed, tie_word_embeddings=arm["tied"])
    drawn = model.model.embed_tokens.weight.detach().clone()

    def loss_at(step: int):
        start = (seed * s.steps + step) * s.batch
        nats, tokens = summed(model, [train[(start + i) % len(train)] for i in range(s.batch)])
        return nats / tokens

    curve, diverged_at = trained(model, loss_at, s, 8.0)
    with torch.no_grad():
        table, head = model.model.embed_tokens.weight, model.lm_head.weight
        length = table.norm(dim=1)
        toward = cosine(head, head[found["unused"]].mean(0))  # what the known unused point at
        values = {"never_count": len(found["never"]), "often_count": len(found["often"]),
                  "moved": (table - drawn)[found["never"]].norm(dim=1).max().item(),
                  "found_by_norm": separated(length[found["never"]], length[found["often"]]),
                  "found_by_direction": separated(toward[found["often"]],
                                                  toward[found["never"]])}  # fmt: skip
        for name in ("never", "often"):
            picked = found[name]
            values[f"{name}_length"] = length[picked].mean().item()
            values[f"{name}_likeness"] = toward[picked].mean().item()
            some = random.Random(0).sample(picked, min(s.drawn, len(picked)))
            values[f"{name}_disturbs"] = disturbed(model, some, s)
            values[f"{name}_repeated"] = repeated(model, some, s)
    return Measurement(values, {"training_loss": curve}, diverged_at)


def disturbed(model, tokens: list[int], s: Settings) -> float:
    """Nats a token by which a passage's next tokens get harder when an entry is put before them."""
    total, held = 0.0, rows("val", s)
    for number, token in enumerate(tokens):
        row = held[number % len(held)]
        at = len(row) // 2
        plain, _ = summed(model, [row[: at + s.after]])
        changed, _ = summed(model, [[*row[:at], token, *row[at : at + s.after]]])
        # the sums share the beginning; the entry's own loss is not to count
        own = summed(model, [[*row[:at], token]])[0] - summed(model, [row[:at]])[0]
        total += (changed - own - plain).item() / s.after
    return total / len(tokens)


def repeated(model, tokens: list[int], s: Settings) -> float:
    """Mean log10 of the probability of an entry after it has been said again and again."""
    ids = torch.tensor([[BOS, *[token] * s.said] for token in tokens])
    chances = model(ids)[:, -1].log_softmax(-1)
    return (chances[range(len(tokens)), tokens].mean() / torch.tensor(10.0).log()).item()


@experiment.levels
def levels(settings: Settings) -> dict:
    return {"data": described()}


def told(record, *metrics, shown=".2f"):
    """The range of the seeds of each arm, in words."""
    return "; ".join(
        f"{record.arms[a]['title']}: " + ", ".join(
            f"{m.split('_')[0]} {min(record.seeds(a, m)):{shown}} to "
            f"{max(record.seeds(a, m)):{shown}}" for m in metrics)
        for a in record.arms)  # fmt: skip


@experiment.claim(quick=True)
def some_are_never_met(record):
    """A tenth of the vocabulary is never met in training."""
    share = record.value("tied", "never_count") / record.settings["entries"]
    return share > 0.1, f"{record.value('tied', 'never_count'):.0f}, {share:.1%} of the entries"


@experiment.claim(quick=True)
def untied_rows_stay(record):
    """With a head of its own, the rows of entries never met are those of the first draw, to the
    bit."""
    moved = max(record.seeds("untied", "moved"))
    return moved == 0, f"the farthest moved by {moved:.2g}"


@experiment.claim()
def tied_rows_move_together(record):
    """With one table they move, and all the same way: their likeness to the unused is above 0.9."""
    low = min(record.seeds("tied", "never_likeness"))
    return low > 0.9, told(record, "never_likeness", "often_likeness")


@experiment.claim()
def the_norm_finds_them_untied(record):
    """With a head of its own, the length of the row alone tells 99 % of the pairs apart."""
    return min(record.seeds("untied", "found_by_norm")) > 0.99, told(record, "found_by_norm")


@experiment.claim()
def the_direction_finds_them(record):
    """In both arms, the direction of the head's rows does."""
    low = min(min(record.seeds(a, "found_by_direction")) for a in record.arms)
    return low > 0.99, told(record, "found_by_direction")


@experiment.claim()
def they_disturb_more(record):
    """In both arms, an entry never met makes the tokens after it harder than a common one does."""
    worse = all(min(record.seeds(a, "never_disturbs")) > max(record.seeds(a, "often_disturbs"))
                for a in record.arms)  # fmt: skip
    return worse, told(record, "never_disturbs", "often_disturbs")


@experiment.claim()
def they_cannot_be_said(record):
    """Said twelve times in a row, an entry never met is a hundred times less likely to be said once
    more than a common one."""
    gaps = [o - n for a in record.arms
            for n, o in zip(record.seeds(a, "never_repeated"), record.seeds(a, "often_repeated"),
                            strict=True)]  # fmt: skip
    return min(gaps) > 2, told(record, "never_repeated", "often_repeated", shown=".1f")


@experiment.figure()
def rows_of_both(record):
    """Mean length of the rows of entries never met and met often, and how alike the head's rows are
    to those of bytes that no text has: the never met stand apart in both arms."""
    names, panels = [about["title"] for about in record.arms.values()], []
    for metric, title in (("length", "length of the embedding"), ("likeness", "cosine")):
        bars = []
        for group, said, role in (("never", "never met", "b"), ("often", "met often", "model")):
            seeds = [record.seeds(a, f"{group}_{metric}") for a in record.arms]
            mean = [sum(v) / len(v) for v in seeds]
            bars.append(Bars(names, mean, said, role, map(min, seeds), map(max, seeds)))
        panels.append(Panel("", Axis(title), bars=bars, legend="none" if panels else "top"))
    return Figure(panels)
