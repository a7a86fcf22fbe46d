"""Confirming a record: the code around an experiment changed, do its numbers still come out?

A record carries the hash of all the code that its measurement can reach. A new optional argument
in the training loop makes it stale, and measuring it again may take hours. `confirm` measures only
the (arm, seed) pairs that the experiment declares as `repeat`, whole and with the record's own
settings, and compares each value and each point of each curve with the record. One difference, and
the record is as it was. None, and the record takes the hash of the code of today, beside a trail of
what was repeated.

What it proves: these runs give the same numbers, to the six digits that a record keeps. What it
does not: that the runs which were not repeated do. They walk through the same code with other
numbers, as far as `repeat` holds a run of each distinct path; that choice is the author's. A change
that acts on one arm alone shows only in a run of that arm.

- The experiment's own part (arms, settings, `measure`, helpers) must be as it was: another
  measurement has nothing to be compared with.
- Times and memory never repeat. What the experiment names `noisy` stays as it was recorded and is
  not compared; where that is the primary metric there is nothing to confirm.
- A swept arm is repeated at the value that the record chose, not the sweep.
- A record keeps the mean and range of a curve over its seeds. A repeated point must be the least,
  the greatest or, of three, the one between them; with more seeds, it must lie within the range.
"""

from __future__ import annotations

import copy
import datetime
import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from fnmatch import fnmatchcase
from typing import Any

from minimind_wiki.book.experiment import Experiment, Measurement
from minimind_wiki.book.hashing import code_hash, own_hash
from minimind_wiki.book.record import Record, rounded
from minimind_wiki.book.runner import (
    Task,
    device_name,
    levels_of,
    progress_bar,
    versions_used,
    workers,
)
from minimind_wiki.errors import MinimindError, WrongCall

DIGIT = 5e-6  # the most that rounding to six digits moves a number, relative to it


def confirm(experiment: Experiment, record: Record, progress: bool = True) -> Record:
    """Measure the experiment's `repeat` again; return the record with today's hash and the trail.

    The given record is not changed and nothing is written. Raises `MinimindError` when the record
    cannot be confirmed, and with the first difference when a number did not come out again.
    """
    started = time.perf_counter()
    path = experiment.path
    if path is None:
        raise WrongCall(
            f"{experiment.name} has no file, and so no code to compare: load it by name"
        )
    # Before the first measurement: an edit while it runs must leave the record stale.
    now = code_hash(path, path.parents[2])
    check_same(experiment, record, own_hash(path, path.parents[2]))
    kept = noisy_names(experiment, record)
    pairs = experiment.repeat or ((next(iter(experiment.arms)), experiment.seeds[0]),)
    tasks = [(arm, seed, _swept(experiment, record, arm)) for arm, seed in pairs]
    with (
        workers(experiment, quick=False) as measure_all,
        progress_bar(experiment, len(tasks), progress) as tick,
    ):
        for task, measurement in measure_all(tasks):
            _none(experiment, record, _differences(record, task, measurement, kept))
            tick(task[0])
    found = rounded(levels_of(experiment, experiment.settings))
    for kind, levels in found.items():
        about = f"the {kind} level" if kind != "data" else "the data's"
        _none(experiment, record, _unequal(about, record.data.get(kind, {}), levels))
    data = copy.deepcopy(record.data)
    data["code_hash"] = now
    data["confirmed"] = [
        *data.get("confirmed", []),
        {
            "code": record.data["code_hash"],
            "by": now,
            "repeated": [list(pair) for pair in pairs],
            "kept": kept,
            "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
            "seconds": time.perf_counter() - started,
        },
    ]
    return Record(rounded(data))


def check_same(experiment: Experiment, record: Record, own: str) -> None:
    """Refuse when the experiment itself is not the one that was measured. own: its hash today."""
    again = f"run 'minimind experiment run {experiment.name}'"
    if "own_hash" not in record.data:
        raise MinimindError(
            f"the record {experiment.name} does not tell the experiment's own code from the "
            f"package's, so it cannot be confirmed: {again}, then it does"
        )
    if record.data["own_hash"] != own:
        raise MinimindError(
            f"{experiment.name} itself changed since its record (arms, settings, seeds, "
            f"measurement, or a helper beside it): that is a new measurement, {again}"
        )
    # The own code may be equal and yet take a setting from the package.
    declared = {
        "settings": asdict(experiment.settings),
        "seeds": list(experiment.seeds),
        "arms": {arm: experiment.arm_settings(arm) for arm in experiment.arms},
    }
    recorded = {
        "settings": record.settings,
        "seeds": record.data["seeds"],
        "arms": {arm: about["factors"] for arm, about in record.arms.items()},
    }
    for key, value in rounded(declared).items():
        if value != recorded[key]:
            raise MinimindError(
                f"{experiment.name} has other {key} than its record: that is a new measurement, "
                f"{again}"
            )


