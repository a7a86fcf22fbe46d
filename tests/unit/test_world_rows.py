"""Rows of the little world: valid in MiniMind's shapes, and right by programs that do not trust."""

from __future__ import annotations

import json
import re

import pytest

from minimind_wiki.cli import main
from minimind_wiki.data.schemas import check_rows
from minimind_wiki.data.world import make_document
from minimind_wiki.data.world.questions import questions
from minimind_wiki.data.world.row_checks import RUBRIC, rubric
from minimind_wiki.data.world.rows import KINDS, OPTIONS, check_row, make_rows
from minimind_wiki.data.world.solve import solve
from minimind_wiki.data.world.story import Document
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
    assert all(check_row(kind, row, f"3.{n}") for n, row in enumerate(rows))
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


def test_where_one_was_before_has_one_answer() -> None:
    """Read from the events alone: of all arrivals at the place, the places come from are one."""
    asked = 0
    for document in (make_document(f"before.{n}") for n in range(400)):
        for q in questions(document):
            if q.kind == "before":
                who, there = re.findall(r"Where was (\w+) before going to (.+)\?", q.text)[0]
                route = [e[2] for e in document.events if e[0] in ("person", "go") and e[1] == who]
                origins = {route[i - 1] for i in range(1, len(route)) if route[i] == there}
                assert origins == {q.short}
                asked += 1
    assert asked > 100


def _route(*places: str) -> Document:
    """A document of one person's moves, each in a sentence; the text is of no matter here."""
    events = [("person" if not n else "go", "Mila", place) for n, place in enumerate(places)]
    marks = tuple((n, n) for n in range(1, len(events) + 1))
    return Document("." * len(events), 0.0, 0.0, "train", "tale", tuple(events), marks)


def test_who_came_from_two_places_is_not_asked_where_from() -> None:
    def short(*places: str) -> list[str]:
        return [q.short for q in questions(_route(*places)) if q.kind == "before"]

    assert short("A", "B") == ["A"]
    assert short("A", "B", "C", "B") == []
    assert short("A", "B", "A", "B") == ["A"]
    assert short("A", "B", "A", "C") == ["A"]
    assert short("A") == []


def test_distance_counts_from_the_event_that_the_answer_rests_on() -> None:
    """Hand-made: nine sentences, whose last ones name everybody without changing an answer."""
    events = (
        ("person", "Mila", "A"), ("fact", "Mila", "job", "baker"), ("person", "Tano", "B"),
        ("relation", "Mila", "Tano", "brother"), ("fact", "Tano", "job", "cook"),
        ("holds", "Mila", "lamp"), ("go", "Mila", "B"), ("lies", "cup", "B"),
        ("tell", "Mila", "cup", "Tano"), ("fact", "Mila", "trait", "shy"),
    )  # fmt: skip
    ends = (1, 2, 3, 4, 5, 6, 7, 8, 10)
    marks = tuple((n, end) for n, end in enumerate(ends, start=1))
    document = Document("." * 9, 0.0, 0.0, "train", "tale", events, marks)
    assert {q.text: q.distance for q in questions(document) if q.kind != "unanswerable"} == {
        "Where is Mila at the end?": 2, "Where was Mila before going to B?": 2,
        "Where is Tano at the end?": 6, "Where is the lamp at the end?": 2,
        "Who has the lamp at the end?": 3, "Where is the cup at the end?": 1,
        "Who has the cup at the end?": 1, "Who is Mila's brother?": 5,
        "Where is Mila's brother at the end?": 5, "What is the job of Mila's brother?": 4,
        "What is Mila's job?": 7, "What is Tano's job?": 4,
    }  # fmt: skip


