"""Does the little world teach? How near do small models come to its floor, and what can they do?

Three sizes, each below 3M parameters, read stories and lessons of training worlds (Muon for the
matrices, AdamW for the rest). They are measured on stories of validation worlds, whose people,
places and plots training never meets, against the floor: the bits that a reader needs who knows
every rule of the generator. And they sit the world exam. The control reads the same texts with the
words of each in random order: the words are the same, what they say is gone. A model of pairs of
tokens is the bar for the loss; for the exam it is chance, as the items are balanced against tricks
that look only at places and lengths.
"""

import json
import random
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from minimind_wiki.book.experiment import Experiment, Measurement
from minimind_wiki.data.world import make_document
from minimind_wiki.data.world.rows import make_rows
from minimind_wiki.evaluate.world_exam import SECTIONS, exam_items
from minimind_wiki.lite.plot import Axis, Figure, Level, Line, Panel
from minimind_wiki.tokenizer import load_tokenizer
from minimind_wiki.tokenizer.layout import CHATML
from minimind_wiki.tokenizer.library import save_library, train_library
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.feeds import world_feed
from minimind_wiki.train.pretrain import pretrain


@dataclass(frozen=True, slots=True)
class Settings:
    """Steps of batch_size rows of context tokens; a BPE of so many tokens; items of each section of
    the exam, at each measurement and (exam_items) at the end."""

    steps: int = 2600
    batch_size: int = 4
    context: int = 512
    learning_rate: float = 5e-3
    vocab_size: int = 2048
    stories: int = 256
    items: int = 10
    exam_items: int = 100


def arm(title: str, role: str, hidden: int, layers: int, heads: int, text: str = "world") -> dict:
    return {"title": title, "role": role, "hidden": hidden, "layers": layers, "heads": heads,
            "text": text}  # fmt: skip


experiment = Experiment(
    name="pretrain-run/little_world",
    factors=("hidden", "layers", "heads", "text"),
    arms={
        "small": arm("0.2M parameters", "a", 64, 2, 2),
        "medium": arm("1.0M parameters", "b", 128, 4, 4),
        "large": arm("2.2M parameters", "model", 192, 4, 6),
        "shuffled": arm("0.2M, words shuffled", "none", 64, 2, 2, "shuffled"),
    },
    settings=Settings(),
    quick=Settings(steps=24, batch_size=2, vocab_size=512, stories=4, items=1, exam_items=2),
    quick_arms=("small", "shuffled"),
    primary="bits_per_byte",
    repeat=(("small", 0), ("shuffled", 1)),  # sizes differ in numbers only
    noisy=("training_seconds", "cpu_seconds"),
)  # fmt: skip


@cache
def tokenizer(vocab_size: int):
    """A BPE of stories and lessons of training worlds."""
    with tempfile.TemporaryDirectory() as folder:
        rows = [*make_rows("pretrain", 3000, 1), *make_rows("lessons", 1500, 1)]
        save_library(train_library((r["text"] for r in rows), vocab_size, CHATML), folder, CHATML)
        return load_tokenizer(folder)


