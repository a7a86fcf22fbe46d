"""The `train` fence: a training program of snippets/ that the reader runs in their browser.

Body of a `train` fence:

    name: training/transformer

Reads `snippets/training/transformer.py`, `.train.yml` (`title, knobs, alt`) and `.recorded.json`,
which `bench/train_page.py` wrote: a run in Chromium with the knobs at their defaults. It stands in
the page before anyone presses Train. A record of another program is an error.

HTML:

    <div class="mm-train" id="train-training-transformer" data-train="training/transformer">
      <script type="application/json" class="mm-train__spec">{"name", "code", "knobs", "levels":
        {"floor", "bigram"}, "recorded": [{"step", "seconds", "bits"}]}</script>
      <div class="mm-train__static">
        <p class="mm-lab__title">…</p><div class="mm-lab__picture">SVG</div><p>how recorded</p>
      </div>
      <div class="mm-train__record"><div class="mm-train__sample">…</div> …
        <details>the curve as a table</details><details>the program</details></div>
    </div>
"""

from __future__ import annotations

import ast
import hashlib
import json
from typing import Any

from minimind_wiki.book import markup, pages, records
from minimind_wiki.book.fences.common import Body, check_fields, fence
from minimind_wiki.book.hashing import dump
from minimind_wiki.book.pages import esc, slug
from minimind_wiki.book.svg import figure_svg
from minimind_wiki.book.tables import figure_tables
from minimind_wiki.errors import MinimindError
from minimind_wiki.lite.plot import Axis, Figure, Level, Line, Panel

RECORD = ".recorded.json"
SHOWN = (30, 60, 120)  # seconds at which a sample is shown, or the last one before


@fence
def train(body: Body) -> str:
    """Format the fence."""
    check_fields(body, ["name"], [], "the box")
    name = str(body["name"])
    spec = load(name)
    run = _recorded(name, spec["hash"])
    points = [{"step": a, "seconds": b, "bits": c} for a, b, c in run["held_out"]]
    data = {
        "name": name,
        "code": spec["code"],
        "knobs": spec["knobs"],
        "levels": {"floor": run["floor"], "bigram": run["bigram"]},
        "recorded": points,
    }
    return (
        f'<div class="mm-train" id="train-{slug(name)}" data-train="{esc(name)}">'
        f"{pages.json_script(data, 'mm-train__spec')}{_static(name, spec, run)}</div>"
    )


def load(name: str) -> dict[str, Any]:
    """Program and description: {"code", "hash", "title", "alt", "knobs", "defaults"}."""
    base = pages.root() / "snippets" / name
    program = base.with_suffix(".py")
    if not program.is_file():
        raise MinimindError(f"there is no training program snippets/{name}.py.")
    spec = pages.read_yaml(base.with_suffix(".train.yml"))
    check_fields(spec, ["title", "knobs", "alt"], [], f"snippets/{name}.train.yml")
    code = program.read_text(encoding="utf-8")
    digest = hashlib.sha256(dump(ast.parse(code)).encode()).hexdigest()[:16]
    defaults = {knob["name"]: knob["default"] for knob in spec["knobs"]}
    return {**spec, "code": code, "hash": digest, "defaults": defaults}


def _recorded(name: str, digest: str) -> dict[str, Any]:
    path = pages.root() / "snippets" / f"{name}{RECORD}"
    again = "run 'make web' and then 'python bench/train_page.py'"
    if not path.is_file():
        raise MinimindError(f"snippets/{name}.py has no recorded run: {again}.")
    run: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if run["program"] != digest:
        raise MinimindError(f"the recorded run is of another snippets/{name}.py: {again}.")
    return run


def figure(run: dict[str, Any]) -> Figure:
    """The curve of a recorded run, with the floor and the bar of pairs."""
    seconds, bits = ([row[i] for row in run["held_out"]] for i in (1, 2))
    levels = [Level(run["floor"], "floor", "floor"),
              Level(run["bigram"], "pairs of tokens", "baseline")]  # fmt: skip
    line = Line(seconds, bits, "held out", "model", marker="circle")
    y = Axis("bits per byte, held out", "log", range=(0.25, 4), ticks=[0.25, 0.5, 1, 2, 4])
    return Figure([Panel("seconds of computing", y, [line], levels=levels, legend="none")])


def chosen(run: dict[str, Any]) -> list[dict[str, Any]]:
    """The samples that are shown: the last one before each of the times."""
    found: list[dict[str, Any]] = []
    for seconds in SHOWN:
        before = [s for s in run["samples"] if s["seconds"] <= seconds]
        if before and before[-1] not in found:
            found.append(before[-1])
    return found


def _static(name: str, spec: dict[str, Any], run: dict[str, Any]) -> str:
    made = figure(run)
    picture = records.for_page(figure_svg(made, f"train-{slug(name)}-svg"))
    samples = "".join(
        f'<div class="mm-train__sample"><p class="mm-train__when">step {s["step"]}, '
        f"{s['seconds']:.0f} s</p><blockquote>{esc(s['text'].strip())}</blockquote></div>"
        for s in chosen(run)
    )
    knobs = ", ".join(f"{k['label'].lower()} {k['default']}" for k in spec["knobs"])
    told = (
        f"Recorded on {run['created']} in {run['browser']} on one core ({run['processor']}): "
        f"{run['parameters']:,} parameters, {run['seconds_per_step']:.2f} s a step, {knobs}."
    )
    program = markup.block(f"``````python\n{spec['code'].rstrip()}\n``````")
    return (
        f'<div class="mm-train__static"><p class="mm-lab__title">{esc(spec["title"])}</p>'
        f'<div class="mm-lab__picture" role="img" aria-label="{esc(spec["alt"])}" '
        f'data-search-exclude>{picture}</div><p class="mm-train__when">{esc(told)}</p></div>'
        f'<div class="mm-train__record"><p class="mm-train__label">What it wrote</p>{samples}'
        f"{figure_tables(made.to_plotly(), spec['alt'])}"
        f'<details class="mm-lab__code" data-search-exclude><summary>The program</summary>'
        f"{program}</details></div>"
    )
