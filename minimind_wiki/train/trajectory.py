"""An episode: a model and its tools take turns, and the ids stay as they were drawn.

The prompt is rendered once. From then on the track only grows: what the model drew is appended as
it came, with its log-probabilities, the token that ends a turn included; a tool's answer is what
the chat template writes between two turns of the assistant, with the answer in it as data, so that
a tool (or a user) who says `<|im_end|>` or `<tool_call>` ends no turn and starts no call. Only
drawn ids are learned (`track.collate`) and only drawn ids are searched for calls.

The template may drop or rewrite older turns when a chat is rendered as a whole (Qwen3's drops their
thoughts). Here nothing is rendered twice, so the model is trained on the context that it had.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from minimind_wiki.data.schemas import strict_json
from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.tokenizer.chat import Message, control_ids, from_row, render
from minimind_wiki.tokenizer.protocol import Tokenizer
from minimind_wiki.train.reasoning import END, Call, Reply, read_ids
from minimind_wiki.train.sandbox import Result, failure
from minimind_wiki.train.track import Game, Track, check_drawn

Run = Callable[[str, Mapping[str, Any]], Result]  # name and arguments of a call, to its answer
ENDINGS = ("answer", "turns", "length", "context")


@dataclass(frozen=True, slots=True)
class Episode:
    """What happened. `turns` are the ranges of ids that the model drew, half-open, in `track`.

    `ended`: by an "answer" (a turn without a call), by the limit of "turns", by the "length" of a
    turn, or because the "context" was full. `reply` is the last turn with the calls of all of them;
    those that were never run, because the episode ended, have `failed=None`.
    """

    track: Track
    turns: tuple[tuple[int, int], ...]
    reply: Reply
    ended: str


def prompt_of(row: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[Any]]:
    """Messages and tools of a row up to the user's last message: what an episode begins with.

    MinimindError when no user speaks in it, or tools and calls are no JSON.
    """
    messages, tools = from_row(row.get("conversations") or [])
    users = [at for at, message in enumerate(messages) if message.get("role") == "user"]
    if not users:
        raise MinimindError("the row has no message of a user, so there is nothing to answer.")
    return messages[: users[-1] + 1], tools


def parse_call(body: str) -> tuple[str, dict[str, Any]]:
    """Name and arguments of a call as it was written; ValueError says what is wrong with it.

    >>> parse_call('{"name": "calendar", "arguments": {"day": "Sunday", "days": 2}}')
    ('calendar', {'day': 'Sunday', 'days': 2})
    """
    try:
        call = strict_json(body)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the call is no JSON ({error})") from error
    if not isinstance(call, dict) or not isinstance(call.get("name"), str):
        raise ValueError("a call is an object with a name and arguments")
    if not isinstance(call.get("arguments"), dict):
        raise ValueError("the arguments of a call are an object")
    return call["name"], call["arguments"]


def answer_call(call: Call, offered: Sequence[str], run: Run) -> Call:
    """The call with its result; whatever is wrong with it is a text that the model may read."""
    try:
        if not call.closed:
            raise ValueError("the call has no end")
        name, arguments = parse_call(call.body)
        if name not in offered:
            raise ValueError(f"there is no tool {name!r}, only {', '.join(offered) or 'none'}")
        result = run(name, arguments)
    except ValueError as error:
        result = failure(str(error))
    text = result.text.encode("utf-8", "replace").decode()  # a lone surrogate has no ids
    return replace(call, result=text, failed=result.failed)


def response_ids(results: Sequence[str], tokenizer: Tokenizer, thinking: bool = False) -> list[int]:
    """What stands between the token that ended the turn with the calls and the next turn's first.

    It is cut from the rendering of an empty turn with these answers, so it is the template's.
    """
    messages: list[Message] = [{"role": "assistant", "content": ""}]
    messages += [{"role": "tool", "content": text} for text in results]
    whole = render(messages, tokenizer, add_generation_prompt=True, open_thinking=thinking)
    return whole.ids[whole.spans[0][1] :]


def episode(
    messages: Sequence[Message],
    tokenizer: Tokenizer,
    tools: Sequence[Any],
    run: Run,
    context: int,
    turns: int = 4,
    turn_tokens: int | None = None,
    thinking: bool = False,
    most_calls: int = 4,
) -> Game[Episode]:
    """A game (`track.play`, `track.play_together`) of at most `turns` turns in `context` tokens.

    `tools` are shown to the model, and no other can be called; `run` answers their calls and must
    raise nothing but ValueError (`Sandbox.call` raises nothing). A turn has at most `turn_tokens`,
    and of its calls the first `most_calls` are run. An answer of the tools that leaves no room for
    a turn is left out whole: half of it would be another answer. WrongCall for a prompt that fills
    the context.

    >>> from minimind_wiki.tokenizer import ByteTokenizer
    >>> from minimind_wiki.train.sandbox import Sandbox
    >>> from minimind_wiki.train.track import play
    >>> said = [{"role": "user", "content": "Hi"}]
    >>> game = episode(said, ByteTokenizer(), [], Sandbox().call, context=200)
    >>> played = play(lambda ids, budget: ([72, 105, 258], [-1.0, -0.5, -0.1]), game)
    >>> played.ended, played.reply.answer, sum(played.track.mask)
    ('answer', 'Hi', 3)
    """
    if turns < 1 or most_calls < 1 or (turn_tokens is not None and turn_tokens < 1):
        raise WrongCall("turns, turn_tokens and most_calls must be 1 or more.")
    end = control_ids(tokenizer)[END]
    prompt = render(messages, tokenizer, tools, True, thinking).ids
    if len(prompt) >= context:
        raise WrongCall(
            f"the prompt has {len(prompt)} tokens and the context is {context}, so there is no "
            "room for a turn. Shorten the prompt, or leave such rows out before."
        )
    offered = [_name(tool) for tool in tools]
    track, spans, done = Track(), list[tuple[int, int]](), list[Call]()
    track.give(prompt)
    while True:
        begin = len(track.ids)
        budget = min(context - begin, turn_tokens or context)
        drawn = yield list(track.ids), budget
        check_drawn(drawn, budget, end)
        track.draw(*drawn)
        spans.append((begin, len(track.ids)))
        reply = read_ids(drawn[0], tokenizer, thinking)
        left = list(reply.calls)  # those that nobody ran
        if drawn[0][-1] != end:
            ended = "context" if len(track.ids) >= context else "length"
            break
        if not reply.calls:
            ended = "answer"
            break
        if len(spans) == turns:
            ended = "turns"
            break
        ran = [answer_call(call, offered, run) for call in left[:most_calls]]
        too_many = failure(f"no more than {most_calls} calls are run in a turn")
        ran += [replace(c, result=too_many.text, failed=True) for c in left[most_calls:]]
        done += ran
        given = response_ids([call.result for call in ran], tokenizer, thinking)
        if len(track.ids) + len(given) >= context:
            left, ended = [], "context"
            break
        track.give(given)
    calls = (*done, *left)
    tokens = sum(stop - start for start, stop in spans)
    return Episode(track, tuple(spans), replace(reply, calls=calls, tokens=tokens), ended)


def _name(tool: Any) -> str:
    function = tool.get("function", tool) if isinstance(tool, Mapping) else tool
    name = function.get("name") if isinstance(function, Mapping) else None
    if not isinstance(name, str):
        raise WrongCall(f"the tool {tool!r:.80} has no name.")
    return name
