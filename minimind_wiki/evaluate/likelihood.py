"""A trained model as a judge of texts: how probable is a continuation after a prompt?

log p(continuation | prompt) is the sum of the log-probabilities of its tokens, each given all
before it. Prompt and continuation are tokenized apart, so that the border between them is a border
of tokens and the same tokens are scored for every prompt. The options of a question share their
prompt, so its keys and values are computed once and kept until another prompt comes.
Shapes: T tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch

from minimind_wiki.errors import MinimindError
from minimind_wiki.model import Transformer
from minimind_wiki.model.cache import KVCache


class Encoder(Protocol):
    """What is needed of a tokenizer."""

    def encode(self, text: str) -> list[int]:
        """Ids of a text."""


def log_likelihood(
    model: Transformer, tokenizer: Encoder, begin: Sequence[int] = ()
) -> Callable[[str, str], float]:
    """The function (prompt, continuation) -> nats.

    `begin` are ids before every prompt: the bos id, where the model's documents begin with it.

    A prompt that is too long loses its beginning, so much that the continuation fits, rounded up to
    a sixteenth of the context: options of nearly the same length then see the same prompt.
    Raises MinimindError for an empty prompt or continuation, and for a continuation that does not
    fit into the model's context.
    """
    longest = model.config.max_position_embeddings
    step = max(1, longest // 16)
    prompt = _Prompt(model)
    model.eval()

    @torch.inference_mode()
    def score(before: str, continuation: str) -> float:
        ids, after = [*begin, *tokenizer.encode(before)], tokenizer.encode(continuation)
        if not ids or not after:
            raise MinimindError("a prompt and a continuation need at least one token each.")
        if len(after) >= longest:
            raise MinimindError(
                f"a continuation of {len(after)} tokens does not fit into the model's context of "
                f"{longest}; use a model with a longer context."
            )
        free = -(-len(after) // step) * step if len(ids) + len(after) > longest else len(after)
        return prompt.read(ids[-max(1, longest - free) :]).log_likelihood(after)

    return score


class _Prompt:
    """The prompt that was read last, as a cache; continuations are scored behind it and forgotten.

    It is read again after the model's weights have changed, which PyTorch counts for each tensor.
    """

    def __init__(self, model: Transformer) -> None:
        self.model = model
        self.known: tuple[object, ...] = ()

    def read(self, ids: list[int]) -> _Prompt:
        weights = list(self.model.parameters())
        known = (ids, weights[0].device, [_version(weight) for weight in weights])
        if known != self.known:
            config, like = self.model.config, weights[0]
            room = config.max_position_embeddings
            self.cache = KVCache(config, 1, room, like.device, like.dtype)
            hidden_BTD = self.model.model(torch.tensor([ids], device=like.device), self.cache)
            self.next_1V = self.model.lm_head(hidden_BTD[0, -1:])
            self.length, self.known = len(ids), known
        return self

    def log_likelihood(self, after: list[int]) -> float:
        """Nats of the tokens `after` the prompt; all but the last are read, none is kept."""
        after_T = torch.tensor(after, device=self.next_1V.device)
        logits_TV = self.next_1V
        if len(after) > 1:
            more_TV = self.model(after_T[None, :-1], self.cache)[0]
            self.cache.length = self.length
            logits_TV = torch.cat([logits_TV, more_TV])
        return float(logits_TV.float().log_softmax(-1).gather(1, after_T[:, None]).sum())


def _version(weight: torch.Tensor) -> int:
    """How often a tensor was written; 0 where PyTorch does not count, for it cannot be trained."""
    return 0 if weight.is_inference() else weight._version
