"""The static picture of a figure: what a page shows before, and without, JavaScript.

Drawn by matplotlib, then rewritten for the page: text stays text in the page's own font, every
colour is a variable of the theme with a fallback, axes take the colour of the text around them, ids
are unique, the output is the same for the same figure. The width is that of a phone, so that text
keeps its size there; a wide page scales it up a little.
"""

from __future__ import annotations

import html
import io
import re
from typing import Any

from minimind_wiki.lite.plot import Bars, Figure, Level, Line, Panel

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
WIDTH, PANEL_HEIGHT, TEXT = 6.1, 3.15, 13.0  # inches at 72 per inch: 440 wide


def figure_svg(figure: Figure, ident: str = "figure", alt: str = "") -> str:
    """SVG text of a figure, to be inlined in a page. ident: prefix that makes the ids unique."""
    import matplotlib

    matplotlib.use("Agg", force=False)
    from matplotlib.figure import Figure as Canvas

    rc = {
        "svg.fonttype": "none", "svg.hashsalt": ident, "font.family": "DejaVu Sans",
        "font.size": TEXT, "axes.labelsize": TEXT, "xtick.labelsize": TEXT - 1,
        "ytick.labelsize": TEXT - 1, "axes.edgecolor": INK, "axes.labelcolor": INK,
        "xtick.color": INK, "ytick.color": INK, "text.color": INK, "axes.spines.top": False,
        "axes.spines.right": False, "mathtext.default": "regular", "axes.titlesize": TEXT + 0.5,
        "axes.unicode_minus": True, "axes.linewidth": 0.8, "path.simplify": False,
    }  # fmt: skip
    with matplotlib.rc_context(rc):
        count = len(figure.panels)
        canvas = Canvas(figsize=(WIDTH, PANEL_HEIGHT * count), layout="constrained")
        canvas.get_layout_engine().set(h_pad=0.08, w_pad=0.06, hspace=0.06)  # type: ignore[union-attr]
        axes = canvas.subplots(count, 1, squeeze=False)
        for ax, panel in zip(axes[:, 0], figure.panels, strict=True):
            _draw(ax, panel)
        canvas.draw_without_rendering()
        for ax, panel in zip(axes[:, 0], figure.panels, strict=True):
            if panel.legend == "direct":
                _label_directly(ax, panel)
        buffer = io.StringIO()
        canvas.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return _for_page(buffer.getvalue(), ident, alt)


def _draw(ax: Any, panel: Panel) -> None:
    x, y = panel.x, panel.y
    assert not isinstance(x, str) and not isinstance(y, str)
    if panel.title:
        ax.set_title(panel.title, loc="left", fontweight="bold", pad=8)
    for line in panel.lines:
        _line(ax, line, panel.legend)
    for index, bars in enumerate(panel.bars):
        _bars(ax, bars, index, len(panel.bars))
    for axis, setter, scale in ((x, ax.set_xlim, ax.set_xscale), (y, ax.set_ylim, ax.set_yscale)):
        if axis.scale == "log":
            scale("log")
        if axis.range:
            setter(*axis.range)
    for level in panel.levels:
        _level(ax, level)
    if x.ticks:
        ax.set_xticks(x.ticks, [f"{t:g}" for t in x.ticks])
        ax.minorticks_off()
    if y.ticks:
        ax.set_yticks(y.ticks, [f"{t:g}" for t in y.ticks])
    if y.scale == "log":
        ax.yaxis.set_minor_locator(_no_ticks())
    ax.set_xlabel(x.label)
    # The label lies above the axis: turned text is hard to read and costs width.
    ax.text(0, 1.03, y.label, transform=ax.transAxes, ha="left", va="bottom") if not panel.title \
        else ax.text(0, 1.0, y.label, transform=ax.transAxes, ha="left", va="bottom", alpha=0.75)
    if panel.title:
        ax.set_title(panel.title, loc="left", fontweight="bold", pad=22)
    ax.grid(axis="y" if panel.bars else "both", color=GRID, linewidth=0.6)
    ax.set_axisbelow(True)
    named = [item for item in (*panel.lines, *panel.bars) if item.name]
    if panel.legend == "top" and named:
        ax.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.12 if not panel.title else 1.3),
                  ncols=2, frameon=False, borderaxespad=0, handlelength=2.6, columnspacing=1.2)  # fmt: skip


def _no_ticks() -> Any:
    from matplotlib.ticker import NullLocator

    return NullLocator()


