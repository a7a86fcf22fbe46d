"""Learn what stands before the text, and nothing of the model.

Prompt tuning (Lester et al. 2021, arXiv:2104.08691) learns P more words: embeddings that are no
word's, put before every text. Prefix tuning (Li & Liang 2021, arXiv:2101.00190) learns what such
words would leave in every layer, its keys and values: a cache that learns.

`tests/parity/test_lora.py` holds both equal to PEFT's.
Shapes: B batch, T time, P learned places, V vocabulary, D hidden; in a prefix L layers, K key-value
heads, E head_dim.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from minimind_wiki.data.packing import IGNORE
from minimind_wiki.errors import WrongCall
from minimind_wiki.model import KVCache, Transformer
from minimind_wiki.train.frozen import freeze, swap


class PromptedEmbedding(nn.Module):
    """An embedding with P more words, which alone learn; their ids are V, V+1, … V+P-1.

    They begin as copies of words of the vocabulary, drawn at random, one of the paper's starts.
    """

    def __init__(self, base: nn.Embedding, count: int, seed: int = 0) -> None:
        super().__init__()
        self.base = base
        draw = torch.Generator().manual_seed(seed)
        words_P = torch.randint(base.num_embeddings, (count,), generator=draw)
        start_PD = base.weight.detach()[words_P.to(base.weight.device)]
        self.prompt_PD = nn.Parameter(start_PD.clone())

    def forward(self, ids_BT: Tensor) -> Tensor:
        words = self.base.num_embeddings
        new_BT = ids_BT >= words
        word_BTD = self.base(ids_BT.masked_fill(new_BT, 0))
        learned_BTD = self.prompt_PD[(ids_BT - words).clamp_min(0)].to(word_BTD.dtype)
        return torch.where(new_BT[..., None], learned_BTD, word_BTD)


def add_prompt(model: Transformer, count: int, seed: int = 0) -> PromptedEmbedding:
    """Freeze the model and give its embedding `count` words that learn.

    The output head does not know them: they can be read and never predicted. Undo it with
    `swap(model, "model.embed_tokens", prompted.base)`.
    """
    base = model.model.embed_tokens
    if not isinstance(base, nn.Embedding):
        raise WrongCall("the model has a prompt already; take that one out first.")
    if count < 1:
        raise WrongCall(f"a prompt of {count} tokens cannot learn; give at least 1.")
    freeze(model)
    prompted = PromptedEmbedding(base, count, seed)
    swap(model, "model.embed_tokens", prompted)
    return prompted


def with_prompt(
    ids_BT: Tensor, labels_BT: Tensor, vocab_size: int, count: int
) -> tuple[Tensor, Tensor]:
    """Rows with the learned words before them, and their labels, which ask nothing there.

    >>> with_prompt(torch.tensor([[7, 8]]), torch.tensor([[8, 9]]), vocab_size=10, count=2)
    (tensor([[10, 11,  7,  8]]), tensor([[-100, -100,    8,    9]]))
    """
    prompt_P = torch.arange(vocab_size, vocab_size + count, device=ids_BT.device)
    prompt_BP = prompt_P.expand(len(ids_BT), -1)
    silent_BP = torch.full_like(prompt_BP, IGNORE)
    return torch.cat([prompt_BP, ids_BT], 1), torch.cat([silent_BP, labels_BT], 1)


class Prefix(nn.Module):
    """Keys and values of P places before the text, for every layer: 2 · L · K · P · E numbers.

    They begin as those of real tokens, `ids_P`, one of the paper's starts. (The paper also trains
    them through a small network, which is left out here.) The model is frozen and not changed:
    `prefix(model, ids)` scores with it, `model(ids)` without.
    """

    def __init__(self, model: Transformer, ids_P: Tensor) -> None:
        super().__init__()
        freeze(model)
        weight, count = model.lm_head.weight, len(ids_P)
        cache = KVCache(model.config, 1, count, weight.device, weight.dtype)
        with torch.no_grad():
            model.model(ids_P[None], cache)
        self.keys_LKPE = nn.Parameter(torch.stack([key_BKPE[0] for key_BKPE in cache.keys]))
        self.values_LKPE = nn.Parameter(torch.stack([value[0] for value in cache.values]))

    def cache(self, model: Transformer, batch: int, room: int) -> KVCache:
        """A cache that begins with the prefix and has room for so many tokens after it."""
        count, device = self.keys_LKPE.shape[2], self.keys_LKPE.device
        cache = KVCache(model.config, batch, count + room, device, self.keys_LKPE.dtype)
        for layer, (key_KPE, value_KPE) in enumerate(
            zip(self.keys_LKPE, self.values_LKPE, strict=True)
        ):
            cache.keys[layer][:, :, :count] = key_KPE  # the gradient comes back through the copy
            cache.values[layer][:, :, :count] = value_KPE
        cache.advance(count)
        return cache

    def forward(self, model: Transformer, ids_BT: Tensor) -> Tensor:
        """Scores of the next token at the T places of the text, (B, T, V)."""
        return model(ids_BT, self.cache(model, *ids_BT.shape))
