"""Rewards that a program can check: a function (row, reply) -> float each, and their sum.

A row is a prompt of the world (kinds `rl`, `tools`, `code_questions`, …) with what decides in `gt`;
a reply is a turn as `reasoning.read_ids` read it, or the last turn of an episode with all calls.
Whatever a model wrote gets a number: only a row that cannot be judged, or a reward that is no
number, is an error. A policy finds every gap in what is paid (Amodei et al. 2016,
arXiv:1606.06565), so no reward here grows with what can be repeated: calls, marks and words earn
nothing by their number, and the answer is judged without the thought.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from minimind_wiki.data.world.shape import Row
from minimind_wiki.data.world.verify import MOST_WORDS, verify
from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.train.reasoning import CALL, CALLED, Call, Reply
from minimind_wiki.train.sandbox import Sandbox
from minimind_wiki.train.trajectory import parse_call, prompt_of

Reward = Callable[[Row, Reply], float]


@dataclass(frozen=True, slots=True)
class Score:
    """The reward of a reply, and of what it is the sum: each part before its weight."""

    total: float
    parts: dict[str, float]


def weighted(rewards: Mapping[str, tuple[float, Reward]]) -> Callable[[Row, Reply], Score]:
    """Weights and rewards by name as one function; MinimindError for a part that is no number.

    >>> score = weighted({"right": (1.0, exact), "format": (0.2, well_formed)})
    >>> row = {"conversations": [{"role": "user", "content": "What is 2 + 2?"}], "gt": ["4"]}
    >>> score(row, Reply("", "The answer is 4."))
    Score(total=1.2, parts={'right': 1.0, 'format': 1.0})
    """

    def score(row: Row, reply: Reply) -> Score:
        parts = {name: float(reward(row, reply)) for name, (_, reward) in rewards.items()}
        for name, value in parts.items():
            if not math.isfinite(value):
                raise MinimindError(f"the reward {name!r} of a reply is {value}, not a number.")
        return Score(sum(rewards[name][0] * value for name, value in parts.items()), parts)

    return score


def _golds(row: Row) -> list[str]:
    golds = row.get("gt")
    if not isinstance(golds, list) or not golds:
        raise MinimindError('the row has no answers in "gt", so no reply to it can be judged.')
    return [str(gold) for gold in golds]


def exact(row: Row, reply: Reply) -> float:
    """1 if the answer is right and commits to it, else 0: what the world's verifier says of it.

    A call counts as an answer only where nobody runs calls: one alone, closed, in a row whose shops
    have a stock. Once tools have answered, the model must say what they said.
    With several gold answers, as rows from elsewhere have them, each must be named as whole words,
    in at most MOST_WORDS words.
    """
    golds = _golds(row)
    said = reply.answer
    if CALL in said:
        return 0.0  # letters where a token marks a call; the verifier would run them
    if len(golds) == 1:
        if "stock" in row and reply.calls and all(call.failed is None for call in reply.calls):
            if len(reply.calls) != 1 or not reply.calls[0].closed:
                return 0.0
            said = f"{CALL}{reply.calls[0].body}{CALLED}"
        messages = row["conversations"]  # up to the last question: a dialogue holds its own answer
        asked = [at for at, message in enumerate(messages) if message.get("role") == "user"]
        if not asked:
            raise MinimindError("the row has no message of a user, so there is nothing to judge.")
        prompt = messages[: asked[-1] + 1]
        return float(verify({**row, "conversations": prompt, "gt": golds}, said))
    whole = (rf"(?<!\w){re.escape(gold)}(?!\w)" for gold in golds)
    found = all(re.search(pattern, said, re.IGNORECASE) for pattern in whole)
    return float(found and len(said.split()) <= MOST_WORDS)


def runs(sandbox: Sandbox) -> Reward:
    """1 if the function that the answer defines gives the gold value for the row's `test` call.

    It is run by the world's interpreter, in the sandbox's process. MinimindError without a test.
    """

    def reward(row: Row, reply: Reply) -> float:
        if not isinstance(row.get("test"), str):
            raise MinimindError('the row has no call in "test", so no program can be judged.')
        result = sandbox.call("program", {"source": reply.answer, "call": row["test"]})
        return float(not result.failed and [str(json.loads(result.text)["result"])] == _golds(row))

    return reward


def well_formed(row: Row, reply: Reply) -> float:
    """1 if the turn keeps to the template (DeepSeek-R1's format reward, arXiv:2501.12948), else 0.

    The thought is closed once and thinking keeps to its switch; calls are closed; something is
    said; the turn has its end token. `reply.faults` says which of it is broken.
    """
    return float(not reply.faults)


def used_tools(row: Row, reply: Reply) -> float:
    """Where the row offers tools: 1 if some were called and no call failed; elsewhere: 1 if none.

    A call that nobody has run counts if it could be: JSON, with a name that is offered.
    """
    _, tools = prompt_of(row)
    if not tools:
        return float(not reply.calls)
    offered = {tool.get("function", tool).get("name") for tool in tools}
    return float(bool(reply.calls) and all(_works(call, offered) for call in reply.calls))


def _works(call: Call, offered: set[str]) -> bool:
    if call.failed is not None:
        return not call.failed
    try:
        return call.closed and parse_call(call.body)[0] in offered
    except ValueError:
        return False


def overlong(longest: int, cushion: int) -> Reward:
    """0 up to `longest - cushion` tokens, then falling to -1 at `longest` (DAPO, arXiv:2503.14476).

    `policy.overlong_penalty` is the same for a batch of lengths.

    >>> penalty = overlong(longest=100, cushion=20)
    >>> [penalty({}, Reply("", "x", tokens=tokens)) for tokens in (80, 90, 300)]
    [0.0, -0.5, -1.0]
    """
    if not 0 < cushion <= longest:
        raise WrongCall(f"the cushion is {cushion}; give 1 to {longest}, the longest length.")
    return lambda row, reply: min(0.0, max(-1.0, (longest - cushion - reply.tokens) / cushion))


def length_among(tokens: Sequence[int], right: Sequence[bool]) -> list[float]:
    """For the replies to one prompt: the shorter the better, but a wrong one earns nothing by it.

    From 1/2 for the shortest to -1/2 for the longest, and at most 0 if wrong; all 0 if they are of
    one length (Kimi k1.5, arXiv:2501.12599).

    >>> length_among([10, 20, 30, 10], [True, True, True, False])
    [0.5, 0.0, -0.5, 0.0]
    """
    if len(tokens) != len(right) or not tokens:
        raise WrongCall(f"{len(tokens)} lengths and {len(right)} verdicts; give one of each.")
    least, most = min(tokens), max(tokens)
    if least == most:
        return [0.0] * len(tokens)
    shares = [0.5 - (count - least) / (most - least) for count in tokens]
    return [s if good else min(0.0, s) for s, good in zip(shares, right, strict=True)]
