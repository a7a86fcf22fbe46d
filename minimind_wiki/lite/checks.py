"""What an exercise's check is made of: named questions to the reader's code, each with an answer.

A question is a function that returns None when the code is right and otherwise one or two sentences
that name the likely mistake. It may simply raise: the error and the line of the reader's code where
it happened become the answer.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# The file name under which the reader's code is compiled: frames with this name are theirs.
READER = "<your code>"

Question = Callable[..., str | None]


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the result: what was asked, whether the code is right, and if not, why not."""

    name: str
    passed: bool
    message: str = ""


class Wrong(Exception):
    """Raised by a question to answer at once with this sentence."""


def explain(error: BaseException) -> str:
    """One sentence for an error: its message and the line of the reader's code.

    >>> explain(ValueError("no"))
    'ValueError: no'
    """
    if isinstance(error, Wrong):
        return str(error)
    text = f"{type(error).__name__}: {error}".rstrip(": ")
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == READER]
    return f"{text} (line {lines[-1]} of your code)" if lines else text


def ask(questions: Sequence[tuple[str, Question]], *arguments: Any) -> list[Check]:
    """Put every question with the same arguments; one that raises is a wrong answer.

    Code that is not written yet (NotImplementedError) gets one answer, not one to every question.
    """
    checks: list[Check] = []
    for name, question in questions:
        try:
            message = question(*arguments)
        except NotImplementedError:
            unwritten = "Not written yet: replace the line that raises NotImplementedError."
            return [*checks, Check(name, False, unwritten)]
        # Whatever the reader's code raises is an answer to show them, so nothing may escape.
        except Exception as error:  # noqa: BLE001
            message = explain(error)
        checks.append(Check(name, message is None, message or ""))
    return checks


def ask_of(
    found: Mapping[str, Any], name: str, missing: str, questions: Sequence[tuple[str, Question]]
) -> list[Check]:
    """`ask` the questions of the function `name` in the namespace that the reader's code made.

    Each gets the function and the library. Without the function the one answer is `missing`.
    """
    if not callable(found.get(name)):
        return ask([("function", lambda: missing)])
    return ask(questions, found[name], found["torch"])


def array(y: Any) -> np.ndarray:
    """The numbers of a result in float64; Wrong with advice if it is not a tensor."""
    if y is None:
        raise Wrong("The function returns None: is there a return at the end?")
    if not hasattr(y, "detach"):
        raise Wrong(f"The function returns a {type(y).__name__}, not a tensor.")
    return np.asarray(y.detach()).astype(np.float64)


def close(a: np.ndarray, b: np.ndarray, tolerance: float = 1e-4) -> bool:
    """Whether two arrays have one shape, and numbers that differ by no more than rounding."""
    return a.shape == b.shape and bool(np.allclose(a, b, rtol=tolerance, atol=tolerance))
