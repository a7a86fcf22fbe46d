"""An answer cut into its tokens, each with how likely it was: what the page's own component draws.

The text of an answer is less than what was drawn: the marks of thoughts and calls and the blanks
around them are left out, and a character may be made of several tokens. So tokens and text are laid
over each other byte by byte.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

Drawn = Mapping[str, Any]
"""A token as the API tells of it: token, logprob, bytes, top_logprobs."""


def spans(text: str, tokens: Sequence[Drawn], after: int = 0) -> list[dict[str, Any]]:
    """Pieces whose texts, joined, are `text`, each with the tokens that made it.

    `after` leaves out the first bytes that were drawn, so that an answer that repeats its thought
    is found behind it. One piece without tokens where the text is not what was drawn, as when there
    are no tokens.

    >>> drawn = [{"token": t, "logprob": 0.0, "bytes": list(t.encode())} for t in (" So", "on.")]
    >>> [piece["text"] for piece in spans("Soon.", drawn)]
    ['So', 'on.']
    """
    raw = [bytes(token.get("bytes") or token["token"].encode()) for token in tokens]
    wanted = text.encode()
    at = b"".join(raw).find(wanted, after)
    if at < 0 or not tokens:
        return [{"text": text, "tokens": []}] if text else []
    found: list[dict[str, Any]] = []
    held, makers, begin = b"", [], 0
    for token, piece in zip(tokens, raw, strict=True):
        inside = piece[max(at - begin, 0) : max(at + len(wanted) - begin, 0)]
        begin += len(piece)
        if not inside:
            continue
        held += inside
        makers.append(likelihood(token))
        try:
            found.append({"text": held.decode(), "tokens": makers})
        except UnicodeDecodeError:  # a part of a character: the next token goes on with it
            continue
        held, makers = b"", []
    return found


def end_of(text: str, tokens: Sequence[Drawn]) -> int:
    """Where `text` ends in the bytes that were drawn; 0 if it is not there."""
    raw = b"".join(bytes(token.get("bytes") or token["token"].encode()) for token in tokens)
    at = raw.find(text.encode())
    return 0 if at < 0 else at + len(text.encode())


def likelihood(token: Drawn) -> dict[str, Any]:
    """The probability of a token, and of those that were likeliest in its place."""
    others = [[other["token"], probability(other["logprob"])]
              for other in token.get("top_logprobs") or ()]  # fmt: skip
    return {"token": token["token"], "p": probability(token["logprob"]), "top": others}


def probability(logprob: float) -> float:
    """The probability of a log-probability, which rounding may have lifted above 0.

    >>> probability(0.0), probability(-9999.0)
    (1.0, 0.0)
    """
    return min(1.0, math.exp(logprob))
