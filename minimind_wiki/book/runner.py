"""Runs an experiment: arms × seeds (× sweep) in two processes, and makes the record.

Two worker processes with one torch thread each: on two cores that is faster and steadier than one
process with two threads. Workers are spawned, never forked, so that torch's threads are safe and
the same code runs on Linux, macOS and Windows.
"""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import math
import multiprocessing
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from minimind_wiki import __version__
from minimind_wiki.book.experiment import Experiment, Measurement, curve_summary, load_experiment
from minimind_wiki.book.hashing import code_hash, own_hash, view_hash
from minimind_wiki.book.record import SCHEMA, Record, repo_root, rounded, summary, svg_path

WORKERS = 2
HASHES = (code_hash, own_hash)
Task = tuple[str, int, float | None]  # arm, seed, value of the swept setting


def run(
    experiment: Experiment,
    quick: bool = False,
    seeds: Sequence[int] | None = None,
    progress: bool = True,
) -> Record:
    """Measure and return the record.

    With a sweep, its values are tried with the first seed, further out for an arm whose best stands
    at an edge, and the other seeds run at each arm's own best.
    """
    started = time.perf_counter()
    path = experiment.path
    # Before the first measurement: an edit while it runs must make the record stale.
    hashes = {kind.__name__: kind(path, path.parents[2]) if path else "" for kind in HASHES}
    settings = experiment.quick if quick else experiment.settings
    seeds = tuple(seeds or (experiment.quick_seeds if quick else experiment.seeds))
    arms = list(experiment.quick_arms if quick and experiment.quick_arms else experiment.arms)
    sweep = experiment.sweep
    values = (sweep.quick or sweep.values if quick else sweep.values) if sweep else (None,)
    first: list[Task] = [(arm, seeds[0], value) for arm in arms for value in values]
    total = len(first) + len(arms) * (len(seeds) - 1)
    results: dict[Task, Measurement] = {}
    with (
        workers(experiment, quick) as measure_all,
        progress_bar(experiment, total, progress) as tick,
    ):
        for task, measurement in measure_all(first):
            results[task] = measurement
            tick(task[0])
        tried = {arm: list(values) for arm in arms}
        while sweep and not quick and (more := _beyond(results, tried, seeds[0], sweep)):
            _say(f"{experiment.name}: best at an edge of the sweep for {len(more)} arms, going on")
            results.update(measure_all(more))
            for arm, _, value in more:
                tried[arm].append(value)
        best = {arm: _best(results, arm, seeds[0], tried[arm], sweep) for arm in arms}
        rest: list[Task] = [(arm, seed, best[arm]) for arm in arms for seed in seeds[1:]]
        for task, measurement in measure_all(rest):
            results[task] = measurement
            tick(task[0])
    runs = {arm: [results[(arm, seed, best[arm])] for seed in seeds] for arm in arms}
    data: dict[str, Any] = {
        "schema": SCHEMA,
        "experiment": experiment.name,
        "command": f"minimind experiment run {experiment.name}" + (" --quick" if quick else ""),
        "quick": quick,
        "factors": list(experiment.factors),
        "seeds": list(seeds),
        "settings": asdict(settings),
        "primary": experiment.primary,
        "arms": {arm: {"factors": experiment.arm_settings(arm)} for arm in arms},
        "values": {arm: _values(runs[arm]) for arm in arms},
        "curves": {arm: _curves(runs[arm]) for arm in arms},
        "divergence": {arm: [m.diverged_at for m in runs[arm]] for arm in arms},
        "sweeps": {arm: _swept(results, arm, seeds[0], tried[arm], sweep) for arm in arms}
        if sweep
        else {},
        **levels_of(experiment, settings),
        "device": device_name(experiment),
        "versions": versions_used(),
        "created": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "budget": experiment.budget,
        **hashes,
    }
    data["seconds"] = time.perf_counter() - started
    data["cpu_seconds"] = sum(m.cpu_seconds for m in results.values())
    record = Record(rounded(data))
    judge(experiment, record)
    if not quick and data["seconds"] > experiment.budget:
        _say(f"{experiment.name}: more than its budget of {experiment.budget:.0f} s")
    return record


