"""The shapes of rows that every family of the world's rows shares."""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]


def say(role: str, content: str, **more: str) -> dict[str, str]:
    """One message of a conversation."""
    return {"role": role, "content": content, **more}


def chat(asked: str, answered: str, **more: Any) -> Row:
    """A row with one question and its answer; `more` are further keys of the row.

    >>> [m["role"] for m in chat("How many?", "Two.", gt=["2"])["conversations"]]
    ['user', 'assistant']
    """
    return {"conversations": [say("user", asked), say("assistant", answered)], **more}
