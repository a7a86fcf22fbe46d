"""Readers: a small row of each set's documented shape, and what must come of it."""

import json

import pytest

from minimind_wiki.data.readers import READERS, BadRow, read
from minimind_wiki.data.schemas import check_row
from minimind_wiki.errors import WrongCall


def user(text):
    return {"role": "user", "content": text}


def bot(text, **more):
    return {"role": "assistant", "content": text, **more}


def chat(*messages):
    return [{"conversations": list(messages)}]


def both(first, chosen, rejected):
    return [{"chosen": [*first, bot(chosen)], "rejected": [*first, bot(rejected)]}]


def reply(text, role="assistant", rank=None, replies=(), **more):
    return {"text": text, "role": role, "rank": rank, "replies": list(replies), **more}


CALL = '{"name": "f", "arguments": {"x": 1}}'
TREE = {"prompt": reply("hi", "prompter", replies=[
    reply("worst", rank=2), reply("good", rank=1),
    reply("best", rank=0, replies=[reply("why?", "prompter", replies=[reply("so", rank=0)]),
                                   reply("thanks", "prompter")]),
    reply("gone", rank=-1, deleted=True),
])}  # fmt: skip
TEMPLATE = ("Below is an instruction that describes a task. Write a response that appropriately "
            "completes the request.\n\n### Instruction:\nSay\nit.\n\n### Response:\n")  # fmt: skip


def moss_turn(human, thought, commands, results, said):
    marks = {"Human": ("Human", "h", human), "Inner Thoughts": ("Inner Thoughts", "t", thought),
             "Commands": ("Commands", "c", commands), "Tool Responses": ("Results", "r", results),
             "MOSS": ("MOSS", "m", said)}  # fmt: skip
    return {key: f"<|{mark}|>: {text}<eo{end}>\n" for key, (mark, end, text) in marks.items()}


