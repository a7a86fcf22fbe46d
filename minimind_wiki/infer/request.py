"""What is asked of an engine, and what comes back: the words that its users share with it.

Names are those of OpenAI's API and of transformers where they have one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from minimind_wiki.errors import WrongCall
from minimind_wiki.infer.sampling import check_sampling

Finish = Literal["stop", "length", "cancelled", "error"]
"""stop: an end token or a stop string. length: `max_new_tokens`, or the context is full. error: it
could not go on, and the others did; `Token.error` says why, and there is no id (-1) and no text."""

_RANGES: Mapping[str, tuple[float, float]] = {
    "temperature": (0, 1000),
    "min_p": (0, 1),
    "typical_p": (0.001, 1),
    "repetition_penalty": (0.01, 100),
    "presence_penalty": (-100, 100),
    "frequency_penalty": (-100, 100),
    "no_repeat_ngram_size": (0, 1000),
    "seed": (-(2**63), 2**63 - 1),
}


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is drawn. The defaults draw from the model's own distribution."""

    temperature: float = 1.0
    """0 takes the likeliest token and draws nothing."""
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    typical_p: float | None = None
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    no_repeat_ngram_size: int = 0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int | None = None
    """Decides the draws of this request, whatever else is at work; None: another each time."""

    def check(self, vocab_size: int | None = None) -> None:
        """Raise WrongCall, with the field and what it may be, for a value without a meaning.

        >>> Sampling(min_p=2).check()
        Traceback (most recent call last):
        minimind_wiki.errors.WrongCall: min_p is 2; give a number from 0 to 1.
        """
        check_sampling(self.temperature, self.top_k, self.top_p)
        if 0 < self.temperature < 1e-5:  # scores divided by it could overflow
            raise WrongCall(f"temperature is {self.temperature}; give 0, or 0.00001 or more.")
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise WrongCall(f"{name} is {value}; give a number from {low} to {high}.")
        for token, bias in self.logit_bias.items():
            if token < 0 or (vocab_size is not None and token >= vocab_size):
                last = "on" if vocab_size is None else f"to {vocab_size - 1}"
                raise WrongCall(f"logit_bias names the token {token}; give ids from 0 {last}.")
            if not -100 <= bias <= 100:
                raise WrongCall(f"logit_bias of token {token} is {bias}; give -100 to 100.")


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt of token ids and what to make of it."""

    prompt: Sequence[int]
    max_new_tokens: int
    sampling: Sampling = Sampling()
    stop_ids: Sequence[int] = ()
    stop: Sequence[str] = ()
    """The text ends before the first of these; they may begin in one token and end in another."""
    logprobs: int | None = None
    """How many of the likeliest tokens to tell beside the drawn one; None tells nothing."""
    constraint: Any = None
    """A grammar's state (`infer.grammar`), which refuses tokens that cannot go on."""
    logprobs_mode: Literal["raw", "processed"] = "raw"
    """raw: of the model itself, as OpenAI's API has it. processed: of the distribution that the
    token was drawn from, after temperature and filters; what reinforcement learning needs. (The
    words are vLLM's.)"""


@dataclass(frozen=True, slots=True)
class Token:
    """One drawn token of one request."""

    id: int
    text: str
    """What it adds to the text that may be shown: empty while a character or a possible stop
    string is unfinished, and then all of it at once."""
    logprob: float | None = None
    """None where nobody asked; else as `Request.logprobs_mode` says."""
    top: Sequence[tuple[int, float]] = ()
    finish: Finish | None = None
    """Set on the last token of a request."""
    error: str = ""
    """With finish "error": what went wrong and what to do, in one sentence."""
