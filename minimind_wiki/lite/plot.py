"""A figure as plain data, and its translation to Plotly's JSON.

A figure says what is drawn and what it means (a *role*: `none`, `layernorm`, `rmsnorm`, `chance`
…), never in which colour: the page colours by role, so that one colour means one thing on the whole
site and both palettes work. Pure Python, so that a lab in the browser, an experiment on a laptop
and the build of the site all draw with the same few classes.

    Figure([Panel(x="layer", y=Axis("std of the output", "log"),
                  lines=[Line(layers, stds, "no norm", role="none")],
                  levels=[Level(1.0, "input", role="floor")])])
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

ROLES = (
    "none", "layernorm", "rmsnorm", "postnorm", "prenorm", "he", "default", "model", "baseline",
    "chance", "floor", "a", "b", "c", "d", "e", "f",
)  # fmt: skip
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
MARKERS = ("circle", "square", "diamond", "triangle-up", "cross", "x")
SCALES = ("linear", "log", "category")


def _numbers(values: Iterable[Any] | None) -> list[float | None]:
    """Plain floats; what is not finite becomes None, which draws as a gap."""
    out: list[float | None] = []
    for value in values if values is not None else ():
        number = math.nan if value is None else float(value)
        out.append(number if math.isfinite(number) else None)
    return out


def _one_of(kind: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ValueError(f"unknown {kind} {value!r}. Known: {', '.join(known)}")


@dataclass(slots=True)
class Axis:
    """One axis. scale: "linear", "log" or "category"; range and ticks are in data units."""

    label: str = ""
    scale: str = "linear"
    range: tuple[float, float] | None = None
    ticks: list[float] | None = None

    def __post_init__(self) -> None:
        _one_of("scale", self.scale, SCALES)
        self.range = tuple(self.range) if self.range else None  # type: ignore[assignment]


@dataclass(slots=True)
class Line:
    """A curve: x and y of one length, an optional band lo to hi, a marker when points are few."""

    x: Iterable[float | None]
    y: Iterable[float | None]
    name: str = ""
    role: str = "a"
    lo: Iterable[float | None] | None = None
    hi: Iterable[float | None] | None = None
    dash: str = "solid"
    marker: str | None = None

    def __post_init__(self) -> None:
        _one_of("role", self.role, ROLES)
        _one_of("dash", self.dash, DASHES)
        if self.marker is not None:
            _one_of("marker", self.marker, MARKERS)
        self.x, self.y = _numbers(self.x), _numbers(self.y)
        self.lo = _numbers(self.lo) if self.lo is not None else None
        self.hi = _numbers(self.hi) if self.hi is not None else None
        if len({len(list(v)) for v in (self.x, self.y, self.lo, self.hi) if v is not None}) > 1:
            raise ValueError(f"line {self.name!r}: x, y, lo and hi must have the same length")


@dataclass(slots=True)
class Bars:
    """One bar per category in x; several Bars in a panel stand side by side.

    In a panel whose y axis has scale "category" the bars lie: long names read better that way.
    """

    x: Iterable[str]
    y: Iterable[float | None]
    name: str = ""
    role: str = "a"
    lo: Iterable[float | None] | None = None
    hi: Iterable[float | None] | None = None

    def __post_init__(self) -> None:
        _one_of("role", self.role, ROLES)
        self.x, self.y = [str(value) for value in self.x], _numbers(self.y)
        self.lo = _numbers(self.lo) if self.lo is not None else None
        self.hi = _numbers(self.hi) if self.hi is not None else None
        if len(self.x) != len(self.y):
            raise ValueError(f"bars {self.name!r}: x and y must have the same length")


@dataclass(slots=True)
class Level:
    """A horizontal line with a name: chance, a floor, a baseline."""

    y: float
    name: str = ""
    role: str = "chance"

    def __post_init__(self) -> None:
        _one_of("role", self.role, ROLES)
        self.y = float(self.y)


@dataclass(slots=True)
class Panel:
    """One pair of axes. legend: "direct" names lines at their right end, "top" lists them above."""

    x: Axis | str = ""
    y: Axis | str = ""
    lines: list[Line] = field(default_factory=list)
    bars: list[Bars] = field(default_factory=list)
    levels: list[Level] = field(default_factory=list)
    title: str = ""
    legend: str = "direct"

    def __post_init__(self) -> None:
        self.x = Axis(self.x) if isinstance(self.x, str) else self.x
        self.y = Axis(self.y) if isinstance(self.y, str) else self.y
        _one_of("legend", self.legend, ("direct", "top", "none"))
        if self.bars and not self.lying:
            self.x.scale = "category"

    @property
    def lying(self) -> bool:
        """Whether the bars lie, their categories on the y axis."""
        return isinstance(self.y, Axis) and self.y.scale == "category"


@dataclass(slots=True)
class Figure:
    """Panels, one below the other, so that a phone shows them as large as a desk does."""

    panels: list[Panel] = field(default_factory=list)
    title: str = ""
    caption: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.panels, Panel):
            self.panels = [self.panels]

    def to_dict(self) -> dict[str, Any]:
        """Only dicts, lists, strings and numbers; `from_dict` is its inverse."""
        return asdict(self)

    @staticmethod
    def from_dict(data: dict[str, Any]) -> Figure:
        panels = [
            Panel(
                x=Axis(**p["x"]),
                y=Axis(**p["y"]),
                lines=[Line(**line) for line in p.get("lines", ())],
                bars=[Bars(**bars) for bars in p.get("bars", ())],
                levels=[Level(**level) for level in p.get("levels", ())],
                title=p.get("title", ""),
                legend=p.get("legend", "direct"),
            )
            for p in data["panels"]
        ]
        return Figure(panels, data.get("title", ""), data.get("caption", ""))

    def to_plotly(self) -> dict[str, Any]:
        """`{"data", "layout"}` for Plotly: no colours, each trace says its role in `meta`."""
        data: list[dict[str, Any]] = []
        layout: dict[str, Any] = {
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "height": 70 + 270 * len(self.panels),
            "margin": {"l": 64, "r": 16, "t": 40, "b": 48},
            "hovermode": "closest",
            "showlegend": True,
            "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
            "meta": {"panels": len(self.panels)},
            "annotations": [],
        }
        seen: set[str] = set()
        for index, panel in enumerate(self.panels):
            suffix = "" if index == 0 else str(index + 1)
            top, bottom = _domain(index, len(self.panels))
            layout[f"xaxis{suffix}"] = _axis(panel.x, f"y{suffix}")  # type: ignore[arg-type]
            layout[f"yaxis{suffix}"] = _axis(panel.y, f"x{suffix}")  # type: ignore[arg-type]
            layout[f"yaxis{suffix}"]["domain"] = [bottom, top]
            if panel.lying:
                layout[f"yaxis{suffix}"]["autorange"] = "reversed"  # the first category on top
            if panel.title:
                layout["annotations"].append(
                    {"text": panel.title, "showarrow": False, "xref": "paper", "yref": "paper",
                     "x": 0, "y": top, "xanchor": "left", "yanchor": "bottom"}
                )  # fmt: skip
            axes = {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}"}
            for trace in _traces(panel):
                # One legend entry for a name, although each panel draws it.
                name = trace.get("name", "")
                trace.setdefault("showlegend", bool(name) and name not in seen)
                seen.update([name] if trace["showlegend"] else [])
                data.append({**trace, **axes})
        if any(panel.bars for panel in self.panels):
            layout["barmode"] = "group"
        return {"data": data, "layout": layout}


def _domain(index: int, count: int) -> tuple[float, float]:
    """Top and bottom of a panel in paper units, the first panel uppermost."""
    gap = 0.0 if count == 1 else min(0.3 / (count - 1), 0.2)
    height = (1.0 - gap * (count - 1)) / count
    top = 1.0 - index * (height + gap)
    return round(top, 6), round(max(top - height, 0.0), 6)


def _axis(axis: Axis, anchor: str) -> dict[str, Any]:
    out: dict[str, Any] = {
        "title": {"text": axis.label},
        "type": axis.scale,
        "anchor": anchor,
        "automargin": True,
        "zeroline": False,
    }
    if axis.scale == "log":
        out["exponentformat"] = "power"
    if axis.range:
        ends = [math.log10(v) for v in axis.range] if axis.scale == "log" else list(axis.range)
        out["range"] = ends
    if axis.ticks:
        out.update(
            tickmode="array", tickvals=list(axis.ticks), ticktext=[f"{t:g}" for t in axis.ticks]
        )
    return out


def _traces(panel: Panel) -> list[dict[str, Any]]:
    traces: list[dict[str, Any]] = []
    for line in panel.lines:
        if line.lo is not None and line.hi is not None:
            traces.append(_band(line))
        mode = "lines+markers" if line.marker else "lines"
        trace: dict[str, Any] = {
            "type": "scatter", "mode": mode, "name": line.name, "x": line.x, "y": line.y,
            "line": {"dash": line.dash, "width": 2.25}, "meta": {"role": line.role, "kind": "line"},
        }  # fmt: skip
        if line.marker:
            trace["marker"] = {"symbol": line.marker, "size": 7}
        traces.append(trace)
    for bars in panel.bars:
        trace = {
            "type": "bar", "name": bars.name, "x": bars.x, "y": bars.y,
            "meta": {"role": bars.role, "kind": "bar"},
        }  # fmt: skip
        if panel.lying:
            trace.update(x=bars.y, y=bars.x, orientation="h")
        if bars.lo is not None and bars.hi is not None:
            spans = list(zip(bars.y, bars.lo, bars.hi, strict=True))
            trace["error_x" if panel.lying else "error_y"] = {
                "type": "data",
                "symmetric": False,
                "array": [None if None in s else s[2] - s[0] for s in spans],  # type: ignore[operator]
                "arrayminus": [None if None in s else s[0] - s[1] for s in spans],  # type: ignore[operator]
            }
        traces.append(trace)
    ends = _x_ends(panel)
    for level in panel.levels:
        traces.append({
            "type": "scatter", "mode": "lines", "name": level.name, "x": ends,
            "y": [level.y] * len(ends), "line": {"dash": "dot", "width": 1.5},
            "meta": {"role": level.role, "kind": "level"},
        })  # fmt: skip
    return traces


def _band(line: Line) -> dict[str, Any]:
    """The spread of the seeds as one closed shape: there along hi, back along lo."""
    points = [
        (x, lo, hi)
        for x, lo, hi in zip(line.x, line.lo or (), line.hi or (), strict=True)
        if x is not None and lo is not None and hi is not None
    ]
    return {
        "type": "scatter", "mode": "lines", "fill": "toself", "hoverinfo": "skip",
        "name": line.name, "showlegend": False, "line": {"width": 0},
        "x": [p[0] for p in points] + [p[0] for p in reversed(points)],
        "y": [p[2] for p in points] + [p[1] for p in reversed(points)],
        "meta": {"role": line.role, "kind": "band"},
    }  # fmt: skip


def _x_ends(panel: Panel) -> list[Any]:
    """Where a level starts and ends: the first and last x that anything is drawn at."""
    if panel.bars and not panel.lying:
        names = list(panel.bars[0].x)
        return [names[0], names[-1]]
    if isinstance(panel.x, Axis) and panel.x.range:
        return list(panel.x.range)
    xs = [x for line in panel.lines for x in line.x if x is not None]
    return [min(xs), max(xs)] if xs else [0, 1]
