"""Scores of a model's own words: what counts as right, what is chance, what it costs."""

from __future__ import annotations

import json
import math
from itertools import pairwise

import pytest
import torch

from minimind_wiki.data.world.questions import Question
from minimind_wiki.data.world.rows import make_rows
from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.evaluate.chat_exam import chat_likelihood
from minimind_wiki.evaluate.tricks import Item
from minimind_wiki.evaluate.world_exam import SECTIONS, exam_items
from minimind_wiki.infer import generate
from minimind_wiki.model import Transformer, preset
from minimind_wiki.tokenizer import ByteTokenizer
from minimind_wiki.tokenizer.chat import render
from minimind_wiki.train import compare, examine
from minimind_wiki.train.compare import (
    kl_to,
    loss_on,
    preference_prompts,
    rubric_points,
    rubric_score,
    win_rate,
)
from minimind_wiki.train.examine import (
    NO_ROOM,
    answers,
    arithmetic,
    blind,
    calls_that_worked,
    chat_answerer,
    exam_in_words,
    instruction_following,
    tool_use,
    with_gold,
)
from minimind_wiki.train.reasoning import Call, Reply, read_ids
from minimind_wiki.train.sandbox import Sandbox

BYTES = ByteTokenizer()
END = 258


def nano(seed: int = 3, **changes: int) -> Transformer:
    return Transformer(preset("nano", **changes), seed=seed)


def asked(text: str, **more: object) -> dict:
    return {"conversations": [{"role": "user", "content": text}], **more}


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch):
    """Let the model say these replies, texts or `Reply`, in this order."""

    def by(*said: str | Reply) -> None:
        replies = [s if isinstance(s, Reply) else Reply("", s, tokens=len(s.split())) for s in said]

        def fake(model, tokenizer, rows, **how):
            assert len(rows) == len(replies)
            return list(replies)

        monkeypatch.setattr(examine, "answers", fake)
        monkeypatch.setattr(compare, "answers", fake)

    return by


# ---- what the model says


def test_answers_are_greedy_and_in_the_order_of_the_rows() -> None:
    """Alone, each reply is the same: neither neighbours nor order nor batches count. A prompt
    without room is an unanswered one, and moves no other reply."""
    model = nano(max_position_embeddings=256)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(4)  # or every prompt would be answered alike
    texts = ["Where is Mila?", "2 + 2?", "z" * 300, "x" * 120, "How many?", "Why?"]
    together = answers(model, BYTES, list(map(asked, texts)), 5, rows_at_once=2)
    assert together[2] is NO_ROOM
    for text, reply in zip(texts, together, strict=True):
        if reply is not NO_ROOM:
            prompt = render(asked(text)["conversations"], BYTES, add_generation_prompt=True).ids
            ids = generate(model, torch.tensor([prompt]), 5, temperature=0, stop_ids=(END,))
            assert reply == read_ids(ids[0, len(prompt) :].tolist(), BYTES)
    assert len({reply.answer for reply in together}) == len(texts)
    assert chat_answerer(model, BYTES, 5)(texts[3]) == together[3].answer


def test_what_cannot_be_read_is_wrong_and_told() -> None:
    rows = [asked("x" * 60, gt=["4"])]
    found = arithmetic(nano(max_position_embeddings=96), BYTES, rows, max_new_tokens=8)
    assert found.marks == [False] and "1 prompts do not fit" in str(found)


# ---- right and wrong


@pytest.mark.parametrize(("kind", "score"), [("instructions", instruction_following),
                                             ("arithmetic", arithmetic)])  # fmt: skip
def test_gold_answers_are_right_and_those_of_other_rows_are_not(kind, score, say) -> None:
    rows = list(make_rows(kind, 60, split="test"))
    gold = [row["conversations"][1]["content"] for row in rows]
    say(*gold)
    assert score(None, None, rows).score.right == 60
    say(*gold[1:], gold[0])
    same = sum(with_gold(a)["gt"] == with_gold(b)["gt"] for a, b in pairwise([*rows, rows[0]]))
    assert score(None, None, rows).score.right == same


def test_prompts_of_reinforcement_learning_are_scored_by_their_own_gold(say) -> None:
    rows = [asked("What is it?", gt=["12"]), asked("What is it?", gt=["12"])]
    say("5 + 7 = 12. The answer is 12.", "The answer is 12 or 13.")
    found = arithmetic(None, None, rows)
    assert found.marks == [True, False] and found.tokens == (9 + 6) / 2
    with pytest.raises(MinimindError, match='no "gt", and'):
        instruction_following(None, None, [asked("Who are you?"), asked("Hi")])


