"""A path in parts: whole pages and whole modules, each with the reader's time and the machine's.

The mastery path goes over everything. Its parts name pages and tiers of the curriculum; a tier
stands for its written modules, so a module joins the path on the day it is written. What is counted
on a page is found on it: words, labs, questions, exercises. Planned modules have no time; how much
they might add is told apart, from the mean of those that are written.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from minimind_wiki.book import asked, library, pages, runtimes, timetable
from minimind_wiki.book.fences.common import check_fields
from minimind_wiki.book.pages import esc
from minimind_wiki.book.timetable import LAB, PACE, QUESTION, part, source, title, words
from minimind_wiki.errors import unknown

BOX = re.compile(r"(?ms)^`{3,4}(lab|view|playground|train|predict|quiz|exercise)\n(.*?)^`{3,4}$")
OPTIONAL = ["from", "until", "title", "runs", "minutes"]


@dataclass(frozen=True, slots=True)
class Step:
    """One row: where it is, what the reader does, for how long, and what the machine runs."""

    key: str
    link: str
    title: str
    do: str
    minutes: float
    runs: tuple[str, ...]


def steps(slug: str) -> dict[str, list[Step]]:
    """The steps of each part of a path. A run that two steps name counts with the first."""
    found: dict[str, list[Step]] = {}
    seen: set[str] = set()
    for entry in timetable.of(slug).get("parts", []):
        check_fields(entry, ["name", "steps"], [], f"docs/timetables.yaml, {slug}")
        found[entry["name"]] = []
        for step in _expanded(slug, entry["steps"]):
            fresh = tuple(run for run in step.runs if run not in seen)
            seen |= set(fresh)
            found[entry["name"]].append(
                Step(step.key, step.link, step.title, step.do, step.minutes, fresh)
            )
    return found


def _expanded(slug: str, entries: list[dict[str, Any]]) -> Iterator[Step]:
    tiers = {tier["id"]: tier for tier in library.tiers()}
    for entry in entries:
        where = f"docs/timetables.yaml, {slug}"
        if "tier" in entry:
            check_fields(entry, ["tier"], [], where)
            if entry["tier"] not in tiers:
                raise pages.fault(str(unknown("tier", entry["tier"], tiers)))
            for item in tiers[entry["tier"]]["modules"]:
                if library.module_page_status(item["slug"]) == "written":
                    yield module(item["slug"])
        else:
            check_fields(entry, ["do", "page"], OPTIONAL, where)
            yield _page(entry)


def _page(entry: dict[str, Any]) -> Step:
    page, start = entry["page"], entry.get("from", "")
    text = part(source(page), start, entry.get("until", ""))
    address = page.removesuffix("index.md").removesuffix(".md").rstrip("/")
    runs = [name for run in entry.get("runs", []) for name in runtimes.names(run)]
    link = f"{address}/#{start}" if start else f"{address}/"
    return Step(address, link, entry.get("title") or title(page, start), entry["do"],
                counted(text, page) + float(entry.get("minutes", 0)), tuple(runs))  # fmt: skip


def module(slug: str) -> Step:
    """A whole module: teaching page, code guide and quiz, and all of its experiments."""
    names = [f"modules/{slug}/{file}.md" for file in ("index", "code", "quiz")]
    there = [name for name in names if (pages.docs() / name).is_file()]
    spent = sum(counted(source(name), name) for name in there)
    return Step(slug, f"modules/{slug}/", library.module(slug).title,
"", spent, tuple(runtimes.names(f"{slug}/*")))  # fmt: skip


def counted(text: str, page: str) -> float:
    """Minutes of a text: its words, and the labs, questions and exercises that stand in it.

    >>> counted("word " * 350 + "\\n```view\\nshow: lens\\n```\\n", "a.md")
    4.0
    """
    spent = words(text) / PACE
    for kind, body in BOX.findall(text):
        if kind in ("lab", "view", "playground", "train"):
            spent += LAB
        elif kind == "predict":
            spent += QUESTION
        elif kind == "exercise":
            spent += _exercise(yaml.safe_load(body)["name"])
        else:
            spent += QUESTION * _questions(yaml.safe_load(body), page)
    return spent


def _exercise(name: str) -> float:
    about = pages.read_yaml(pages.root() / "snippets" / name / "exercise.yaml")
    return float(about["minutes"])


def _questions(quiz: dict[str, Any], page: str) -> int:
    if "file" in quiz:
        quiz = pages.read_yaml((pages.docs() / page).parent / quiz["file"])
    return len(quiz["questions"])


# ---- what a page shows


def syllabus(slug: str, name: str) -> str:
    """The steps of one part as a table; the page's script marks what was done."""
    known = steps(slug)
    if name not in known:
        raise pages.fault(str(unknown("part", name, known)))
    rows = "".join(map(_row, known[name]))
    if not rows:
        return "<p>Nothing of this part is written yet.</p>"
    yours = sum(step.minutes for step in known[name])
    runs = [run for step in known[name] for run in step.runs]
    foot = (
        f"<tfoot><tr><td>Together</td><td>{timetable.shown(yours)}</td>"
        f"<td>{runtimes.shown(runs)}</td></tr></tfoot>"
    )
    return (
        '<table class="mm-steps"><thead><tr><th scope="col">Step</th><th scope="col">You</th>'
        f'<th scope="col">Machine</th></tr></thead><tbody>{rows}</tbody>{foot}</table>'
    )


