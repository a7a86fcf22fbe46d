"""The package's decoder under masks that it does not offer, because they are wrong.

Shapes: B batch, T time, H heads, V vocabulary.
"""

import torch
from torch import Tensor

from minimind_wiki.model import Transformer
from minimind_wiki.model.attention import View


def mask_of(kind: str, layer: int, heads: int, time: int) -> Tensor:
    """Where a query may look, bool, (T, T) or (H, T, T).

    causal: not ahead. none: everywhere. ahead: one place ahead, the usual slip of a diagonal.
    one_head: that, in the first head of the first layer alone.
    """
    ones = torch.ones(time, time, dtype=torch.bool)
    if kind == "none":
        return ones
    right, slip = ones.tril(), ones.tril(diagonal=1)
    if kind == "ahead":
        return slip
    if kind == "one_head" and layer == 0:
        return torch.stack([slip] + [right] * (heads - 1))
    return right


def forward(model: Transformer, ids_BT: Tensor, kind: str) -> Tensor:
    """`model(ids_BT)` with another mask, (B, T, V)."""
    decoder, time = model.model, ids_BT.shape[1]
    x_BTD = decoder.embed_tokens(ids_BT)
    rope = decoder.rotary(0, time)
    for number, layer in enumerate(decoder.layers):
        mask = mask_of(kind, number, model.config.num_attention_heads, time)
        x_BTD = layer(x_BTD, rope, None, View(mask=mask))
    return model.lm_head(decoder.norm(x_BTD))


@torch.no_grad()
def write(model: Transformer, kind: str, tokenizer, settings, seed: int) -> list[str]:
    """Texts that the model samples, token by token, each from the start of a story."""
    draw = torch.Generator().manual_seed(seed)
    ids = torch.full((settings.samples, 1), tokenizer.bos_id)
    for _ in range(settings.sample_tokens):
        scores = forward(model, ids, kind)[:, -1]
        ids = torch.cat([ids, torch.multinomial(scores.softmax(-1), 1, generator=draw)], dim=1)
    return [tokenizer.decode(row[1:].tolist()) for row in ids]