def levels_of(experiment: Experiment, settings: Any) -> dict[str, dict[str, Any]]:
    """The reference levels and the description of the data, declared and computed."""
    found: dict[str, dict[str, Any]] = {
        "chance": dict(experiment.chance),
        "floor": dict(experiment.floor),
        "baseline": {},
        "data": {},
    }
    if experiment.levels_fn:
        for kind, levels in experiment.levels_fn(settings).items():
            found[kind] = {**found.get(kind, {}), **levels}
    return found


def judge(experiment: Experiment, record: Record) -> Record:
    """Fill in what follows from the measurements: titles, derived numbers, verdicts, figures."""
    data = record.data
    data["question"] = experiment.question
    # A record read from its file has sorted keys: figures draw the arms in the order declared.
    data["arms"] = {name: data["arms"][name] for name in experiment.arms if name in data["arms"]}
    for name, arm in data["arms"].items():
        declared = experiment.arms.get(name, {})
        arm["title"] = declared.get("title", name.replace("_", " "))
        arm["role"] = declared.get("role", "a")
    if experiment.derived_fn:
        for arm_name, metrics in experiment.derived_fn(record).items():
            for metric, value in metrics.items():
                data["values"][arm_name][metric] = {**summary([value]), "derived": True}
    data["claims"] = {
        id: {**claim.judge(record), "order": order}
        for order, (id, claim) in enumerate(experiment.claims.items())
    }
    data["figures"] = {}
    for name, view in experiment.figures.items():
        figure = view.draw(record)
        data["figures"][name] = {
            "plotly": figure.to_plotly(),
            "alt": view.alt,
            "caption": view.caption or figure.caption,
        }
    if experiment.path:
        data["view_hash"] = view_hash(experiment.path, experiment.path.parents[2])
    record.data = rounded(data)
    return record


def write(experiment: Experiment, record: Record, folder: Path | None = None) -> Path:
    """Save the record and a static picture of each figure; the committed place when no folder."""
    from minimind_wiki.book.svg import figure_svg

    root = experiment.path.parents[2] if experiment.path else repo_root()
    place = folder or svg_path(experiment.name, "x", root).parent
    path = record.save(place)
    for name, view in experiment.figures.items():
        ident = f"{experiment.name}-{name}".replace("/", "-")
        svg = figure_svg(view.draw(record), ident=ident, alt=view.alt)
        (place / f"{path.stem}.{name}.svg").write_text(svg, encoding="utf-8")
    for old in place.glob(f"{path.stem}.*.svg"):
        if old.name.split(".")[1] not in experiment.figures:
            old.unlink()
    return path


def _values(runs: Sequence[Measurement]) -> dict[str, Any]:
    names = sorted({name for m in runs for name in m.values})
    return {name: summary([m.values.get(name) for m in runs]) for name in names}


def _curves(runs: Sequence[Measurement]) -> dict[str, Any]:
    names = sorted({name for m in runs for name in m.curves})
    return {
        name: curve_summary([m.curves[name] for m in runs if name in m.curves]) for name in names
    }


def _score(measurement: Measurement, metric: str) -> float:
    value = float(measurement.values[metric])
    return value if math.isfinite(value) else math.inf


def _best(results: dict[Task, Measurement], arm: str, seed: int, values: Any, sweep: Any) -> Any:
    """The value with the lowest metric; the smallest value when every run diverged."""
    if sweep is None:
        return None
    return min(values, key=lambda v: (_score(results[(arm, seed, v)], sweep.metric), v))


def _beyond(results: dict[Task, Measurement], tried: Any, seed: int, sweep: Any) -> list[Task]:
    """What is still to try: one more value for each arm whose best stands at an edge."""
    more = []
    for arm, values in tried.items():
        value = sweep.next(values, _best(results, arm, seed, values, sweep))
        if value is not None:
            more.append((arm, seed, value))
    return more


