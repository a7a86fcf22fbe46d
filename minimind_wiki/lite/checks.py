"""What an exercise's check is made of: named questions to the reader's code, each with an answer.

A question is a function that returns None when the code is right and otherwise one or two sentences
that name the likely mistake. It may simply raise: the error and the line of the reader's code where
it happened become the answer.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

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
