"""The bodies of requests, as OpenAI's API names them, with bounds on every number.

Fields that are not here are ignored, as vLLM's server ignores them (its `OpenAIBaseModel` says that
OpenAI's API allows extra fields): clients send what their provider knows (`store`, `metadata`), and
a server that refused those would refuse the client. What is known and cannot be done is refused.

`top_k`, `min_p`, `typical_p`, `repetition_penalty`, `no_repeat_ngram_size` and
`chat_template_kwargs` are not OpenAI's; vLLM and transformers name them so. `open_thinking` is
MiniMind's.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from minimind_wiki.infer.request import Sampling

MOST_CHOICES = 16  # n
MOST_TOP = 20  # top_logprobs
Ids = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
Stop = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Bias = Annotated[float, Field(ge=-100, le=100)]


Many = Field(min_length=1, max_length=64)
Texts = str | Ids | Annotated[list[str], Many] | Annotated[list[Ids], Many]


def as_list(texts: Any) -> list[str | list[int]]:
    """One text or many, each as a string or as ids, as a list.

    >>> as_list("a"), as_list([1, 2]), as_list(["a", "b"])
    (['a'], [[1, 2]], ['a', 'b'])
    """
    one = isinstance(texts, str) or isinstance(texts[0], int)
    return [texts] if one else list(texts)


class Body(BaseModel):
    """What every request shares."""

    # strict: "5" is no number. A NaN passes every bound, so it is refused by itself.
    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)

    model: str


class StreamOptions(BaseModel):
    include_usage: bool = False


class Drawing(Body):
    """How tokens are drawn, and when they end: the fields of chats and completions alike."""

    max_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=-1, description="0 and -1 switch it off")
    min_p: float | None = Field(None, ge=0, le=1)
    typical_p: float | None = Field(None, gt=0, le=1)
    repetition_penalty: float | None = Field(None, gt=0, le=2)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    no_repeat_ngram_size: int | None = Field(None, ge=0, le=64)
    logit_bias: dict[Annotated[str, StringConstraints(pattern=r"^[0-9]{1,9}$")], Bias] | None = (
        Field(None, max_length=1024)
    )
    seed: int | None = Field(None, ge=-(2**63), le=2**63 - 1)
    n: int | None = Field(None, ge=1, le=MOST_CHOICES)
    stop: Stop | Annotated[list[Stop], Field(max_length=16)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    @property
    def stops(self) -> list[str]:
        """The stop strings as a list."""
        return [self.stop] if isinstance(self.stop, str) else list(self.stop or ())

    @property
    def include_usage(self) -> bool:
        """Whether a last chunk tells the usage."""
        return bool(self.stream_options and self.stream_options.include_usage)

    def sampling(self, choice: int) -> Sampling:
        """How choice number `choice` is drawn: each has a seed of its own, or all would be equal.

        >>> body = Completion.model_validate({"model": "m", "prompt": "", "seed": 5})
        >>> body.sampling(0).seed, body.sampling(2).seed
        (5, 7)
        """
        given = {name: getattr(self, name) for name in (
            "temperature", "top_p", "min_p", "typical_p", "repetition_penalty",
            "presence_penalty", "frequency_penalty", "no_repeat_ngram_size")}  # fmt: skip
        seed = None if self.seed is None else (self.seed + choice) % 2**63
        return Sampling(
            **{name: value for name, value in given.items() if value is not None},
            top_k=self.top_k if self.top_k and self.top_k > 0 else None,
            logit_bias={int(token): bias for token, bias in (self.logit_bias or {}).items()},
            seed=seed,
        )


class TextPart(BaseModel):
    """A part of a message. Pictures and sound are not read, so they are not in the schema."""

    model_config = ConfigDict(strict=True)
    type: Literal["text"]
    text: str


class CalledFunction(BaseModel):
    model_config = ConfigDict(strict=True)
    name: str
    arguments: str | dict[str, Any] = ""


class ToolCall(BaseModel):
    id: str = ""
    type: Literal["function"] = "function"
    function: CalledFunction


class Message(BaseModel):
    """One message of a chat. `reasoning_content` gives a thought of an earlier turn back."""

    model_config = ConfigDict(strict=True)
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None
    reasoning_content: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None

    def as_row(self) -> dict[str, Any]:
        """The message in the form that `tokenizer.chat.render` reads."""
        content = self.content
        if isinstance(content, list):
            content = "".join(part.text for part in content)
        row: dict[str, Any] = {"role": "system" if self.role == "developer" else self.role,
                               "content": content or ""}  # fmt: skip
        if self.reasoning_content is not None:
            row["reasoning_content"] = self.reasoning_content
        if self.tool_calls:
            row["tool_calls"] = [call.function.model_dump() for call in self.tool_calls]
        return row


class Function(BaseModel):
    name: Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_.-]{1,64}$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None


class Tool(BaseModel):
    type: Literal["function"]
    function: Function


class NamedFunction(BaseModel):
    name: str


class NamedTool(BaseModel):
    type: Literal["function"] = "function"
    function: NamedFunction


class TemplateSwitches(BaseModel):
    """`chat_template_kwargs`: what a client passes through to the template."""

    model_config = ConfigDict(strict=True)
    open_thinking: bool | None = None
    enable_thinking: bool | None = None


class JsonSchema(BaseModel):
    name: Annotated[str, StringConstraints(max_length=64)]
    description: str | None = None
    schema_: dict[str, Any] = Field(alias="schema")
    strict: bool | None = Field(None, description="An answer always fits its schema here")


class PlainText(BaseModel):
    """Any answer."""

    type: Literal["text"]
    schema_of_answer: ClassVar[None] = None


class JsonObject(BaseModel):
    """JSON mode: some object."""

    type: Literal["json_object"]
    schema_of_answer: ClassVar[dict[str, Any]] = {"type": "object"}


class JsonOfSchema(BaseModel):
    """An answer that fits a schema."""

    type: Literal["json_schema"]
    json_schema: JsonSchema

    @property
    def schema_of_answer(self) -> dict[str, Any]:
        return self.json_schema.schema_


Format = Annotated[PlainText | JsonObject | JsonOfSchema, Field(discriminator="type")]


class Chat(Drawing):
    """POST /v1/chat/completions."""

    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=MOST_TOP)
    tools: list[Tool] | None = Field(None, max_length=128)
    tool_choice: Literal["auto", "none", "required"] | NamedTool | None = None
    response_format: Format | None = None
    open_thinking: bool | None = None
    chat_template_kwargs: TemplateSwitches | None = None

    @property
    def thinking(self) -> bool:
        """The switch, under any of its three names; off if none of them is given."""
        switches = self.chat_template_kwargs or TemplateSwitches()
        given = (self.open_thinking, switches.open_thinking, switches.enable_thinking)
        return next((bool(value) for value in given if value is not None), False)

    @property
    def most_tokens(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens

    @property
    def told(self) -> int | None:
        """How many likely tokens to tell beside each drawn one; None tells nothing."""
        return (self.top_logprobs or 0) if self.logprobs else None


class Completion(Drawing):
    """POST /v1/completions."""

    prompt: Texts
    echo: bool | None = None
    logprobs: int | None = Field(None, ge=0, le=MOST_TOP)
    suffix: None = None
    best_of: None = None

    @property
    def prompts(self) -> list[str | list[int]]:
        """Every prompt, as text or ids."""
        return as_list(self.prompt)


class Embedding(Body):
    """POST /v1/embeddings."""

    input: Texts
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: None = None

    @property
    def inputs(self) -> list[str | list[int]]:
        """Every input, as text or ids."""
        return as_list(self.input)