class Shuffled:
    """A tokenizer that puts the words of each text into random order before it reads them."""

    def __init__(self, inner) -> None:
        self.inner = inner

    def __getattr__(self, name: str):
        return getattr(self.inner, name)

    def encode(self, text: str, specials: bool = False) -> list[int]:
        words = text.split(" ")
        random.Random(text).shuffle(words)
        return self.inner.encode(" ".join(words))


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    import dataclasses
    from functools import partial

    from minimind_wiki.evaluate.likelihood import log_likelihood
    from minimind_wiki.evaluate.world_exam import by_likelihood, exam

    own = tokenizer(settings.vocab_size)
    config = TrainConfig(
        preset="tiny", data="world", steps=settings.steps, batch_size=settings.batch_size,
        context_length=settings.context, learning_rate=settings.learning_rate, optimizer="muon",
        eval_windows=settings.stories, exam_items=settings.items, sample_tokens=0, seed=seed,
        device="cpu", dtype="bfloat16", threads=1,
    )  # fmt: skip
    feed = world_feed(config, own)
    if arm["text"] == "shuffled":
        read = world_feed(config, Shuffled(own))
        feed = dataclasses.replace(feed, at=read.at)
    fields = {"hidden_size": arm["hidden"], "num_hidden_layers": arm["layers"],
              "num_attention_heads": arm["heads"], "num_key_value_heads": arm["heads"],
              "intermediate_size": 8 * arm["hidden"] // 3 // 32 * 32, "qk_norm": True}  # fmt: skip
    cpu = time.process_time()
    outcome = pretrain(config, fields, tokenizer=own, feed=feed)
    state, run = outcome.state, outcome.run
    bits = state.held_out["bits_per_byte"]
    nats = state.held_out["loss"][-1]
    scores = exam(partial(by_likelihood, log_likelihood(outcome.model, own, feed.begin)),
                  settings.exam_items, "test")  # fmt: skip
    values = {
        "bits_per_byte": bits[-1],
        "excess": bits[-1] - feed.floor,
        "bigram_bits": bits[-1] * outcome.bigram / nats,
        "parameters": run["parameters"],
        "training_seconds": state.seconds,
        "cpu_seconds": time.process_time() - cpu,
        "tokens": settings.steps * settings.batch_size * settings.context,
        "exam": sum(score.accuracy for score in scores) / len(scores),
        **{f"exam_{score.section}": score.accuracy for score in scores},
    }
    curves = {
        "bits": (state.held_out["step"], bits),
        "exam": ([e["step"] for e in state.exams], [e["mean"] for e in state.exams]),
    }
    return Measurement(values, curves)


@experiment.levels
def levels(settings: Settings):
    config = TrainConfig(
        data="world", context_length=settings.context, eval_windows=settings.stories
    )
    floor = world_feed(config, tokenizer(settings.vocab_size)).floor
    chances = {}
    for section in SECTIONS:
        items = list(exam_items(section, settings.exam_items, "test"))
        chances[f"exam_{section}"] = sum(1 / len(item.options) for item in items) / len(items)
    sample = json.dumps([make_document(f"held-out.{n}", "validation").text for n in range(5)])
    return {
        "chance": chances | {"exam": sum(chances.values()) / len(chances)},
        "floor": {"bits_per_byte": floor},
        "data": {"name": "the little world, generated", "bytes": len(sample)},
    }


REAL = ("small", "medium", "large")
EXAM_ERROR = 0.03  # one run's mean of 1,000 items has a standard error of about half of this


def means(record, metric: str, arms=REAL) -> list[float]:
    return [record.value(arm, metric) for arm in arms]


@experiment.claim()
def near_the_floor(record):
    """The largest model comes within 0.15 bits per byte of the floor on worlds it never met."""
    excess = record.seeds("large", "excess")
    return max(excess) <= 0.15, f"excess {min(excess):.3f} to {max(excess):.3f} bits/byte"


@experiment.claim()
def in_fifteen_minutes(record):
    """Each run needs at most fifteen minutes of two cores, 30 core-minutes, measuring included."""
    most = max(max(record.seeds(arm, "cpu_seconds")) for arm in record.arms)
    return most <= 1800, f"at most {most / 60:.1f} core-minutes"


@experiment.claim()
def loss_falls_with_size(record):
    """Each larger model has a lower held-out loss than the smaller one, with every seed."""
    pairs = pairwise(REAL)
    good = all(max(record.seeds(b, "bits_per_byte")) < min(record.seeds(a, "bits_per_byte"))
               for a, b in pairs)  # fmt: skip
    return good, ", ".join(f"{x:.3f}" for x in means(record, "bits_per_byte"))


@experiment.claim()
def exam_rises_with_training(record):
    """The largest model's exam is better at the end of training than in its first fifth."""
    curve = record.curve("large", "exam")["mean"]
    early, late = sum(curve[:3]) / 3, sum(curve[-3:]) / 3
    return late > early + EXAM_ERROR, f"{early:.1%} early, {late:.1%} late"


@experiment.claim()
def exam_rises_with_size(record):
    """The exam's mean rises from each size to the next, and from first to last clearly."""
    found = means(record, "exam")
    good = found[0] < found[1] < found[2] and found[2] > found[0] + EXAM_ERROR
    return good, ", ".join(f"{x:.1%}" for x in found)


@experiment.claim()
def above_chance(record):
    """The largest model's exam is clearly above chance, and the shuffled control's is not."""
    chance = record.level("chance", "exam")
    large, control = means(record, "exam", ("large", "shuffled"))
    good = large > chance + EXAM_ERROR >= control
    return good, f"{large:.1%} against {control:.1%}, chance {chance:.1%}"


@experiment.claim(quick=True)
def controls_stay_high(record):
    """Pairs of tokens and shuffled words leave at least three times the floor to be explained."""
    least = min(*record.seeds("shuffled", "bits_per_byte"), record.value("small", "bigram_bits"))
    floor = record.level("floor", "bits_per_byte")
    return least >= 3 * floor, f"at least {least:.2f} bits/byte, floor {floor:.3f}"


def lines(record, curve: str) -> list[Line]:
    dashes = dict(zip(record.arms, ("dot", "dash", "solid", "dashdot"), strict=False))
    found = []
    for name, arm in record.arms.items():
        c = record.curve(name, curve)
        found.append(Line(c["x"], c["mean"], arm["title"], arm["role"], lo=c["lo"], hi=c["hi"],
                          dash=dashes[name]))  # fmt: skip
    return found


@experiment.figure()
def loss(record):
    """Held-out bits per byte against the training step, for three sizes and the control whose words
    are shuffled, with the floor of the generator and the bigram model as levels."""
    levels = [Level(record.level("floor", "bits_per_byte"), "floor", "floor"),
              Level(record.value("small", "bigram_bits"), "bigram model", "baseline")]  # fmt: skip
    return Figure(Panel("optimizer step", Axis("held-out bits per byte"), lines(record, "bits"),
                        levels=levels))  # fmt: skip


@experiment.figure()
def exam_curve(record):
    """Mean share of right answers in the world exam against the training step, and chance."""
    levels = [Level(record.level("chance", "exam"), "chance", "chance")]
    return Figure(Panel("optimizer step", Axis("right answers"), lines(record, "exam"),
                        levels=levels))  # fmt: skip
