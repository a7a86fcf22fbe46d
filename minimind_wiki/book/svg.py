"""The static picture of a figure: what a page shows before, and without, JavaScript.

Drawn by matplotlib, then rewritten for the page: text stays text in the page's own font, every
colour is a variable of the theme with a fallback, axes take the colour of the text around them, ids
are unique, the output is the same for the same figure. The width is that of a phone, so that text
keeps its size there; a wide page scales it up a little.
"""

from __future__ import annotations

import html
import io
import itertools
import math
import re
from typing import Any

from minimind_wiki.lite.plot import Axis, Bars, Figure, Level, Line, Panel

# Fallbacks for a picture opened outside the site; chosen to be told apart on white and on black.
COLOURS = {
    "none": "#d1495b", "layernorm": "#3f7fd9", "rmsnorm": "#129a7c", "postnorm": "#c07a1a",
    "prenorm": "#7b61d1", "he": "#b8509a", "default": "#7d838c", "model": "#3f7fd8",
    "baseline": "#8a8f99", "chance": "#8a8f98", "floor": "#8a8f97", "a": "#3f7fd7", "b": "#c07a1b",
    "c": "#129a7d", "d": "#d1495c", "e": "#7b61d2", "f": "#7d838d",
}  # fmt: skip
INK = "#1b1d22"  # becomes currentColor
GRID = "#1b1d23"  # becomes currentColor at low opacity
DASHES: dict[str, Any] = {
    "solid": "-", "dash": (0, (5, 2.5)), "dot": (0, (1.2, 1.8)), "dashdot": (0, (5, 2, 1.2, 2)),
    "longdash": (0, (9, 3)),
}  # fmt: skip
MARKERS = {"circle": "o", "square": "s", "diamond": "D", "triangle-up": "^", "cross": "P", "x": "X"}
WIDTH, HEIGHT, TEXT = 400, 190, 13.0  # points: the whole picture, one pair of axes, the text
RC: dict[str, Any] = {
    "svg.fonttype": "none", "font.family": "DejaVu Sans", "font.size": TEXT,
    "axes.labelsize": TEXT, "xtick.labelsize": TEXT - 1, "ytick.labelsize": TEXT - 1,
    "axes.edgecolor": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK,
    "text.color": INK, "axes.spines.top": False, "axes.spines.right": False,
    "mathtext.default": "regular", "axes.linewidth": 0.8, "figure.dpi": 72,
}  # fmt: skip


def figure_svg(figure: Figure, ident: str = "figure", alt: str = "") -> str:
    """SVG text of a figure, to be inlined in a page. ident: prefix that makes the ids unique."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as Canvas

    rc: Any = {**RC, "svg.hashsalt": ident}
    with matplotlib.rc_context(rc):
        heads = [_head(panel) for panel in figure.panels]
        tall = [_tall(panel) for panel in figure.panels]
        total = sum(heads) + sum(tall) + len(heads) * 50
        canvas = Canvas(figsize=(WIDTH / 72, total / 72))
        FigureCanvasSVG(canvas)
        left = max(_left(panel) for panel in figure.panels)
        width = WIDTH - left - max(_right(panel) for panel in figure.panels)
        below = float(total)
        for panel, head, high in zip(figure.panels, heads, tall, strict=True):
            below -= head + high
            place = (left / WIDTH, below / total, width / WIDTH, high / total)
            ax = canvas.add_axes(place)
            _draw(ax, panel)
            if panel.legend == "direct":
                _label_directly(ax, panel)
            below -= 50
        buffer = io.StringIO()
        canvas.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return _for_page(buffer.getvalue(), ident, alt)


def _axis(axis: Axis | str) -> Axis:
    return Axis(axis) if isinstance(axis, str) else axis


def _named(panel: Panel) -> list[Line | Bars]:
    items: list[Line | Bars] = [*panel.lines, *panel.bars]
    return [item for item in items if item.name]


def _head(panel: Panel) -> float:
    """Height above the axes: the title, the keys when they stand on top, and the y axis' label."""
    keys = (len(_named(panel)) + 1) // 2 if panel.legend == "top" else 0
    return 12 + 22 * bool(panel.title) + 19 * bool(_axis(panel.y).label) + 19 * keys


def _tall(panel: Panel) -> float:
    """Height of the axes: the usual, or a row for each lying bar."""
    return 22.0 * len(list(panel.bars[0].x)) if panel.lying and panel.bars else HEIGHT


def _left(panel: Panel) -> float:
    """Room for the numbers of the y axis, or for the names of lying bars."""
    if panel.lying:
        return 16 + 0.56 * (TEXT - 1) * max(len(n) for bars in panel.bars for n in bars.x)
    return 54


