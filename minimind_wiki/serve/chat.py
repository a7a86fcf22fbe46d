"""A chat becomes a prompt; `infer.reader` makes thought, answer and calls of what is drawn.

The prompt is rendered by `tokenizer.chat`, which knows what came from a message: a user who types
`<|im_end|>` has typed ten characters.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.infer.grammar import Constraint, from_schema
from minimind_wiki.infer.reader import CALL
from minimind_wiki.serve.errors import Refused
from minimind_wiki.serve.schema import Chat, NamedTool
from minimind_wiki.tokenizer.chat import control_ids, render
from minimind_wiki.tokenizer.protocol import Tokenizer

END = "<|im_end|>"
_COMPILING = threading.Lock()


@dataclass(frozen=True, slots=True)
class Asked:
    """A chat as the engine and the reader take it."""

    ids: list[int]
    stop_ids: list[int]
    thinking: bool
    """The prompt ends within a thought."""
    tools: bool
    """Calls are read as calls; without tools they are text."""
    begun: str | None = None
    """The beginning of a call that the prompt ends with, because a call was required."""
    form: Constraint | None = None
    """The form that the answer must have."""


def ask(body: Chat, tokenizer: Tokenizer) -> Asked:
    """Render the chat. `Refused` (400) for a model that cannot chat or tools that do not fit.

    A call that `tool_choice` requires is begun in the prompt: the model can only go on with it.
    It cannot think before it then, nor before an answer that has a form, as a thought has none: so
    the thought is closed. An answer that has a form cannot be a call.
    """
    try:
        control = control_ids(tokenizer)
    except MinimindError:
        raise Refused(
            400, "This model has no tokens that mark a turn; use /v1/completions.", "no_chat"
        ) from None
    choice = body.tool_choice or "auto"
    tools = [] if choice == "none" else [t.model_dump(exclude_none=True) for t in body.tools or ()]
    begun = None
    if isinstance(choice, NamedTool):
        name = choice.function.name
        if name not in [tool["function"]["name"] for tool in tools]:
            raise Refused(400, "tool_choice names no tool of tools.", param="tool_choice")
        begun = f'{{"name": {json.dumps(name)}, "arguments":'
    elif choice == "required":
        if not tools:
            raise Refused(400, "tool_choice requires a call and there are no tools.", param="tools")
        begun = '{"name": "'
    schema = None if body.response_format is None else body.response_format.schema_of_answer
    if begun is not None and schema is not None:
        raise Refused(400, "A call that is required has no response_format.", param="tool_choice")
    thinking = body.thinking and begun is None and schema is None
    try:
        ids = render([message.as_row() for message in body.messages], tokenizer, tools,
                     add_generation_prompt=True, open_thinking=thinking).ids  # fmt: skip
    except UnicodeEncodeError:
        raise Refused(400, "A message is not Unicode text.", param="messages") from None
    except WrongCall as wrong:
        raise Refused(400, str(wrong), param="messages") from None
    if begun is not None:
        ids = ids + ([control[CALL]] if CALL in control else tokenizer.encode(CALL))
        ids = ids + tokenizer.encode("\n" + begun)
    stop_ids = sorted({control[END], tokenizer.eos_id})
    form = None if schema is None else form_of(tokenizer, schema, stop_ids)
    return Asked(ids, stop_ids, thinking, bool(tools), begun, form)


def form_of(tokenizer: Tokenizer, schema: dict[str, Any], ends: Sequence[int]) -> Constraint:
    """The grammar of JSON that fits a schema. 400 for one that is wrong or not known.

    One at a time: compiling takes all of a core, and a client decides how much there is to do.
    """
    with _COMPILING:
        try:
            return from_schema(tokenizer, schema, ends)
        except WrongCall as wrong:
            raise Refused(400, str(wrong), param="response_format") from None
