"""Rewards: the right ones are paid, nothing else is, and no text makes them fail."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minimind_wiki.data.world.rows import make_rows
from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.tokenizer import ByteTokenizer
from minimind_wiki.train.reasoning import Call, Reply, read_text
from minimind_wiki.train.rewards import (
    exact,
    length_among,
    overlong,
    runs,
    used_tools,
    weighted,
    well_formed,
)
from minimind_wiki.train.sandbox import Sandbox
from minimind_wiki.train.track import play
from minimind_wiki.train.trajectory import episode, prompt_of

BYTES = ByteTokenizer()
ROWS = list(make_rows("rl", 60, seed=21))
TOOLS = list(make_rows("tools", 20, seed=22))
SUM = next(row for row in ROWS if row["sort"] == "sum")
TOOL = next(row for row in ROWS if row["sort"] == "tool")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as box:
        yield box


def written(call) -> str:
    return f"<tool_call>\n{json.dumps(call)}\n</tool_call>"


def test_gold_answers_are_paid_and_others_are_not() -> None:
    for row, other in pairwise(ROWS):
        gold, wrong = row["gt"][0], other["gt"][0]
        assert exact(row, read_text(f"The answer is {gold}.")) == 1.0
        assert exact(row, read_text(f"{gold} it was.\n</think>\n\n{gold}", thinking=True)) == 1.0
        if gold != wrong:
            assert exact(row, read_text(wrong)) == 0.0
            thought = f"The answer is {gold}.\n</think>\n\nThe answer is {wrong}."
            assert exact(row, read_text(thought, thinking=True)) == 0.0  # a thought is not judged
        assert exact(row, read_text(gold, thinking=True)) == 0.0  # it never came to an answer
        assert exact(row, read_text("")) == 0.0


def test_an_episode_with_the_worlds_tools_is_paid_for_its_answer_and_its_calls(sandbox) -> None:
    score = weighted(
        {"right": (1.0, exact), "tools": (0.5, used_tools), "form": (0.1, well_formed)}
    )
    names = set()
    for row in TOOLS:
        (call,) = json.loads(row["conversations"][2]["tool_calls"])
        final = row["conversations"][4]["content"]
        names.add(call["name"])

        def play_turns(*turns, row=row):
            script = iter(turns)

            def sample(ids, budget):
                new = [*BYTES.encode(next(script)), BYTES.eos_id]
                return new, [-1.0] * len(new)

            messages, tools = prompt_of(row)
            assert [m["role"] for m in messages] == ["system", "user"]  # not the row's own answer

            def run(name, arguments):
                return sandbox.call(name, arguments, row["stock"])

            return play(sample, episode(messages, BYTES, tools, run, context=4000))

        got = play_turns(written(call), final)
        assert got.reply.calls[0].result == row["conversations"][3]["content"]
        assert score(row, got.reply).parts == {"right": 1.0, "tools": 1.0, "form": 1.0}
        assert score(row, got.reply).total == pytest.approx(1.6)
        got = play_turns(written({**call, "name": "oracle"}), final)
        assert score(row, got.reply).parts == {"right": 1.0, "tools": 0.0, "form": 1.0}
        got = play_turns(final)  # guessed right, and called nothing
        assert score(row, got.reply).parts == {"right": 1.0, "tools": 0.0, "form": 1.0}
        got = play_turns(written(call), "<think>")
        assert score(row, got.reply).parts == {"right": 0.0, "tools": 1.0, "form": 0.0}
    assert names == {"calculator", "inventory", "calendar"}


def test_a_call_that_nobody_ran_is_judged_by_what_it_would_give() -> None:
    for row in TOOLS:
        (call,) = json.loads(row["conversations"][2]["tool_calls"])
        reply = read_text(written(call))
        assert exact(row, reply) == used_tools(row, reply) == 1.0
        for wrong in ({"name": "x", "arguments": {}}, {"name": call["name"]}, [], 7):
            reply = read_text(written(wrong))
            assert exact(row, reply) == used_tools(row, reply) == 0.0
        assert used_tools(row, read_text(written(call)[:-1])) == 0.0  # it is not closed
        assert used_tools(row, read_text("Hello.")) == 0.0
    plain = read_text(written({"name": "calculator", "arguments": {}}))
    assert used_tools(SUM, read_text("4")) == 1.0 and used_tools(SUM, plain) == 0.0
    failed = Reply("", "x", (Call("{}", result="{}", failed=False), Call("{}", failed=True)))
    assert used_tools(TOOL, failed) == 0.0


def test_letters_of_a_call_and_several_calls_are_no_answer() -> None:
    for row in TOOLS:
        (call,) = json.loads(row["conversations"][2]["tool_calls"])
        assert exact(row, Reply("", written(call))) == 0.0  # spelled, where a token marks a call
        assert exact(row, read_text(written(call) * 2)) == 0.0
        ran = Call(json.dumps(call), result="{}", failed=False)
        assert exact(row, Reply("", "", (ran,))) == 0.0  # it was told the answer and did not say it
        assert exact(row, Reply("", "", (ran, Call(json.dumps(call))))) == 0.0
        assert exact(row, Reply("", f"It is {row['gt'][0]}.", (ran,))) == 1.0


def test_a_row_that_holds_its_own_answer_is_judged_by_its_question() -> None:
    """A day of the question may be named beside the answer, as the verifier allows."""
    found = 0
    for row in TOOLS:
        (call,) = json.loads(row["conversations"][2]["tool_calls"])
        today, gold = call["arguments"].get("day"), row["gt"][0]
        if today and today != gold:
            assert exact(row, Reply("", f"Today is {today}, so then it is {gold}.")) == 1.0
            assert exact(row, Reply("", f"Then it is {today}.")) == 0.0
            found += 1
    assert found > 2


def test_programs_are_paid_for_what_they_return(sandbox) -> None:
    reward = runs(sandbox)
    rows = [row for row in make_rows("code_questions", 60, seed=4) if "test" in row]
    assert len(rows) > 5
    for row in rows:
        source = row["conversations"][1]["content"]
        assert reward(row, read_text(source)) == 1.0
        assert reward(row, read_text(source.replace("return ", "return 77 + "))) == 0.0
        for bad in ("", "def", source.replace("return", "while 1"), "import os", "(" * 9000):
            assert reward(row, read_text(bad)) == 0.0
    with pytest.raises(MinimindError, match='no call in "test"'):
        reward(SUM, read_text("x"))


odd = st.text() | st.text('<>/tool_callthink{}[]":,. \n0123456789answer is\ud800\x00')


@settings(max_examples=200, deadline=None)
@given(odd, st.booleans(), st.sampled_from([*ROWS[:12], TOOLS[0]]))
def test_no_text_makes_a_reward_fail(text, thinking, row) -> None:
    reply = read_text(text, thinking)
    for reward in (exact, well_formed, used_tools, overlong(10, 5)):
        assert -1 <= reward(row, reply) <= 1
    assert exact(row, read_text(text)) in (0.0, 1.0)


@pytest.mark.parametrize("text", [
    "x" * 300_000, "9" * 100_000, "<tool_call>" * 2000, "</think>" * 5000, "[" * 100_000,
    "<tool_call>" + '{"a":' * 50_000 + "</tool_call>", "1," * 50_000, "answer is " * 10_000,
])  # fmt: skip
def test_long_and_broken_texts_are_worth_nothing(text) -> None:
    for row in (SUM, TOOL):
        assert exact(row, read_text(text)) == 0.0


def test_rows_from_elsewhere_with_several_answers() -> None:
    row = {"conversations": [{"role": "user", "content": "?"}], "gt": ["12", 7.5]}
    assert exact(row, read_text("First 12 and then 7.5.")) == 1.0
    assert exact(row, read_text("First 112 and then 7.5.")) == 0.0
    assert exact(row, read_text("12")) == 0.0
    assert exact(row, read_text("12 7.5 " + "or 8 " * 40)) == 0.0
    for bad in ({"conversations": []}, {"conversations": [], "gt": []}, {"gt": "4"}):
        with pytest.raises(MinimindError, match='no answers in "gt"'):
            exact(bad, read_text("x"))
    with pytest.raises(MinimindError, match="no message of a user"):
        exact({"conversations": [], "gt": ["4"]}, read_text("x"))


def test_a_reward_that_is_no_number_is_refused_by_its_name() -> None:
    for value in (math.nan, math.inf):
        score = weighted({"right": (1.0, exact), "odd": (0.0, lambda row, reply, v=value: v)})
        with pytest.raises(MinimindError, match="the reward 'odd' of a reply is"):
            score(SUM, read_text("x"))


def test_lengths_are_shaped() -> None:
    assert length_among([5, 5], [True, False]) == [0.0, 0.0]
    assert length_among([1, 3, 5], [False, True, False]) == [0.0, 0.0, -0.5]
    with pytest.raises(WrongCall, match="one of each"):
        length_among([1], [])
    with pytest.raises(WrongCall, match="the cushion is 0"):
        overlong(10, 0)
