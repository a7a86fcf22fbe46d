"""Do several heads see more than one wide head, with the same parameters?

One block of the package, 32 wide, with 1, 2, 4 or 8 heads: the wider the head the fewer there are,
so the parameters are the same to the last one. The task is recall by content: eight records of a
key and a value, then queries of one, two or four keys at once, each key in its own slot, and the
value of each is asked for. The learning rate is swept for each arm and chosen on rows of its own.
One look-up is the control: there a second head has nothing to add. The bar is a reader who knows
which values were asked for but not in which slot.
"""

import math
from dataclasses import dataclass

import torch

from minimind_wiki.book.experiment import Experiment, Measurement, Sweep
from minimind_wiki.lite.plot import Axis, Figure, Level, Line, Panel

from ._recall import Recall, draw, loss_of, mixed_up, scored
from ._train import trained

HEADS, LOOKUPS = (1, 2, 4, 8), (1, 2, 4)
NAMES = {1: "one", 2: "two", 4: "four"}
ROLES = {1: "c", 2: "b", 4: "a"}


@dataclass(frozen=True, slots=True)
class Settings:
    """keys, values: the vocabularies; records of a row and its queries; rows of a batch; test_rows:
    rows that are drawn anew for choosing the rate, and again for the report."""

    width: int = 32
    keys: int = 16
    values: int = 8
    records: int = 8
    queries: int = 8
    batch: int = 32
    steps: int = 600
    warmup: int = 50
    test_rows: int = 1024
    learning_rate: float = 1e-2  # swept


experiment = Experiment(
    name="attention/heads",
    factors=("heads", "lookups"),
    arms={
        f"{NAMES[lookups]}_lookups_{heads}_heads": {
            "title": f"{heads} heads, {NAMES[lookups]} at once", "role": ROLES[lookups],
            "heads": heads, "lookups": lookups,
        }
        for lookups in LOOKUPS for heads in HEADS
    },
    settings=Settings(),
    quick=Settings(steps=120, test_rows=128),
    quick_arms=("four_lookups_1_heads", "four_lookups_4_heads", "one_lookups_1_heads"),
    sweep=Sweep("learning_rate", (3e-3, 1e-2, 3e-2), "selection_loss", quick=(1e-2,),
                beyond=(1e-3, 1e-1)),
    primary="accuracy",
    repeat=(("four_lookups_1_heads", 0), ("one_lookups_8_heads", 0)),
)  # fmt: skip


def rows(seed: int, settings: Settings, lookups: int):
    """Rows that no training batch has: their generator is another."""
    return draw(settings.test_rows, settings, lookups, torch.Generator().manual_seed(seed))


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    model = Recall(arm["heads"], arm["lookups"], settings, seed)
    generator = torch.Generator().manual_seed(1000 + seed)
    curve, diverged_at = trained(
        model,
        lambda step: loss_of(model, draw(settings.batch, settings, arm["lookups"], generator)),
        settings,
        math.log(settings.values),
    )
    loss, accuracy = scored(model, rows(10**6, settings, arm["lookups"]))
    values = {
        "loss": loss,
        "accuracy": accuracy,
        "selection_loss": scored(model, rows(10**6 + 1, settings, arm["lookups"]))[0],
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    return Measurement(values, {"training_loss": curve}, diverged_at)


@experiment.levels
def levels(settings: Settings) -> dict:
    found = {f"mixed_up_{NAMES[n]}": mixed_up(rows(10**6, settings, n))[1] for n in LOOKUPS}
    chance = {"loss": math.log(settings.values), "accuracy": 1 / settings.values}
    return {"chance": chance, "baseline": found}


def arm_of(lookups: int, heads: int) -> str:
    return f"{NAMES[lookups]}_lookups_{heads}_heads"


def shares(record, lookups: int) -> tuple[list[list[float]], str]:
    """The seeds' accuracies by number of heads, and the same in words."""
    found = [record.seeds(arm_of(lookups, heads), "accuracy") for heads in HEADS]
    return found, ", ".join(f"{h}: {min(s):.3f} to {max(s):.3f}"
                            for h, s in zip(HEADS, found, strict=True))  # fmt: skip


@experiment.claim()
def one_lookup_needs_one_head(record):
    """For one look-up at a time every number of heads names at least 99 % of the values."""
    found, said = shares(record, 1)
    return min(map(min, found)) >= 0.99, said


@experiment.claim()
def one_head_is_not_enough(record):
    """For four at once, no seed of one head names 80 % of the values; every seed of four heads
    names 99 % or more."""
    (one, _, four, _), said = shares(record, 4)
    return max(one) < 0.8 and min(four) >= 0.99, said


@experiment.claim()
def one_head_can_do_two(record):
    """For two at once, one head is perfect with some seeds and far from it with another."""
    (one, *_), said = shares(record, 2)
    return max(one) >= 0.99 and min(one) < 0.9, said


@experiment.claim()
def more_is_not_better(record):
    """For four at once, eight heads of four numbers name fewer values than four heads of eight."""
    (_, _, four, eight), said = shares(record, 4)
    return max(eight) < min(four), said


@experiment.claim()
def one_head_orders_a_little(record):
    """One head beats the reader who knows the four values asked for but not their slots."""
    bar = record.level("baseline", "mixed_up_four")
    one = record.seeds(arm_of(4, 1), "accuracy")
    return min(one) > bar, f"one head {min(one):.3f} to {max(one):.3f}, that reader {bar:.3f}"


@experiment.claim()
def parameters_are_equal(record):
    """For each task the number of heads changes no count of parameters."""
    counts = [{record.value(arm_of(n, h), "parameters") for h in HEADS} for n in LOOKUPS]
    return all(len(c) == 1 for c in counts), f"{[int(*c) for c in counts]}"


@experiment.claim(quick=True)
def heads_learn(record):
    """With four heads and four look-ups the model ends far above guessing."""
    found, chance = record.value(arm_of(4, 4), "accuracy"), record.level("chance", "accuracy")
    return found > 2 * chance, f"{found:.3f}, guessing {chance:.3f}"


@experiment.figure()
def accuracy(record):
    """Share of values named right, by number of heads, for one, two and four look-ups at once. One
    at a time, every number of heads is perfect. Two at once, one head is perfect with two seeds of
    three. Four at once, one head names about three values of four, two heads nearly all, four and
    eight all."""
    lines = []
    for lookups in LOOKUPS:
        heads = [h for h in HEADS if arm_of(lookups, h) in record.arms]  # a quick run has few
        seeds = [record.seeds(arm_of(lookups, h), "accuracy") for h in heads]
        mean = [sum(s) / len(s) for s in seeds]
        lines.append(Line(heads, mean, f"{NAMES[lookups]} at once", ROLES[lookups],
                          map(min, seeds), map(max, seeds), marker="circle"))  # fmt: skip
    levels = [Level(record.level("chance", "accuracy"), "guessing", "chance")]
    levels.append(Level(record.level("baseline", "mixed_up_four"), "four, slots unknown", "floor"))
    axis = Axis("heads", "log", ticks=list(HEADS))
    y = Axis("share of values named right", range=(0, 1.05))
    return Figure(Panel(axis, y, lines, levels=levels))