def _right(panel: Panel) -> float:
    """Room for the names at the lines' right ends; bold letters are about 0.64 of their size."""
    if panel.legend != "direct" or panel.bars:
        return 14
    return 20 + 0.64 * (TEXT - 1) * max((len(item.name) for item in panel.lines), default=0)


def _draw(ax: Any, panel: Panel) -> None:
    from matplotlib.ticker import NullLocator

    x, y = _axis(panel.x), _axis(panel.y)
    for line in panel.lines:
        _line(ax, line)
    for index, bars in enumerate(panel.bars):
        _bars(ax, bars, index, len(panel.bars), panel.lying)
    for axis, own, limits in ((x, ax.xaxis, ax.set_xlim), (y, ax.yaxis, ax.set_ylim)):
        if axis.scale == "log":
            own._set_axes_scale("log")
        if axis.range:
            limits(*axis.range)
        if axis.ticks:
            own.set_ticks(axis.ticks, [f"{t:g}" for t in axis.ticks])
        if axis.scale == "log":
            own.set_minor_locator(NullLocator())
    for level in panel.levels:
        _level(ax, level)
    ax.set_xlabel(x.label, labelpad=5, loc="right" if panel.lying else "center")
    # Above the axes, not beside them: turned text is hard to read and costs width on a phone.
    rise = 7.0
    for text, bold in ((y.label, False), (panel.title, True)):
        if text:
            ax.annotate(
                text, (0, 1), xycoords="axes fraction", xytext=(-_left_of(ax), rise),
                textcoords="offset points", fontweight="bold" if bold else "normal",
            )  # fmt: skip
            rise += 21
    if panel.legend == "top" and _named(panel):
        ax.legend(
            loc="lower left", bbox_to_anchor=(0, 1 + (rise - 2) / HEIGHT), ncols=2, frameon=False,
            borderaxespad=0, borderpad=0, handlelength=2.4, columnspacing=1.4, labelspacing=0.35,
        )  # fmt: skip
    ax.grid(
        axis="both" if not panel.bars else "x" if panel.lying else "y", color=GRID, linewidth=0.6
    )
    ax.set_axisbelow(True)


def _left_of(ax: Any) -> float:
    """Points between the picture's left edge and the axes, less a small margin."""
    return float(ax.get_position().x0 * WIDTH) - 4


def _gaps(values: Any) -> list[float]:
    return [math.nan if v is None else v for v in values or ()]


def _line(ax: Any, line: Line) -> None:
    colour, x = COLOURS[line.role], _gaps(line.x)
    if line.lo is not None and line.hi is not None:
        ax.fill_between(x, _gaps(line.lo), _gaps(line.hi), color=colour, alpha=0.18, linewidth=0)
    ax.plot(
        x, _gaps(line.y), color=colour, linestyle=DASHES[line.dash], linewidth=2.2,
        label=line.name, marker=MARKERS.get(line.marker or ""), markersize=6,
        solid_capstyle="round", dash_capstyle="butt",
    )  # fmt: skip


def _bars(ax: Any, bars: Bars, index: int, count: int, lying: bool) -> None:
    names, heights, width = list(bars.x), _gaps(bars.y), 0.8 / count
    places = [i - 0.4 + width * (index + 0.5) for i in range(len(names))]
    draw = ax.barh if lying else ax.bar
    draw(places, heights, width * 0.92, color=COLOURS[bars.role], label=bars.name)
    for place, lo, hi in zip(places, _gaps(bars.lo), _gaps(bars.hi), strict=False):
        across, along = [place, place], [lo, hi]
        ax.plot(*((along, across) if lying else (across, along)), color=INK, linewidth=1.3)
    ticks = ax.set_yticks if lying else ax.set_xticks
    ticks(range(len(names)), [name.replace("<br>", "\n") for name in names])
    if lying and index == 0:
        ax.set_ylim(len(names) - 0.4, -0.6)  # the first category on top


def _level(ax: Any, level: Level) -> None:
    dots = DASHES["dot"]
    ax.axhline(level.y, color=COLOURS[level.role], linewidth=1.4, linestyle=dots, zorder=1.5)
    to_pixels, to_axes = ax.transData.transform, ax.transAxes.inverted().transform
    at_top = to_axes(to_pixels((0.0, level.y)))[1] > 0.9
    ax.annotate(
        level.name, (_free_place(ax, level), level.y), xycoords=("axes fraction", "data"),
        xytext=(4, -3 if at_top else 3), textcoords="offset points", ha="left",
        va="top" if at_top else "bottom", fontsize=TEXT - 1.5, alpha=0.8,
    )  # fmt: skip


