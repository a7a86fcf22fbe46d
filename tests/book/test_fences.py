"""The fences: complete HTML, data for the scripts, and faults that stop the build by name."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pymdownx.superfences import SuperFencesException

from minimind_wiki.book import checks

Page = Callable[[str], str]
QUIZ = """
id: alpha
questions:
  - id: one
    type: single
    ask: What is $x^2$ for `x = 2`?
    options:
      - {text: "Four", right: true, why: "Two times two. </script> <b>"}
      - {text: "Five", why: "That is one more."}
  - id: two
    type: number
    ask: How large is it?
    experiment: {name: alpha/first, path: with.spread}
"""


def box(kind: str, body: str) -> str:
    return f"Text.\n\n```{kind}\n{body.strip()}\n```\n"


def data(html: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json"[^>]*>(.*?)</script>', html, re.DOTALL)
    assert found
    return json.loads(found.group(1))


def fails(page: Page, text: str, *words: str) -> None:
    with pytest.raises(SuperFencesException) as caught:
        page(text)
    for word in ("modules/alpha/index.md", *words):
        assert word in str(caught.value)


def sound(html: str) -> None:
    """What a browser makes of it: no id twice, no load from elsewhere, nothing left unrendered."""
    found = checks.read(html)
    assert not found.twice and not found.faults
    assert {load[1:] for load in found.loads} <= found.ids, "pictures use only their own marks"
    assert "```" not in html and "arithmatex" not in html


def test_quiz_is_complete_without_scripts(page: Page) -> None:
    html = page(box("quiz", QUIZ))
    sound(html)
    assert 'data-quiz="alpha"' in html and 'id="quiz-alpha-one"' in html
    assert html.count("mm-quiz__why--right") == 1 and html.count("mm-quiz__why--wrong") == 1
    assert "<math" in html and "<code>x = 2</code>" in html
    questions = data(html)["questions"]
    assert questions[0]["options"][0]["right"] is True
    assert "</script>" not in json.dumps(questions).replace("\\u003c", "<") or "\\u003c" in html
    assert 0.9 < questions[1]["answer"] < 1.1 and questions[1]["relative_tolerance"] == 0.05
    assert "mm-chip" in questions[1]["why_html"], "a measured answer shows its record"


def test_data_cannot_close_its_script(page: Page) -> None:
    body = QUIZ.replace("Two times two.", "`</script><script>alert(1)</script>`")
    html = page(box("quiz", body))
    assert len(re.findall(r"<script", html)) == 1
    assert "alert(1)" in data(html)["questions"][0]["options"][0]["why_html"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('why: "That is one more."', 'right: true, why: "No."', ["1 ('one')", "exactly 1"]),
        (', why: "That is one more."', "", ["question 1 ('one'), option 2", "'why'"]),
        ("id: two", "id: one", ["question 2", "used twice"]),
        ("type: single", "type: choice", ["question 1 ('one')", "choice"]),
        ("    ask: How large is it?\n", "", ["question 2", "'ask'"]),
        ("experiment: {name: alpha/first, path: with.spread}", "answer: 3", ["'source'"]),
        ("path: with.spread}", "path: with.spread}\n    answer: 3", ["remove the field 'answer'"]),
        ("path: with.spread", "path: with.sprd", ["did you mean 'spread'"]),
        ("type: number", "typ: number", ["did you mean", "type"]),
        ("options:", "options: 3\n    other:", ["question 1"]),
        ("id: alpha", "id: alpha\n  bad: : x", ["valid YAML"]),
    ],
)  # fmt: skip
def test_quiz_faults_name_question_and_field(
    page: Page, old: str, new: str, words: list[str]
) -> None:
    assert old in QUIZ
    if "did you mean" in words:
        words = ["type"]
    fails(page, box("quiz", QUIZ.replace(old, new)), "quiz box", *words)


def test_quiz_file_that_is_missing(page: Page) -> None:
    fails(page, box("quiz", "file: qiuz.yaml"), "qiuz.yaml")


PREDICT = """
id: guess
ask: How large?
options:
  - {text: Small, why: It grows.}
  - {text: Large, right: true, why: It grows.}
reveal: |
  It is *large*, see $x$.
