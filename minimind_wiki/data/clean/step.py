"""What a cleaning step is: a row goes in, rows come out, and whatever changed has a reason.

Three shapes cover all steps: an `Edit` rewrites texts and counts what it rewrote, a `Filter` names
the reason why a row must go, anything else (chunking, mixing) is a callable from `Row` to `Result`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

MESSAGES = ("conversations", "chosen", "rejected")
_TEXTS = ("content", "reasoning_content")


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a JSONL file and where it stands. `line` counts from 1."""

    data: dict[str, Any]
    file: str = ""
    line: int = 0

    def texts(self) -> list[str]:
        """The row's texts: `text`, or each message's content and reasoning."""
        found = [self.data["text"]] if isinstance(self.data.get("text"), str) else []
        for key in MESSAGES:
            for message in self.data.get(key) or ():
                found += [message[name] for name in _TEXTS if isinstance(message.get(name), str)]
        return found

    @property
    def text(self) -> str:
        """All texts, a blank line between them: what the filters judge."""
        return "\n\n".join(self.texts())

    def map(self, change: Callable[[str], str]) -> Row:
        """The row with `change` applied to each text; roles, tools and other keys stay."""
        data = dict(self.data)
        if isinstance(data.get("text"), str):
            data["text"] = change(data["text"])
        for key in MESSAGES:
            if key in data:
                data[key] = [
                    {
                        name: change(value) if name in _TEXTS and isinstance(value, str) else value
                        for name, value in message.items()
                    }
                    for message in data[key]
                ]
        return replace(self, data=data)


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one row: the rows that go on, why it was dropped, what was rewritten."""

    rows: list[Row]
    dropped: str = ""
    edits: Counter[str] = field(default_factory=Counter)


class Step(Protocol):
    """A step has a name for the report and may keep a memory (duplicates do)."""

    @property
    def name(self) -> str:
        """The name that reports, side files and `--steps` use."""

    def __call__(self, row: Row) -> Result:
        """What becomes of the row."""


@dataclass(frozen=True, slots=True)
class Edit:
    """Rewrites each text; `change` returns the new text and counts by reason."""

    name: str
    change: Callable[[str], tuple[str, Counter[str]]]

    def __call__(self, row: Row) -> Result:
        """The row with its texts rewritten; dropped when no text is left of it."""
        edits: Counter[str] = Counter()

        def apply(text: str) -> str:
            new, counts = self.change(text)
            edits.update(counts if counts or new == text else {"changed": 1})
            return new

        changed = row.map(apply)
        if not changed.text.strip():
            return Result([], "nothing was left", edits)
        same = changed.data == row.data
        return Result([row if same else changed], "", Counter() if same else edits)


@dataclass(frozen=True, slots=True)
class Filter:
    """Judges the row's whole text; `fault` returns the reason to drop it, or None."""

    name: str
    fault: Callable[[str], str | None]

    def __call__(self, row: Row) -> Result:
        """The row, or the reason why it goes."""
        reason = self.fault(row.text)
        return Result([], reason) if reason else Result([row])
