"""Claims: sentences whose verdict is computed from a record, never written by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from minimind_wiki.book.record import Record

VERDICTS = {True: "supported", False: "not supported", None: "inconclusive"}
Outcome = bool | None | tuple[bool | None, str]


@dataclass(frozen=True, slots=True)
class Claim:
    """One sentence and the function that judges it.

    check: takes the record, returns True, False or None (cannot tell), alone or with the evidence
    as a second value. quick: whether a quick run is enough to judge it.
    """

    id: str
    text: str
    check: Callable[[Record], Outcome]
    quick: bool = False

    def judge(self, record: Record) -> dict[str, Any]:
        """The claim's entry in the record: text, verdict, evidence, quick."""
        if record.quick and not self.quick:
            verdict, evidence = None, "a quick run cannot tell"
        else:
            outcome = self.check(record)
            verdict, evidence = outcome if isinstance(outcome, tuple) else (outcome, "")
            verdict = None if verdict is None else bool(verdict)
        return {
            "text": self.text,
            "verdict": VERDICTS[verdict],
            "evidence": evidence,
            "quick": self.quick,
        }
