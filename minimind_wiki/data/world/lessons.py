"""Lessons: questions, tasks and tool calls written as running text, for a model that only reads.

A pretrained model has never seen a chat. To be examined, it must have met the form of the
questions; so a share of what it reads is lessons. Each turn is a line (or the document that it is
about), and nothing marks who speaks:

    <document>

    Where is Mila at the end?
    Mila is at Fox Mill.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

SEPARATOR = "\n"  # between a prompt and its answer, in lessons and in the world exam


def plain(messages: Sequence[Mapping[str, Any]]) -> str:
    """A conversation as running text; a tool call stands as its JSON.

    >>> plain([{"role": "user", "content": "1 + 1?"}, {"role": "assistant", "content": "2"}])
    '1 + 1?\\n2'
    """
    turns = []
    for message in messages:
        if message["role"] == "system":
            continue
        turns.append(message["content"])
        if calls := message.get("tool_calls"):
            turns[-1] += calls if isinstance(calls, str) else json.dumps(calls)
    return SEPARATOR.join(turns)
