"""How long what a reader is asked to run took when it was recorded here.

A step of a learning path names experiments (`normalization/depth`, or `normalization/*` for all of
a module), recipes (`recipes/world-nano`) and shipped models (`models/world-nano`). Their seconds
come from the record, from `recipes/records/NAME.json` and from `run.json`; a name without a
recorded time stops the build.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from minimind_wiki.book import chips, pages, record, records
from minimind_wiki.book.pages import esc
from minimind_wiki.errors import unknown

SHORT = {"second": "s", "minute": "min", "hour": "h"}


def names(run: str) -> list[str]:
    """The runs that a name stands for: itself, or all recorded experiments of `module/*`."""
    if not run.endswith("/*"):
        return [run]
    room = run.removesuffix("/*")
    found = [each.name for each in record.all_records(pages.root())]
    return [name for name in found if name.split("/")[0] == room]


def seconds(name: str) -> float:
    """Recorded wall seconds of an experiment, a recipe or a shipped model."""
    kind, _, rest = name.partition("/")
    if kind == "recipes":
        return sum(float(stage["seconds"]) for stage in recipe(rest)["stages"])
    if kind == "models":
        file = pages.root() / "models" / rest / "run.json"
        if not file.is_file():
            raise pages.fault(f"runs: there is no {name} with a run.json.")
        return float(json.loads(file.read_text(encoding="utf-8"))["seconds"])
    return float(records.load(name)["seconds"])


def recipe(name: str) -> dict[str, Any]:
    """The record of a recipe that was run; refused when the recipe has changed since."""
    data = records.kept("recipes/records", name, "recorded recipe")
    if data["stages_hash"] != stages_hash(pages.root() / data["recipe"]):
        raise pages.fault(
            f"{data['recipe']} has changed since it was recorded: run it again, then "
            f"'python scripts/record_recipe.py {data['recipe']} RUNS_FOLDER'."
        )
    return data


def stages_hash(file: Path) -> str:
    """Hash of what a recipe says: its comments do not count."""
    text = json.dumps(pages.read_yaml(file)["stages"], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def total(runs: Iterable[str]) -> float:
    """Seconds of all of them together."""
    return sum(map(seconds, runs))


def shown(runs: Iterable[str]) -> str:
    """The time of all of them in words; what each took stands in the title."""
    each = list(runs)
    if not each:
        return ""
    told = "; ".join(f"{name}: {brief(seconds(name))}" for name in each)
    return f'<span class="mm-clock" title="recorded: {esc(told)}">{brief(total(each))}</span>'


def brief(time: float) -> str:
    """Seconds, minutes or hours, for a column.

    >>> brief(0.4), brief(48), brief(250), brief(8000)
    ('1 s', '48 s', '4 min', '2.2 h')
    """
    number, unit = chips.amount(max(1.0, time))
    return f"{number} {SHORT[unit]}"


def recipe_table(name: str) -> str:
    """The stages of a recorded recipe with what each took, as a table."""
    data = recipe(name)
    spent = [float(stage["seconds"]) for stage in data["stages"]]
    rows = "".join(
        f"<tr><td>{esc(stage['name'])}</td><td><code>{esc(stage['verb'])}</code></td>"
        f"<td>{brief(took)}</td></tr>"
        for stage, took in zip(data["stages"], spent, strict=True)
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Stage", "Verb", "Took"))
    return (
        f'<table class="mm-steps"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody><tfoot><tr>'
        f"<td>Together</td><td></td><td>{brief(sum(spent))}</td></tr></tfoot></table>"
        f"<p><small>Time of one processor core, recorded {esc(data['created'])} on "
        f"{esc(data['device'])}.</small></p>"
    )


def recipe_result(name: str) -> str:
    """What `minimind path` found in the recorded run: a list, a line for each part."""
    from minimind_wiki.book.asked import PARTS

    titles = {part.name: part.title for part in PARTS}
    items = "".join(
        f"<li>{'✓' if part['passed'] else '✗'} <strong>{esc(titles[part['name']])}.</strong> "
        f"{esc(part['found'])}</li>"
        for part in recipe(name)["result"]["parts"]
    )
    return f'<ul class="mm-found">{items}</ul>'


def recipe_found(name: str, part: str, other: str = "") -> str:
    """What the check found of one part, in the recorded run or in another thing shown to it."""
    data = recipe(name)
    known = {"": data["result"]["parts"]} | data.get("others", {})
    if other not in known:
        raise pages.fault(str(unknown("thing shown", other, known)))
    found = {each["name"]: each["found"] for each in known[other]}
    if part not in found:
        raise pages.fault(str(unknown("part", part, found)))
    where = f"recipes/records/{name}.json"
    return f'<span class="mm-given" title="{esc(where)}">{esc(found[part])}</span>'
