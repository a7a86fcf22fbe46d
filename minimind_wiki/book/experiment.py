"""An experiment: a question, arms, one function that measures, claims and figures.

The file of an experiment says only these; running, seeds, the sweep, processes, progress, saving
and drawing are here and in `runner`. An experiment is fair by construction: arms may differ only in
the factors that the file declares, and where a setting such as the learning rate matters it is
swept for every arm and each arm is shown at its own best.
"""

from __future__ import annotations

import importlib.util
import math
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from typing import Any

from minimind_wiki.book.claims import Claim, Outcome
from minimind_wiki.book.record import Record, experiment_names, repo_root
from minimind_wiki.errors import MinimindError, WrongCall, unknown
from minimind_wiki.lite.plot import ROLES, Figure

NAMING = ("title", "role")  # keys of an arm that name it; every other key is a setting of it


@dataclass(slots=True)
class Measurement:
    """What one run of one arm with one seed gave.

    values: name to number (nan or inf when the run broke). curves: name to (xs, ys).
    diverged_at: the training step at which the run became non-finite, None when it did not.
    """

    values: dict[str, float] = field(default_factory=dict)
    curves: dict[str, tuple[Sequence[float], Sequence[float]]] = field(default_factory=dict)
    diverged_at: int | None = None
    cpu_seconds: float = 0.0  # filled in by the runner


@dataclass(frozen=True, slots=True)
class Sweep:
    """A setting tried for every arm; lower `metric` is better and picks the value that is shown.

    factor: name of the field of the settings that is varied. quick: the values of a quick run.
    beyond: values outside `values`, tried one by one for an arm whose best stands at that edge, so
    that no arm is judged at a value that the sweep happened to end with.
    """

    factor: str
    values: tuple[float, ...]
    metric: str
    quick: tuple[float, ...] = ()
    beyond: tuple[float, ...] = ()

    def next(self, tried: Sequence[float], best: float) -> float | None:
        """The value to try next: the nearest one beyond the edge at which the best stands.

        >>> sweep = Sweep("learning_rate", (1e-3, 1e-2), "loss", beyond=(1e-4, 1e-5))
        >>> sweep.next((1e-3, 1e-2), 1e-3), sweep.next((1e-4, 1e-3, 1e-2), 1e-3)
        (0.0001, None)
        """
        if best == min(tried):
            return max((v for v in self.beyond if v < best), default=None)
        if best == max(tried):
            return min((v for v in self.beyond if v > best), default=None)
        return None


@dataclass(frozen=True, slots=True)
class View:
    """A figure's function with its text alternative and caption."""

    draw: Callable[[Record], Figure]
    alt: str
    caption: str = ""


@dataclass
class Experiment:
    """See the module's text and any file under `experiments/`.

    name: "module/name", as the file. factors: what the arms may differ in. arms: name to a dict of
    factor values, with an optional `title` and `role`. seeds: one run each. settings, quick: two
    instances of the same frozen dataclass. quick_arms: the arms of a quick run (all when empty).
    parallel: False runs one measurement at a time (timings). budget: seconds a full run may take.
    repeat: the (arm, seed) pairs that `confirm` measures again, each distinct path through the code
    in one of them (the first arm with the first seed when empty). noisy: names of values and curves
    that measure time or memory and so never repeat, with * for any letters.
    """

    name: str
    factors: tuple[str, ...]
    arms: Mapping[str, Mapping[str, Any]]
    settings: Any
    quick: Any
    primary: str
    seeds: tuple[int, ...] = (0, 1, 2)
    quick_seeds: tuple[int, ...] = (0,)
    quick_arms: tuple[str, ...] = ()
    sweep: Sweep | None = None
    chance: Mapping[str, float] = field(default_factory=dict)
    floor: Mapping[str, float] = field(default_factory=dict)
    parallel: bool = True
    budget: float = 600.0
    repeat: tuple[tuple[str, int], ...] = ()
    noisy: tuple[str, ...] = ()
    question: str = ""
    path: Path | None = None

    def __post_init__(self) -> None:
        self.measure_fn: Callable[[dict[str, Any], int, Any], Measurement] | None = None
        self.levels_fn: Callable[[Any], Mapping[str, Any]] | None = None
        self.derived_fn: Callable[[Record], Mapping[str, Mapping[str, float]]] | None = None
        self.claims: dict[str, Claim] = {}
        self.figures: dict[str, View] = {}
        self.validate()

    def validate(self) -> None:
        """Refuse an unfair or inconsistent declaration, naming the arm and the key."""
        check_fair(self.name, self.arms, self.factors)
        if (
            not is_dataclass(self.settings)
            or isinstance(self.settings, type)
            or type(self.settings) is not type(self.quick)
        ):
            raise WrongCall(f"{self.name}: settings and quick must be instances of one dataclass")
        for name in self.quick_arms:
            if name not in self.arms:
                raise unknown(f"quick arm of {self.name}", name, self.arms)
        for name, seed in self.repeat:
            if name not in self.arms:
                raise unknown(f"repeated arm of {self.name}", name, self.arms)
            if seed not in self.seeds:
                raise WrongCall(
                    f"{self.name}: the repeated seed {seed} of arm {name!r} is none of its seeds "
                    f"({', '.join(map(str, self.seeds))})"
                )
        if self.sweep and self.sweep.factor not in asdict(self.settings):
            raise unknown(f"swept setting of {self.name}", self.sweep.factor, asdict(self.settings))
        if self.sweep and self.sweep.factor in self.factors:
            raise WrongCall(f"{self.name}: {self.sweep.factor} is swept and so cannot be a factor")

    def measure(self, function: Callable[[dict[str, Any], int, Any], Measurement]) -> Any:
        """Decorator: `measure(arm, seed, settings) -> Measurement`, for one arm and one seed."""
        self.measure_fn = function
        return function

    def levels(self, function: Callable[[Any], Mapping[str, Any]]) -> Any:
        """Decorator: `levels(settings) -> {"chance": {metric: v}, "floor", "baseline", "data"}`."""
        self.levels_fn = function
        return function

    def derived(self, function: Callable[[Record], Mapping[str, Mapping[str, float]]]) -> Any:
        """Decorator: `derived(record) -> {arm: {metric: value}}`, computed from the others."""
        self.derived_fn = function
        return function

    def claim(
        self, id: str | None = None, text: str | None = None, quick: bool = False
    ) -> Callable[..., Any]:
        """Decorator: `check(record) -> bool | None`, or `(bool | None, evidence)`.

        The id and the sentence are the function's name and docstring unless they are given.
        """

        def keep(check: Callable[[Record], Outcome]) -> Callable[[Record], Outcome]:
            name = id or check.__name__
            self.claims[name] = Claim(name, text or _said(self, check), check, quick)
            return check

        return keep

    def figure(
        self, name: str | None = None, alt: str | None = None, caption: str = ""
    ) -> Callable[..., Any]:
        """Decorator: `draw(record) -> Figure`.

        alt says what a reader who cannot see it must know. Name and alt are the function's name
        and docstring unless they are given.
        """

        def keep(draw: Callable[[Record], Figure]) -> Callable[[Record], Figure]:
            key = name or draw.__name__
            self.figures[key] = View(draw, alt or _said(self, draw), caption)
            return draw

        return keep

    def run(
        self, quick: bool = False, seeds: Sequence[int] | None = None, progress: bool = True
    ) -> Record:
        """Measure every arm with every seed and return the whole record (nothing is written)."""
        from minimind_wiki.book.runner import run

        return run(self, quick=quick, seeds=seeds, progress=progress)

    def arm_settings(self, name: str) -> dict[str, Any]:
        """One arm's settings, without the keys that only name it."""
        return {k: v for k, v in self.arms[name].items() if k not in NAMING}