def _free_place(ax: Any, level: Level) -> float:
    """Where along the axis a level's name is farthest from every line: left, middle or right."""
    box = ax.get_window_extent()
    height = ax.transData.transform((0.0, level.y))[1] + TEXT / 2
    span = 0.6 * TEXT * len(level.name)

    def distance(fraction: float) -> float:
        start = box.x0 + fraction * box.width
        points = [
            point
            for line in ax.lines
            for piece in [_dense(ax.transData.transform(line.get_xydata()))]
            for point in piece
            if start - 4 <= point[0] <= start + span and len(line.get_xydata()) > 2
        ]
        return min((abs(y - height) for _, y in points), default=math.inf)

    places = [f for f in (0.0, 0.3, 0.55) if f * box.width + span <= box.width] or [0.0]
    return max(places, key=lambda f: (min(distance(f), 3 * TEXT), -f))


def _dense(points: Any) -> list[tuple[float, float]]:
    """A line in pixels with a point at least every few, so that none passes unseen."""
    out: list[tuple[float, float]] = []
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        steps = max(2, int(abs(x1 - x0) // 4) + 1) if math.isfinite(x0 + y0 + x1 + y1) else 0
        out += [(x0 + (x1 - x0) * i / steps, y0 + (y1 - y0) * i / steps) for i in range(steps)]
    return out


def _label_directly(ax: Any, panel: Panel) -> None:
    """Names at the right ends of the lines, pushed apart where they would overlap."""
    ends: list[tuple[float, float, float, Line]] = []  # height on the page, x, y, line
    for line in panel.lines:
        pairs = zip(line.x, line.y, strict=True)
        points = [(x, y) for x, y in pairs if x is not None and y is not None]
        if line.name and points:
            x, y = points[-1]
            ends.append((float(ax.transData.transform((x, y))[1]), x, y, line))
    ends.sort(key=lambda end: end[0])
    box = ax.get_window_extent()
    places = spread([end[0] for end in ends], TEXT + 3, box.y0 + 4, box.y1)
    right = max((end[1] for end in ends), default=0.0)
    for place, (height, _, y, line) in zip(places, ends, strict=True):
        ax.annotate(
            line.name, (right, y), xytext=(9, place - height), textcoords="offset points",
            ha="left", va="center", color=COLOURS[line.role], fontweight="bold",
            fontsize=TEXT - 1, annotation_clip=False,
        )  # fmt: skip


def spread(heights: list[float], step: float, low: float, high: float) -> list[float]:
    """Sorted heights moved to stand `step` apart, inside low to high where that fits.

    >>> spread([0.0, 1.0, 50.0], 10, 0, 100)
    [0.0, 10.0, 50.0]
    """
    places = list(heights)
    for i in range(1, len(places)):
        places[i] = max(places[i], places[i - 1] + step)
    if places and places[-1] > high:
        places[-1] = max(high, low + step * (len(places) - 1))
        for i in range(len(places) - 2, -1, -1):
            places[i] = min(places[i], places[i + 1] - step)
    return places


def _for_page(svg: str, ident: str, alt: str) -> str:
    """matplotlib's SVG with the page's fonts, colours and ids, and nothing else in it."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font: ([^;\"]*?)'[^;\"]*", _font, svg)
    svg = re.sub(r"font-family: [^;\"]*", "font-family: inherit", svg)
    for role, colour in COLOURS.items():
        svg = re.sub(
            re.escape(colour), f"var(--mm-role-{role}, {colour})", svg, flags=re.IGNORECASE
        )
    svg = svg.replace(f"stroke: {GRID}", "stroke: currentColor; stroke-opacity: 0.13")
    svg = svg.replace(INK, "currentColor").replace(GRID, "currentColor")
    # matplotlib's own stylesheet would leak into the page; its two rules go on the root instead.
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{ident}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{ident}-\1)", svg)
    svg = re.sub(r'(xlink:href|href)="#([^"]+)"', rf'href="#{ident}-\2"', svg)
    box = re.search(r'viewBox="([^"]+)"', svg)
    title = f"<title>{html.escape(alt)}</title>" if alt else ""
    root = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box.group(1) if box else ""}" '
        f'class="mm-svg" role="img" width="100%" '
        'style="max-width: 34rem; height: auto; font-family: inherit; overflow: visible; '
        f'stroke-linejoin: round; stroke-linecap: butt">{title}'
    )
    body = svg[svg.index(">", svg.index("<svg")) + 1 :]
    body = re.sub(r"-?\d+\.\d{3,}", lambda m: f"{float(m.group()):.2f}", body)
    body = re.sub(r"\n\s*", "\n", body)
    body = re.sub(r"<defs>\s*</defs>\s*", "", body)
    return root + body.strip() + "\n"


def _font(match: re.Match[str]) -> str:
    """`font: bold 12px 'DejaVu Sans'` → weight and size alone, so that the family is the page's."""
    words = match.group(1).split()
    size = next((w for w in words if w.endswith("px")), "13px")
    weight = next((w for w in words if w in ("bold",) or w.isdigit()), "")
    return f"font-size: {size}" + (f"; font-weight: {weight}" if weight else "")
