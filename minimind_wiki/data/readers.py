"""From the rows of public data sets to ours: pure functions, one row in, a list of rows out.

A reader changes the shape and nothing else: it neither judges nor repairs the text (the checker in
`schemas` does the one, `minimind data clean` the other). An empty list means that the row holds
nothing of this kind, such as an answer that was only ever disliked. Benchmark items are in `items`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from minimind_wiki.data import items
from minimind_wiki.errors import unknown

Row = dict[str, Any]
Message = dict[str, str]
Reader = Callable[[Row], list[Row]]

_SPEAKER = {
    "human": "user", "user": "user", "prompter": "user", "gpt": "assistant",
    "assistant": "assistant", "chatgpt": "assistant", "system": "system", "observation": "tool",
    "tool": "tool", "function_call": "call",
}  # fmt: skip


class BadRow(ValueError):
    """The row has not the shape that the reader expects; the message says what is missing."""


def _say(role: str, content: str, **more: str) -> Message:
    return {"role": role, "content": content, **more}


def _chat(*messages: Message) -> list[Row]:
    return [{"conversations": list(messages)}]


def _prompt(instruction: str, extra: str | None) -> Message:
    return _say("user", f"{instruction}\n{extra}" if extra else instruction)


def _joined(turns: Iterable[tuple[str, str]]) -> list[Message]:
    """Messages, where neighbours of the same role are one, with a blank line between them."""
    messages: list[Message] = []
    for role, text in turns:
        if messages and messages[-1]["role"] == role:
            messages[-1]["content"] += "\n\n" + text
        else:
            messages.append(_say(role, text))
    return messages


def text(row: Row) -> list[Row]:
    """Any row with `text`; what else it has is dropped.

    >>> text({"text": "Once.", "title": "A story"})
    [{'text': 'Once.'}]
    """
    return [{"text": row["text"]}]


def alpaca(row: Row) -> list[Row]:
    """Alpaca's `{instruction, input, output}` (Taori et al. 2023); the answer may be `response`.

    >>> alpaca({"instruction": "Add.", "input": "1 1", "output": "2"})[0]["conversations"][0]
    {'role': 'user', 'content': 'Add.\\n1 1'}
    """
    answer = row["output"] if "output" in row else row["response"]
    return _chat(_prompt(row["instruction"], row.get("input")), _say("assistant", answer))


def dolly(row: Row) -> list[Row]:
    """Dolly's `{instruction, context, response, category}`."""
    return _chat(
        _prompt(row["instruction"], row.get("context")), _say("assistant", row["response"])
    )


_TEMPLATE = re.compile(r"### Instruction:\n(.*?)\n+### Response:\s*\Z", re.DOTALL)


def prompted(row: Row) -> list[Row]:
    """`{prompt, response}` whose prompt is Alpaca's template already filled in: take it out."""
    found = _TEMPLATE.search(row["prompt"])
    asked = found[1] if found else row["prompt"]
    return _chat(_say("user", asked), _say("assistant", row["response"]))


def instances(row: Row) -> list[Row]:
    """Self-Instruct's `{instruction, instances: [{input, output}]}`: a chat for each instance."""
    return [
        chat
        for one in row["instances"]
        for chat in alpaca({**one, "instruction": row["instruction"]})
    ]


def _with_tools(messages: list[Any], tools: Any) -> list[Any]:
    """`tools` (JSON in a string, or a list) go into the system message, which is made if needed."""
    if not tools or tools == "[]":
        return messages
    held = tools if isinstance(tools, str) else json.dumps(tools, ensure_ascii=False)
    if not messages or messages[0]["role"] != "system":
        messages = [_say("system", ""), *messages]
    return [{**messages[0], "tools": held}, *messages[1:]]


def _calls(value: str) -> str:
    """One call or a list of them, as a JSON list in a string; what is no JSON stays as it is."""
    try:
        call = json.loads(value)
    except ValueError:
        return value
    return json.dumps(call if isinstance(call, list) else [call], ensure_ascii=False)


def _sharegpt(turns: Iterable[Row]) -> list[Message]:
    messages = []
    for turn in turns:
        role = _SPEAKER.get(turn["from"])
        if role is None:
            raise BadRow(f"an unknown speaker {turn['from']!r}")
        if role == "call":
            messages.append(_say("assistant", "", tool_calls=_calls(turn["value"])))
        else:
            messages.append(_say(role, turn["value"]))
    return messages


def sharegpt(row: Row) -> list[Row]:
    """`{conversations: [{from, value}], tools?}` with calls and observations (ShareGPT, Glaive)."""
    return [{"conversations": _with_tools(_sharegpt(row["conversations"]), row.get("tools"))}]


