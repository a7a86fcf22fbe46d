"""Times of the learning paths: from words and things to do, and every step leads somewhere."""

from __future__ import annotations

import json
import re

import pytest

from minimind_wiki.book import pages, timetable
from minimind_wiki.errors import MinimindError


@pytest.fixture
def small(tmp_path):
    """A book of one page, one lab, one exercise and one path."""
    (tmp_path / "docs" / "en").mkdir(parents=True)
    (tmp_path / "snippets" / "a" / "task").mkdir(parents=True)
    prose = "word " * timetable.PACE
    (tmp_path / "docs" / "en" / "page.md").write_text(
        f"# One page {{ #top }}\n\n{prose}\n\n## Two {{ #two }}\n\n{prose}{prose}\n"
        f"```lab\nname: {prose}\n```\n\n## Three {{ #three }}\n\n{prose}\n"
    )
    (tmp_path / "snippets" / "a" / "lab.yaml").write_text("title: A lab\n")
    (tmp_path / "snippets" / "a" / "task" / "exercise.yaml").write_text(
        "title: A task\nminutes: 7\n"
    )
    (tmp_path / "docs" / "timetables.yaml").write_text(
        "short:\n  says: knows\n  labs: [a/lab]\n  exercises: [a/task]\n  steps:\n"
        "    - {page: page.md, from: two, until: three, labs: 1, questions: 4, do: Read.}\n"
        "    - {page: page.md, from: three, exercise: a/task, do: Write.}\n"
    )
    pages.use_root(tmp_path)
    yield tmp_path
    pages.use_root(None)


def clocks(text: str) -> list[str]:
    return re.findall(r"\d[\d.]* (?:min|h)", re.sub(r'title="[^"]*"', "", text))


def test_minutes_are_words_labs_questions_and_exercises(small):
    """Two minutes of words, a lab of two, four questions of three quarters; then one and seven."""
    assert clocks(timetable.timetable("short")) == ["8 min", "16 min"]
    assert clocks(timetable.length("short")) == ["16 min"]


def test_a_fence_takes_no_reading_and_longer_prose_does(small):
    page = small / "docs" / "en" / "page.md"
    page.write_text(
        page.read_text().replace("## Three", "```x\n" + "no " * 900 + "\n```\n\n## Three")
    )
    assert clocks(timetable.length("short")) == ["16 min"]
    page.write_text(page.read_text().replace("## Three", "yes " * timetable.PACE + "\n\n## Three"))
    assert clocks(timetable.length("short")) == ["17 min"]


def test_a_certificate_names_labs_and_exercises(small):
    html = timetable.certificate("short")
    data = json.loads(re.search(r"<script[^>]*>(.*?)</script>", html)[1])
    assert data["labs"] == [{"name": "a/lab", "title": "A lab"}]
    assert data["exercises"] == [{"name": "a/task", "title": "A task"}]
    assert "<li>A lab</li><li>A task</li>" in html


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("until: three", "until: thre", "did you mean 'three'"),
        ("page: page.md, from: two", "page: pag.md, from: two", "no page pag.md"),
        ("labs: [a/lab]", "labs: [a/lob]", "no snippets/a/lob.yaml"),
        ("do: Read.", "du: Read.", "step 1"),
    ],
)
def test_what_leads_nowhere_is_named(small, old, new, says):
    file = small / "docs" / "timetables.yaml"
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(MinimindError, match=says):
        timetable.timetable("short")
        timetable.certificate("short")


def test_the_quick_path_keeps_its_promise_of_half_an_hour():
    total = sum(timetable.minutes(step) for step in timetable.of("quick")["steps"])
    assert 25 <= total <= 35
    assert len(timetable.of("quick")["labs"]) == 5
