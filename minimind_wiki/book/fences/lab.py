"""The `lab` fence: a program of snippets/ with knobs, run in the reader's browser.

Body of a `lab` fence:

    name: normalization/stack

Reads `snippets/normalization/stack.yaml` (`title, question, knobs, caption?, alt?`) and
`stack.py`. What stands in the page before anyone runs it is computed when the site is built, by
the same file with the knobs at their defaults, so it cannot be out of date.

HTML:

    <div class="mm-lab" id="lab-normalization-stack" data-lab="normalization/stack">
      <script type="application/json" class="mm-lab__spec">{"name", "title", "question",
        "question_html", "knobs": [{"name", "label", "type", "min", "max", "step", "options",
        "default", "help"}], "code", "caption_html",
        "recorded": {"plotly": {…}|null, "text": "…"}}</script>
      <div class="mm-lab__static">
        <p class="mm-lab__title">…</p><div class="mm-lab__question">…</div>
        <div class="mm-lab__picture" role="img" aria-label="…">SVG</div>
        <pre class="mm-lab__text">…</pre>
        <ul class="mm-lab__knobs"><li>label: default. help</li></ul>
        <div class="mm-lab__caption">…</div>
        <details class="mm-figure__table">the picture's data as tables</details>
        <details class="mm-lab__code"><summary>The program</summary>highlighted code</details>
      </div>
    </div>
"""

from __future__ import annotations

from typing import Any

from minimind_wiki.book import labs, markup, pages, records
from minimind_wiki.book.fences.common import Body, check_fields, fence
from minimind_wiki.book.pages import esc, slug
from minimind_wiki.book.tables import figure_tables
from minimind_wiki.errors import MinimindError, unknown

KINDS = {"range": ("min", "max", "default"), "choice": ("options", "default"),
         "toggle": ("default",)}  # fmt: skip
MOST_KNOBS = 4


@fence
def lab(body: Body) -> str:
    """Format the fence."""
    check_fields(body, ["name"], [], "the box")
    name = str(body["name"])
    spec, code = load(name)
    recorded = labs.recorded(name, code, {k["name"]: k["default"] for k in spec["knobs"]})
    data = {
        "name": name,
        "title": spec["title"],
        "question": spec["question"],
        "question_html": markup.block(spec["question"]),
        "knobs": spec["knobs"],
        "code": code,
        "caption_html": markup.block(spec.get("caption", "")),
        "recorded": {"plotly": recorded["plotly"], "text": recorded["text"]},
    }
    alt = str(spec.get("alt") or spec["title"])
    return (
        f'<div class="mm-lab" id="lab-{slug(name)}" data-lab="{esc(name)}">'
        f"{pages.json_script(data, 'mm-lab__spec')}{_static(data, recorded, alt)}</div>"
    )


def load(name: str) -> tuple[dict[str, Any], str]:
    """Description and program of a lab, checked."""
    base = pages.root() / "snippets" / name
    program = base.with_suffix(".py")
    if not program.is_file():
        known = [f"{p.parent.name}/{p.stem}" for p in (pages.root() / "snippets").glob("*/*.yaml")]
        raise MinimindError(str(unknown("lab", name, known)))
    spec = pages.read_yaml(base.with_suffix(".yaml"))
    where = f"snippets/{name}.yaml"
    check_fields(spec, ["title", "question", "knobs"], ["caption", "alt", "minutes"], where)
    if len(spec["knobs"]) > MOST_KNOBS:
        raise MinimindError(f"{where}: {len(spec['knobs'])} knobs; a lab has at most {MOST_KNOBS}.")
    for knob in spec["knobs"]:
        spot = f"{where}, knob '{knob.get('name', '?')}'"
        fields = ["min", "max", "step", "options", "help", "unit", "scale"]
        check_fields(knob, ["name", "label", "type"], [*fields, "default"], spot)
        if knob["type"] not in KINDS:
            raise MinimindError(f"{spot}: {unknown('knob type', str(knob['type']), KINDS)}")
        for field in KINDS[knob["type"]]:
            if knob.get(field) is None:
                raise MinimindError(f"{spot}: a {knob['type']} knob needs '{field}'.")
    return spec, program.read_text(encoding="utf-8")


def _static(data: dict[str, Any], recorded: dict[str, Any], alt: str) -> str:
    picture = text = table = ""
    if recorded["svg"]:
        picture = (
            f'<div class="mm-lab__picture" role="img" aria-label="{esc(alt)}" data-search-exclude>'
            f"{records.for_page(recorded['svg'])}</div>"
        )
        table = figure_tables(recorded["plotly"], alt)
    if recorded["text"]:
        text = f'<pre class="mm-lab__text">{esc(recorded["text"])}</pre>'
    knobs = "".join(
        f"<li>{esc(k['label'])}: {esc(_shown(k))}. {esc(k.get('help') or '')}</li>"
        for k in data["knobs"]
    )
    program = markup.block(f"``````python\n{data['code'].rstrip()}\n``````")
    return (
        f'<div class="mm-lab__static"><p class="mm-lab__title">{esc(data["title"])}</p>'
        f'<div class="mm-lab__question">{data["question_html"]}</div>{picture}{text}'
        f'<ul class="mm-lab__knobs">{knobs}</ul>'
        f'<div class="mm-lab__caption">{data["caption_html"]}</div>{table}'
        f'<details class="mm-lab__code" data-search-exclude><summary>The program</summary>'
        f"{program}</details></div>"
    )


def _shown(knob: dict[str, Any]) -> str:
    """The default as a reader sees it: an option's label, 'on' or 'off', a number."""
    for option in knob.get("options") or []:
        if isinstance(option, dict) and option.get("value") == knob["default"]:
            return str(option.get("label", option["value"]))
    if knob["type"] == "toggle":
        return "on" if knob["default"] else "off"
    return str(knob["default"])