def _said(experiment: Experiment, function: Callable[..., Any]) -> str:
    text = " ".join((function.__doc__ or "").split())
    if not text:
        raise WrongCall(f"{experiment.name}: {function.__name__} needs a docstring that says it")
    return text


def check_fair(name: str, arms: Mapping[str, Mapping[str, Any]], factors: Sequence[str]) -> None:
    """Arms must set the same keys and may differ only in declared factors. Raises `WrongCall`."""
    if not arms:
        raise WrongCall(f"{name}: an experiment needs at least one arm")
    first_name, first = next(iter(arms.items()))
    for arm_name, arm in arms.items():
        if arm.get("role", "a") not in ROLES:
            raise unknown(f"role of {name}, arm {arm_name}", str(arm["role"]), ROLES)
        keys = {k for k in arm if k not in NAMING}
        if missing := sorted(set(factors) - keys):
            raise WrongCall(f"{name}: arm {arm_name!r} does not set the factor {missing[0]!r}")
        for key in sorted((keys | set(first)) - set(factors) - set(NAMING)):
            if arm.get(key) != first.get(key):
                raise WrongCall(
                    f"{name}: arms {first_name!r} and {arm_name!r} differ in {key!r}, which is not "
                    f"a declared factor ({', '.join(factors)}): declare it or make it equal"
                )


def curve_summary(runs: Sequence[tuple[Sequence[float], Sequence[float]]]) -> dict[str, list[Any]]:
    """Mean and range over the seeds at every x that a seed reached; what is not finite is a gap."""
    xs = sorted({float(x) for run in runs for x in run[0]})
    tables = [{float(x): float(y) for x, y in zip(*run, strict=True)} for run in runs]
    out: dict[str, list[Any]] = {"x": xs, "mean": [], "lo": [], "hi": []}
    for x in xs:
        ys = [t[x] for t in tables if x in t and math.isfinite(t[x])]
        out["mean"].append(math.fsum(ys) / len(ys) if ys else None)
        out["lo"].append(min(ys, default=None))
        out["hi"].append(max(ys, default=None))
    return out


def load_experiment(name: str, root: Path | None = None) -> Experiment:
    """Import `experiments/<module>/<name>.py` and return its `experiment`.

    The file is loaded by its path under the package name `experiments.<module>`, so that it may say
    `from ._helper import …` without anything on `sys.path`.
    """
    root = root or repo_root()
    known = experiment_names(root)
    if name not in known:
        raise unknown("experiment", name, known)
    module_name, _, short = name.partition("/")
    package = ""
    for part, folder in (("experiments", root / "experiments"),
                         (module_name, root / "experiments" / module_name)):  # fmt: skip
        package = f"{package}.{part}" if package else part
        holder = types.ModuleType(package)
        holder.__path__ = [str(folder)]
        sys.modules[package] = holder
    path = root / "experiments" / module_name / f"{short}.py"
    spec = importlib.util.spec_from_file_location(f"{package}.{short}", path)
    if spec is None or spec.loader is None:
        raise MinimindError(f"cannot read {path.name}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    experiment = getattr(module, "experiment", None)
    if not isinstance(experiment, Experiment):
        raise MinimindError(f"{name}: the file must define 'experiment = Experiment(...)'")
    if experiment.name != name:
        raise MinimindError(f"{name}: the file names its experiment {experiment.name!r}")
    if experiment.measure_fn is None:
        raise MinimindError(f"{name}: no function is decorated with @experiment.measure")
    experiment.path = path
    experiment.question = experiment.question or question_of(module.__doc__ or "")
    return experiment


def question_of(docstring: str) -> str:
    """The first paragraph of an experiment's docstring, on one line."""
    return " ".join(docstring.strip().split("\n\n")[0].split())