def test_at_the_distance_the_answer_changes_for_the_last_time() -> None:
    """A second way, by asking the state after each sentence: from there on the answer stays."""
    for document in DOCUMENTS[:80]:
        end = len(document.sentences)
        seen: dict[str, list] = {q.text: [] for q in questions(document)}
        for _, state in document.states():
            for q in questions(document):
                words = q.text.split()
                if q.kind == "person":
                    seen[q.text].append(state.at.get(words[2]))
                elif q.kind == "thing":
                    thing = words[3]
                    known = thing in state.holder or thing in state.lies
                    seen[q.text].append(state.place_of(thing) if known else None)
                elif q.kind == "belief":
                    seen[q.text].append(state.belief.get(words[2], {}).get(words[5]))
        for q in questions(document):
            if values := seen[q.text]:
                changed = max(n for n in range(end) if n == 0 or values[n] != values[n - 1]) + 1
                same = end - changed
                # a thing can be taken or given without changing place
                assert q.distance == same or (q.kind == "thing" and q.distance < same), q


def test_word_problems_never_speak_of_one_thing_in_the_plural() -> None:
    for row in make_rows("arithmetic", 3000, seed=4):
        said = " ".join(m["content"] for m in row["conversations"])
        assert not re.search(r"\b1 (?:are left|\w+s more)|\bgives 0\b", said), said


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


def test_no_wrong_answer_is_recognised_by_its_form_or_by_a_word_that_the_text_lacks() -> None:
    """Every word of a false answer is of the text, the question or the true answer's form."""
    held, nobody = 0, {True: 0, False: 0}
    frame = {"the", "is", "at", "a", "has", "thinks", "that", "nobody"}
    for n, row in enumerate(make_rows("preference", 700, seed=6)):
        prompt, good, bad = (row["chosen"][0]["content"], row["chosen"][1]["content"],
                             row["rejected"][1]["content"])  # fmt: skip
        if row["fails"] == "true":
            known = set(re.findall(r"\w+", prompt.lower())) | frame
            assert set(re.findall(r"\w+", bad.lower())) <= known, (bad, prompt[-80:])
            assert not bad.startswith("The answer is")
            if "Who has" not in prompt:
                assert "Nobody" not in bad
            if good != "The text does not say.":  # one value is exchanged, and the form is kept
                document = make_document(f"6.{n}")
                gold = next(q for q in questions(document) if q.text == prompt.split("\n")[-1])
                head, _, tail = good.rpartition(gold.short)
                assert bad.startswith(head) and bad.endswith(tail) and bad != good
            held += 1
            nobody[False] += bad.startswith("Nobody")
        nobody[True] += good.startswith("Nobody")
    assert held > 100 and min(nobody.values()) > 0


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


def _said(row) -> list:
    """All messages of a row that an assistant says."""
    return [m for m in row.get("conversations", []) if m["role"] == "assistant" and m["content"]]


def _other(text: str) -> str:
    """A wrong answer in the same form, from a right one: another number, or the words reversed."""
    if re.search(r"\d", text):
        return re.sub(r"\d+(?=\D*$)", "7777", text)
    return " ".join(reversed(text.split())) if len(set(text.split())) > 1 else f"{text}x"


CHECKED = (
    "sft",
    "questions",
    "dialogue",
    "arithmetic",
    "arithmetic_answers",
    "instructions",
    "tools",
)


@pytest.mark.parametrize("kind", CHECKED)
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_changed_answer_is_found(kind: str, split: str) -> None:
    for n, row in enumerate(make_rows(kind, 80, 3, split)):
        assert check_row(kind, row, f"3.{n}", split), row
        for index in range(len(_said(row))):
            bad = json.loads(json.dumps(row))
            said = _said(bad)[index]
            said["content"] = _other(said["content"]) if kind != "tools" else "It is 7777."
            assert not check_row(kind, bad, f"3.{n}", split), bad["conversations"][-2:]


