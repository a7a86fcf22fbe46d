"""When each neuron of a SwiGLU model fires most, and what its value then says.

A neuron is one entry of silu(gate) · up, the row of the down projection's input; its value is the
matching column of the down projection (Geva et al. 2021, arXiv:2012.14913).
Shapes: N positions of all stories, F neurons of a layer, K strongest positions, D, V.
"""

from collections import Counter

import torch
from torch import Tensor, nn

from minimind_wiki.model import Transformer
from minimind_wiki.tokenizer import Tokenizer


@torch.inference_mode()
def firings(
    model: Transformer, tokenizer: Tokenizer, texts: list[str]
) -> tuple[list[Tensor], Tensor, Tensor]:
    """Each layer's activations (N, F), the token at each position and the one after it, (N,)."""
    kept: list[list[Tensor]] = [[] for _ in model.model.layers]

    def watch(n: int):
        def keep(_: nn.Module, inputs: tuple[Tensor]) -> None:
            kept[n].append(inputs[0][0])

        return keep

    layers = enumerate(model.model.layers)
    hooks = [layer.mlp.down_proj.register_forward_pre_hook(watch(n)) for n, layer in layers]
    here, following = [], []
    for text in texts:
        ids = [tokenizer.bos_id, *tokenizer.encode(text)]
        model(torch.tensor([ids[:-1]]))
        here += ids[:-1]
        following += ids[1:]
    for hook in hooks:
        hook.remove()
    return [torch.cat(parts) for parts in kept], torch.tensor(here), torch.tensor(following)


def commonest(tokens_FK: Tensor) -> list[tuple[int, float]]:
    """For each neuron the commonest token among its strongest positions, and its share of them."""
    out = []
    for row in tokens_FK.tolist():
        token, many = Counter(row).most_common(1)[0]
        out.append((token, many / len(row)))
    return out


def strongest(fired_NF: Tensor, many: int) -> Tensor:
    """The positions where each neuron is largest, whatever its sign, (F, K)."""
    return fired_NF.abs().topk(many, dim=0).indices.T


@torch.inference_mode()
def raised(model: Transformer, layer: int, signs_FK: Tensor) -> Tensor:
    """The token whose score the value raises most at each of those positions, (F, K): the value
    goes straight to the final norm's gain and the head, past all layers above."""
    value_DF = model.model.layers[layer].mlp.down_proj.weight
    score_VF = model.lm_head.weight @ (model.model.norm.weight[:, None] * value_DF)
    up_F, down_F = score_VF.argmax(0), score_VF.argmin(0)
    return torch.where(signs_FK > 0, up_F[:, None], down_F[:, None])
