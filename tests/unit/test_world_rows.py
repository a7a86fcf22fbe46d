"""Rows of the little world: valid in MiniMind's shapes, and right by programs that do not trust."""

from __future__ import annotations

import json
import re

import pytest

from minimind_wiki.cli import main
from minimind_wiki.data.schemas import check_rows
from minimind_wiki.data.world import make_document
from minimind_wiki.data.world.questions import questions
from minimind_wiki.data.world.rows import KINDS, OPTIONS, RUBRIC, check_row, make_rows, rubric
from minimind_wiki.data.world.tasks import steps_are_right
from minimind_wiki.data.world.tools import calculate, call
from minimind_wiki.errors import WrongCall

DOCUMENTS = [make_document(seed) for seed in range(150)]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_rows_are_valid_and_repeatable(kind: str) -> None:
    rows = list(make_rows(kind, 100, seed=3))
    assert rows == list(make_rows(kind, 100, seed=3))
    assert rows[:5] != list(make_rows(kind, 5, seed=4))
    schema, count, faults = check_rows([json.dumps(row) for row in rows], KINDS[kind][1])
    assert (schema, count, faults) == (KINDS[kind][1], 100, [])
    assert all(check_row(kind, row) for row in rows)
    assert not set(map(json.dumps, rows)) & set(map(json.dumps, make_rows(kind, 30, 3, "test")))


def test_gold_answers_agree_with_the_events() -> None:
    """A second way to each answer: the last event that names the person or the thing."""
    seen: dict[str, int] = {}
    for document in DOCUMENTS:
        for q in questions(document):
            seen[q.kind] = seen.get(q.kind, 0) + 1
            if q.kind != "unanswerable":
                assert q.short in document.text or q.short == "Nobody", (q, document.text)
                assert q.short in q.answer and 0 <= q.distance <= len(document.sentences)
            if q.kind == "person":
                who = q.text.split()[2]
                moves = [e for e in document.events if e[0] in ("go", "person") and e[1] == who]
                assert moves[-1][2] == q.short
            if q.kind == "holder":
                thing = q.text.split()[3]
                act = [e for e in document.events if thing in e[1:] and
                       e[0] in ("take", "give", "drop", "holds", "lies")][-1]  # fmt: skip
                holder = {"take": act[1], "holds": act[1], "give": act[-1]}.get(act[0], "Nobody")
                assert holder == q.short
    assert set(seen) == {"person", "before", "thing", "holder", "belief", "relation", "kin_place",
                         "kin_job", "job", "unanswerable"}  # fmt: skip
    assert min(seen.values()) >= 5


def test_unanswerable_questions_ask_for_what_is_not_there() -> None:
    for document in DOCUMENTS:
        for q in questions(document):
            if q.kind == "unanswerable" and "How old" not in q.text:
                word = re.search(r"the (\w+) at the|is ([A-Z]\w+)", q.text)
                assert word and (word[1] or word[2]) not in document.text


def test_a_preference_fails_one_point_of_the_rubric() -> None:
    failed = set()
    for n, row in enumerate(make_rows("preference", 150, seed=5)):
        text, asked = row["chosen"][0]["content"].rsplit("\n\n", 1)
        document = make_document(f"5.{n}")
        assert document.text == text
        question = next(q for q in questions(document) if q.text == asked)
        good = rubric(row["chosen"][1]["content"], question)
        bad = rubric(row["rejected"][1]["content"], question)
        assert all(good.values()) and not bad[row["fails"]], row
        failed.add(row["fails"])
    assert failed == set(RUBRIC)


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.4, 1.0])
def test_the_realised_label_noise_is_the_one_asked_for(noise: float) -> None:
    """Counted by the rubric, not by the mark; within 4.5 standard deviations of the binomial."""
    rows = list(make_rows("preference", 600, seed=8, noise=noise))
    wrong = 0
    for n, row in enumerate(rows):
        document = make_document(f"8.{n}")
        asked = row["chosen"][0]["content"].rsplit("\n\n", 1)[1]
        question = next(q for q in questions(document) if q.text == asked)
        swapped = not all(rubric(row["chosen"][1]["content"], question).values())
        assert swapped == row["flipped"] == all(
            rubric(row["rejected"][1]["content"], question).values()
        )  # fmt: skip
        wrong += swapped
    assert abs(wrong / 600 - noise) <= 4.5 * (noise * (1 - noise) / 600) ** 0.5


