"""How long a learning path takes, and what a reader has to show at its end.

`docs/timetables.yaml` names the steps of a path: a page, or the part of it from one heading to
another, and what the reader does there. Minutes follow from the words and the things to do, so a
page that grows makes its path longer. What the reader's machine does meanwhile is told apart from
it, from recorded run times (`runtimes.py`). A path of many pages has parts (`syllabus.py`).
"""

from __future__ import annotations

import math
import re
from typing import Any

from minimind_wiki.book import asked, pages
from minimind_wiki.book.fences.common import check_fields
from minimind_wiki.book.pages import esc
from minimind_wiki.errors import unknown

PACE = 175
"""Words a minute. Most adults read English non-fiction at 175 to 300 (Brysbaert 2019); here every
second sentence has a formula or a number, so the slow end is taken."""

LAB, QUESTION = 2.0, 0.75
"""Minutes for a lab (run it, move what can be moved) and for a question of a quiz or a guess."""

ASIDE = re.compile(
    r"^(`{3,})[^\n]*\n.*?^\1|^\$\$.*?^\$\$|<svg.*?</svg>|^---\n.*?^---$", re.S | re.M
)
CALL = re.compile(r"\{\{.*?\}\}|\{[^}\n]*\}|<[^>]+>|!?\[|\]\([^)]*\)")


def words(markdown: str) -> int:
    """Words of prose: no fences, formulas on their own, pictures or macros.

    >>> words("## Why { #why }\\n\\n1 [two](x.md) {{ m('a', 'b') }} four.\\n```lab\\nx: y\\n```\\n")
    4
    """
    return len(re.findall(r"\w[\w'’-]*", CALL.sub(" ", ASIDE.sub(" ", markdown))))


def part(markdown: str, start: str = "", stop: str = "") -> str:
    """The text from the heading `start` up to the heading `stop`; ids, empty for the page's ends.

    >>> part("a\\n## B { #b }\\nc\\n## D { #d }\\ne", "b", "d")
    '## B { #b }\\nc\\n'
    """
    places = {found[1]: found.start() for found in HEADING.finditer(markdown)}
    for name in filter(None, (start, stop)):
        if name not in places:
            raise pages.fault(str(unknown("heading", name, places)))
    return markdown[places.get(start, 0) : places.get(stop, len(markdown))]


HEADING = re.compile(r"^#{1,4} .*\{ #([\w-]+) \}$", re.M)


def of(slug: str) -> dict[str, Any]:
    """What `docs/timetables.yaml` says of a path."""
    paths = pages.read_yaml(pages.docs().parent / "timetables.yaml")
    if slug not in paths:
        raise pages.fault(str(unknown("timetable", slug, paths)))
    entry: dict[str, Any] = paths[slug]
    where = f"docs/timetables.yaml, {slug}"
    if "parts" in entry:
        check_fields(entry, ["parts", "says"], ["labs", "exercises", "makes"], where)
        return entry
    check_fields(entry, ["steps", "says"], ["labs", "exercises"], where)
    known = ["from", "until", "labs", "questions", "exercise", "title", "runs"]
    for number, step in enumerate(entry["steps"], 1):
        check_fields(step, ["do", "page"], known, f"{where}, step {number}")
    return entry


def timetable(slug: str) -> str:
    """The steps of a path in order, with the clock after each. A Markdown table."""
    lines, clock = ["| after | step | what you do |", "|---:|---|---|"], 0.0
    for step in of(slug)["steps"]:
        clock += minutes(step)
        anchor = f"#{step['from']}" if step.get("from") else ""
        name = step.get("title") or title(step["page"], step.get("from", ""))
        link = f"[{name}](../{step['page']}{anchor})"
        lines.append(f"| {shown(clock, exact=True)} | {link} | {step['do']} |")
    return "\n".join(lines)


def certificate(slug: str) -> str:
    """The list of what the path asks for; the page's script fills in what has been done."""
    entry = of(slug)
    labs = [{"name": name, "title": _about(f"{name}.yaml")} for name in entry.get("labs", [])]
    tasks = [
        {"name": name, "title": _about(f"{name}/exercise.yaml")}
        for name in entry.get("exercises", [])
    ]
    makes = [
        {"name": f"{slug}/{part.name}", "title": part.title}
        for part in (asked.PARTS if entry.get("makes") else ())
    ]
    data = {"path": slug, "says": entry["says"], "labs": labs, "exercises": tasks} | (
        {"makes": makes} if makes else {}
    )
    items = "".join(f"<li>{esc(item['title'])}</li>" for item in (*labs, *tasks, *makes))
    return (
        f'<div class="mm-certificate" data-certificate="{slug}">'
        f"{pages.json_script(data, 'mm-certificate__spec')}"
        f'<p class="mm-certificate__asks">This path asks for:</p><ul>{items}</ul></div>'
    )


def _about(file: str) -> str:
    path = pages.root() / "snippets" / file
    if not path.is_file():
        raise pages.fault(f"docs/timetables.yaml: there is no snippets/{file}.")
    return str(pages.read_yaml(path)["title"])


def minutes(step: dict[str, Any]) -> float:
    """Minutes of one step: reading, labs, questions, and what its exercise says of itself."""
    text = part(source(step["page"]), step.get("from", ""), step.get("until", ""))
    total = words(text) / PACE + LAB * step.get("labs", 0) + QUESTION * step.get("questions", 0)
    if "exercise" in step:
        about = pages.read_yaml(pages.root() / "snippets" / step["exercise"] / "exercise.yaml")
        total += float(about["minutes"])
    return total


def length(slug: str) -> str:
    """The whole time of a path."""
    return shown(sum(minutes(step) for step in of(slug)["steps"]))


WHY = (
    f"counted from the pages: {PACE} words a minute, {LAB:g} minutes a lab, {QUESTION * 60:g} "
    "seconds a question"
)


def shown(total: float, exact: bool = False) -> str:
    """Minutes, or hours where they are many; where they come from stands in the title.

    >>> shown(12.2)[-14:], shown(200)[-13:], shown(124.3, exact=True)[-14:]
    ('>13 min</span>', '>3.5 h</span>', '>2 h 05</span>')
    """
    if total < 90:
        text = f"{math.ceil(total)} min"
    elif exact:
        text = "{} h {:02d}".format(*divmod(math.ceil(total), 60))
    else:
        text = f"{math.ceil(total / 30) / 2:g} h"
    return f'<span class="mm-clock" title="{esc(WHY)}">{text}</span>'


def source(page: str) -> str:
    """The Markdown of a page; an error that names the page at work if there is none."""
    file = pages.docs() / page
    if not file.is_file():
        raise pages.fault(f"timetable: there is no page {page}.")
    return file.read_text(encoding="utf-8")


def title(page: str, start: str = "") -> str:
    """The first heading of a page, or of its part from the heading `start`."""
    found = re.search(r"(?m)^#+ (.+?)(?: \{.*\})?$", part(source(page), start))
    return found[1] if found else page
