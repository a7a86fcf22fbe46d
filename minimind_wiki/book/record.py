"""Records: what an experiment measured, as JSON that pages, tests and labs read.

A record holds every seed's number, the curves, the sweep behind each arm, the verdict of each claim
and the figures, with the time, device, versions and code hash they came from. A measurement that is
not finite is kept as null and counted under "diverged"; nothing is dropped.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import minimind_wiki
from minimind_wiki.errors import MinimindError, unknown
from minimind_wiki.lite.plot import Line

SCHEMA = 1
LEVELS = ("chance", "floor", "baseline")


def repo_root() -> Path:
    """The folder that holds `experiments/`: the working folder if it has one, else the clone's."""
    clone = Path(minimind_wiki.__file__).resolve().parents[1]
    for folder in (Path.cwd(), clone):
        if (folder / "experiments").is_dir():
            return folder
    raise MinimindError(
        "no folder 'experiments' here: run this inside a clone of minimind.wiki "
        "(the installed package carries the code, not the experiments)"
    )


def experiment_names(root: Path | None = None) -> list[str]:
    """Every experiment as `module/name`; files that start with `_` are shared helpers."""
    base = (root or repo_root()) / "experiments"
    files = base.glob("*/*.py")
    return sorted(f"{p.parent.name}/{p.stem}" for p in files if not p.stem.startswith("_"))


def rounded(value: Any) -> Any:
    """Floats to 6 significant digits, non-finite ones to None, through dicts and lists.

    A whole number stays exact: a count of parameters or tokens is not a measurement.

    >>> rounded([0.123456789, 1673472.0, float("nan")])
    [0.123457, 1673472.0, None]
    """
    if isinstance(value, bool) or value is None or isinstance(value, (int, str)):
        return value
    if isinstance(value, dict):
        return {str(key): rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item) for item in value]
    number = float(value)
    if not math.isfinite(number):
        return None
    return number if number.is_integer() else float(f"{number:.6g}")


def summary(seeds: Sequence[float | None]) -> dict[str, Any]:
    """Mean and sample standard deviation of the finite seeds; the others are null and counted.

    >>> summary([1.0, 3.0, float("nan")])["mean"], summary([1.0, 3.0, None])["diverged"]
    (2.0, 1)
    """
    kept = [None if v is None or not math.isfinite(v) else float(v) for v in seeds]
    finite = [v for v in kept if v is not None]
    mean = math.fsum(finite) / len(finite) if finite else None
    std = None
    if mean is not None:
        spread = math.fsum((v - mean) ** 2 for v in finite)
        std = math.sqrt(spread / (len(finite) - 1)) if len(finite) > 1 else 0.0
    return {
        "mean": mean,
        "std": std,
        "n": len(finite),
        "seeds": kept,
        "diverged": len(kept) - len(finite),
    }


