"""What post-training claims, in the model's own words: greedy answers that a program judges.

The exam by likelihood (`evaluate.chat_exam`) shows what a model would choose; these scores show
what it says. Each is a function of a model, its tokenizer and rows of held-out worlds, and gives a
share with its Wilson interval, the mark of every row (for the interval of a difference, see
`evaluate.intervals`), and how long the replies are. Taste and costs are in `compare.py`.

| score | rows | right means |
|---|---|---|
| `instruction_following` | instructions | the world's verifier accepts the answer |
| `arithmetic` | arithmetic, or rl of sort sum | the same, by the last number that it commits to |
| `tool_use` | tools | after an episode with real tools, the answer is right |
| `exam_in_words` | a section of the exam | the answer names the right option and no wrong one |

`chance` is that of a guess that knows the form of the answer (`blind`). A prompt that leaves no
room for an answer in the model's context counts as answered wrong: it could not be read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from minimind_wiki.data.world.solve import solve
from minimind_wiki.data.world.tools import DAYS
from minimind_wiki.data.world.words import THINGS
from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.evaluate.chat_exam import PLAIN, messages_of
from minimind_wiki.evaluate.world_exam import Answerer, Score, by_answer, exam_items
from minimind_wiki.infer.rollout import rollout
from minimind_wiki.model import Transformer
from minimind_wiki.tokenizer import Tokenizer
from minimind_wiki.tokenizer.chat import control_ids, render
from minimind_wiki.train.reasoning import END, Reply, read_ids
from minimind_wiki.train.rewards import exact, used_tools
from minimind_wiki.train.sandbox import Sandbox
from minimind_wiki.train.sources import Row
from minimind_wiki.train.track import engine, play_together
from minimind_wiki.train.trajectory import episode, prompt_of

NO_ROOM = Reply("", "", faults=("the prompt leaves no room for an answer",))


@dataclass(frozen=True, slots=True)
class Examined:
    """A score, and what it was made of, row by row."""

    score: Score
    marks: list[bool]
    replies: list[Reply]

    @property
    def tokens(self) -> float:
        """Mean length of a reply, its end token included."""
        return sum(reply.tokens for reply in self.replies) / len(self.replies)

    def __str__(self) -> str:
        ended = sum("the turn has no end" not in r.faults for r in self.replies)
        unread = sum(reply is NO_ROOM for reply in self.replies)
        told = f"{self.score}  {self.tokens:.1f} tokens, {ended / len(self.replies):.0%} ended"
        return told + (f"; {unread} prompts do not fit" if unread else "")


# ---- what the model says


def answers(
    model: Transformer,
    tokenizer: Tokenizer,
    rows: Sequence[Row],
    max_new_tokens: int = 96,
    thinking: bool = False,
    rows_at_once: int = 16,
    temperature: float = 0.0,
    seed: int = 0,
) -> list[Reply]:
    """The reply to the last user's message of each row, many rows at a time: the greedy one, or
    one that is drawn at a temperature.

    A reply does not depend on its neighbours. NO_ROOM where the prompt and `max_new_tokens` do not
    fit the model's context.
    """
    prompts = []
    for row in rows:
        messages, tools = prompt_of(row)
        prompts.append(render(messages, tokenizer, tools, True, thinking).ids)
    room = model.config.max_position_embeddings - max_new_tokens
    fitting = [number for number, ids in enumerate(prompts) if len(ids) <= room]
    replies = [NO_ROOM] * len(rows)
    if fitting:
        end = control_ids(tokenizer)[END]
        device = next(model.parameters()).device
        drawn = rollout(model, [prompts[n] for n in fitting], 1, max_new_tokens, temperature,
                        generator=torch.Generator(device).manual_seed(seed), stop_ids=(end,),
                        rows_at_once=rows_at_once)  # fmt: skip
        for at, number in enumerate(fitting):
            replies[number] = read_ids(drawn.sampled(at)[0], tokenizer, thinking)
    return replies


def chat_answerer(
    model: Transformer, tokenizer: Tokenizer, max_new_tokens: int = 96, thinking: bool = False
) -> Answerer:
    """One prompt to one text, for `world_exam.by_answer`; `exam_in_words` is the fast form."""

    def answer(prompt: str) -> str:
        row = {"conversations": messages_of("", prompt)}
        return answers(model, tokenizer, [row], max_new_tokens, thinking)[0].answer

    return answer


# ---- scores


def instruction_following(
    model: Transformer, tokenizer: Tokenizer, rows: Sequence[Row], **how: Any
) -> Examined:
    """Share of the instructions (`world/instructions`) that are followed to the letter.

    `how`: max_new_tokens, thinking and rows_at_once of `answers`.
    """
    return _verified("instructions", rows, answers(model, tokenizer, rows, **how))


def arithmetic(
    model: Transformer, tokenizer: Tokenizer, rows: Sequence[Row], **how: Any
) -> Examined:
    """Share of the word problems that are solved, with the steps that the model likes to write."""
    return _verified("arithmetic", rows, answers(model, tokenizer, rows, **how))


def tool_use(
    model: Transformer,
    tokenizer: Tokenizer,
    rows: Sequence[Row],
    sandbox: Sandbox,
    turns: int = 3,
    turn_tokens: int = 96,
    thinking: bool = False,
    rows_at_once: int = 16,
) -> Examined:
    """Share of the tasks for a tool that end in the right answer: an episode each, calls are run.

    The calls of a reply are those of its whole episode, `Call.failed` says what came of them.
    """
    context, games, playing = model.config.max_position_embeddings, [], []
    for number, row in enumerate(rows):
        messages, tools = prompt_of(row)
        ids = render(messages, tokenizer, tools, True, thinking).ids
        if len(ids) + turn_tokens > context:
            continue
        playing.append(number)
        games.append(episode(messages, tokenizer, tools, _runner(sandbox, row), context, turns,
                             turn_tokens, thinking))  # fmt: skip
    draw = engine(model, control_ids(tokenizer)[END], temperature=0.0, rows_at_once=rows_at_once)
    replies = [NO_ROOM] * len(rows)
    for number, played in zip(playing, play_together(draw, games), strict=True):
        replies[number] = played.reply
    return _verified("tool use", rows, replies)


def _runner(sandbox: Sandbox, row: Row) -> Callable[..., Any]:
    return lambda name, arguments: sandbox.call(name, arguments, row.get("stock"))


def calls_that_worked(rows: Sequence[Row], replies: Sequence[Reply]) -> float:
    """Share of the episodes that called a tool and no call of which failed."""
    return sum(used_tools(row, r) for row, r in zip(rows, replies, strict=True)) / len(rows)


def exam_in_words(
    model: Transformer,
    tokenizer: Tokenizer,
    section: str,
    items: int = 100,
    split: str = "test",
    seed: int = 0,
    **how: Any,
) -> Examined:
    """A section of the world exam, answered freely and judged by `world_exam.by_answer`.

    Of an answer with thoughts or steps, what stands after "answer is" counts; in `tools` the calls
    that were made. `chance` is that of naming one option blindly. WrongCall for a section that
    continues a text, to which there is no answer.
    """
    if section in PLAIN:
        raise WrongCall(f"the section {section!r} continues a text and asks nothing; leave it out.")
    asked = list(exam_items(section, items, split, seed))
    rows = [{"conversations": messages_of(section, item.prompt)} for item in asked]
    replies = answers(model, tokenizer, rows, **how)
    said = [_committed(section, reply) for reply in replies]
    marks = [by_answer(lambda _, text=text: text, item)  # type: ignore[misc]
             for item, text in zip(asked, said, strict=True)]  # fmt: skip
    chance = sum(1 / len(item.options) for item in asked) / len(asked)
    return Examined(Score(section, sum(marks), len(marks), chance), marks, replies)


def _committed(section: str, reply: Reply) -> str:
    if section == "tools":
        return "[" + ", ".join(call.body for call in reply.calls) + "]"
    return re.split(r"\banswer is\b", reply.answer)[-1]


# ---- right, and right by chance


def _verified(name: str, rows: Sequence[Row], replies: list[Reply]) -> Examined:
    golden = [with_gold(row) for row in rows]
    marks = [bool(exact(row, reply)) for row, reply in zip(golden, replies, strict=True)]
    chance = sum(map(blind, golden)) / len(golden)
    return Examined(Score(name, sum(marks), len(marks), chance), marks, replies)


def with_gold(row: Row) -> Row:
    """The row with its answer in `gt`; a task without one is solved from its prompt.

    MinimindError for a row that has no `gt` and is no task of the world.
    """
    if row.get("gt"):
        return row
    try:
        return row | {"gt": [solve(_asked(row))]}
    except ValueError as error:
        raise MinimindError(f'the row has no "gt", and {error}.') from error


def blind(row: Row) -> float:
    """How often a guess is right that knows only what sort of answer is wanted.

    One of seven days, of the three people or of the four words that are named, one order of them,
    a length that words have. A sum or a rewritten text is never guessed.

    >>> blind({"conversations": [{"role": "user", "content": "Which day?"}], "gt": ["Monday"]})
    0.14285714285714285
    """
    prompt, gold = _asked(row), row["gt"][0]
    if gold in DAYS:
        return 1 / len(DAYS)
    if "of the three?" in prompt:
        return 1 / 3
    if "How many letters" in prompt:
        return 1 / len({len(thing) for thing in THINGS})
    words = prompt.rpartition(": ")[2].split(", ")
    if "last word" in prompt:
        return 1 / len(words)
    if "alphabetical" in prompt or "backwards" in prompt:
        return 1 / math.factorial(len(words))
    return 0.0


def _asked(row: Row) -> str:
    return str(prompt_of(row)[0][-1]["content"])
