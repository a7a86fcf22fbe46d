"""A trained model as a judge of texts: how probable is a continuation after a prompt?

log p(continuation | prompt) is the sum of the log-probabilities of its tokens, each given all
before it. Prompt and continuation are tokenized apart, so that the border between them is a border
of tokens and the same tokens are scored for every prompt.
Shapes: T tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch

from minimind_wiki.errors import MinimindError
from minimind_wiki.model import Transformer


class Encoder(Protocol):
    """What is needed of a tokenizer."""

    def encode(self, text: str) -> list[int]:
        """Ids of a text."""


def log_likelihood(model: Transformer, tokenizer: Encoder) -> Callable[[str, str], float]:
    """The function (prompt, continuation) -> nats. A prompt that is too long loses its beginning.

    Raises MinimindError for an empty prompt or continuation, and for a continuation that does not
    fit into the model's context.
    """
    longest = model.config.max_position_embeddings
    model.eval()

    @torch.inference_mode()
    def score(prompt: str, continuation: str) -> float:
        before, after = tokenizer.encode(prompt), tokenizer.encode(continuation)
        if not before or not after:
            raise MinimindError("a prompt and a continuation need at least one token each.")
        if len(after) >= longest:
            raise MinimindError(
                f"a continuation of {len(after)} tokens does not fit into the model's context of "
                f"{longest}; use a model with a longer context."
            )
        ids_T = torch.tensor([*before, *after][-longest:])
        device = next(model.parameters()).device
        logits_TV = model(ids_T[None, :-1].to(device))[0].float()
        log_p_TV = logits_TV[-len(after) :].log_softmax(-1)
        target_T = ids_T[-len(after) :, None].to(device)
        return float(log_p_TV.gather(1, target_T).sum())

    return score
