"""The `predict` fence (commit to a guess, then see) and `recall`, which shows the guess again.

Body of a `predict` fence:

    id: normalization-depth
    ask: …                       (Markdown, as are text, why and reveal)
    options:
      - {text: …, why: …}
      - {text: …, right: true, why: …}
    reveal: |
      …

Body of a `recall` fence:

    id: normalization-depth      (a predict box above on the same page)

HTML:

    <div class="mm-predict" data-predict="ID">
      <script type="application/json">{"id", "ask_html",
        "options": [{"text_html", "right", "why_html"}], "reveal_html"}</script>
      <p class="mm-predict__label">Guess first</p>
      <div class="mm-q">
        <div class="mm-q__ask"><span>…</span></div>
        <ol class="mm-predict__options" type="A"><li>…</li></ol>
        <details class="mm-predict__reveal"><summary>Choose first, then open</summary>
          <ol class="mm-predict__whys" type="A">
            <li class="mm-predict__why mm-predict__why--right|--wrong">…</li></ol>
          …reveal…</details>
      </div>
    </div>

The script puts a form of the same measures in its place, so that nothing below it moves.

    <div class="mm-recall" data-predict="ID">
      <script type="application/json">{the same object}</script>
      <p class="mm-recall__ask">…</p><p class="mm-recall__right">The measurement says: …</p>
    </div>
"""

from __future__ import annotations

from typing import Any

from minimind_wiki.book import markup, pages
from minimind_wiki.book.fences.common import Body, check_fields, fence
from minimind_wiki.book.fences.quiz import options_html, read_options, whys_html
from minimind_wiki.book.pages import esc
from minimind_wiki.errors import MinimindError, unknown

# Boxes of the page at work, for `recall`.
_seen: dict[str, dict[str, Any]] = {}
_page = ""


@fence
def predict(body: Body) -> str:
    """Format the box that asks."""
    check_fields(body, ["id", "ask", "options", "reveal"], [], "the box")
    options = read_options(body["options"], "the box")
    if sum(option["right"] for option in options) > 1:
        raise MinimindError("more than one option is marked 'right: true'; at most 1 may be.")
    data = {"id": str(body["id"]), "ask_html": markup.block(body["ask"]), "options": options,
            "reveal_html": markup.block(body["reveal"])}  # fmt: skip
    _remember(data)
    return (
        f'<div class="mm-predict" data-predict="{esc(data["id"])}">{pages.json_script(data)}'
        '<p class="mm-predict__label">Guess first</p><div class="mm-q">'
        f'<div class="mm-q__ask"><span>{data["ask_html"]}</span></div>'
        f"{options_html(options, 'mm-predict')}"
        '<details class="mm-predict__reveal" data-search-exclude>'
        "<summary>Choose first, then open</summary>"
        f"{whys_html(options, 'mm-predict')}{data['reveal_html']}</details></div></div>"
    )


@fence
def recall(body: Body) -> str:
    """Format the box that reminds."""
    check_fields(body, ["id"], [], "the box")
    known = _seen if _page == pages.current().src else {}
    if str(body["id"]) not in known:
        raise MinimindError(f"{unknown('predict box on this page', str(body['id']), known)}")
    data = known[str(body["id"])]
    right = [option for option in data["options"] if option["right"]]
    said = f'<p class="mm-recall__right">The measurement says: {right[0]["text_html"]}</p>'
    return (
        f'<div class="mm-recall" data-predict="{esc(data["id"])}">{pages.json_script(data)}'
        f'<div class="mm-recall__ask">{data["ask_html"]}</div>{said if right else ""}</div>'
    )


def _remember(data: dict[str, Any]) -> None:
    global _page
    if _page != pages.current().src:
        _page = pages.current().src
        _seen.clear()
    _seen[data["id"]] = data
