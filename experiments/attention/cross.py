"""What does cross-attention give a writer that one vector, or one long row, does not?

A row of letters is read, and written again. The writer looks across at all vectors that the reader
made; or gets a single one of them, as before attention, also with twice the width, and with three
times the training; or there is no reader, and one causal stack reads and writes the joined row.
Rows have 2 to 12 letters. The learning rate is swept for each arm on rows that are not reported.
"""

from dataclasses import dataclass, replace

import numpy as np

from minimind_wiki.book.experiment import Experiment, Measurement, Sweep
from minimind_wiki.lite.plot import Axis, Figure, Level, Panel

from ._dictated import EVENLY, LENGTHS, LETTERS, built, loss_of, rows, scored, unread
from ._train import trained


@dataclass(frozen=True, slots=True)
class Settings:
    """reading, writing: blocks of the two stacks; test_rows: rows of each length that are asked."""

    width: int = 64
    heads: int = 4
    reading: int = 2
    writing: int = 1
    batch: int = 64
    steps: int = 400
    warmup: int = 40
    test_rows: int = 512
    learning_rate: float = 3e-3  # swept


def arm(title: str, role: str, form: str, width: int = 1, longer: int = 1) -> dict:
    return {"title": title, "role": role, "form": form, "width": width, "longer": longer}


experiment = Experiment(
    name="attention/cross",
    factors=("form", "width", "longer"),
    arms={
        "cross": arm("cross-attention", "model", "across"),
        "vector": arm("one vector", "a", "one vector"),
        "vector_wide": arm("one vector, twice as wide", "c", "one vector", 2),
        "vector_long": arm("one vector, trained longer", "e", "one vector", longer=3),
        "joined": arm("joined, no reader", "b", "joined"),
    },
    settings=Settings(),
    quick=Settings(width=32, reading=1, batch=32, steps=120, warmup=12, test_rows=64),
    quick_arms=("cross", "vector"),
    sweep=Sweep("learning_rate", (2e-3, 5e-3, 1e-2), "selection_loss", quick=(1e-2,),
                beyond=(1e-4, 3e-4, 8e-4, 2e-2)),
    primary="right_12",
    repeat=(("cross", 0), ("vector", 0)),
)  # fmt: skip


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    settings = replace(settings, steps=settings.steps * arm["longer"])
    model = built(arm, settings, seed)

    def loss_at(step: int):
        letters = np.random.default_rng((seed, step)).integers(min(LENGTHS), max(LENGTHS) + 1)
        return loss_of(model, *rows(settings.batch, int(letters), 1000 + seed, step))

    curve, diverged_at = trained(model, loss_at, settings, EVENLY)
    loss, shares = scored(model, settings.test_rows)
    values = {f"right_{n}": share for n, share in zip(LENGTHS, shares, strict=True)}
    values |= {"selection_loss": loss, "parameters": sum(p.numel() for p in model.parameters())}
    return Measurement(values, {"right": (LENGTHS, shares), "training_loss": curve}, diverged_at)


@experiment.levels
def levels(settings: Settings) -> dict:
    """Chance knows the alphabet; the baseline also that no letter comes twice."""
    return {"chance": {f"right_{n}": 1 / LETTERS for n in LENGTHS},
            "baseline": {f"right_{n}": unread(n) for n in LENGTHS}}  # fmt: skip


def spans(record, metric: str) -> tuple[dict[str, list[float]], str]:
    """The seeds of each arm, and their ranges in words."""
    found = {name: record.seeds(name, metric) for name in record.arms}
    return found, "; ".join(f"{n} {min(s):.1%} to {max(s):.1%}" for n, s in found.items())


@experiment.claim(quick=True)
def looking_beats_one_vector(record):
    """At 12 letters every seed with cross-attention is above every seed with one vector."""
    found, said = spans(record, "right_12")
    return min(found["cross"]) > max(found["vector"]), said


@experiment.claim()
def cross_writes_all(record):
    """With cross-attention every seed writes 95 % of the letters or more, at every length."""
    least = {n: min(record.seeds("cross", f"right_{n}")) for n in LENGTHS}
    return min(least.values()) >= 0.95, ", ".join(f"{n}: {s:.1%}" for n, s in least.items())


@experiment.claim()
def one_vector_fills_up(record):
    """One vector is enough for 2 letters, 95 % or more, and with 12 writes less than half of them,
    with every seed."""
    short, long = (record.seeds("vector", f"right_{n}") for n in (2, 12))
    said = f"2 letters {min(short):.1%} to {max(short):.1%}, 12 {min(long):.1%} to {max(long):.1%}"
    return min(short) >= 0.95 and max(long) < 0.5, said


@experiment.claim()
def width_does_not_replace_it(record):
    """A vector twice as wide does not make up for it: below 80 % of 12 letters with every seed."""
    found, said = spans(record, "right_12")
    return max(found["vector_wide"]) < 0.8, said


@experiment.claim()
def training_does_not_replace_it(record):
    """Nor does three times the training: below 80 % of 12 letters with every seed."""
    found, said = spans(record, "right_12")
    return max(found["vector_long"]) < 0.8, said


@experiment.claim()
def joined_is_as_good(record):
    """The joined row is written as well: within 0.02 of cross-attention at every length."""
    joined, cross = ([record.value(a, f"right_{n}") for n in LENGTHS] for a in ("joined", "cross"))
    gaps = [j - c for j, c in zip(joined, cross, strict=True)]
    return max(map(abs, gaps)) < 0.02, ", ".join(f"{gap:+.3f}" for gap in gaps)


@experiment.claim()
def parameters_are_equal(record):
    """The arms of one width have the same number of parameters, within 2 %."""
    counts = [record.value(name, "parameters") for name in ("cross", "vector", "joined")]
    return max(counts) / min(counts) < 1.02, ", ".join(f"{count:,.0f}" for count in counts)


@experiment.figure()
def by_length(record):
    """Share of letters written right, by the length of the row: nearly all with cross-attention and
    in the joined row. With one vector fewer the longer the row, after more training too."""
    of = {"vector_wide": "wider", "vector_long": "trained longer", "joined": "joined row"}
    lines = [
        record.line(n, "right", of.get(n, ""), ("solid", "dash")[n in of]) for n in record.arms
    ]
    floor = sum(record.level("baseline", f"right_{n}") for n in LENGTHS) / len(LENGTHS)
    x, y = Axis("letters of the row", ticks=list(LENGTHS)), Axis("share right", range=(0, 1.03))
    return Figure(Panel(x, y, lines, levels=[Level(floor, "nothing read", "baseline")]))