MOSS = {"meta_instruction": "Be kind.\n", "chat": {
    "turn_2": moss_turn("Thanks", "None", "None", "None", "Bye"),
    "turn_1": moss_turn("2+2?", "sum", 'Calculate("(2)+2"), Search("four"),', "\n4\n", "4"),
}}  # fmt: skip
TOPICAL = [{"agent": f"agent_{who}", "message": text} for who, text in ("2a", "1b", "1c", "2d")]
CASES = {
    "text": ({"text": "a", "title": "b"}, [{"text": "a"}]),
    "alpaca": ({"instruction": "Do", "input": "", "output": "ok"}, chat(user("Do"), bot("ok"))),
    "alpaca/response": ({"instruction": "Do", "input": "it", "response": "ok"},
                        chat(user("Do\nit"), bot("ok"))),
    "dolly": ({"instruction": "Who?", "context": "Ann did.", "response": "Ann", "category": "qa"},
              chat(user("Who?\nAnn did."), bot("Ann"))),
    "prompted": ({"prompt": TEMPLATE, "response": "it"}, chat(user("Say\nit."), bot("it"))),
    "prompted/free": ({"prompt": "Say it.", "response": "it"}, chat(user("Say it."), bot("it"))),
    "instances": ({"instruction": "Add", "instances": [{"input": "1 1", "output": "2"},
                                                       {"input": "", "output": "?"}]},
                  chat(user("Add\n1 1"), bot("2")) + chat(user("Add"), bot("?"))),
    "sharegpt": ({"conversations": [{"from": "human", "value": "hi"},
                                    {"from": "function_call", "value": CALL},
                                    {"from": "observation", "value": "{}"},
                                    {"from": "gpt", "value": "done"}], "tools": '[{"name": "f"}]'},
                 chat({"role": "system", "content": "", "tools": '[{"name": "f"}]'}, user("hi"),
                      bot("", tool_calls=f"[{CALL}]"), {"role": "tool", "content": "{}"},
                      bot("done"))),
    "sharegpt/slimorca": ({"conversations": [{"from": "system", "value": "Think.", "weight": None},
                                             {"from": "human", "value": "hi", "weight": 0.0},
                                             {"from": "gpt", "value": "yo", "weight": 1.0}]},
                          chat({"role": "system", "content": "Think."}, user("hi"), bot("yo"))),
    "parts": ({"messages": [{"role": "user", "content": [{"type": "text", "value": "hi"}]},
                            {"role": "assistant", "content": [
                                {"type": "reasoning", "value": "hm"},
                                {"type": "tool_call", "value": CALL}]},
                            {"role": "tool", "content": [{"type": "text", "value": "1"}]},
                            {"role": "assistant", "content": [{"type": "text", "value": "one"}]}],
               "tools": "[]"},
              chat(user("hi"), bot("", reasoning_content="hm", tool_calls=f"[{CALL}]"),
                   {"role": "tool", "content": "1"}, bot("one"))),
    "oasst": (TREE, chat(user("hi"), bot("best"), user("why?"), bot("so"))),
    "oasst_pairs": (TREE, both([user("hi")], "best", "worst")),
    "moss": (MOSS, chat(
        {"role": "system", "content": "Be kind."}, user("2+2?"),
        bot("", reasoning_content="sum", tool_calls=json.dumps([
            {"name": "Calculate", "arguments": {"input": "(2)+2"}},
            {"name": "Search", "arguments": {"input": "four"}}])),
        {"role": "tool", "content": "4"}, bot("4"), user("Thanks"), bot("Bye"))),
    "topical": ({"content": TOPICAL}, chat(user("a"), bot("b\n\nc"))),
    "kdconv": ({"messages": [{"message": "a"}, {"message": "b", "attrs": []}, {"message": "c"}]},
               chat(user("a"), bot("b"))),
    "kto": ({"messages": [user("a"), bot("b")], "label": True},
            [{"conversations": [user("a"), bot("b")], "label": True}]),
    "kto/disliked": ({"messages": [user("a"), bot("b")], "label": False},
                     [{"conversations": [user("a"), bot("b")], "label": False}]),
    "hh": ({"chosen": "\n\nHuman: a\n\nb\n\nHuman: c\n\nAssistant: yes",
            "rejected": "\n\nHuman: a\n\nb\n\nHuman: c\n\nAssistant: no"},
           both([user("a\n\nb\n\nc")], "yes", "no")),
    "pair": ({"conversations": [{"from": "human", "value": "a"}],
              "chosen": {"from": "gpt", "value": "yes"},
              "rejected": {"from": "gpt", "value": "no"}},
             both([user("a")], "yes", "no")),
    "alpaca_pair": ({"instruction": "a", "input": "b", "output": "x", "chosen": "yes",
                     "rejected": "no"}, both([user("a\nb")], "yes", "no")),
    "ultrafeedback": ({"prompt": "a", "chosen": [user("a"), bot("yes")], "score_chosen": 8.0,
                       "rejected": [user("a"), bot("no")]}, both([user("a")], "yes", "no")),
    "gsm8k": ({"question": "q", "answer": "48/2 = <<48/2=24>>24.\n#### 1,024"},
              chat(user("q"), bot("48/2 = 24.\n#### 1024"))),
    "gsm8k_rl": ({"question": "q", "answer": "so\n#### -3"},
                 [{"conversations": [user("q")], "gt": ["-3"]}]),
    "gsm8k_item": ({"question": "q", "answer": "so\n#### 7"},
                   [{"task": "gsm8k", "question": "q", "answers": ["7"]}]),
    "translation": ({"en": "Hi.", "zh": "嗨。", "attribution": "x"},
                    chat(user("Translate into Chinese: Hi."), bot("嗨。"))),
}  # fmt: skip


def item(task, question, choices, right):
    return [{"task": task, "question": question, "choices": choices, "answer": right}]


def free(task, question, *answers):
    return [{"task": task, "question": question, "answers": list(answers)}]