class Record:
    """One record. `data` is the JSON; the methods name the nearest key to a wrong one."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data

    def __repr__(self) -> str:
        return f"Record({self.name!r}, {len(self.arms)} arms, {len(self.data['seeds'])} seeds)"

    @property
    def name(self) -> str:
        return str(self.data["experiment"])

    @property
    def arms(self) -> dict[str, dict[str, Any]]:
        return self.data["arms"]

    @property
    def settings(self) -> dict[str, Any]:
        return self.data["settings"]

    @property
    def quick(self) -> bool:
        return bool(self.data["quick"])

    @property
    def runs(self) -> int:
        """Measurements behind the record: each arm with each seed, and the sweeps' other values."""
        swept = sum(len(sweep["values"]) - 1 for sweep in self.data["sweeps"].values())
        return len(self.arms) * len(self.data["seeds"]) + swept

    def confirmation(self) -> str:
        """What was repeated when its code had changed, as half a sentence; "" when nothing was."""
        if not self.data.get("confirmed"):
            return ""
        last = self.data["confirmed"][-1]
        kept = f"; not compared: {', '.join(last['kept'])}" if last["kept"] else ""
        return (
            f"{len(last['repeated'])} of {self.runs} runs repeated, equal to the last digit, "
            f"with the code of today ({last['date']}){kept}"
        )

    def cell(self, arm: str, metric: str) -> dict[str, Any]:
        """The summary dict of one metric of one arm: mean, std, n, seeds, diverged."""
        values = self.data["values"]
        if arm not in values:
            raise unknown(f"arm of {self.name}", arm, values)
        if metric not in values[arm]:
            raise unknown(f"metric of {self.name}, arm {arm}", metric, values[arm])
        return values[arm][metric]

    def value(self, arm: str, metric: str) -> float:
        """Mean over the seeds; nan when every seed diverged, so that comparisons are false."""
        mean = self.cell(arm, metric)["mean"]
        return math.nan if mean is None else float(mean)

    def seeds(self, arm: str, metric: str) -> list[float]:
        """Each seed's number, nan where it diverged."""
        return [math.nan if v is None else float(v) for v in self.cell(arm, metric)["seeds"]]

    def spans(self, metric: str, *arms: str) -> tuple[list[list[float]], str]:
        """Each arm's seeds, and the range of each under its title, in words."""
        found = [self.seeds(arm, metric) for arm in arms]
        said = [f"{self.arms[arm].get('title', arm)}: {min(seeds):.3f} to {max(seeds):.3f}"
                for arm, seeds in zip(arms, found, strict=True)]  # fmt: skip
        return found, "; ".join(said)

    def level(self, kind: str, metric: str) -> float:
        """A reference level; kind is "chance", "floor" or "baseline"."""
        levels = self.data.get(kind, {})
        if metric not in levels:
            raise unknown(f"{kind} level of {self.name}", metric, levels)
        return float(levels[metric])

    def curve(self, arm: str, name: str) -> dict[str, list[float]]:
        """A curve of one arm: lists x, mean, lo, hi."""
        curves = self.data["curves"].get(arm)
        if curves is None:
            raise unknown(f"arm of {self.name}", arm, self.data["curves"])
        if name not in curves:
            raise unknown(f"curve of {self.name}, arm {arm}", name, curves)
        return curves[name]

    def line(self, arm: str, curve: str, name: str = "", dash: str = "solid", **more: Any) -> Line:
        """A curve as a line with its band of seeds, in the role that the arm declares."""
        c = self.curve(arm, curve)
        role = more.pop("role", self.arms[arm].get("role", "a"))
        title = name or self.arms[arm].get("title", arm)
        return Line(c["x"], c["mean"], title, role, c["lo"], c["hi"], dash, **more)

    def sweep(self, arm: str) -> dict[str, Any]:
        """The sweep behind one arm: factor, values, scores, best, at_edge, diverged_at."""
        if arm not in self.data["sweeps"]:
            raise unknown(f"swept arm of {self.name}", arm, self.data["sweeps"])
        return self.data["sweeps"][arm]

    def lookup(self, key: str) -> float | int:
        """The number behind a page's chip: "arm.metric", or that with ".std", ".n", ".min", ".max".

        "chance.metric", "floor.metric" and "baseline.metric" give the reference levels. Raises
        `WrongCall` with the nearest names for a wrong key, `MinimindError` when all seeds diverged.
        """
        parts = key.split(".")
        if len(parts) == 2 and parts[0] in LEVELS and parts[0] not in self.arms:
            return self.level(parts[0], parts[1])
        if len(parts) not in (2, 3):
            raise unknown(f"key of {self.name}", key, self.keys())
        cell = self.cell(parts[0], parts[1])
        part = parts[2] if len(parts) == 3 else "mean"
        if part in ("min", "max"):
            finite = [v for v in cell["seeds"] if v is not None]
            number = {"min": min, "max": max}[part](finite, default=None)
        elif part in ("mean", "std", "n", "diverged"):
            number = cell[part]
        else:
            known = ["std", "n", "min", "max", "diverged"]
            raise unknown(f"part of {parts[0]}.{parts[1]}", part, known)
        if number is None:
            raise MinimindError(f"{self.name} has no number for {key}: every seed diverged")
        return number

    def keys(self) -> list[str]:
        """Every key that `lookup` knows, without the parts."""
        keys = [f"{arm}.{m}" for arm, cells in self.data["values"].items() for m in cells]
        keys += [f"{kind}.{metric}" for kind in LEVELS for metric in self.data.get(kind, {})]
        return sorted(keys)

    def to_json(self) -> str:
        """Sorted keys, 6 significant digits, lists of numbers on one line: small diffs."""
        text = json.dumps(rounded(self.data), sort_keys=True, indent=1, ensure_ascii=False)
        flat = re.compile(r"\[\s*([^\[\]{}\"]*?)\s*\]", re.DOTALL)
        return flat.sub(lambda m: "[" + " ".join(m.group(1).split()) + "]", text) + "\n"

    def save(self, folder: Path) -> Path:
        """Write `<folder>/<name>.json` (the last part of the name) in one step."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name.split('/')[-1]}.json"
        temporary = path.with_suffix(".json.part")
        temporary.write_text(self.to_json(), encoding="utf-8")
        temporary.replace(path)
        return path


def record_path(name: str, root: Path | None = None) -> Path:
    """Where the committed record of an experiment lies."""
    module, _, short = name.partition("/")
    return (root or repo_root()) / "experiments" / module / "records" / f"{short}.json"


def svg_path(name: str, figure: str, root: Path | None = None) -> Path:
    """Where the committed static picture of a record's figure lies."""
    path = record_path(name, root)
    return path.with_name(f"{path.stem}.{figure}.svg")


def read(path: Path) -> Record:
    """Read one record file; one sentence when it is not a record of this schema."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise MinimindError(
            f"{path.name} is not a record ({error}): run its experiment again"
        ) from error
    if data.get("schema") != SCHEMA:
        raise MinimindError(
            f"{path.name} has schema {data.get('schema')!r}, this version reads {SCHEMA}: "
            "run its experiment again"
        )
    return Record(data)


def load(name: str, root: Path | None = None) -> Record:
    """The committed record of `module/name`; the nearest names when there is none."""
    path = record_path(name, root)
    if not path.is_file():
        known = experiment_names(root)
        if name in known:
            raise MinimindError(f"no record of {name} yet: run 'minimind experiment run {name}'")
        raise unknown("experiment", name, known)
    return read(path)


def all_records(root: Path | None = None) -> list[Record]:
    """Every committed record, sorted by name."""
    base = (root or repo_root()) / "experiments"
    paths: Iterable[Path] = base.glob("*/records/*.json")
    return sorted((read(path) for path in paths), key=lambda record: record.name)
