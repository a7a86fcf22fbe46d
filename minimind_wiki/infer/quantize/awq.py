"""AWQ: make the weights that matter larger before rounding (Lin et al. 2024, arXiv:2306.00978).

Not all inputs are equally large, and an error in a weight counts as much as what it is multiplied
by. Column j of W times s_j, and input j divided by s_j: the product is the same. Rounded, the error
of that column is divided by s_j, as long as the largest weight of the group, and with it the step,
stays. Too large an s raises the step for all others. So s = (mean |x_j|)^alpha, and alpha is tried.

What divides the input costs nothing, as it goes into the layer before: the gain of a norm, or the
rows of the matrix whose outputs are these inputs.
Shapes: N rows of calibration inputs, I inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from minimind_wiki.infer.quantize.round import decode, round_weight
from minimind_wiki.model import Transformer
from minimind_wiki.model.block import Block
from minimind_wiki.model.feedforward import SwiGLU

TRIES = 20


@torch.no_grad()
def awq_scale(
    weights: Sequence[Tensor], x_NI: Tensor, bits: int, group: int = 0, symmetric: bool = True
) -> Tensor:
    """The best s for matrices that share their inputs, (I,) float32; ones if none is better.

    What is compared is the squared error of the outputs, ‖x Wᵀ - (x / s) round(W · s)ᵀ‖².
    """
    x_NI = x_NI.flatten(0, -2).float()
    size_I = x_NI.abs().mean(0).clamp_min(1e-4)  # an input may never be there
    wanted = [x_NI @ weight.float().T for weight in weights]
    best_I, least = torch.ones_like(size_I), float("inf")
    for step in range(TRIES):
        scale_I = size_I ** (step / TRIES)
        scale_I = scale_I / (scale_I.max() * scale_I.min()).sqrt()  # neither grows as a whole
        error = 0.0
        for weight, y_NO in zip(weights, wanted, strict=True):
            rounded_OI = decode(*round_weight(weight * scale_I, bits, group, symmetric))
            error += float(((x_NI / scale_I) @ rounded_OI.T - y_NO).pow(2).sum())
        if error < least:
            best_I, least = scale_I, error
    return best_I


@torch.no_grad()
def fold(scale_I: Tensor, before: nn.Module, after: Sequence[nn.Linear]) -> None:
    """Divide what `before` gives by s, and multiply the columns of `after` by it, in place.

    `before` is a norm or a linear layer: both have outputs along the first axis of their weight.
    """
    for name in ("weight", "bias"):
        numbers = getattr(before, name, None)
        if isinstance(numbers, Tensor):
            numbers.div_(scale_I.view(-1, *[1] * (numbers.dim() - 1)))
    for linear in after:
        linear.weight.mul_(scale_I)


def foldable(block: Block) -> list[tuple[nn.Module, list[str]]]:
    """Which layers of a block can be scaled, by name, each time with what comes before them.

    Left out: o_proj where query heads share value heads (its inputs then are copies of v_proj's
    outputs), what stands behind a GELU, and experts, of which some may see no calibration text.
    """
    attention, mlp = block.self_attn, block.mlp
    pairs: list[tuple[nn.Module, list[str]]] = [
        (block.input_layernorm, [f"self_attn.{name}_proj" for name in "qkv"])
    ]
    if attention.v_proj.out_features == attention.o_proj.in_features:
        pairs.append((attention.v_proj, ["self_attn.o_proj"]))
    if isinstance(mlp, SwiGLU):
        pairs.append((block.post_attention_layernorm, ["mlp.gate_proj", "mlp.up_proj"]))
        pairs.append((mlp.up_proj, ["mlp.down_proj"]))
    elif hasattr(mlp, "up_proj"):
        pairs.append((block.post_attention_layernorm, ["mlp.up_proj"]))
    return pairs


def awq(
    model: Transformer, inputs: dict[str, Tensor], bits: int, group: int = 0,
    symmetric: bool = True,
) -> None:  # fmt: skip
    """Scale a model's layers in place, so that rounding hurts it less; its outputs stay the same.

    `inputs` are calibration inputs (N, I) of the layers, by full name; see `calibrate`.
    """
    for number, block in enumerate(model.model.layers):
        assert isinstance(block, Block)
        for before, names in foldable(block):
            layers = [block.get_submodule(name) for name in names]
            linears = [layer for layer in layers if isinstance(layer, nn.Linear)]
            x_NI = inputs[f"model.layers.{number}.{names[0]}"]
            scale_I = awq_scale([one.weight for one in linears], x_NI, bits, group, symmetric)
            fold(scale_I, before, linears)