def test_chance_is_that_of_a_guess_that_knows_the_form() -> None:
    expected = {
        "Today is Sunday. Which day is it in 2 days?": 1 / 7,
        "Mila is older than Tano. Tano is older than Berena. Who is the oldest of the three?":
            1 / 3,
        "Write only the last word of this list: cup, map, net, jug": 1 / 4,
        "Put these words into alphabetical order: cup, map, net, jug": 1 / 24,
        "Write this list backwards: cup, map, net": 1 / 6,
        "Write in capital letters: cup, map": 0.0,
        "Write the word cup 2 times.": 0.0,
        "How many letters has the word cup?": 1 / 5,  # words have 3 to 7
        "Mila has 3 eggs. Tano has 4 eggs more than Mila. How many eggs do they have together?":
            0.0,
    }  # fmt: skip
    rows = [with_gold(asked(prompt)) for prompt in expected]
    assert [blind(row) for row in rows] == list(expected.values())


def test_the_chance_of_a_score_is_the_mean_of_its_rows(say) -> None:
    say("Tuesday", "Tuesday")
    day = asked("Today is Sunday. Which day is it in 2 days?")
    found = instruction_following(None, None, [day, asked("Write the word cup 2 times.")])
    assert found.marks == [True, False] and math.isclose(found.score.chance, 1 / 14)


# ---- the exam in words


def calls_of(option: str) -> Reply:
    return Reply("", "", tuple(Call(json.dumps(call)) for call in json.loads(option)))


@pytest.mark.parametrize("section", [name for name in SECTIONS if name != "grammar"])
def test_naming_the_right_option_is_right_and_another_is_wrong(section, say) -> None:
    items = list(exam_items(section, 20))
    turn = calls_of if section == "tools" else str
    say(*(turn(item.options[0]) for item in items))
    found = exam_in_words(None, None, section, 20)
    assert found.score.right == 20
    assert found.score.chance == sum(1 / len(item.options) for item in items) / 20
    say(*(turn(item.options[1]) for item in items))
    assert exam_in_words(None, None, section, 20).score.right == 0


def test_steps_may_name_what_the_answer_does_not(say, monkeypatch) -> None:
    item = Item("arithmetic", "?", ("The answer is 3.", "The answer is 4."), ("3", "4"))
    monkeypatch.setattr(examine, "exam_items", lambda *_: [item, item])
    say("4 - 1 = 3. The answer is 3.", "3 + 1 = 4. The answer is 4.")
    assert exam_in_words(None, None, "arithmetic", 2).marks == [True, False]
    with pytest.raises(WrongCall, match="asks nothing"):
        exam_in_words(None, None, "grammar", 2)


# ---- tools


def test_an_episode_with_tools_that_run(monkeypatch) -> None:
    """The first row calls the tool and says its answer; the second guesses wrong; the third calls a
    tool that is not there and then gives up."""
    rows = list(make_rows("tools", 3, split="test"))
    call = json.loads(rows[0]["conversations"][2]["tool_calls"])[0]
    script = [
        [f"<tool_call>\n{json.dumps(call)}\n</tool_call>", rows[0]["conversations"][-1]["content"]],
        ["The answer is 1000."],
        ['<tool_call>\n{"name": "oven", "arguments": {}}\n</tool_call>', "I do not know."],
    ]
    heard: list[str] = []

    def engine(model, end, **sampling):
        assert sampling["temperature"] == 0.0
        order = [0, 1, 2]

        def sample_many(requests):
            drawn, still = [], []
            for number, (ids, _) in zip(order, requests, strict=True):
                heard.append(BYTES.decode(ids))
                turn = [*script[number].pop(0).encode(), END]
                drawn.append((turn, [-1.0] * len(turn)))
                still += [number] if script[number] else []
            order[:] = still
            return drawn

        return sample_many

    monkeypatch.setattr(examine, "engine", engine)
    model = nano(max_position_embeddings=4096)
    with Sandbox() as sandbox:
        found = tool_use(model, BYTES, rows, sandbox, turn_tokens=400)
    assert found.marks == [True, False, False]
    assert f"<tool_response>\n{rows[0]['conversations'][3]['content']}\n" in heard[3]
    assert "no tool 'oven'" in found.replies[2].calls[0].result
    assert calls_that_worked(rows, found.replies) == 1 / 3
    short = tool_use(nano(), BYTES, rows, sandbox)
    assert short.marks == [False] * 3 and short.replies == [NO_ROOM] * 3


# ---- the rubric

