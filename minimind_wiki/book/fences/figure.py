"""The `figure` fence: a figure of a record, complete as a picture and as a table.

Body of a `figure` fence:

    record: normalization/depth
    figure: forward
    caption: …                   (Markdown; optional, else the record's)
    id: …                        (optional, when a page shows one figure twice)

HTML:

    <figure class="mm-figure" id="fig-normalization-depth-forward"
            data-figure="normalization/depth:forward">
      <div class="mm-figure__static" role="img" aria-label="ALT">SVG</div>
      <script type="application/json" class="mm-figure__data">{"data": [], "layout": {}}</script>
      <figcaption>caption
        <a class="mm-figure__record" href="…/reproducibility/#normalization-depth">record</a>
      </figcaption>
      <details class="mm-figure__table"><summary>Data as a table</summary>
        <div class="mm-table-scroll" tabindex="0" role="region" aria-label="…">tables</div>
      </details>
    </figure>
"""

from __future__ import annotations

from typing import Any

from minimind_wiki.book import markup, pages, records
from minimind_wiki.book.fences.common import Body, check_fields, fence
from minimind_wiki.book.pages import esc, slug
from minimind_wiki.book.tables import figure_tables
from minimind_wiki.errors import MinimindError, unknown


@fence
def figure(body: Body) -> str:
    """Format the fence."""
    check_fields(body, ["record", "figure"], ["caption", "id"], "the box")
    name, which = str(body["record"]), str(body["figure"])
    record = records.load(name)
    drawn = record["figures"]
    if which not in drawn:
        raise MinimindError(f"record '{name}': {unknown('figure', which, drawn)}")
    caption = markup.inline(body.get("caption") or drawn[which].get("caption") or "")
    link = (
        f' <a class="mm-figure__record" href="{records.address(name)}" '
        f'title="{esc(records.describe(record))}">record</a>'
    )
    return figure_html(
        anchor=str(body.get("id") or f"fig-{slug(name)}-{which}"),
        key=f"{name}:{which}",
        svg=records.svg(name, which),
        alt=str(drawn[which]["alt"]),
        plotly=drawn[which]["plotly"],
        caption=caption + link,
    )


def figure_html(
    anchor: str, key: str, svg: str, alt: str, plotly: dict[str, Any], caption: str
) -> str:
    """The markup of a figure, wherever its data comes from."""
    return (
        f'<figure class="mm-figure" id="{esc(anchor)}" data-figure="{esc(key)}">'
        f'<div class="mm-figure__static" role="img" aria-label="{esc(alt)}" data-search-exclude>'
        f"{svg}</div>"
        f"{pages.json_script(plotly, 'mm-figure__data')}"
        f"<figcaption>{caption}</figcaption>{figure_tables(plotly, alt)}</figure>"
    )
