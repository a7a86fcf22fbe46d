"""What the routes share: the models by name, the limits, the worker, and the checks before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import time

from minimind_wiki.infer.grammar import Constraint
from minimind_wiki.infer.request import Request
from minimind_wiki.serve.embeddings import Embed
from minimind_wiki.serve.errors import Refused
from minimind_wiki.serve.metrics import Metrics
from minimind_wiki.serve.schema import Drawing
from minimind_wiki.serve.security import Limits
from minimind_wiki.serve.worker import Engine, Worker
from minimind_wiki.tokenizer.protocol import Tokenizer


@dataclass(frozen=True, slots=True)
class Served:
    """One name under which a model is served: a model, or a model with an adapter."""

    make_engine: Callable[[], Engine]
    """Called at start, and again after a crash."""
    tokenizer: Tokenizer
    context: int
    """Tokens of prompt and answer together."""
    embed: Embed | None = None
    """Vectors of texts, as ids; None answers /v1/embeddings with an error."""
    created: int = field(default_factory=lambda: int(time()))


class Desk:
    """Takes requests in: finds their model, cuts and refuses what does not fit."""

    def __init__(self, models: Mapping[str, Served], limits: Limits) -> None:
        limits.validate()
        self.models, self.limits, self.metrics = dict(models), limits, Metrics()
        makers = {name: served.make_engine for name, served in models.items()}
        self.worker = Worker(
            makers, self.metrics, limits.at_once, limits.seconds, limits.step_seconds
        )

    def find(self, name: str) -> Served:
        """The model of this name. 404 otherwise; the name itself is not sent back."""
        if name not in self.models:
            raise Refused(404, "There is no model of this name; GET /v1/models lists them.",
                          "model_not_found", "model")  # fmt: skip
        return self.models[name]

    def encode(self, served: Served, text: str | list[int], param: str) -> list[int]:
        """Ids of a text, in which reserved tokens are letters; or ids that were given."""
        if isinstance(text, list):
            if max(text) >= served.tokenizer.vocab_size:
                raise Refused(400, "A token id is outside the vocabulary.", param=param)
            return text
        try:
            return served.tokenizer.encode(text) or [served.tokenizer.bos_id]
        except UnicodeEncodeError:
            raise Refused(400, "The text is not Unicode text.", param=param) from None

    def room(self, served: Served, prompt: Sequence[int], param: str) -> int:
        """Tokens that an answer may have. 400 for a prompt that leaves none."""
        most = min(served.context - 1, self.limits.prompt_tokens)
        if len(prompt) > most:
            raise Refused(
                400,
                f"The prompt has {len(prompt)} tokens and may have {most}; shorten it.",
                "context_length_exceeded",
                param,
            )
        return min(served.context - len(prompt), self.limits.new_tokens)

    def requests(
        self,
        served: Served,
        body: Drawing,
        prompt: list[int],
        stop_ids: Sequence[int],
        most: int | None,
        told: int | None,
        param: str,
        form: Constraint | None = None,
    ) -> list[Request]:
        """The `n` choices of one prompt. A budget larger than the room is cut to it."""
        room = self.room(served, prompt, param)
        if any(int(token) >= served.tokenizer.vocab_size for token in body.logit_bias or ()):
            raise Refused(400, "logit_bias names a token outside the vocabulary.",
                          param="logit_bias")  # fmt: skip
        return [
            Request(prompt, min(most or room, room), body.sampling(choice), stop_ids,
                    body.stops, told, form and form.copy())
            for choice in range(body.n or 1)
        ]  # fmt: skip