def walk(slug: str) -> str:
    """Where the page's script shows how far the reader is on a path of steps."""
    count = len(asked.PARTS) if timetable.of(slug).get("makes") else 0
    return f'<div class="mm-walk" data-path="{esc(slug)}" data-asked="{count}"></div>'


def path_hours(slug: str) -> str:
    """How long all that exists takes: the reader's time and the machine's, apart."""
    every = [step for each in steps(slug).values() for step in each]
    yours = timetable.shown(sum(step.minutes for step in every))
    return f"{yours} of yours and {runtimes.shown([r for s in every for r in s.runs])} of a machine"


def _row(step: Step) -> str:
    do = f"<br>{esc(step.do)}" if step.do else ""
    return (
        f'<tr data-step="{esc(step.key)}"><td><a href="{pages.relative(step.link)}">'
        f"{esc(step.title)}</a>{do}</td><td>{timetable.shown(step.minutes)}</td>"
        f"<td>{runtimes.shown(step.runs)}</td></tr>"
    )


def machine_time(slug: str) -> str:
    """The recorded seconds of all experiments of a path's modules."""
    written = [each for each in _members(slug) if library.module_page_status(each) == "written"]
    return runtimes.shown([run for each in written for run in runtimes.names(f"{each}/*")])


def path_planned() -> str:
    """What is not written yet: how many modules, and the time they would add at the present mean.

    One sentence. The mean is that of the written modules, and the sentence says so.
    """
    known = library.modules().values()
    written = [module(each.slug) for each in known if each.status == "written"]
    missing = len(known) - len(written)
    if not missing:
        return "No module is missing."
    if not written:
        return f"None of the {missing} modules is written."
    yours = sum(step.minutes for step in written) / len(written)
    runs = sum(runtimes.total(step.runs) for step in written) / len(written)
    hours, busy = math.ceil(missing * yours / 60), runtimes.brief(missing * runs)
    return (
        f"Of {len(known)} modules {len(written)} are written. The other {missing} would add some "
        f"{hours} h of yours and {busy} of a machine, if each took what a written one takes on "
        "average"
    )


def planned() -> str:
    """The modules that have no page yet, by tier, in a box that opens."""
    rows = []
    for tier in library.tiers():
        open_ = [m for m in tier["modules"] if library.module_page_status(m["slug"]) != "written"]
        if open_:
            titles = "; ".join(esc(item["title"]) for item in open_)
            rows.append(f"<li><strong>{esc(tier['title'])}</strong>: {titles}</li>")
    return (
        f'<details class="mm-planned"><summary>Planned</summary><ul>{"".join(rows)}</ul></details>'
    )


def written_of(slug: str) -> str:
    """How many modules of a path are written, in words: "five of seven", "all seven"."""
    members = _members(slug)
    done = sum(library.module_page_status(each) == "written" for each in members)
    if done == len(members):
        return f"all {_word(done)}"
    return f"{_word(done)} of {_word(len(members))}"


def _members(slug: str) -> list[str]:
    known = {item["slug"]: item for item in (library._file("curriculum") or {}).get("paths", [])}
    if slug not in known:
        raise pages.fault(str(unknown("path", slug, known)))
    members = known[slug]["modules"]
    return list(members) if isinstance(members, list) else list(library.modules())


NUMBERS = [
    "none",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
]


def _word(number: int) -> str:
    return NUMBERS[number] if number < len(NUMBERS) else str(number)