def parts(row: Row) -> list[Row]:
    """`{messages: [{role, content: [{type, value}]}], tools}`: thoughts and calls in parts."""
    messages = []
    for message in row["messages"]:
        kinds: dict[str, list[str]] = {}
        for part in message["content"]:
            kinds.setdefault(part["type"], []).append(part["value"])
        more = {}
        if "reasoning" in kinds:
            more["reasoning_content"] = "\n".join(kinds["reasoning"])
        if "tool_call" in kinds:
            calls = [call for value in kinds["tool_call"] for call in json.loads(_calls(value))]
            more["tool_calls"] = json.dumps(calls, ensure_ascii=False)
        messages.append(_say(message["role"], "\n".join(kinds.get("text", [])), **more))
    return [{"conversations": _with_tools(messages, row.get("tools"))}]


def _replies(node: Row) -> list[Row]:
    """Replies that were not deleted, best rank first; those without a rank after them."""
    kept = [r for r in node.get("replies") or [] if not r.get("deleted")]
    return sorted(kept, key=lambda r: r["rank"] if r.get("rank") is not None else len(kept))


def _paths(node: Row, before: list[Message]) -> Iterator[list[Message]]:
    here = [*before, _say(_SPEAKER[node["role"]], node["text"])]
    replies = _replies(node)
    if node["role"] == "prompter":
        replies = replies[:1]
    ends = True
    for reply in replies:
        for path in _paths(reply, here):
            ends = False
            yield path
    if ends and node["role"] == "assistant":
        yield here


def oasst(row: Row) -> list[Row]:
    """A tree of OpenAssistant (Köpf et al. 2023): a chat for each path along the best answers.

    Of the answers to one message only the best is followed, of what users then said everything.
    """
    return [{"conversations": path} for path in _paths(row["prompt"], [])]


def _pairs(node: Row, before: list[Message]) -> Iterator[Row]:
    here = [*before, _say(_SPEAKER[node["role"]], node["text"])]
    replies = _replies(node)
    ranked = [r for r in replies if r.get("rank") is not None]
    if node["role"] == "prompter" and len(ranked) > 1:
        best, worst = (_say("assistant", r["text"]) for r in (ranked[0], ranked[-1]))
        yield {"chosen": [*here, best], "rejected": [*here, worst]}
    for reply in replies:
        yield from _pairs(reply, here)


def oasst_pairs(row: Row) -> list[Row]:
    """The same tree as preferences: of the ranked answers to a message the best and the worst."""
    return list(_pairs(row["prompt"], []))


def _moss(value: str) -> str:
    """What stands between `<|Speaker|>:` and `<eo.>`; "" for None."""
    inner = re.sub(r"\A<\|[^|]+\|>:|<eo\w>\s*\Z", "", value.strip()).strip()
    return "" if inner == "None" else inner


def _moss_calls(value: str) -> list[Row]:
    calls = []
    for one in re.split(r"(?<=\)),\s*(?=\w+\()", value.rstrip(", \n")):
        found = re.fullmatch(r"\s*(\w+)\((.*)\)\s*", one, re.DOTALL)
        name, given = (found[1], found[2]) if found else ("Command", one)
        quoted = len(given) > 1 and given[0] == given[-1] and given[0] in "\"'"
        calls.append({"name": name, "arguments": {"input": given[1:-1] if quoted else given}})
    return calls


def moss(row: Row) -> list[Row]:
    """MOSS' `{meta_instruction, chat: {turn_N: {Human, Inner Thoughts, Commands, …, MOSS}}}`."""
    messages = [_say("system", row["meta_instruction"].strip())] if row["meta_instruction"] else []
    turns = sorted(row["chat"].items(), key=lambda pair: int(pair[0].rpartition("_")[2]))
    for _, turn in turns:
        thought, command = _moss(turn["Inner Thoughts"]), _moss(turn["Commands"])
        more = {"reasoning_content": thought} if thought else {}
        messages.append(_say("user", _moss(turn["Human"])))
        if command:
            calls = json.dumps(_moss_calls(command), ensure_ascii=False)
            messages.append(_say("assistant", "", **more, tool_calls=calls))
            messages.append(_say("tool", _moss(turn["Tool Responses"])))
            more = {}
        messages.append(_say("assistant", _moss(turn["MOSS"]), **more))
    return [{"conversations": messages}]


def _two_people(turns: list[tuple[bool, str]]) -> list[Row]:
    """Two people talk: the first is the user. A last word of the user has no answer and is cut."""
    messages = _joined(("user" if first else "assistant", said) for first, said in turns)
    if messages and messages[-1]["role"] == "user":
        messages.pop()
    return [{"conversations": messages}] if messages else []


def topical(row: Row) -> list[Row]:
    """Topical-Chat's `{content: [{agent, message}]}`."""
    first = row["content"][0]["agent"]
    return _two_people([(t["agent"] == first, t["message"]) for t in row["content"]])


def kdconv(row: Row) -> list[Row]:
    """KdConv's `{messages: [{message}]}`, in which two people alternate."""
    turns = enumerate(row["messages"])
    return _two_people([(number % 2 == 0, turn["message"]) for number, turn in turns])