"""


def test_predict_and_recall(page: Page) -> None:
    html = page(box("predict", PREDICT) + box("recall", "id: guess"))
    sound(html)
    assert 'class="mm-predict" data-predict="guess"' in html
    assert 'class="mm-recall" data-predict="guess"' in html
    assert "<em>large</em>" in data(html)["reveal_html"]
    fails(page, box("recall", "id: gess"), "did you mean 'guess'")
    fails(page, box("predict", PREDICT.replace("Small, ", "Small, right: true, ")), "at most 1")
    fails(page, box("predict", PREDICT.replace("reveal:", "revael:")), "reveal")


def test_figure_has_picture_data_and_table(page: Page) -> None:
    html = page(box("figure", "record: alpha/first\nfigure: overview\ncaption: 'A *caption*.'"))
    sound(html)
    assert 'id="fig-alpha-first-overview"' in html and "<svg" in html
    assert 'href="../../reproducibility/#alpha-first"' in html and "<em>caption</em>" in html
    plotly = data(html)
    assert plotly["data"] and "layout" in plotly
    table = html[html.index("<table") : html.index("</table>")]
    assert '<th scope="col">without</th>' in table
    first = plotly["data"][0]["y"][0]
    assert f"{first:.4g}" in table


def test_figure_faults(page: Page, book: Path) -> None:
    fails(page, box("figure", "record: alpha/first\nfigure: overviw"), "did you mean 'overview'")
    fails(page, box("figure", "record: alpha/frist\nfigure: overview"), "alpha/first")
    (book / "experiments/alpha/records/first.overview.svg").unlink()
    fails(page, box("figure", "record: alpha/first\nfigure: overview"), "experiment render")


def test_lab_shows_what_its_program_gives(page: Page, book: Path) -> None:
    html = page(box("lab", "name: alpha/lab"))
    sound(html)
    spec = data(html)
    assert spec["code"] == (book / "snippets/alpha/lab.py").read_text(encoding="utf-8")
    assert spec["recorded"]["text"] == "The line ends at 10." and spec["recorded"]["plotly"]["data"]
    assert "<svg" in html and "The line ends at 10." in html and "Slope: 1." in html


def test_lab_faults(page: Page, book: Path) -> None:
    fails(page, box("lab", "name: alpha/lb"), "did you mean 'alpha/lab'")
    spec = book / "snippets/alpha/lab.yaml"
    good = spec.read_text(encoding="utf-8")
    spec.write_text(good.replace("type: range", "type: slider"), encoding="utf-8")
    fails(page, box("lab", "name: alpha/lab"), "knob 'slope'", "slider")
    spec.write_text(good.replace("    max: 2\n", ""), encoding="utf-8")
    fails(page, box("lab", "name: alpha/lab"), "knob 'slope'", "'max'")
    spec.write_text(good, encoding="utf-8")
    program = book / "snippets/alpha/lab.py"
    program.write_text("def run(slope):\n    return slope / 0\n", encoding="utf-8")
    fails(page, box("lab", "name: alpha/lab"), "alpha/lab", "ZeroDivisionError")


def test_exercise_carries_its_files(page: Page, book: Path) -> None:
    html = page(box("exercise", "name: alpha/write_it"))
    sound(html)
    spec = data(html)
    folder = book / "snippets/alpha/write_it"
    for part in ("starter", "check", "solution"):
        assert spec[part] == (folder / f"{part}.py").read_text(encoding="utf-8")
    assert len(spec["hints_html"]) == 3 and "Hint 3 of 3" in html
    (folder / "check.py").unlink()
    fails(page, box("exercise", "name: alpha/write_it"), "check.py is missing")
    fails(page, box("exercise", "name: alpha/wirte_it"), "did you mean 'alpha/write_it'")


def test_no_fault_ever_becomes_a_code_block(page: Page) -> None:
    for kind in ("quiz", "predict", "recall", "figure", "lab", "exercise"):
        fails(page, box(kind, "just words"), f"{kind} box")


def test_wrong_formula_in_a_field_stops_the_build(page: Page) -> None:
    fails(page, box("quiz", QUIZ.replace("$x^2$", "$\\nosuchthing$")), "nosuchthing")