def noisy_names(experiment: Experiment, record: Record) -> list[str]:
    """The values and curves of the record that the experiment calls noisy, sorted."""
    tables = (*record.data["values"].values(), *record.data["curves"].values())
    names = sorted({name for table in tables for name in table})
    for pattern in experiment.noisy:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise WrongCall(
                f"{experiment.name}: noisy names {pattern!r}, and the record has no such value: "
                f"correct it. Known: {', '.join(names)}"
            )
    found = [name for name in names if any(fnmatchcase(name, p) for p in experiment.noisy)]
    if experiment.primary in found:
        raise MinimindError(
            f"{experiment.name} measures time or memory ({experiment.primary}), which no second "
            f"run gives again: run 'minimind experiment run {experiment.name}'"
        )
    return found


def _swept(experiment: Experiment, record: Record, arm: str) -> float | None:
    """The value of the swept setting at which the record shows the arm."""
    if experiment.sweep is None:
        return None
    best = record.sweep(arm)["best"]
    tried = (*experiment.sweep.values, *experiment.sweep.beyond)
    return next(value for value in tried if rounded(value) == best)


def _differences(record: Record, task: Task, run: Measurement, kept: list[str]) -> Iterator[str]:
    """Every difference of one run from the record, as half a sentence."""
    arm, seed, _ = task
    index = record.data["seeds"].index(seed)
    about = f"arm {arm}, seed {seed}:"
    before = record.data["divergence"][arm][index]
    if before != run.diverged_at:
        yield f"{about} diverged at step {before}, now at {run.diverged_at}"
    cells = {n: c for n, c in record.data["values"][arm].items() if not c.get("derived")}
    for name in sorted({*cells, *run.values} - set(kept)):
        was = cells[name]["seeds"][index] if name in cells else None
        now = rounded(float(run.values[name])) if name in run.values else None
        if was != now:
            yield f"{about} {name} was {was} and is {now}"
    curves = record.data["curves"][arm]
    for name in sorted({*curves, *run.curves} - set(kept)):
        if name not in curves or name not in run.curves:
            yield f"{about} the curve {name} {'is gone' if name in curves else 'is new'}"
            continue
        xs, ys = (rounded([float(v) for v in axis]) for axis in run.curves[name])
        points, curve = dict(zip(xs, ys, strict=True)), curves[name]
        rows = zip(*(curve[key] for key in ("mean", "lo", "hi")), strict=True)
        seeds, table = len(record.data["seeds"]), dict(zip(curve["x"], rows, strict=False))
        # A run that diverged, or that left steps out, has fewer points than the others of its arm.
        gone = {x for x in curve["x"] if x not in points and not of_others(table.get(x), seeds)}
        if run.diverged_at is not None:
            gone = set()
        if other := gone | (points.keys() - set(curve["x"])):
            x = min(other)
            yield f"{about} the curve {name} has a point at {x} {'no more' if x in gone else 'now'}"
            continue
        for x, y in points.items():
            mean, low, high = table[x]
            if not one_of(y, mean, low, high, seeds):
                was = mean if low == high else f"{low} to {high}, mean {mean},"
                yield f"{about} the curve {name} at {x} was {was} and is {y}"


def one_of(y: float | None, mean: float | None, low: Any, high: Any, seeds: int) -> bool:
    """Whether y can be one of so many numbers whose rounded mean, least and greatest are given.

    >>> one_of(2.0, 3.0, 2.0, 5.0, seeds=3), one_of(2.5, 3.0, 2.0, 5.0, seeds=3)
    (True, False)
    """
    if y is None or mean is None:
        return y is mean
    if y in (low, high):
        return True
    if seeds > 3:
        return bool(low < y < high)
    middle = math.fsum((3 * mean, -low, -high))
    slack = DIGIT * (3 * abs(mean) + abs(low) + abs(high) + abs(y))
    return seeds == 3 and bool(low < y < high) and abs(y - middle) <= slack


def of_others(point: tuple[float | None, ...] | None, seeds: int) -> bool:
    """Whether a mean, the least and the greatest can be of fewer numbers than there are seeds.

    >>> of_others((3.0, 2.0, 4.0), seeds=3), of_others((2.5, 2.0, 4.0), seeds=3)
    (True, False)
    """
    if point is None or seeds == 1:
        return False
    mean, low, high = point
    if mean is None or low is None or high is None:
        return False
    if seeds > 3:
        return True
    if seeds == 2:
        return mean == low == high
    return abs(2 * mean - low - high) <= DIGIT * (2 * abs(mean) + abs(low) + abs(high))


def _unequal(about: str, was: Any, now: Any) -> Iterator[str]:
    """Every entry in which two dicts differ, as half a sentence."""
    for name in sorted({*was, *now}):
        if was.get(name) != now.get(name):
            yield f"{about} {name} was {was.get(name)} and is {now.get(name)}"


def _none(experiment: Experiment, record: Record, differences: Iterable[str]) -> None:
    """Raise with the first difference, if there is one."""
    first = next(iter(differences), None)
    if first is None:
        return
    was, here = record.data["versions"], versions_used()
    other = [f"{key} {was[key]}" for key in sorted(was) if was[key] != here.get(key)]
    if record.data["device"] != device_name(experiment):
        other.append(record.data["device"])
    elsewhere = f" (it was recorded with {', '.join(other)}, which may be why)" if other else ""
    raise MinimindError(
        f"{experiment.name} does not give its record again: {first}{elsewhere}. The record is as "
        f"it was: run 'minimind experiment run {experiment.name}'"
    )
