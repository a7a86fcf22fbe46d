"""Numbers typed by hand, and quizzes that can be answered without reading."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from minimind_wiki.book import lint

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The loss falls to 1.83 after that.", ["1.83"]),
        ("It shrinks by 1e-6 and 2.5E+3.", ["1e-6", "2.5E+3"]),
        ("About 10^-6 of it, or 10⁻⁶.", ["10^-6", "10⁻⁶."]),
        ("Between 7–64 % faster, or 12 percent.", ["7–64 %", "12 percent"]),
        ("It is 20× faster, 3x slower.", ["20×", "3x"]),
        ("It took 48 seconds, 12 ms and 3 hours.", ["48 seconds", "12 ms", "3 hours"]),
        ("At 1,200 tokens/s and 30 GB/s.", ["1,200 tokens/s", "30 GB/s"]),
        ("A negative −0.5 too.", ["−0.5"]),
        # settings, counts and names are no measurements
        ("Stack 64 layers of width 512, 25,829,888 parameters.", []),
        ("A matrix of 512×512 or 8 × 64 entries.", []),
        ("Qwen2.5, Llama 3.1, Python 3.11, GPT-3.5 and section 2.1.", []),
        ("The larger of (0, x), and 3, seconds later.", []),
        ("In 2019, arXiv:1910.07467 said so.", []),
        ("1. first\n2. second", []),
        # what is not prose
        ("# A heading with 0.5\n\n## At 20 %\n", []),
        ("---\ntitle: 0.5\n---\n\nText.", []),
        ("Code `lr=0.1` and ``a ` 0.2`` stay.", []),
        ("```python\nx = 0.1  # 20×\n```\n", []),
        ("    ```text\n    0.5 s\n    ```\n", []),
        ("Maths $0.5 x$ and \\(1e-6\\) and\n\n$$\n0.25\n$$\n", []),
        ("A [link](https://example.org/0.5) and <https://example.org/1.5>.", []),
        ("<!-- 0.5 -->\n<span title='0.5'>text</span>", []),
        ('{{ m("a/b", "c.d", ".1e") }} and {{ given("0.1", "a rate") }}.', []),
        # boxes: their prose is read, their data is not
        ("```predict\nid: x-0.5\nask: Is it 0.5?\nreveal: |\n  It is 0.75.\n```\n", ["0.75"]),
        ('```figure\nrecord: a/b\ncaption: "It falls by 30 %."\n```\n', ["30 %"]),
        ("```quiz\nfile: quiz-0.5.yaml\n```\n", []),
    ],
)  # fmt: skip
def test_which_numbers_are_suspect(text: str, found: list[str]) -> None:
    assert [number for _, number in lint.suspects(text)] == found


def test_line_numbers_survive_what_is_left_out() -> None:
    text = "---\na: 1\n---\n\n```python\n0.1\n```\n\n$$\n0.2\n$$\n\nHere: 0.3.\n"
    assert lint.suspects(text) == [(13, "0.3")]


def test_the_log_may_hold_its_dated_numbers(tmp_path: Path) -> None:
    for name in ("log.md", "index.md"):
        (tmp_path / name).write_text("It took 48 seconds.\n", encoding="utf-8")
    assert [fault.split(":")[0] for fault in lint.problems(tmp_path)] == ["index.md"]


def test_problems_name_page_line_and_way_out(tmp_path: Path) -> None:
    folder = tmp_path / "modules" / "alpha"
    folder.mkdir(parents=True)
    (folder / "index.md").write_text("# T\n\nIt is 20× faster.\n", encoding="utf-8")
    (folder / "quiz.yaml").write_text(
        'id: a\nquestions:\n  - ask: "Is it 0.5?"\n    options:\n      - text: "0.6"\n'
        '        why: "No, 0.7."\n', encoding="utf-8",
    )  # fmt: skip
    page, quiz = lint.problems(tmp_path)
    assert page.startswith("modules/alpha/index.md:3: the number '20×'")
    assert "m(…)" in page and "given(…)" in page and "cited(…)" in page
    assert quiz.startswith("modules/alpha/quiz.yaml:6: the number '0.7'")


def questions(rights: list[int], lengths: list[list[int]]) -> list[dict]:
    return [
        {
            "type": "single",
            "options": [{"text": "x" * n, "right": i == right} for i, n in enumerate(sizes)],
        }
        for right, sizes in zip(rights, lengths, strict=True)
    ]


def test_quiz_tells() -> None:
    even = [[5, 6, 5], [6, 5, 6], [5, 5, 6], [6, 6, 5]]
    assert lint.tells(questions([0, 1, 2, 1], [[5, 5, 5]] * 4)) == []
    assert "number 2 in 3 of 4" in lint.tells(questions([1, 1, 1, 0], [[5, 5, 5]] * 4))[0]
    longest = lint.tells(questions([0, 1, 2, 0], [[9, 5, 5], [5, 9, 5], [5, 5, 9], [5, 5, 5]]))
    assert longest and "longest in 3 of 4" in longest[0]
    shortest = lint.tells(questions([0, 1, 2, 0], [[1, 5, 5], [5, 1, 5], [5, 5, 1], [5, 5, 5]]))
    assert shortest and "shortest in 3 of 4" in shortest[0]
    assert lint.tells(questions([0, 0, 0], even[:3])) == [], "three questions prove nothing"


def test_over_the_whole_book_length_tells_nothing() -> None:
    """Who never takes the longest option, or always the shortest, gains little by it."""
    ranks = []
    for file in sorted((ROOT / "docs/en").rglob("*quiz*.yaml")):
        for question in yaml.safe_load(file.read_text(encoding="utf-8"))["questions"]:
            if question["type"] == "single":
                sizes = [len(option["text"]) for option in question["options"]]
                right = next(i for i, o in enumerate(question["options"]) if o.get("right"))
                ranks.append((sizes[right] == max(sizes), sizes[right] == min(sizes)))
    for share in (sum(side) / len(ranks) for side in zip(*ranks, strict=True)):
        assert 0.15 <= share <= 0.4, ranks


def test_quiz_ids_are_unique_over_the_site(tmp_path: Path) -> None:
    for slug in ("alpha", "beta"):
        folder = tmp_path / "modules" / slug
        folder.mkdir(parents=True)
        (folder / "quiz.yaml").write_text("id: same\nquestions: []\n", encoding="utf-8")
    (found,) = lint.quiz_problems(tmp_path)
    assert "modules/beta/quiz.yaml" in found and "modules/alpha/quiz.yaml" in found
