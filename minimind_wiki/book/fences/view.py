"""The `view` fence: a look into a shipped model, recorded, and live after a click.

Body of a `view` fence, two lines or more:

    show: attention              (attention, lens, patch, cache, next, tokens or neurons)
    model: world-tiny
    prompt: …                    (all but the cache need one)
    other: …                     (patch alone: the prompt whose vectors are put in)
    layer: 0                     (attention: the head that is shown large, numbered from 0;
    head: 0                       lens and patch: after how many layers, 0 is the embedding;
                                  neurons: of which layer)
    length: 1024                 (cache: tokens)
    title: …  caption: …  name: …  (optional; the name stands in links to the view's state)

The recorded picture comes from snippets/views/, written by `python scripts/record_views.py`; it
is refused when the model is another one.

HTML:

    <div class="mm-view" id="view-NAME" data-view="attention">
      <script type="application/json" class="mm-view__spec">{"show", "name", "title", "model",
        "prompt", "other", "layer", "head", "length", "bytes", "shapes"}</script>
      <p class="mm-view__title">…</p>
      <p class="mm-view__prompt">world-tiny reads <q>…</q></p>
      <div class="mm-view__static">picture and tables</div>
      <div class="mm-view__caption">…</div>
    </div>
"""

from __future__ import annotations

from typing import Any

from minimind_wiki.book import markup, pages
from minimind_wiki.book.fences.common import Body, check_fields, fence
from minimind_wiki.book.pages import esc
from minimind_wiki.book.views import SHOWS, draw, recorded
from minimind_wiki.errors import MinimindError, unknown

TITLES = {
    "attention": "Where each head looks",
    "lens": "What the model would say if it ended here",
    "patch": "Which vector carries the answer",
    "cache": "What the cache holds",
    "next": "What comes next",
    "tokens": "How the text is cut",
    "neurons": "Which neurons fire, and on what",
}
LONGEST = 32_768  # tokens: the end of the slider
OPTIONAL = ["prompt", "other", "layer", "head", "length", "title", "caption", "name"]


@fence
def view(body: Body) -> str:
    """Format the fence."""
    check_fields(body, ["show", "model"], OPTIONAL, "the box")
    show, model = str(body["show"]), str(body["model"])
    if show not in SHOWS:
        raise MinimindError(str(unknown("view", show, SHOWS)))
    prompt, other = str(body.get("prompt") or ""), str(body.get("other") or "")
    if show != "cache" and not prompt:
        raise MinimindError(f"a view of '{show}' needs the field 'prompt'.")
    if (show == "patch") != bool(other):
        raise MinimindError("the field 'other' is the second prompt of a patch, and of it alone.")
    data = recorded.load(model, prompt, other)
    layers, passed = data["shape"]["layers"], show in ("lens", "patch")
    spec = {
        "show": show, "name": str(body.get("name") or show),
        "title": str(body.get("title") or TITLES[show]), "model": model, "prompt": prompt,
        "other": other, "layer": _number(body, "layer", layers + passed, layers * passed),
        "head": _number(body, "head", data["shape"]["heads"]),
        "length": _number(body, "length", LONGEST + 1, 1024),
        "bytes": data["bytes"],
    }  # fmt: skip
    return html(spec, data, str(body.get("caption") or ""))


def html(spec: dict[str, Any], data: dict[str, Any], caption: str) -> str:
    """The markup of a view."""
    show, name = spec["show"], spec["name"]
    extra = {"attention": (spec["layer"], spec["head"]), "cache": (spec["length"],),
             "neurons": (spec["layer"],)}  # fmt: skip
    picture = draw.PICTURES[show](data, *extra.get(show, ()))
    if show == "cache":
        spec = spec | {"shapes": [data["shape"], *recorded.shapes()]}
    reads = ""
    if spec["prompt"]:
        reads = f" reads <q>{esc(spec['prompt'])}</q>"
    if spec["other"]:
        reads += f", with vectors of <q>{esc(spec['other'])}</q>"
    said = f'<div class="mm-view__caption">{markup.block(caption)}</div>' if caption else ""
    return (
        f'<div class="mm-view" id="view-{pages.slug(name)}" data-view="{show}">'
        f"{pages.json_script(spec, 'mm-view__spec')}"
        f'<p class="mm-view__title">{esc(spec["title"])}</p>'
        f'<p class="mm-view__prompt"><b>{esc(spec["model"])}</b>{reads}</p>'
        f'<div class="mm-view__static" data-search-exclude>{picture}</div>{said}</div>'
    )


def _number(body: Body, field: str, limit: int, default: int = 0) -> int:
    value = body.get(field, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < limit:
        raise MinimindError(f"'{field}' is {value!r}; give a whole number from 0 to {limit - 1}.")
    return value
