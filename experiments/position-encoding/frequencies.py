"""Why does RoPE turn its pairs at many speeds? One frequency against many, on copying.

One layer with RoPE copies rows of letters. To do so it must find one distance among many. With one
frequency all pairs of a head turn alike: fast, at a radian per token, or slower. With many they
turn at 1, then ever slower down to 1/theta^(1 - 2/D). Each arm has the same number of pairs and
the same weights to learn, and is shown at its own best learning rate. Where a model errs, how many
places off is the letter that it writes?
"""

from dataclasses import dataclass
from math import log

from minimind_wiki.book.experiment import Experiment, Measurement, Sweep
from minimind_wiki.lite.plot import Axis, Bars, Figure, Panel

from ._copying import blind, offsets, right, trained

MOST = 14  # places off that are shown


def arm(title: str, role: str, theta: float, slower: float = 1.0) -> dict:
    """theta 1: all pairs turn alike, at 1 / slower radians per token."""
    return {"title": title, "role": role, "theta": theta, "slower": slower}


@dataclass(frozen=True, slots=True)
class Settings:
    """Letters in a row; rows in a batch; rows that are reported."""

    letters: int = 24
    width: int = 64
    heads: int = 4
    batch: int = 64
    steps: int = 220
    reported: int = 1024
    learning_rate: float = 5e-3  # swept


experiment = Experiment(
    name="position-encoding/frequencies",
    factors=("theta", "slower"),
    arms={
        "fast": arm("one, 1 rad", "a", 1.0),
        "middle": arm("one, 1/8 rad", "b", 1.0, 8.0),
        "slow": arm("one, 1/64 rad", "c", 1.0, 64.0),
        "many": arm("many, theta 10,000", "model", 1e4),
        "wide": arm("many, theta 1,000,000", "e", 1e6),
    },
    settings=Settings(),
    quick=Settings(letters=12, steps=60, reported=128),
    quick_arms=("fast", "slow", "many"),
    sweep=Sweep("learning_rate", (2e-3, 5e-3, 1.2e-2), "selection_loss", quick=(1e-2,),
                beyond=(8e-4, 3e-2)),
    primary="right",
    repeat=(("middle", 0), ("many", 0)),
)  # fmt: skip

ONE, MANY = ("fast", "middle", "slow"), ("many", "wide")


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    fields = {"positions": "rotary", "rope_theta": arm["theta"]}
    if arm["slower"] > 1:
        fields |= {"rope_type": "linear", "rope_factor": arm["slower"]}
    model, loss = trained(fields, 1, seed, settings)
    share, _ = right(model, settings.reported, settings.letters)
    most = min(MOST, settings.letters - 1)
    off = offsets(model, settings.reported, settings.letters, most)
    near = sum(off[most + step] for step in (-1, 1))
    turn = sum(off[most + step] for step in (-6, 6))
    values = {"right": share, "selection_loss": loss, "neighbour": near, "one_turn_off": turn}
    return Measurement(values, {"offsets": (range(-most, most + 1), off)})


@experiment.levels
def levels(settings: Settings) -> dict:
    """Chance knows the alphabet; the baseline knows which letters stand there, not their order."""
    known = blind(settings.letters)
    return {"chance": {"right": 1 / 26, "selection_loss": log(26)},
            "baseline": {"right": known["right"], "selection_loss": known["loss"]}}  # fmt: skip


def said(record, arms) -> str:
    star = {a: "*" * (record.sweep(a)["best"] == max(record.sweep(a)["values"])) for a in arms}
    told = [f"{record.arms[a]['title']}: {record.value(a, 'right'):.1%}{star[a]}" for a in arms]
    return ", ".join(told) + " (*: at the highest learning rate tried)" * any(star.values())


@experiment.claim(quick=True)
def many_beat_one(record):
    """Many frequencies (theta 10,000) copy better than any single one, with every seed."""
    single = [a for a in ONE if a in record.arms]
    best = max(max(record.seeds(a, "right")) for a in single)
    return min(record.seeds("many", "right")) > best, said(record, [*single, "many"])


@experiment.claim()
def many_are_enough(record):
    """With theta 10,000 one layer copies nearly everything, above 98 %, with every seed."""
    return min(record.seeds("many", "right")) > 0.98, said(record, ["many"])


@experiment.claim()
def fast_errs_by_a_turn(record):
    """One fast frequency errs by a whole turn: where it is wrong, the letter six places off (a turn
    is 6.28 tokens) is written more often than the one next to the right one."""
    turn, near = (record.seeds("fast", name) for name in ("one_turn_off", "neighbour"))
    good = all(t > n for t, n in zip(turn, near, strict=True))
    return good, f"six off {sum(turn) / len(turn):.1%}, one off {sum(near) / len(near):.1%}"


@experiment.claim()
def slow_errs_by_a_step(record):
    """Slow frequencies err by a step: the letter next to the right one is written more often than
    the one six places off."""
    pairs = [[record.value(a, name) for name in ("neighbour", "one_turn_off")] for a in ONE[1:]]
    evidence = "; ".join(f"one off {near:.1%}, six off {turn:.1%}" for near, turn in pairs)
    return all(near > turn for near, turn in pairs), evidence


@experiment.claim()
def base_hardly_matters(record):
    """At this length the base hardly matters: theta 1,000,000 is within 0.05 of theta 10,000."""
    middle = record.value("many", "right")
    return all(abs(record.value(a, "right") - middle) < 0.05 for a in MANY), said(record, MANY)


@experiment.figure()
def copied(record):
    """Share of letters copied rightly with one frequency, fast, middle or slow, and with many."""
    names = {record.arms[a]["title"]: a for a in [*ONE, *MANY] if a in record.arms}
    seeds = [record.seeds(arm, "right") for arm in names.values()]
    bars = Bars(names, [record.value(a, "right") for a in names.values()], "", "model",
                [min(s) for s in seeds], [max(s) for s in seeds])  # fmt: skip
    x = Axis("letters copied rightly", range=(0, 1.02))
    return Figure(Panel(x, Axis("", "category"), bars=[bars], legend="none"))


@experiment.figure()
def errors(record):
    """Share of written letters by their distance from the right one, in three panels. One fast
    frequency: a peak at zero and smaller ones six places to both sides, one turn of the wheel. One
    slower frequency: a peak at zero and a slope over the next places. Many: all at zero."""
    x = Axis("places off", ticks=[-12, -6, 0, 6, 12])
    panels = []
    for name in (n for n in ("fast", "middle", "many") if n in record.arms):
        title, line = record.arms[name]["title"], record.line(name, "offsets")
        panels.append(Panel(x, Axis("share of letters"), [line], title=title, legend="none"))
    return Figure(panels)
