"""Answers that must have a form: JSON of a schema, a regular expression, a grammar.

Before each draw, every token that cannot continue the form is refused; the model chooses among the
others. Which these are is found by llguidance (MIT, github.com/guidance-ai/llguidance), which walks
the bytes of all tokens through a parser: one token may hold several signs of the form or a part of
one. Special tokens are never text. An end token is allowed where the form is complete, and nothing
else where nothing more fits. The model still chooses by its own chances, one token at a time: the
form is kept, but what fills it is as good as the model.

`pip install 'minimind-wiki[serve]'` brings llguidance.

Shapes: V ids of the tokenizer.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.tokenizer import Tokenizer

LONGEST = 64 * 1024  # characters of a form; what is deeper than this can write overflows no stack
STACK = 256 * 1024 * 1024  # bytes, reserved and not used unless a form is deep
FUEL = 100_000  # steps to build one regular expression: the library's own limit lets one take 8 s
SCHEMA_OPTIONS: Any = {
    "whitespace_pattern": " ?",
    "lenient": False,
}  # else an answer of spaces fits


class Constraint:
    """Where one answer stands in its form. Answers need states of their own: see `copy`."""

    def __init__(self, matcher: Any, reserved_V: Tensor, ends_V: Tensor) -> None:
        self._matcher, self._reserved_V, self._ends_V = matcher, reserved_V, ends_V

    def mask(self) -> Tensor:
        """Which ids may come next, (V) bool on the CPU; at least one."""
        if self._matcher.is_stopped():
            return self._ends_V
        found = bytearray(self._matcher.compute_logit_bias())  # a byte an id, 0: refused
        allowed_V = torch.frombuffer(found, dtype=torch.uint8).bool() & ~self._reserved_V
        return allowed_V if bool(allowed_V.any()) else self._ends_V

    def accept(self, token: int) -> None:
        """Go on by `token`. After one that the mask refuses, `error` is set."""
        if not self._matcher.is_stopped():
            self._matcher.consume_token(token)

    @property
    def ended(self) -> bool:
        """Whether the form is complete and nothing more fits, so that the answer may end here."""
        return bool(self._matcher.is_stopped()) and not self.error

    @property
    def error(self) -> str:
        """Why the answer cannot go on, in one sentence; empty while all is well."""
        if not self._matcher.is_error():
            return ""
        return (
            "the answer left its form, or the form is too complex to follow; ask for a simpler one."
        )

    def copy(self) -> Constraint:
        """The same state, to go on by itself."""
        return Constraint(self._matcher.deep_copy(), self._reserved_V, self._ends_V)


def from_schema(
    tokenizer: Tokenizer, schema: Mapping[str, Any], ends: Sequence[int] = ()
) -> Constraint:
    """JSON that fits a JSON schema, at most one space between its signs. {"type": "object"} takes
    any object.

    `ends` are the ids that may end an answer, without them the tokenizer's eos. Raises WrongCall
    for a schema that is wrong, that nothing fits, or with a keyword that llguidance does not know
    (its list: docs/json_schema.md); MinimindError where llguidance is missing.
    """
    try:
        text = json.dumps(schema, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise WrongCall(f"the schema cannot be written as JSON ({error}).") from error
    if not isinstance(schema, Mapping):
        raise WrongCall(f"the schema is {text[:40]}; give an object, such as {{'type': 'object'}}.")
    return _constraint("JSON schema", text, tokenizer, ends)


def from_regex(tokenizer: Tokenizer, pattern: str, ends: Sequence[int] = ()) -> Constraint:
    """Text that a regular expression matches as a whole (Rust's syntax, without look-around).

    Errors as of `from_schema`.
    """
    return _constraint("regular expression", pattern, tokenizer, ends)


def from_grammar(tokenizer: Tokenizer, grammar: str, ends: Sequence[int] = ()) -> Constraint:
    """Text of a context-free grammar in Lark's notation, which begins with the rule `start`.

    Errors as of `from_schema`.
    """
    return _constraint("grammar", grammar, tokenizer, ends)


def _constraint(kind: str, text: str, tokenizer: Any, ends: Sequence[int]) -> Constraint:
    if len(text) > LONGEST:
        raise WrongCall(f"the {kind} has {len(text):,} characters; give at most {LONGEST:,}.")
    vocabulary, reserved_V, ends_V = _vocabulary(tokenizer, tuple(ends) or (tokenizer.eos_id,))
    try:
        matcher = _compiled(kind, text, vocabulary)
    except ValueError as error:  # a lone surrogate
        raise WrongCall(f"the {kind} is no text that can be read ({error}).") from error
    if matcher.is_error():
        why = " ".join(matcher.get_error().split())[:200]
        raise WrongCall(f"the {kind} cannot be used: {why}")
    constraint = Constraint(matcher, reserved_V, ends_V)
    may_go_on = bool((constraint.mask() & ~ends_V).any()) and not constraint.error
    if not may_go_on and not matcher.is_accepting():
        raise WrongCall(f"no text fits the {kind}; ask for something that can be written.")
    return constraint


def _compiled(kind: str, text: str, vocabulary: Any) -> Any:
    """The library's matcher, made in a thread with a large stack: the library recurses into a form,
    and a chain of references of 80 kB ended the whole process with the usual 8 MB.
    """
    import llguidance

    def compile_() -> Any:
        if kind == "JSON schema":
            form = llguidance.LLMatcher.grammar_from_json_schema(text, overrides=SCHEMA_OPTIONS)
        elif kind == "regular expression":
            form = llguidance.LLMatcher.grammar_from_regex(text)
        else:
            form = llguidance.LLMatcher.grammar_from_lark(text)
        limits = llguidance.LLParserLimits(initial_lexer_fuel=FUEL, verbose_errors=False)
        return llguidance.LLMatcher(vocabulary, form, log_level=0, limits=limits)

    with ThreadPoolExecutor(1) as pool:
        usual = threading.stack_size(STACK)
        future = pool.submit(compile_)  # starts the thread
        threading.stack_size(usual)
        return future.result()


@lru_cache(maxsize=8)
def _vocabulary(tokenizer: Any, ends: tuple[int, ...]) -> tuple[Any, Tensor, Tensor]:
    """The tokenizer as llguidance takes it, the reserved ids that never are text, the end ids."""
    try:
        import llguidance
    except ImportError as error:
        raise MinimindError(
            "answers of a given form need llguidance: pip install 'minimind-wiki[serve]'."
        ) from error
    size = tokenizer.vocab_size
    if not all(0 <= token < size for token in ends):
        raise WrongCall(f"the end ids are {ends}; give ids from 0 to {size - 1}.")
    spelled = [tokenizer.token_bytes(token) for token in range(size)]
    reserved = [token for token in range(size) if not spelled[token]]

    class Spelled:
        """What llguidance asks of a tokenizer."""

        eos_token_id, bos_token_id, special_token_ids = ends[0], None, reserved
        tokens = tuple(raw or b"<|%d|>" % token for token, raw in enumerate(spelled))

        def __call__(self, text: str) -> list[int]:
            return list(tokenizer.encode(text))

    wrapped = llguidance.TokenizerWrapper(Spelled())
    vocabulary = llguidance.LLTokenizer(wrapped, n_vocab=size, eos_token=list(ends))
    ends_V = torch.zeros(size, dtype=torch.bool)
    ends_V[list(ends)] = True
    reserved_V = torch.zeros(size, dtype=torch.bool)
    reserved_V[reserved] = True
    return vocabulary, reserved_V & ~ends_V, ends_V