BAKER = Question("job", "What is Mila's job?", "Mila is a baker.", "baker", 1, 1)
UNSAID = Question(
    "unanswerable", "How old is Mila?", "The text does not say.", "does not say", 0, 9
)


def test_the_rubric_is_met_whole_or_not_at_all(say) -> None:
    say("Mila is a baker.", "baker", "Mila is a baker. What a silly question.",
        Reply("", "Mila is a baker.", faults=("the turn has no end",)), "Mila is a judge.",
        "The text does not say.")  # fmt: skip
    rows = [asked("?")] * 6
    found = rubric_score(None, None, rows, [BAKER] * 5 + [UNSAID])
    assert found.marks == [True, False, False, False, False, True]
    assert found.score.chance == 1 / 6  # who always refuses is right once
    points = rubric_points(found.replies, [BAKER] * 5 + [UNSAID])
    failed = [{name for name, met in point.items() if not met} for point in points]
    assert failed == [set(), {"complete"}, {"polite"}, {"complete"}, {"true"}, set()]


def test_a_win_is_a_win_and_a_tie_half_of_one() -> None:
    good, short, false = (Reply("", t) for t in ("Mila is a baker.", "baker", "Mila is a judge."))
    mine, theirs = [good, good, false, short, good], [short, good, short, false, good]
    mean, ties = win_rate(mine, theirs, [BAKER] * 5)
    assert mean.value == (1 + 0.5 + 0 + 1 + 0.5) / 5 and ties == 0.4
    assert win_rate(theirs, mine, [BAKER] * 5)[0].value == 1 - mean.value


def test_prompts_of_preferences_come_with_their_truth() -> None:
    rows, questions = preference_prompts(20, "validation", seed=4)
    pairs = make_rows("preference", 20, seed=4, split="validation")
    for row, question, pair in zip(rows, questions, pairs, strict=True):
        assert row["conversations"] == pair["chosen"][:1]
        assert question.answer == pair["chosen"][1]["content"]


# ---- costs

CHATS = [
    {"conversations": [{"role": "user", "content": text}, {"role": "assistant", "content": said}]}
    for text, said in (("2 + 2?", "4"), ("Where is Mila at the end of it all?", "At Fox Mill."),
                       ("Hi", "Hello"))
]  # fmt: skip


def test_kl_is_the_sum_over_the_vocabulary_at_the_assistants_tokens() -> None:
    model, base = nano(3), nano(4)
    with torch.no_grad():
        model.lm_head.weight.mul_(20)  # far from flat, so that the two directions differ
    expected = []
    for row in CHATS:
        chat = render(row["conversations"], BYTES)
        ids_1T, (begin, end) = torch.tensor([chat.ids]), chat.spans[0]
        with torch.no_grad():
            p, q = (m(ids_1T)[0, begin - 1 : end - 1].softmax(-1) for m in (model, base))
        expected.append(float((p * (p / q).log()).sum() / (end - begin)))
    found = kl_to(base, model, BYTES, CHATS, rows_at_once=2)
    assert found == pytest.approx(expected, rel=1e-4) and min(found) > 0.001
    assert kl_to(model, model, BYTES, CHATS) == [0.0] * 3
    assert kl_to(model, base, BYTES, CHATS) != pytest.approx(expected, rel=1e-2)


def test_loss_is_the_chain_rule_also_for_texts_and_for_what_fits_of_a_long_one() -> None:
    model = nano()
    nats = chat_likelihood(model, BYTES)("Hi", "Hello")
    count = len(b"<think>\n\n</think>\n\nHello") + 1
    assert loss_on(model, BYTES, CHATS, rows_at_once=2)[2] == pytest.approx(-nats / count, rel=1e-5)
    small = nano(max_position_embeddings=16)
    for m, text, ids in ((model, "Mila sat.", [257, *b"Mila sat.", END]),
                         (small, "x" * 99 + "Mila sat.", [*b"xxxxxxxMila sat.", END])):  # fmt: skip
        with torch.no_grad():
            log_p = m(torch.tensor([ids[:-1]]))[0].log_softmax(-1)
        expected = -float(log_p.gather(1, torch.tensor(ids[1:])[:, None]).mean())
        found = loss_on(m, BYTES, [{"text": text}, {"text": "Then " * 9}])
        assert found[0] == pytest.approx(expected, rel=1e-5)
    chat = CHATS[0]["conversations"]
    with pytest.raises(MinimindError, match="row 0 has nothing that an assistant said"):
        loss_on(small, BYTES, [{"conversations": [*chat, {"role": "user", "content": "z" * 40}]}])
