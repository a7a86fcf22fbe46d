"""A flat row through the decoder in fewer and larger calls, for a CPU.

A step with one token reads every weight once, and that is the least it can take. `Decoder.flat`
takes longer, as each of its small calls costs some microseconds. Here the same numbers come from
fewer: queries, keys and values from one product, gate and up from another, both rotations at once,
a norm in one kernel; and products go through oneDNN however small they are (see `model.linear`).
Where float16 holds the weights as well as float32 does, they are read as float16, half the bytes,
and multiplied and added in float32 all the same; where they are codes of eight bits, torch's kernel
for those takes them.

It takes what a step needs, Llama's family in float32; for other models `flat` itself is used.

Shapes: T tokens of the row, D hidden, H query heads, K key-value heads, E head_dim, I inputs, O
outputs.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minimind_wiki.infer import single
from minimind_wiki.infer.lay import StepCache
from minimind_wiki.infer.quantize.layers import QuantLinear
from minimind_wiki.model import PagedCache, Transformer
from minimind_wiki.model.attention import View, paged_attention
from minimind_wiki.model.block import Block
from minimind_wiki.model.feedforward import SwiGLU
from minimind_wiki.model.linear import AVAILABLE, Linear, onednn
from minimind_wiki.model.norm import RMSNorm, fused_rms_norm
from minimind_wiki.model.pages import Step
from minimind_wiki.model.views import paged_views


def flat_decoder(
    model: Transformer,
) -> tuple[Callable[[Tensor, PagedCache], Tensor], Callable[[Tensor], Tensor]]:
    """The quickest functions that compute `model.model.flat` and `model.lm_head` here.

    They may keep the weights in a form of their own, and so go on with those of today. A layer of
    codes must use its kernel already: `quicken` the model before.
    """
    decoder, weight = model.model, next(model.parameters())
    attentions = [layer.self_attn for layer in decoder.layers if isinstance(layer, Block)]
    known = all(are_known(a.q_proj, a.k_proj, a.v_proj, a.o_proj) for a in attentions)
    suits = weight.device.type == "cpu" and weight.dtype == torch.float32
    suits = suits and not torch.is_autocast_enabled("cpu")  # which the calls below do not heed
    if not (suits and known and model.config.family == "llama"):
        return decoder.flat, model.lm_head
    return LeanDecoder(model), joined(head) if are_known(head := model.lm_head) else head


def are_known(*linears: nn.Module) -> bool:
    """Whether `joined` takes these: plain weights, or codes for the quick kernel, but not both."""
    plain = AVAILABLE and all(type(part) is Linear for part in linears)  # an adapter is another
    return plain or all(type(part) is QuantLinear and part.quick for part in linears)


def joined(*linears: nn.Module) -> Joined | JoinedHalves | JoinedCodes:
    """What these layers compute of the same inputs, side by side, as one product."""
    if type(linears[0]) is QuantLinear:
        return JoinedCodes(*linears)
    fits = HALVES is not None and all(fits_half(cast(Tensor, linear.weight)) for linear in linears)
    return (JoinedHalves if fits else Joined)(*linears)


def fits_half(weight_OI: Tensor) -> bool:
    """Whether float16 holds these numbers as well as float32 products need them.

    All together may move by a part in 2²¹, which is what float32 rounds away of a sum of 64
    products. Whatever was stored in float16 does not move at all; what was stored in bfloat16 moves
    less, as its short numbers fit but for those below 2⁻¹⁷, where float16 has fewer digits.

    >>> weight_OI = torch.randn(64, 64) * 0.02
    >>> fits_half(weight_OI), fits_half(weight_OI.bfloat16().float())
    (False, True)
    """
    half_OI = weight_OI.half()
    if not bool(half_OI.isfinite().all()):  # float16 ends at 65,504
        return False
    return bool((half_OI.float() - weight_OI).norm() <= 2**-21 * weight_OI.norm())


def by_halves(
    x_TI: Tensor,
    packed: torch.classes.quantized.LinearPackedParamsBase,  # type: ignore[name-defined]
) -> Tensor:
    """x Wᵀ in float32 from packed float16 weights, (T, O)."""
    return torch.ops.quantized.linear_dynamic_fp16(x_TI, packed)


def _scripted() -> Callable[..., Tensor] | None:
    """`by_halves` called by TorchScript, which takes a third of the time of Python's own call: that
    is a tenth of a token. None where this build of torch lacks the operator, which is not a public
    one; the plain function where it lacks TorchScript, which is to go."""
    try:
        packed = torch.ops.quantized.linear_prepack_fp16(torch.ones(1, 1), None)
        by_halves(torch.ones(1, 1), packed)
    except (AttributeError, RuntimeError, NotImplementedError):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            scripted: Callable[..., Tensor] = torch.jit.script(by_halves)
        scripted(torch.ones(1, 1), packed)
    except (AttributeError, RuntimeError):
        return by_halves
    return scripted


HALVES = _scripted()


class JoinedHalves:
    """x Wᵀ by FBGEMM, from float16 copies of the weights: (T, I) to (T, O), both float32.

    Each weight becomes a float32 on its way, so nothing else is rounded. A single token waits for
    the weights to come from memory, and these are half as many bytes.
    """

    def __init__(self, *linears: nn.Module) -> None:
        whole_OI = torch.cat([cast(Tensor, linear.weight).data for linear in linears])
        self.packed = torch.ops.quantized.linear_prepack_fp16(whole_OI, None)
        assert HALVES is not None
        self.product = HALVES

    def __call__(self, x_TI: Tensor) -> Tensor:
        return self.product(x_TI, self.packed)


class Joined:
    """x Wᵀ by oneDNN; (T, I) to (T, O)."""

    def __init__(self, *linears: nn.Module) -> None:
        self.weight_OI = join("weight", *linears)

    def __call__(self, x_TI: Tensor) -> Tensor:
        return onednn(x_TI, self.weight_OI)


class JoinedCodes:
    """`quantize.layers.int8_kernel`, whose ones are made once; (T, I) to (T, O), both float32."""

    def __init__(self, *linears: nn.Module) -> None:
        self.codes_OI, self.scale_O = join("codes", *linears), join("scales", *linears)[:, 0]
        self.ones_O = torch.ones_like(self.scale_O, dtype=torch.bfloat16)

    def __call__(self, x_TI: Tensor) -> Tensor:
        x_TI = x_TI.to(torch.bfloat16)
        y_TO = torch.ops.aten._weight_int8pack_mm(x_TI, self.codes_OI, self.ones_O)
        return y_TO * self.scale_O  # bfloat16 times float32: the product is float32


def join(name: str, *linears: nn.Module) -> Tensor:
    """The tensors of this name of several layers below each other, (O, …); they become views of it.

    So nothing is stored twice, and who changes a layer's weights in place changes this as well.
    """
    tensors = [getattr(linear, name).data for linear in linears]
    first, place = tensors[0], tensors[0].storage_offset()
    one = True
    for tensor in tensors:
        same = tensor.untyped_storage().data_ptr() == first.untyped_storage().data_ptr()
        one = one and same and tensor.storage_offset() == place and tensor.is_contiguous()
        place += tensor.numel()
    rows = [len(tensor) for tensor in tensors]
    if one:  # by an engine before this one
        return first.as_strided((sum(rows), first.shape[1]), first.stride())
    whole_OI = torch.cat(tensors)
    for linear, part_OI in zip(linears, whole_OI.split(rows), strict=True):
        getattr(linear, name).data = part_OI
    return whole_OI


class LeanDecoder:
    """`Decoder.flat` for Llama's family."""

    def __init__(self, model: Transformer) -> None:
        self.decoder = model.model
        layers = [layer for layer in model.model.layers if isinstance(layer, Block)]
        self.blocks = [LeanBlock(layer) for layer in layers]
        self.last = single.Norm(model.model.norm)
        self.windows = [model.config.window(layer) for layer in range(len(layers))]
        self.biased = model.config.positions == "alibi"
        plain = model.config.positions not in ("learned", "sinusoidal")
        table = model.model.embed_tokens
        # a row as it lies, where nothing is added to it and it is no code
        self.table_VD = table.weight if plain and type(table) is nn.Embedding else None
        self.turn_PE = None if self.decoder.rotary is None else self.turns(torch.arange(1))

    def __call__(self, ids_1T: Tensor, cache: PagedCache) -> Tensor:
        decoder = self.decoder
        step = cache.alone if isinstance(cache, StepCache) else None
        if (
            isinstance(cache, StepCache)
            and step
            and single.sees_all(step, self.windows, self.biased)
        ):
            return self.one(ids_1T, step, cache)
        x_TD = decoder._embed(ids_1T, place=cache.place_T)[0]
        turn = None
        if decoder.rotary is not None:
            cos_TE, sin_TE = self.turns(cache.place_T)
            turn = (cos_TE[:, None], sin_TE[:, None])
        views = paged_views(decoder.config, cache.parts)
        for block, view in zip(self.blocks, views, strict=True):
            x_TD = block(x_TD, turn, cache, view)
        assert isinstance(decoder.norm, RMSNorm)
        return norm(x_TD, decoder.norm)[None]

    def one(self, ids_11: Tensor, step: Step, cache: StepCache) -> Tensor:
        """A single token that sees all before it, (1, 1, D)."""
        if self.table_VD is None:
            x_1D = self.decoder._embed(ids_11, place=cache.place_T)[0]
        else:
            x_1D = self.table_VD.narrow(0, step.ids[0], 1)
        turn = None
        if self.turn_PE is not None:
            cos_PE, sin_PE = self.turn_PE
            if step.start >= len(cos_PE):  # twice as far each time
                most = self.decoder.config.max_position_embeddings
                places_P = torch.arange(min(2 * step.start, most))
                cos_PE, sin_PE = self.turn_PE = self.turns(places_P)
            turn = cos_PE.narrow(0, step.start, 1), sin_PE.narrow(0, step.start, 1)
        place = single.place_of(cache, step, turn)
        for block in self.blocks:
            x_1D = block.one(x_1D, place)
        return self.last(x_1D)[None]

    def turns(self, place_P: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines for both halves of a head at once, (P, E):
        (a, b) · cos + (b, a) · (-sin, sin)."""
        assert self.decoder.rotary is not None
        cos_PE, sin_PE = self.decoder.rotary.at(place_P)
        return torch.cat((cos_PE, cos_PE), dim=-1), torch.cat((-sin_PE, sin_PE), dim=-1)


class LeanBlock:
    """`Block` on a flat row, (T, D) in and out."""

    def __init__(self, block: Block) -> None:
        attention, mlp = block.self_attn, block.mlp
        before, between = block.input_layernorm, block.post_attention_layernorm
        assert isinstance(before, RMSNorm) and isinstance(between, RMSNorm)
        self.attention, self.mlp, self.norms = attention, mlp, (before, between)
        parts = (attention.q_proj, attention.k_proj, attention.v_proj)
        self.qkv, self.out = joined(*parts), joined(attention.o_proj)
        self.heads = [part.out_features // attention.head_dim for part in parts]
        self.single_norms = single.Norm(before), single.Norm(between)
        q_norm, k_norm = attention.q_norm, attention.k_norm
        both = (q_norm, k_norm) if q_norm is not None and k_norm is not None else None
        heads, shared, _ = self.heads
        self.read = single.Reader(attention.layer, heads, shared, attention.head_dim, both)
        self.dense = type(mlp) is SwiGLU and are_known(*mlp.children())
        if isinstance(mlp, SwiGLU) and self.dense:
            self.gate_up, self.down = joined(mlp.gate_proj, mlp.up_proj), joined(mlp.down_proj)

    def __call__(
        self, x_TD: Tensor, turn: tuple[Tensor, Tensor] | None, cache: PagedCache, view: View
    ) -> Tensor:
        x_TD = x_TD + self.attend(norm(x_TD, self.norms[0]), turn, cache, view)
        y_TD = norm(x_TD, self.norms[1])
        if not self.dense:  # experts
            return x_TD + self.mlp(y_TD[None])[0]
        gate_TI, up_TI = self.gate_up(y_TD).chunk(2, dim=-1)
        return x_TD + self.down(F.silu(gate_TI) * up_TI)

    def one(self, x_1D: Tensor, place: single.Place) -> Tensor:
        """The same for one token of one request, in fewer calls."""
        qkv_1O = self.qkv(self.single_norms[0](x_1D))
        x_1D = x_1D + self.out(self.read(qkv_1O, place))
        y_1D = self.single_norms[1](x_1D)
        if not self.dense:
            return x_1D + self.mlp(y_1D[None])[0]
        gate_1I, up_1I = self.gate_up(y_1D).chunk(2, dim=-1)
        return x_1D + self.down(F.silu(gate_1I).mul_(up_1I))

    def attend(
        self, x_TD: Tensor, turn: tuple[Tensor, Tensor] | None, cache: PagedCache, view: View
    ) -> Tensor:
        """`Attention.forward`: queries and keys are turned together."""
        attention, (heads, shared, _) = self.attention, self.heads
        qkv_THE = self.qkv(x_TD).unflatten(-1, (-1, attention.head_dim))
        qk_THE, v_TKE = qkv_THE.split((heads + shared, shared), dim=1)
        if attention.q_norm is not None and attention.k_norm is not None:
            q_THE, k_TKE = qk_THE.split((heads, shared), dim=1)
            qk_THE = torch.cat((norm(q_THE, attention.q_norm), norm(k_TKE, attention.k_norm)), 1)
        if turn is not None:
            half = attention.head_dim // 2
            qk_THE = qk_THE * turn[0] + qk_THE.roll(half, dims=-1) * turn[1]
        q_1HTE, k_1KTE = qk_THE.transpose(0, 1)[None].split((heads, shared), dim=1)
        keys, values = cache.extend(attention.layer, k_1KTE, v_TKE.transpose(0, 1)[None])
        assert view.pages is not None
        y_HTE = paged_attention(q_1HTE, keys, values, view.pages)[0]
        return self.out(y_HTE.transpose(0, 1).flatten(1))


def norm(x: Tensor, module: RMSNorm) -> Tensor:
    """An RMSNorm in one kernel."""
    return fused_rms_norm(x, module.weight, module.eps)
