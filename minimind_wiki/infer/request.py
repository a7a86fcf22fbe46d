"""What is asked of an engine, and what comes back: the words that its users share with it.

Names are those of OpenAI's API and of transformers where they have one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Finish = Literal["stop", "length", "cancelled"]
"""stop: an end token or a stop string. length: `max_new_tokens`, or the context is full."""


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


@dataclass(frozen=True, slots=True)
class Token:
    """One drawn token of one request."""

    id: int
    text: str
    """What it adds to the text that may be shown: empty while a character or a possible stop
    string is unfinished, and then all of it at once."""
    logprob: float | None = None
    """Under the model itself (temperature 1, nothing refused), as OpenAI's API has it."""
    top: Sequence[tuple[int, float]] = ()
    finish: Finish | None = None
    """Set on the last token of a request."""
