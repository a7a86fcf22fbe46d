"""A path in parts: whole modules by tier, the machine's time from records, what is not there."""

from __future__ import annotations

import json
import re

import pytest

from minimind_wiki.book import asked, pages, runtimes, syllabus, timetable
from minimind_wiki.errors import MinimindError

PATHS = """
long:
  says: has made it
  makes: true
  parts:
    - name: one
      steps:
        - {tier: one}
        - {page: guides/made.md, do: Read., runs: [alpha/*, models/small], minutes: 10}
    - name: two
      steps:
        - {page: guides/made.md, from: end, title: The end, do: Run., runs: [recipes/toy]}
"""
PAGE = "# Made { #made }\n\n" + "word " * 350 + "\n## End { #end }\n\n" + "word " * 175
RECIPE = "about: a toy\nstages:\n  - {name: base, verb: pretrain}\n"


@pytest.fixture
def walk(book):
    """The small book with a path of two parts, a shipped model and a recorded recipe."""
    for folder in ("docs/en/guides", "models/small", "recipes/records", "docs/en/paths"):
        (book / folder).mkdir(parents=True)
    (book / "docs/timetables.yaml").write_text(PATHS)
    (book / "docs/en/guides/made.md").write_text(PAGE)
    (book / "models/small/run.json").write_text('{"seconds": 120.0}')
    (book / "recipes/toy.yaml").write_text(RECIPE)
    parts = [{"name": part.name, "passed": True, "found": "seen <it>"} for part in asked.PARTS]
    kept = {
        "recipe": "recipes/toy.yaml",
        "stages_hash": runtimes.stages_hash(book / "recipes/toy.yaml"),
        "created": "2026-11-22", "device": "a core", "result": {"parts": parts},
        "stages": [{"name": "base", "verb": "pretrain", "seconds": 600.0}],
    }  # fmt: skip
    (book / "recipes/records/toy.json").write_text(json.dumps(kept))
    page = book / "docs/en/modules/alpha/index.md"
    page.write_text(page.read_text().replace("draft: true\n", ""))
    pages.enter("paths/long.md", "paths/long/")
    return book


def plain(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html)).strip()


def test_a_tier_stands_for_its_written_modules(walk):
    keys = [step.key for step in syllabus.steps("long")["one"]]
    assert keys == ["alpha", "guides/made"]  # beta is planned
    page = walk / "docs/en/modules/alpha/index.md"
    page.write_text(page.read_text().replace("---\n", "---\ndraft: true\n", 1))
    assert [step.key for step in syllabus.steps("long")["one"]] == ["guides/made"]


def test_your_time_and_the_machines_stand_apart(walk):
    module, page = syllabus.steps("long")["one"]
    recorded = runtimes.seconds("alpha/first")
    assert module.runs == ("alpha/first",) and runtimes.total(module.runs) == recorded
    assert page.runs == ("models/small",), "a run that two steps name counts once"
    assert page.minutes == pytest.approx(timetable.words(PAGE) / timetable.PACE + 10)
    table = syllabus.syllabus("long", "two")
    assert plain(table).startswith("Step You Machine The end Run. 2 min 10 min Together")
    assert 'href="../../guides/made/#end"' in table and 'data-step="guides/made"' in table
    hours = plain(syllabus.path_hours("long"))
    assert hours.endswith("of a machine") and "12 min" in hours


def test_a_module_is_counted_whole(walk):
    """Its quiz has questions, its page a guess and an exercise with a time box."""
    names = ("index", "code", "quiz")
    texts = [(walk / f"docs/en/modules/alpha/{name}.md").read_text() for name in names]
    reading = sum(map(timetable.words, texts)) / timetable.PACE
    assert syllabus.module("alpha").minutes > reading + 5
    assert syllabus.counted("```quiz\nquestions: [1, 2]\n```\n", "guides/made.md") == 1.5


def test_what_is_missing_is_told_by_computation(walk):
    told = syllabus.path_planned()
    assert told.startswith("Of 2 modules 1 are written. The other 1 would add some ")
    assert syllabus.written_of("quick") == "one of two"
    assert "Beta counts" in syllabus.planned() and "Why alpha" not in syllabus.planned()
    assert plain(syllabus.machine_time("quick")) == runtimes.brief(runtimes.seconds("alpha/first"))


def test_a_recorded_recipe_shows_its_times_and_what_was_found(walk):
    assert plain(runtimes.recipe_table("toy")).startswith(
        "Stage Verb Took base pretrain 10 min Together 10 min Time of one processor core"
    )
    shown = runtimes.recipe_result("toy")
    assert plain(runtimes.recipe_found("toy", "small")) == "seen &lt;it&gt;"
    with pytest.raises(MinimindError, match="thing shown"):
        runtimes.recipe_found("toy", "small", "int4")
    assert shown.count("<li>✓") == len(asked.PARTS) and "seen &lt;it&gt;" in shown


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("recipes/toy.yaml", "pretrain", "sft", "has changed since"),
        ("docs/timetables.yaml", "recipes/toy", "recipes/tyo", "did you mean 'toy'"),
        ("docs/timetables.yaml", "models/small", "models/smal", "no models/smal"),
        ("docs/timetables.yaml", "tier: one", "tier: onne", "did you mean 'one'"),
        ("docs/timetables.yaml", "minutes: 10", "minuts: 10", "minut"),
        ("docs/timetables.yaml", "name: two", "name: tow", "unknown part"),
        ("docs/timetables.yaml", "alpha/*, models/small", "alpha/secnd", "secnd"),
    ],
)
def test_what_leads_nowhere_is_named(walk, file, old, new, says):
    path = walk / file
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(MinimindError, match=re.escape(says)):
        syllabus.syllabus("long", "one")
        syllabus.syllabus("long", "two")


def test_a_certificate_of_things_made_names_the_parts_of_the_check(walk):
    data = json.loads(re.search(r"<script[^>]*>(.*?)</script>", timetable.certificate("long"))[1])
    assert [item["name"] for item in data["makes"]] == [f"long/{p.name}" for p in asked.PARTS]
    assert f'data-asked="{len(asked.PARTS)}"' in syllabus.walk("long")
    pages.use_root(None)
    assert "makes" not in timetable.certificate("quick")


def test_the_mastery_path_of_the_book_leads_somewhere():
    pages.use_root(None)
    parts = syllabus.steps("mastery")
    assert list(parts) == ["model", "data", "pretraining", "answers", "people", "own"]
    assert all(step.minutes > 1 for each in parts.values() for step in each)
    runs = [run for each in parts.values() for step in each for run in step.runs]
    assert len(runs) == len(set(runs)) > 30
    recorded = {file.stem for file in (pages.root() / "recipes/records").glob("*.json")}
    assert all(runtimes.recipe(name)["result"]["parts"] for name in recorded)