FOUNDRY = {"query": "q", "choices": ["a", "b"], "gold": 1}
ABCD = {"A": "a", "B": "b", "C": "c", "D": "d"}
CASES |= {
    "hellaswag": ({"ctx": "q", "endings": ["a", "b"], "label": "1", "ind": 3},
                  item("hellaswag", "q", ["a", "b"], 1)),
    "arc": ({"question": "q", "answerKey": "B",
             "choices": {"text": ["a", "b"], "label": ["A", "B"]}},
            item("arc", "q", ["a", "b"], 1)),
    "arc/foundry": (FOUNDRY, item("arc", "q", ["a", "b"], 1)),
    "mmlu": ({"subject": "law", "question": "q", "choices": ["a", "b"], "answer": 0},
             item("mmlu/law", "q", ["a", "b"], 0)),
    "ceval": ({"subject": "law", "id": 0, "question": "q", **ABCD, "answer": "D"},
              item("ceval/law", "q", ["a", "b", "c", "d"], 3)),
    "cmmlu": ({"subject": "law", "Question": "q", **ABCD, "Answer": "A"},
              item("cmmlu/law", "q", ["a", "b", "c", "d"], 0)),
    "piqa": ({"goal": "q", "sol1": "a", "sol2": "b", "label": 1}, item("piqa", "q", ["a", "b"], 1)),
    "winogrande": ({"context_options": ["x Sarah", "x Maria"], "continuation": "won.", "gold": 1},
                   item("winogrande", "", ["x Sarah won.", "x Maria won."], 1)),
    "winogrande/own": ({"sentence": "x _ won.", "option1": "Sarah", "option2": "Maria",
                        "answer": "1"},
                       item("winogrande", "", ["x Sarah won.", "x Maria won."], 0)),
    "truthfulqa": ({"question": "q", "mc1_targets": {"yes": 0, "no": 1}, "mc2_targets": {}},
                   item("truthfulqa", "q", ["yes", "no"], 1)),
    "truthfulqa/hub": ({"question": "q", "mc1_targets": {"choices": ["a", "b"], "labels": [1, 0]}},
                       item("truthfulqa", "q", ["a", "b"], 0)),
    "pubmedqa": ({"context": "q", "continuation": "no"},
                 item("pubmedqa", "q", ["yes", "no", "maybe"], 1)),
    "boolq": (FOUNDRY, item("boolq", "q", ["a", "b"], 1)),
    "openbookqa": (FOUNDRY, item("openbookqa", "q", ["a", "b"], 1)),
    "commonsenseqa": (FOUNDRY, item("commonsenseqa", "q", ["a", "b"], 1)),
    "truthfulqa_open": ({"Question": "q", "Correct Answers": "a; b"},
                        free("truthfulqa_open", "q", "a", "b")),
    "lambada": ({"context": "a last", "continuation": "word"}, free("lambada", "a last", "word")),
    "triviaqa": ({"context": "q", "answer": "a", "aliases": ["b", "a"]},
                 free("triviaqa", "q", "a", "b")),
    "svamp": ({"Body": "I had 5.", "Question": "Half?", "Answer": 2.5},
              free("svamp", "I had 5. Half?", "2.5")),
    "nq_open": ({"question": "q", "answer": ["a", "b"]}, free("nq_open", "q", "a", "b")),
    "squad": ({"context": "p", "qas": [{"question": "q", "answers": [{"text": "a"}] * 2}]},
              free("squad", "p\n\nq", "a")),
    "fairytaleqa": ({"question": "q", "answer1": "a", "answer4": "b"},
                    free("fairytaleqa", "q", "a", "b")),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_row_becomes_ours(name):
    row, expected = CASES[name]
    before = json.dumps(row)
    reader = name.split("/")[0]
    made = read(reader, row)
    assert made == expected
    assert json.dumps(row) == before  # a pure function leaves its row alone
    for ours in made:
        assert check_row(ours, READERS[reader][1]) == ()


def test_every_reader_has_a_case():
    assert {name.split("/")[0] for name in CASES} == set(READERS)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("row", [{}, [1], "text", {"instruction": 3}])
def test_a_row_of_another_shape_is_named(reader, row):
    with pytest.raises(BadRow, match=f"not a row of {reader}: "):
        read(reader, row)


@pytest.mark.parametrize(
    ("reader", "row", "reason"),
    [
        ("sharegpt", {"conversations": [{"from": "narrator", "value": "x"}]}, "unknown speaker"),
        ("hh", {"chosen": "Once upon a time", "rejected": "x"}, "does not begin with 'Human:'"),
        ("gsm8k", {"question": "q", "answer": "four"}, "an answer without ####"),
        ("cmmlu", {"Question": "q", **ABCD, "Answer": "E"}, "substring not found"),
    ],
)
def test_what_is_wrong_is_said(reader, row, reason):
    with pytest.raises(BadRow, match=reason):
        read(reader, row)


def test_an_unknown_reader():
    with pytest.raises(WrongCall, match="did you mean 'alpaca'"):
        read("alpacca", {})