def _line(ax: Any, line: Line, legend: str) -> None:
    colour = COLOURS[line.role]
    nan = [[float("nan") if v is None else v for v in values or ()] for values in
           (line.x, line.y, line.lo, line.hi)]  # fmt: skip
    if line.lo is not None and line.hi is not None:
        ax.fill_between(nan[0], nan[2], nan[3], color=colour, alpha=0.18, linewidth=0)
    ax.plot(
        nan[0], nan[1], color=colour, linestyle=DASHES[line.dash], linewidth=2.2, label=line.name,
        marker=MARKERS.get(line.marker or ""), markersize=6, solid_capstyle="round",
        dash_capstyle="butt",
    )  # fmt: skip


def _bars(ax: Any, bars: Bars, index: int, count: int) -> None:
    width = 0.8 / count
    places = [i - 0.4 + width * (index + 0.5) for i in range(len(list(bars.x)))]
    heights = [float("nan") if v is None else v for v in bars.y]
    ax.bar(places, heights, width * 0.92, color=COLOURS[bars.role], label=bars.name)
    if bars.lo is not None and bars.hi is not None:
        for place, lo, hi in zip(places, bars.lo, bars.hi, strict=True):
            if lo is not None and hi is not None:
                ax.plot([place, place], [lo, hi], color=INK, linewidth=1.3)
    ax.set_xticks(range(len(list(bars.x))), [str(name) for name in bars.x])


def _level(ax: Any, level: Level) -> None:
    ax.axhline(level.y, color=COLOURS[level.role], linewidth=1.4, linestyle=DASHES["dot"], zorder=1.5)
    ax.annotate(
        level.name, (0, level.y), xycoords=("axes fraction", "data"), xytext=(4, 3),
        textcoords="offset points", ha="left", va="bottom", fontsize=TEXT - 1.5, alpha=0.8,
    )  # fmt: skip


def _label_directly(ax: Any, panel: Panel) -> None:
    """Names at the right ends of the lines, pushed apart where they would overlap."""
    ends = []
    for line in panel.lines:
        points = [(x, y) for x, y in zip(line.x, line.y, strict=True) if y is not None]
        if line.name and points:
            x, y = points[-1]
            px = ax.transData.transform((x, y))
            ends.append([float(px[1]), line, x, y])
    if not ends:
        return
    ends.sort(key=lambda item: item[0])
    scale = ax.figure.dpi / 72
    step = (TEXT + 2.5) * scale
    low, high = ax.get_window_extent().y0, ax.get_window_extent().y1
    places = [min(max(item[0], low), high) for item in ends]
    for _ in range(200):
        moved = False
        for i in range(len(places) - 1):
            overlap = step - (places[i + 1] - places[i])
            if overlap > 0.01:
                places[i] -= overlap / 2
                places[i + 1] += overlap / 2
                moved = True
        if not moved:
            break
    right = max(item[2] for item in ends)
    for place, (pixel, line, _, y) in zip(places, ends, strict=True):
        ax.annotate(
            line.name, (right, y), xycoords="data", xytext=(9, (place - pixel) / scale),
            textcoords="offset points", ha="left", va="center", color=COLOURS[line.role],
            fontweight="bold", fontsize=TEXT - 1, annotation_clip=False,
        )  # fmt: skip


def _for_page(svg: str, ident: str, alt: str) -> str:
    """matplotlib's SVG with the page's fonts, colours and ids, and nothing else in it."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font: ([^;\"]*?)'[^;\"]*", _font, svg)
    svg = re.sub(r"font-family: [^;\"]*", "font-family: inherit", svg)
    for role, colour in COLOURS.items():
        svg = re.sub(re.escape(colour), f"var(--mm-role-{role}, {colour})", svg, flags=re.IGNORECASE)
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
        'style="max-width: 40rem; height: auto; font-family: inherit; overflow: visible; '
        f'stroke-linejoin: round; stroke-linecap: butt">{title}'
    )
    body = svg[svg.index(">", svg.index("<svg")) + 1 :]
    body = re.sub(r"\n\s*", "\n", body)
    body = re.sub(r"<defs>\s*</defs>\s*", "", body)
    return root + body.strip() + "\n"


def _font(match: re.Match[str]) -> str:
    """`font: bold 12px 'DejaVu Sans'` → weight and size alone, so that the family is the page's."""
    words = match.group(1).split()
    size = next((w for w in words if w.endswith("px")), "13px")
    weight = next((w for w in words if w in ("bold",) or w.isdigit()), "")
    return f"font-size: {size}" + (f"; font-weight: {weight}" if weight else "")