def test_an_answer_that_agrees_with_its_wrong_steps_is_found() -> None:
    """Each final answer replaced, and the steps with it: only the prompt tells."""
    for row in make_rows("arithmetic", 200, seed=3):
        said = row["conversations"][1]
        answer = said["content"].rsplit("The answer is ", 1)[1][:-1]
        said["content"] = "The answer is 7777."
        assert not check_row("arithmetic", row)
        said["content"] = f"The answer is {answer}."
        assert check_row("arithmetic", row)


def test_a_changed_gold_of_rl_and_a_changed_tool_call_are_found() -> None:
    for n, row in enumerate(make_rows("rl", 120, seed=3)):
        key = f"3.{n}"
        assert check_row("rl", row, key)
        assert not check_row("rl", {**row, "gt": [f"{row['gt'][0]}7"]}, key)
        assert check_row("rl", {**row, "gt": ["x"]}) == (row["sort"] == "question"), "needs the key"
    for row in make_rows("tools", 60, seed=3):
        for name, arguments in (("calculator", {"expression": "7776 + 1"}), ("rm", {})):
            bad = json.loads(json.dumps(row))
            bad["conversations"][2]["tool_calls"] = json.dumps(
                [{"name": name, "arguments": arguments}]
            )
            bad["conversations"][3]["content"], bad["gt"] = '{"result": 7777}', ["7777"]
            bad["conversations"][4]["content"] = "The result is 7777."
            assert not check_row("tools", bad)


def test_a_changed_lesson_is_found() -> None:
    unseen = 0
    for n, row in enumerate(make_rows("lessons", 150, seed=3)):
        assert check_row("lessons", row, f"3.{n}"), row["text"][-300:]
        head, _, tail = row["text"].rpartition("\n")
        if '"inventory"' not in head:
            assert not check_row("lessons", {"text": f"{head}\n{_other(tail)}"}, f"3.{n}"), tail
        unseen += check_row("lessons", {"text": f"{head}\n{_other(tail)}"})
    assert unseen < 150, "tasks are checked without a key too"


def test_a_changed_preference_is_found() -> None:
    for n, row in enumerate(make_rows("preference", 100, seed=3, noise=0.3)):
        key = f"3.{n}"
        assert check_row("preference", row, key)
        assert not check_row("preference", {**row, "flipped": not row["flipped"]}, key)
        assert not check_row("preference", {**row, "rejected": row["chosen"]}, key)
        assert not check_row("preference", row, f"3.{n + 1}")
        assert check_row("preference", {**row, "rejected": row["chosen"]}), "needs the key"


def test_a_text_of_another_document_is_found() -> None:
    (row,) = make_rows("pretrain", 1, seed=3)
    assert check_row("pretrain", row, "3.0") and not check_row("pretrain", row, "3.1")
    assert not check_row("pretrain", row, "3.0", "test")
    with pytest.raises(WrongCall, match="did you mean"):
        check_row("pretrai", row)


@pytest.mark.parametrize(("prompt", "answer"), [
    ("Mila has 5 nuts. Mila buys 2 bags with 3 nuts each and gives 4 to Tano. How many nuts does "
     "Mila have now?", "7"),
    ("Mila leaves for Fox Hill at 9:55 and walks for 65 minutes. When does Mila arrive?", "11:00"),
    ("Mila is older than Tano. Lona is older than Mila. Who is the oldest of the three?", "Lona"),
    ("Mila is older than Tano. Lona is older than Mila. Who is the youngest of the three?", "Tano"),
    ("Which day comes 8 days after Sunday?", "Monday"), ("What is 2 times 3 plus 4?", "10"),
    ("Today is Sunday. Which day is it in 1 day?", "Monday"),
    ("Write this list backwards: cup, key", "key, cup"), ("How many eggs are there at Inn?", "3"),
])  # fmt: skip
def test_tasks_are_solved_from_their_words(prompt: str, answer: str) -> None:
    """Answers worked out by hand."""
    assert solve(prompt, {"Inn": {"eggs": 3, "nuts": 4}}) == answer
    with pytest.raises(ValueError, match="no task"):
        solve("Why?")