def _swept(results: dict[Task, Measurement], arm: str, seed: int, values: Any, sweep: Any) -> dict:
    best = _best(results, arm, seed, values, sweep)
    tried = sorted(values)
    return {
        "factor": sweep.factor,
        "metric": sweep.metric,
        "values": tried,
        "scores": [results[(arm, seed, v)].values[sweep.metric] for v in tried],
        "diverged_at": [results[(arm, seed, v)].diverged_at for v in tried],
        "best": best,
        "at_edge": best in (tried[0], tried[-1]),
    }


# --- workers ----------------------------------------------------------------------------------

_LOADED: dict[tuple[str, str], Experiment] = {}


def _work(root: str, name: str, quick: bool, task: Task) -> Measurement:
    """One measurement inside a worker, with one torch thread."""
    if (root, name) not in _LOADED:
        _LOADED[(root, name)] = load_experiment(name, Path(root))
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(1)
    return measure_one(_LOADED[(root, name)], quick, task)


def _end_with_parent() -> None:
    """End this worker when the run is killed: it would go on for as long as its task takes."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def measure_one(experiment: Experiment, quick: bool, task: Task) -> Measurement:
    """Measure one arm with one seed in this process."""
    arm, seed, value = task
    settings = experiment.quick if quick else experiment.settings
    if experiment.sweep and value is not None:
        settings = replace(settings, **{experiment.sweep.factor: value})
    assert experiment.measure_fn is not None
    started = time.process_time()
    measurement = experiment.measure_fn(experiment.arm_settings(arm), seed, settings)
    measurement.cpu_seconds = time.process_time() - started
    return measurement


MeasureAll = Callable[[Sequence[Task]], Iterable[tuple[Task, Measurement]]]


@contextlib.contextmanager
def workers(experiment: Experiment, quick: bool) -> Iterator[MeasureAll]:
    """Yields a function that measures tasks: in a pool of processes, or here, one by one.

    An experiment that was not loaded from a file (a test's) cannot be found again by a worker, and
    a quick run is over before two workers have imported torch: both run here.
    """
    if not experiment.parallel or quick or experiment.path is None:
        with _one_thread():
            yield lambda tasks: ((task, measure_one(experiment, quick, task)) for task in tasks)
        return
    root = str(experiment.path.parents[2])
    with _environment(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1"):
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(WORKERS, mp_context=context, initializer=_end_with_parent)

        def in_pool(tasks: Sequence[Task]) -> Iterator[tuple[Task, Measurement]]:
            futures = {
                pool.submit(_work, root, experiment.name, quick, task): task for task in tasks
            }
            for future in as_completed(futures):
                yield futures[future], future.result()

        try:
            yield in_pool
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else 0
    if torch:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if torch:
            torch.set_num_threads(before)


@contextlib.contextmanager
def _environment(**names: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


# --- progress and provenance ------------------------------------------------------------------


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def progress_bar(experiment: Experiment, total: int, show: bool) -> Iterator[Callable[[str], None]]:
    """A bar on a terminal; about ten plain lines in a log."""
    if not show:
        yield lambda arm: None
        return
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                   TimeRemainingColumn(), TextColumn("{task.fields[arm]}"))  # fmt: skip
        with Progress(*columns, console=Console(stderr=True)) as bar:
            job = bar.add_task(experiment.name, total=total, arm="")
            yield lambda arm: bar.update(job, advance=1, arm=arm)
        return
    done, started = 0, time.perf_counter()

    def line(arm: str) -> None:
        nonlocal done
        done += 1
        if done == total or done % max(1, total // 10) == 0:
            _say(f"{experiment.name}: {done}/{total} runs, {time.perf_counter() - started:.0f} s")

    yield line


def device_name(experiment: Experiment) -> str:
    how = "2 processes with 1 thread each" if experiment.parallel else "1 thread"
    return f"CPU ({cpu_name()}), {how}"


def cpu_name() -> str:
    """The processor as the system calls it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def versions_used() -> dict[str, str]:
    versions = {"python": platform.python_version(), "minimind_wiki": __version__}
    for package in ("torch", "numpy"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions
