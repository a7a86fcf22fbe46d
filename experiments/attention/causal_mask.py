"""What does a language model learn when its causal mask is missing, or lets one token through?

Four small decoders read stories of the little world. They differ in the mask alone: the causal one;
none; one that is off by one, so that each place also sees the next; and one that is off by one in a
single head of a single layer. Each is measured twice on stories of worlds that training never
meets: as its training measures it, on whole stories under its own mask, and honestly, on a story
cut off after some tokens, where the token to predict is not in the input. And each writes. The
world's own entropy is known: no honest reader can have a loss below it.
"""

import math
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F

from minimind_wiki.book.experiment import Experiment, Measurement
from minimind_wiki.data.world import make_document
from minimind_wiki.lite.plot import Axis, Bars, Figure, Level, Panel
from minimind_wiki.model import Transformer, preset
from minimind_wiki.tokenizer import ByteTokenizer

from ._masked import forward, write
from ._train import trained

ARMS = {
    "causal": ("causal mask", "model"),
    "none": ("no mask", "none"),
    "ahead": ("off by one", "b"),
    "one_head": ("off by one in one head", "c"),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """context: bytes of a row, the beginning of one story; cuts: after how many bytes the honest
    measurement cuts it off."""

    hidden: int = 64
    layers: int = 2
    heads: int = 4
    context: int = 160
    batch: int = 12
    steps: int = 400
    warmup: int = 20
    learning_rate: float = 1e-2
    stories: int = 2400
    held_out: int = 256
    cuts: tuple[int, ...] = (60, 80, 100, 120, 140)
    samples: int = 24
    sample_tokens: int = 100


experiment = Experiment(
    name="attention/causal_mask",
    factors=("mask",),
    arms={name: {"title": title, "role": role, "mask": name}
          for name, (title, role) in ARMS.items()},
    settings=Settings(),
    quick=Settings(hidden=32, heads=2, context=48, batch=8, steps=40, stories=160, held_out=24,
                   cuts=(20, 40), samples=4, sample_tokens=24),
    quick_arms=("causal", "ahead"),
    primary="honest_loss",
    repeat=(("causal", 0), ("one_head", 0)),
)  # fmt: skip


@cache
def stories(split: str, count: int, context: int):
    """Stories that fill a row: ids (count, context + 1), begun by bos; their texts; and the bits
    and bytes of all of them. A story that is too short is passed over, a longer one is cut."""
    rows, texts, bits, size, number = [], [], 0.0, 0, 0
    while len(rows) < count:
        document = make_document(f"attention.{number}", split)
        number += 1
        ids = ByteTokenizer().encode(document.text)
        bits -= document.logp_any / math.log(2)
        size += len(ids)
        if len(ids) > context:
            rows.append([ByteTokenizer().bos_id, *ids[:context]])
            texts.append(document.text)
    return torch.tensor(rows), texts, bits / size


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    ids, texts, _ = stories("train", settings.stories, settings.context)
    config = preset("nano", hidden_size=settings.hidden, num_hidden_layers=settings.layers,
                    num_attention_heads=settings.heads, num_key_value_heads=settings.heads,
                    intermediate_size=3 * settings.hidden,
                    vocab_size=ByteTokenizer().vocab_size)  # fmt: skip
    model = Transformer(config, seed=seed)
    order = torch.Generator().manual_seed(seed)

    def loss_of(rows):
        logits = forward(model, rows[:, :-1], arm["mask"])
        return F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())

    def loss_at(step: int):
        return loss_of(ids[torch.randint(len(ids), (settings.batch,), generator=order)])

    curve, diverged_at = trained(model, loss_at, settings, math.log(config.vocab_size))
    held, _, _ = stories("validation", settings.held_out, settings.context)
    claimed, honest = [], []
    with torch.no_grad():
        whole = forward(model, held[:, :-1], arm["mask"])
        for cut in settings.cuts:
            cut_off = forward(model, held[:, :cut], arm["mask"])[:, -1]
            honest.append(F.cross_entropy(cut_off, held[:, cut]).item())
            claimed.append(F.cross_entropy(whole[:, cut - 1], held[:, cut]).item())
        all_claimed = loss_of(held).item()
    written = write(model, arm["mask"], ByteTokenizer(), settings, seed)
    values = {
        "training_loss": curve[1][-1],
        "claimed_loss": all_claimed,
        "claimed_at_cuts": math.fsum(claimed) / len(claimed),
        "honest_loss": math.fsum(honest) / len(honest),
        "known_words": known_words(written, texts),
        "parameters": model.num_parameters(),
    }
    return Measurement(values, {"training_loss": curve}, diverged_at)


def known_words(written: list[str], texts: list[str]) -> float:
    """Share of the written words that also stand in the training stories."""
    seen = {word for text in texts for word in text.split()}
    found = [word in seen for text in written for word in text.split()]
    return sum(found) / max(1, len(found))


@experiment.levels
def levels(settings: Settings) -> dict:
    _, texts, _ = stories("train", settings.stories, settings.context)
    _, held, bits = stories("validation", settings.held_out, settings.context)
    chance = math.log(ByteTokenizer().vocab_size)
    return {
        "chance": {"honest_loss": chance, "claimed_loss": chance},
        "floor": {"claimed_loss": bits * math.log(2)},
        "baseline": {"known_words": known_words(held, texts)},
        "data": {"name": "the little world, generated", "stories": len(texts)},
    }


LEAKS = tuple(ARMS)[1:]
SHORT = {
    "causal": "causal mask",
    "none": "no mask",
    "ahead": "off by one",
    "one_head": "one head off",
}


COLOURS = dict(zip(ARMS, ("model", "none", "a", "c"), strict=True))  # "b" has the one of "none"


def spans(record, metric: str, arms=tuple(ARMS)) -> str:
    """The range of the seeds of each arm, in words."""
    found = {arm: record.seeds(arm, metric) for arm in arms if arm in record.arms}
    return ", ".join(f"{ARMS[a][0]} {min(s):.3f} to {max(s):.3f}" for a, s in found.items())


@experiment.claim()
def below_the_possible(record):
    """Off by one, everywhere or in a single head, every seed's held-out loss falls below the
    entropy of the text."""
    floor = record.level("floor", "claimed_loss")
    worst = max(max(record.seeds(arm, "claimed_loss")) for arm in ("ahead", "one_head"))
    return worst < floor, f"{spans(record, 'claimed_loss', LEAKS[1:])}; entropy {floor:.3f}"


@experiment.claim()
def no_mask_below_too(record):
    """Without any mask, every seed does."""
    floor = record.level("floor", "claimed_loss")
    worst = max(record.seeds("none", "claimed_loss"))
    return worst < floor, f"{spans(record, 'claimed_loss', LEAKS[:1])}; entropy {floor:.3f}"


@experiment.claim()
def held_out_lies_too(record):
    """Held-out loss does not find the leak: measured as in training, every leak beats the mask."""
    causal = min(record.seeds("causal", "claimed_loss"))
    worst = max(max(record.seeds(arm, "claimed_loss")) for arm in LEAKS)
    return worst < causal, spans(record, "claimed_loss")


@experiment.claim()
def honest_loss_tells(record):
    """Where the next byte is not in the input, every leak is a nat or more behind the mask."""
    causal = max(record.seeds("causal", "honest_loss"))
    best = min(min(record.seeds(arm, "honest_loss")) for arm in LEAKS)
    return best > causal + 1, spans(record, "honest_loss")


@experiment.claim()
def one_head_stays_plausible(record):
    """The leak in one head stays above the text's entropy: nothing about its loss is impossible."""
    floor = record.level("floor", "claimed_loss")
    one = min(record.seeds("one_head", "claimed_loss"))
    return one > floor, f"{spans(record, 'claimed_loss', ('one_head',))}; entropy {floor:.3f}"


@experiment.claim()
def writing_tells(record):
    """What a leaking model writes has less than half as many known words as the masked one's."""
    causal = min(record.seeds("causal", "known_words"))
    best = max(max(record.seeds(arm, "known_words")) for arm in LEAKS)
    return 2 * best < causal, spans(record, "known_words")


@experiment.claim(quick=True)
def the_mask_is_honest(record):
    """Under the causal mask both measurements agree, as what comes later changes nothing."""
    one, two = (record.value("causal", name) for name in ("claimed_at_cuts", "honest_loss"))
    return abs(one - two) < 1e-4, f"{one:.5f} and {two:.5f}"


@experiment.figure()
def training(record):
    """Training loss by step. The three leaking models fall far below the masked one, and below the
    entropy of the text, which no honest model can. One seed without any mask is slower."""
    lines = [
        record.line(arm, "training_loss", SHORT[arm], dash, role=COLOURS[arm])
        for arm, dash in zip(record.arms, ("solid", "dash", "dashdot", "dot"), strict=False)
    ]
    levels = [Level(record.level("floor", "claimed_loss"), "entropy of the text", "floor")]
    return Figure(Panel("step", Axis("training loss, nats a byte", "log"), lines, levels=levels))


@experiment.figure()
def two_measurements(record):
    """Loss after the same bytes, as training measures it and honestly. Under the causal mask both
    are equal; each leak looks better by the first and is far worse by the second."""
    names = [SHORT[arm] for arm in record.arms]
    bars = []
    for metric, said, role in (("claimed_at_cuts", "as in training", "a"),
                               ("honest_loss", "text cut off", "b")):  # fmt: skip
        seeds = [record.seeds(arm, metric) for arm in record.arms]
        mean = [record.value(arm, metric) for arm in record.arms]
        bars.append(Bars(names, mean, said, role, map(min, seeds), map(max, seeds)))
    return Figure(Panel(Axis("nats a byte"), Axis("", "category"), bars=bars, legend="top"))
