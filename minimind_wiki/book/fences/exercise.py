"""The `exercise` fence: a function to write, checked in the page or on the command line.

Body of a `exercise` fence:

    name: normalization/rms_norm

Reads the folder `snippets/normalization/rms_norm/`: `exercise.yaml` (`title, minutes, difficulty,
importance?, contract, hints, data?`), `starter.py`, `solution.py`, `check.py`. `data` lists files
of the repository that the check reads; the page fetches them with the first check.

HTML:

    <div class="mm-exercise" id="exercise-normalization-rms_norm"
         data-exercise="normalization/rms_norm">
      <script type="application/json" class="mm-exercise__spec">{"name", "title", "minutes",
        "difficulty", "importance", "contract_html", "starter", "check", "solution",
        "hints_html": ["…"], "data": ["…"]}</script>
      <div class="mm-exercise__static">
        <p class="mm-exercise__title">…</p>
        <p class="mm-exercise__facts">15 minutes · difficulty: …</p>
        <div class="mm-exercise__contract">…</div>
        <div class="mm-exercise__starter">highlighted code</div>
        <p class="mm-exercise__command">… <code>minimind exercise … --start mine.py</code> …</p>
        <details class="mm-exercise__hint"><summary>Hint 1 of 3</summary>…</details> …
        <details class="mm-exercise__solution"><summary>A solution</summary>code</details>
      </div>
    </div>
"""

from __future__ import annotations

from typing import Any

from minimind_wiki.book import markup, pages
from minimind_wiki.book.fences.common import Body, check_fields, fence
from minimind_wiki.book.pages import esc, slug
from minimind_wiki.errors import MinimindError, unknown

NEEDED = ("title", "minutes", "difficulty", "contract", "hints")
FILES = ("starter", "check", "solution")


@fence
def exercise(body: Body) -> str:
    """Format the fence."""
    check_fields(body, ["name"], [], "the box")
    name = str(body["name"])
    spec = load(name)
    data = {
        "name": name,
        "title": spec["title"],
        "minutes": spec["minutes"],
        "difficulty": spec["difficulty"],
        "importance": spec.get("importance", ""),
        "contract_html": markup.block(spec["contract"]),
        **{part: spec[part] for part in FILES},
        "data": spec.get("data", []),
        "hints_html": [markup.block(hint) for hint in spec["hints"]],
    }
    return (
        f'<div class="mm-exercise" id="exercise-{slug(name)}" data-exercise="{esc(name)}">'
        f"{pages.json_script(data, 'mm-exercise__spec')}{_static(data)}</div>"
    )


def load(name: str) -> dict[str, Any]:
    """Description and files of an exercise, checked."""
    folder = pages.root() / "snippets" / name
    if not (folder / "exercise.yaml").is_file():
        top = pages.root() / "snippets"
        known = [f"{p.parent.parent.name}/{p.parent.name}" for p in top.glob("*/*/exercise.yaml")]
        raise MinimindError(str(unknown("exercise", name, known)))
    spec = dict(pages.read_yaml(folder / "exercise.yaml"))
    check_fields(spec, NEEDED, ["importance", "function", "data"], f"snippets/{name}/exercise.yaml")
    for part in FILES:
        file = folder / f"{part}.py"
        if not file.is_file():
            raise MinimindError(f"snippets/{name}/{part}.py is missing; every exercise has one.")
        spec[part] = file.read_text(encoding="utf-8")
    for file in spec.get("data", []):
        if not (pages.root() / file).is_file():
            raise MinimindError(f"snippets/{name}/exercise.yaml: data: there is no file {file}.")
    return spec


def _static(data: dict[str, Any]) -> str:
    def shown(code: str) -> str:
        return markup.block(f"``````python\n{code.rstrip()}\n``````")

    count = len(data["hints_html"])
    hints = "".join(
        f'<details class="mm-exercise__hint" data-search-exclude><summary>Hint {n} of {count}'
        f"</summary>{hint}</details>"
        for n, hint in enumerate(data["hints_html"], 1)
    )
    return (
        f'<div class="mm-exercise__static"><p class="mm-exercise__title">{esc(data["title"])}</p>'
        f'<p class="mm-exercise__facts">{esc(data["minutes"])} minutes · difficulty: '
        f"{esc(data['difficulty'])}</p>"
        f'<div class="mm-exercise__contract">{data["contract_html"]}</div>'
        f'<div class="mm-exercise__starter">{shown(data["starter"])}</div>'
        '<p class="mm-exercise__command">On your machine: '
        f"<code>minimind exercise {esc(data['name'])} --start mine.py</code>, then the same with "
        f"<code>--file mine.py</code></p>{hints}"
        '<details class="mm-exercise__solution" data-search-exclude><summary>A solution</summary>'
        f"{shown(data['solution'])}</details></div>"
    )
