"""A vector for a text: the mean of the last hidden states, at length one.

A model that was trained to predict the next token was not trained to put texts of like meaning side
by side, so these vectors rank worse than those of a model made for it; they cost no model more.

Shapes: T tokens, D hidden.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F

from minimind_wiki.model import Transformer
from minimind_wiki.serve.answers import EmbeddingItem, EmbeddingList
from minimind_wiki.serve.schema import Embedding

Embed = Callable[[Sequence[int]], list[float]]


def embedder(model: Transformer) -> Embed:
    """The function from ids to a vector of `hidden_size` numbers."""

    @torch.inference_mode()
    def embed(ids: Sequence[int]) -> list[float]:
        device = model.lm_head.weight.device
        hidden_TD = model.model(torch.tensor([list(ids)], device=device))[0]
        mean_D = hidden_TD.float().mean(dim=0)
        return F.normalize(mean_D, dim=0).tolist()

    return embed


def embedding_list(
    body: Embedding, ids: Sequence[Sequence[int]], vectors: Sequence[Sequence[float]]
) -> EmbeddingList:
    """OpenAI's answer. `base64`, which its client asks for, is little-endian float32."""
    data: list[EmbeddingItem] = []
    for index, vector in enumerate(vectors):
        told: list[float] | str = list(vector)
        if body.encoding_format == "base64":
            told = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
        data.append({"object": "embedding", "index": index, "embedding": told})
    tokens = sum(map(len, ids))
    return {"object": "list", "data": data, "model": body.model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}  # fmt: skip