@pytest.mark.parametrize("bias", [0.0, 0.3, 1.0])
def test_the_realised_length_bias_is_the_one_asked_for(bias: float) -> None:
    padded = 0
    rows = list(make_rows("preference", 600, seed=8, length_bias=bias))
    for row in rows:
        padded += row["chosen"][1]["content"].endswith(
            ("with your reading.", "found in the text.", "twice to be sure.")
        )
    assert abs(padded / 600 - bias) <= 4.5 * (bias * (1 - bias) / 600) ** 0.5
    plain = list(make_rows("preference", 600, seed=8))
    # the pair's longer answer is the chosen one more often, which is what a reward model may learn
    longer = [sum(len(r["chosen"][1]["content"]) > len(r["rejected"][1]["content"]) for r in some)
              for some in (plain, rows)]  # fmt: skip
    assert longer[1] >= longer[0] + (bias > 0) * 600 * bias * 0.1


def test_an_option_goes_only_to_the_kinds_that_take_it() -> None:
    with pytest.raises(WrongCall, match="'sft' have no noise; preference has"):
        make_rows("sft", 1, noise=0.1)
    with pytest.raises(WrongCall, match="did you mean 'noise'"):
        make_rows("preference", 1, nois=0.1)
    with pytest.raises(WrongCall, match="share from 0 to 1"):
        make_rows("preference", 1, noise=10)
    assert set(OPTIONS) <= set(KINDS)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_rows_stream_without_end_and_one_at_a_time(kind: str, monkeypatch) -> None:
    made: list[str] = []
    make, schema = KINDS[kind]

    def counted(c, seed, split, **options):
        made.append(seed)
        return make(c, seed, split, **options)

    monkeypatch.setitem(KINDS, kind, (counted, schema))
    stream = make_rows(kind, None, seed=6)
    assert not made
    first = [next(stream) for _ in range(7)]
    assert made == [f"6.{n}" for n in range(7)]
    assert first == list(make_rows(kind, 7, seed=6))


def test_wrong_steps_are_found() -> None:
    assert steps_are_right("It is 2 * 3 = 6. The answer is 6.", "6")
    assert not steps_are_right("It is 2 * 3 = 7. The answer is 7.", "7")
    assert not steps_are_right("It is 2 * 3 = 6. The answer is 6.", "5")


@pytest.mark.parametrize("bad", ["__import__('os')", "2 ** 9", "a + 1", "1 +", "1 / 0", "True + 1",
                                 "(lambda: 1)()", "1" * 300])  # fmt: skip
def test_the_calculator_runs_nothing_but_sums(bad: str) -> None:
    assert calculate("-(2 + 3) * 4") == -20
    with pytest.raises(ValueError, match=r"known|cannot|longer"):
        calculate(bad)


def test_an_unknown_tool_is_an_error() -> None:
    with pytest.raises(ValueError, match="none of"):
        call("weather", {}, {})
    with pytest.raises(ValueError, match="does not know"):
        call("inventory", {"shop": "x", "item": "y"}, {})
    assert call("inventory", {"shop": "x", "item": "y"}, {"x": {}}) == '{"count": 0}'


def test_the_verb_writes_a_file_that_checks(tmp_path, capsys) -> None:
    out = tmp_path / "rows.jsonl"
    words = ["data", "world", "--kind", "sft", "--rows", "40", "--seed", "7", "--out", str(out)]
    assert main(words) == 0 and "40 rows" in capsys.readouterr().out
    first = out.read_bytes()
    assert main(words) == 0 and out.read_bytes() == first
    assert main(["data", "check", str(out)]) == 0
    capsys.readouterr()
    assert main([*words[:3], "sfd", *words[4:]]) == 2
    assert "did you mean 'sft'" in capsys.readouterr().err
    assert main([*words[:5], "0", *words[6:]]) == 2
    assert main([*words[:-1], str(tmp_path / "no" / "rows.jsonl")]) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["rows.jsonl"]
    with pytest.raises(WrongCall, match="unknown split"):
        make_rows("sft", 1, split="tests")


def _solve(prompt: str) -> str:
    """A second way to the answer of an instruction, from the prompt's words alone."""
    words = re.sub(r".*: ", "", prompt).split(", ")
    if "alphabetical" in prompt:
        return ", ".join(sorted(words))
    if "capital" in prompt:
        return ", ".join(word.upper() for word in words)
    if "backwards" in prompt:
        return ", ".join(reversed(words))
    if "last word" in prompt:
        return words[-1]
    if "letters" in prompt:
        return str(len(re.findall(r"word (\w+)\?", prompt)[0]))
    if "times" in prompt:
        word, times = re.findall(r"word (\w+) (\d) times", prompt)[0]
        return " ".join([word] * int(times))
    day, days = re.findall(r"Today is (\w+)\..* in (\d+) day", prompt)[0]
    return json.loads(call("calendar", {"day": day, "days": days}, {}))["day"]


def test_every_instruction_has_the_answer_that_its_words_ask_for() -> None:
    for row in make_rows("instructions", 300, seed=9):
        asked, answered = row["conversations"]
        assert answered["content"] == _solve(asked["content"])
