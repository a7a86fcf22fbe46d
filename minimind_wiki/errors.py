"""Errors that a reader can act on.

A `MinimindError` carries one sentence that says what is wrong and what to do. The command line
prints that sentence and no traceback; anything else that escapes is a bug of ours and keeps its
traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MinimindError(Exception):
    """The job could not be done; the message says why and what to do. Exit status 1."""

    exit_status = 1


class WrongCall(MinimindError):
    """The call itself is wrong (an unknown name, a bad value). Exit status 2."""

    exit_status = 2


def unknown(kind: str, name: str, known: Iterable[str]) -> WrongCall:
    """The error for a name that does not exist, with the nearest names that do.

    >>> str(unknown("preset", "tinny", ["tiny", "nano"]))
    "unknown preset 'tinny'; did you mean 'tiny'? Known: nano, tiny"
    """
    options = sorted(known)
    close = difflib.get_close_matches(name, options, n=3, cutoff=0.5)
    hint = "; did you mean " + " or ".join(repr(c) for c in close) + "?" if close else "."
    return WrongCall(f"unknown {kind} {name!r}{hint} Known: {', '.join(options)}")
