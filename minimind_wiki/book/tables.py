"""The numbers behind a figure as HTML tables, for readers who do not see the picture."""

from __future__ import annotations

import math
from typing import Any

from minimind_wiki.book.pages import esc

ROWS = 24  # longer curves are thinned to this many rows


def number(value: Any) -> str:
    """A table cell: four significant digits, a dash for what is missing.

    >>> number(0.123456), number(None), number(12345.6), number("bars")
    ('0.1235', '–', '1.235e+04', 'bars')
    """
    if value is None:
        return "–"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:.4g}" if math.isfinite(value) else "–"
    return esc(value)


def table(head: list[str], rows: list[list[Any]], caption: str = "") -> str:
    """A table whose first column names its rows."""
    top = f"<caption>{esc(caption)}</caption>" if caption else ""
    cells = "".join(f'<th scope="col">{esc(name)}</th>' for name in head)
    body = "".join(
        f'<tr><th scope="row">{number(row[0])}</th>'
        + "".join(f"<td>{number(value)}</td>" for value in row[1:])
        + "</tr>"
        for row in rows
    )
    return f"<table>{top}<thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"


def figure_tables(plotly: dict[str, Any], alt: str) -> str:
    """One table per panel: x in the first column, a column per curve; levels as a list."""
    panels: dict[str, list[dict[str, Any]]] = {}
    for trace in plotly.get("data", []):
        if (trace.get("meta") or {}).get("kind") != "band":
            panels.setdefault(trace.get("yaxis") or "y", []).append(trace)
    made = [_panel(plotly.get("layout", {}), axis, traces) for axis, traces in panels.items()]
    return (
        '<details class="mm-figure__table" data-search-exclude><summary>Data as a table</summary>'
        '<div class="mm-table-scroll" tabindex="0" role="region" '
        f'aria-label="{esc("Data: " + alt)}">'
        f"{''.join(made)}</div></details>"
    )


def _panel(layout: dict[str, Any], axis: str, traces: list[dict[str, Any]]) -> str:
    suffix = axis.removeprefix("y")
    x_label = _label(layout, f"xaxis{suffix}") or "x"
    y_label = _label(layout, f"yaxis{suffix}") or "y"
    curves = [t for t in traces if (t.get("meta") or {}).get("kind") != "level"]
    levels = [t for t in traces if (t.get("meta") or {}).get("kind") == "level"]
    xs: list[Any] = []
    known: set[Any] = set()
    for trace in curves:
        for x in trace.get("x") or []:
            if x is not None and x not in known:
                known.add(x)
                xs.append(x)
    if all(isinstance(x, int | float) for x in xs):
        xs.sort()
    shown, note = _thin(xs)
    columns = [dict(zip(t.get("x") or [], t.get("y") or [], strict=False)) for t in curves]
    rows = [[x, *(column.get(x) for column in columns)] for x in shown]
    head = [x_label, *(str(t.get("name") or "value") for t in curves)]
    lines = "".join(
        f"<li>{esc(t.get('name') or 'level')}: {number((t.get('y') or [None])[0])}</li>"
        for t in levels
    )
    return table(head, rows, y_label + note) + (f"<ul>{lines}</ul>" if lines else "")


def _label(layout: dict[str, Any], key: str) -> str:
    title = (layout.get(key) or {}).get("title") or ""
    return str(title.get("text", "") if isinstance(title, dict) else title)


def _thin(xs: list[Any]) -> tuple[list[Any], str]:
    if len(xs) <= ROWS:
        return xs, ""
    step = math.ceil(len(xs) / ROWS)
    kept = xs[::step]
    if kept[-1] != xs[-1]:
        kept.append(xs[-1])
    return kept, f" (every {step}th of {len(xs)} points)"
