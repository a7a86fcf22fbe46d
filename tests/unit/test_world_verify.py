"""The verifiers of RL prompts: right answers pass, and no way of not answering does."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest

from minimind_wiki.data.world.rows import make_rows
from minimind_wiki.data.world.shape import Row
from minimind_wiki.data.world.story import make_document
from minimind_wiki.data.world.verify import kind_of, named, verify
from minimind_wiki.data.world.words import NAMES, PLACES

ROWS = list(make_rows("rl", 400, seed=11))


def _row(asked: str, gold: str, **more) -> Row:
    return {"conversations": [{"role": "user", "content": asked}], "gt": [gold], **more}


PLACE, OTHER = PLACES[:2]
WHO, ELSE, THIRD = NAMES[:3]
WHERE = _row(f"A story.\n\nWhere is {WHO} at the end?", PLACE)
HAS = _row("A story.\n\nWho has the lamp at the end?", WHO)
NONE = _row(f"A story.\n\nWhere is {WHO} at the end?", "does not say")
SUM = _row(f"{WHO} has 9 eggs and buys 3. How many eggs does {WHO} have?", "12")
TIME = _row("When does she arrive?", "9:05")
ORDER = _row(f"{WHO} is older than {ELSE}. Who is the oldest?", WHO)
SORT = _row("Put these words into alphabetical order: lamp, cup, key", "cup, key, lamp")
LAST = _row("Write only the last word of this list: lamp, cup, key", "key")
TWICE = _row("Write the word cup 3 times.", "cup cup cup")
LOUD = _row("Write in capital letters: lamp, cup", "LAMP, CUP")
TOOL = _row("What is 2 times 3 plus 4?", "10", stock={})
SHOP = _row(f"How many eggs are there at {PLACE}?", "7", stock={PLACE: {"eggs": 7}})


def _call(name: str, **arguments) -> str:
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"


@pytest.mark.parametrize(("row", "text"), [
    (WHERE, PLACE), (WHERE, f"{WHO} is at {PLACE}."), (WHERE, f"  {PLACE.lower()}!!"),
    (WHERE, f"First {OTHER}, then a walk. So the answer is: {PLACE}."),
    (HAS, f"{WHO}"), (HAS, f"It is {WHO}'s now."), (NONE, "The text does not say."),
    (NONE, "That is not mentioned."), (NONE, f"The text doesn't say where {WHO} is."),
    (SUM, "12"), (SUM, "9 + 3 = 12. The answer is 12."), (SUM, "9 and 3 more. That makes 12 eggs."),
    (SUM, "9 + 3 = 12"), (SUM, "Answer: 12.0"), (TIME, "At 9:05."), (ORDER, f"{WHO}."),
    (ORDER, f"{WHO} is older than {ELSE}. The answer is {WHO}."), (SORT, "cup, key, lamp"),
    (SORT, "Cup key lamp."), (SORT, "In order: cup, key, lamp"), (LAST, "key"), (LAST, "'Key'."),
    (TWICE, "cup cup cup"), (LOUD, "LAMP, CUP"), (TOOL, "The result is 10."),
    (TOOL, _call("calculator", expression="2 * 3 + 4")),
    (SHOP, _call("inventory", shop=PLACE, item="eggs")), (SHOP, "There are 7 eggs."),
    (_row("x", "1234"), "The answer is 1,234."),
])  # fmt: skip
def test_right_answers_pass(row: Row, text: str) -> None:
    assert verify(row, text)


@pytest.mark.parametrize(("row", "text"), [
    (WHERE, ""), (WHERE, OTHER), (WHERE, f"{PLACE} or {OTHER}"), (WHERE, f"not at {PLACE}"),
    (WHERE, f"The answer is {PLACE}. The answer is {OTHER}."), (WHERE, "The text does not say."),
    (WHERE, " ".join(PLACES)), (WHERE, f"It isn't {PLACE}."), (HAS, f"{WHO} and {ELSE}"),
    (HAS, f"Nobody but {WHO}."), (HAS, ", ".join(NAMES)), (HAS, f"{ELSE} gave it to {WHO}."),
    (NONE, f"The text does not say, but perhaps {PLACE}."), (NONE, PLACE), (NONE, "I am shy."),
    (NONE, f"{WHO} is 12, though the text does not say so."), (SUM, "112"), (SUM, "12.5"),
    (SUM, "11, 12 or 13"), (SUM, "The answer is 12 or 13."), (SUM, "It is 12. No, it is 13."),
    (SUM, "The answer is 12. The answer is 13."), (SUM, "not 12"), (SUM, "-12"), (SUM, "9 + 3"),
    (TIME, "9:50"), (TIME, "9:05 or 9:06"), (TIME, "9"), (ORDER, f"{WHO}, {ELSE}"), (ORDER, ELSE),
    (ORDER, f"The answer is {WHO} or {ELSE}."), (SORT, "cup, lamp, key"), (SORT, "cup, key"),
    (SORT, "lamp, cup, key: cup, key, lamp"), (SORT, "cup, key, lamp, lamp"), (LAST, "cup, key"),
    (LAST, "lamp. cup. key."), (TWICE, "cup cup"), (TWICE, "cup cup cup cup"), (LOUD, "lamp, cup"),
    (TOOL, _call("calculator", expression="2 * 3 + 5")), (TOOL, "<tool_call>{</tool_call>"),
    (TOOL, _call("calculator", expression="10") * 2), (TOOL, _call("rm", path="x")),
    (SHOP, _call("inventory", shop=OTHER, item="eggs")), (SHOP, " ".join(map(str, range(60)))),
    (TOOL, "<tool_call>[]</tool_call>"), (_row("x", "2 cups a day"), "3 cups a day"),
])  # fmt: skip
def test_wrong_hedging_and_gaming_answers_fail(row: Row, text: str) -> None:
    assert not verify(row, text)


@pytest.mark.parametrize("text", [
    '{"name": "calendar", "arguments": {"day": "Monday", "days": 1e999}}', "[" * 200_000,
    '{"name": "calendar", "arguments": {"day": "Monday", "days": NaN}}', '{"a":' * 100_000,
    '{"name": "calculator", "arguments": {"expression": "1e999 // 1"}}', "1" * 5000, "null", "7",
    '{"name": "calculator", "arguments": {"expression": "9e200 * 9e200 % 7"}}', '{"name": 5}',
    '{"name": "calculator", "arguments": {"expression": "' + "(" * 190 + '"}}', '"calculator"',
    '{"name": "calculator", "arguments": {"expression": "' + "-" * 190 + '1"}}',
    '{"name": "inventory", "arguments": {"shop": [], "item": {}}}', '{"name": [], "arguments": 3}',
    '{"name": "calculator", "arguments": {"expression": "\\u0000"}}', "\ud800",
    '{"name": "calculator", "arguments": {"expression": "\\ud800"}}',
    '{"name": "calculator", "arguments": {"expression": "10**400 / 3"}}',
    '{"name": "calculator", "arguments": {"expression": "' + "9" * 190 + ' * 1.5e300 / 3"}}',
    '{"name": "calculator", "arguments": {"expression": "' + "9*9999999*" * 18 + '9 / 0.1"}}',
])  # fmt: skip
def test_a_call_that_no_tool_can_run_is_a_wrong_answer_and_no_crash(text: str) -> None:
    assert verify(TOOL, f"<tool_call>{text}</tool_call>") is False
    assert verify(TOOL, f"<tool_call>{text}") is False


def test_gold_passes_and_the_gold_of_another_row_does_not() -> None:
    sorts = Counter(row["sort"] for row in ROWS)
    assert set(sorts) == {"question", "sum", "instruction", "tool"} and min(sorts.values()) > 60
    for row, other in zip(ROWS, ROWS[1:] + ROWS[:1], strict=True):
        gold, wrong = row["gt"][0], other["gt"][0]
        assert verify(row, gold) and verify(row, f"The answer is {gold}."), row
        if gold != wrong:
            assert not verify(row, wrong), (row, wrong)
            assert not verify(row, f"The answer is {gold}. The answer is {wrong}.") or (
                kind_of(gold) != kind_of(wrong) and gold != "does not say"
            ), (row, wrong)  # fmt: skip


def test_worked_solutions_pass_and_naming_everything_never_does() -> None:
    for row in make_rows("arithmetic", 200, seed=12):
        asked, worked = (m["content"] for m in row["conversations"])
        gold = worked.rsplit("The answer is ", 1)[1][:-1]
        assert verify(_row(asked, gold), worked)
        assert not verify(_row(asked, gold), worked.replace(f"is {gold}.", "is 999."))
    everything = " ".join([*PLACES, *NAMES, *map(str, range(200)), "baker miller Monday Friday"])
    for row in ROWS:
        asked = row["conversations"][-1]["content"]
        assert not verify(row, everything)
        assert not verify(row, f"The answer is {everything}. The text does not say.")
        assert not verify(row, "I do not know.")
        if row["sort"] != "instruction":  # a prompt may hold the answer, but not it alone
            assert not verify(row, asked), row


def test_documents_do_not_answer_their_own_questions() -> None:
    for n in range(60):
        text = make_document(f"v{n}").text
        people = named(text, "person") - {"nobody"}
        assert len(people) > 1 and all(re.search(p, text, re.IGNORECASE) for p in people)
        assert not verify(_row(f"{text}\n\nWho has it?", sorted(people)[0].title()), text)