def kto(row: Row) -> list[Row]:
    """`{messages, label}`: chats with their verdict. KTO learns from both kinds, imitation only
    from those that were liked (`data.sft_rows`)."""
    messages = [_say(m["role"], m["content"]) for m in row["messages"]]
    return [{"conversations": messages, "label": bool(row["label"])}]


def hh(row: Row) -> list[Row]:
    """HH-RLHF (Bai et al. 2022): two transcripts with `Human:` and `Assistant:` in one string."""
    return [{key: _transcript(row[key]) for key in ("chosen", "rejected")}]


def _transcript(talk: str) -> list[Message]:
    pieces = re.split(r"(?:\A|\n\n)(Human|Assistant):", talk)
    if pieces[0].strip() or len(pieces) < 3:
        raise BadRow("a transcript that does not begin with 'Human:' or 'Assistant:'")
    roles = {"Human": "user", "Assistant": "assistant"}
    turns = zip(pieces[1::2], pieces[2::2], strict=True)
    return _joined((roles[who], said.strip()) for who, said in turns)


def pair(row: Row) -> list[Row]:
    """`{conversations: [{from, value}], chosen: {…}, rejected: {…}}` (LLaMA-Factory, DPO-En-Zh)."""
    first = _sharegpt(row["conversations"])
    return [{key: [*first, *_sharegpt([row[key]])] for key in ("chosen", "rejected")}]


def alpaca_pair(row: Row) -> list[Row]:
    """`{instruction, input, chosen, rejected}`."""
    first = _prompt(row["instruction"], row.get("input"))
    return [{key: [first, _say("assistant", row[key])] for key in ("chosen", "rejected")}]


def ultrafeedback(row: Row) -> list[Row]:
    """UltraFeedback, binarized: both answers are chats already; the scores are dropped."""
    return [
        {key: [_say(m["role"], m["content"]) for m in row[key]] for key in ("chosen", "rejected")}
    ]


def _worked(answer: str) -> tuple[str, str]:
    """GSM8K's steps without the calculator's `<<a*b=c>>`, and the number after `####`."""
    steps, mark, number = answer.rpartition("####")
    if not mark:
        raise BadRow("an answer without ####")
    return re.sub(r"<<[^<>]*>>", "", steps).strip(), number.strip().replace(",", "")


def gsm8k(row: Row) -> list[Row]:
    """GSM8K (Cobbe et al. 2021) as chats: the worked steps, then `#### number`.

    >>> gsm8k({"question": "2+2?", "answer": "It is <<2+2=4>>4.\\n#### 4"})[0]["conversations"][1]
    {'role': 'assistant', 'content': 'It is 4.\\n#### 4'}
    """
    steps, number = _worked(row["answer"])
    return _chat(_say("user", row["question"]), _say("assistant", f"{steps}\n#### {number}"))


def gsm8k_rl(row: Row) -> list[Row]:
    """GSM8K as prompts with the number that the answer must contain."""
    number = _worked(row["answer"])[1]
    return [{"conversations": [_say("user", row["question"])], "gt": [number]}]


def gsm8k_item(row: Row) -> list[Row]:
    """GSM8K as benchmark items."""
    return items.answer("gsm8k", row["question"], [_worked(row["answer"])[1]])


def translation(row: Row) -> list[Row]:
    """A sentence and its translation, `{en, zh}`, as a chat."""
    return _chat(_say("user", f"Translate into Chinese: {row['en']}"), _say("assistant", row["zh"]))


# name -> the function, the schema of the rows that it makes
READERS: dict[str, tuple[Reader, str]] = {
    "text": (text, "pretrain"), "alpaca": (alpaca, "sft"), "dolly": (dolly, "sft"),
    "prompted": (prompted, "sft"), "instances": (instances, "sft"), "sharegpt": (sharegpt, "sft"),
    "parts": (parts, "sft"), "oasst": (oasst, "sft"), "moss": (moss, "sft"), "kto": (kto, "sft"),
    "topical": (topical, "sft"), "kdconv": (kdconv, "sft"), "gsm8k": (gsm8k, "sft"),
    "translation": (translation, "sft"), "oasst_pairs": (oasst_pairs, "preference"),
    "hh": (hh, "preference"), "pair": (pair, "preference"),
    "alpaca_pair": (alpaca_pair, "preference"), "ultrafeedback": (ultrafeedback, "preference"),
    "gsm8k_rl": (gsm8k_rl, "agent"), "gsm8k_item": (gsm8k_item, "answer"), **items.READERS,
}  # fmt: skip


def read(name: str, row: Any) -> list[Row]:
    """Our rows of one row of a set. BadRow when its shape is another, WrongCall for no reader."""
    if name not in READERS:
        raise unknown("reader", name, READERS)
    if not isinstance(row, dict):
        raise BadRow(f"not a row of {name}: no JSON object")
    try:
        return READERS[name][0](row)
    except KeyError as error:
        raise BadRow(f"not a row of {name}: the key {error} is missing") from error
    except (TypeError, AttributeError, IndexError, ValueError) as error:
        raise BadRow(f"not a row of {name}: {error}") from error
