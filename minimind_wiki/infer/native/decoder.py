"""A lean decoder whose steps go through kernels in C.

Between its products `LeanDecoder` calls torch a dozen times; each call goes over all rows, or
copies the blocks of all texts side by side. Here a layer is nine calls, its four products among
them. What is computed is the same, in float32, and differs by the order of sums alone.

Shapes: T rows of a step, I inputs, O outputs, H query heads, K key-value heads, E head_dim.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from minimind_wiki.errors import MinimindError
from minimind_wiki.infer.engine import Engine
from minimind_wiki.infer.lay import SHORT
from minimind_wiki.infer.lean import LeanBlock, LeanDecoder, fits_half
from minimind_wiki.infer.native.build import library
from minimind_wiki.model import PagedCache
from minimind_wiki.model.attention import paged_attention
from minimind_wiki.model.feedforward import SwiGLU
from minimind_wiki.model.linear import Linear
from minimind_wiki.model.norm import RMSNorm
from minimind_wiki.model.pages import Part
from minimind_wiki.model.views import paged_views

PANEL = 32
"""Outputs whose weights lie side by side, as in kernels.c."""
DIMS = (16, 32, 48, 64, 96, 128)
"""Sizes of a head that its attention knows."""


def hasten(engine: Engine) -> Engine:
    """Let this engine compute by the kernels; it comes back.

    Its weights are copied into the kernels' order. MinimindError where the kernels cannot be had,
    or do not know the model: they know what `LeanDecoder` knows.
    """
    if not isinstance(engine.decode, LeanDecoder):
        raise MinimindError(
            "the native kernels compute Llama's family in float32 on a CPU, without adapters "
            "beside the weights; leave them out for this model (no --native)."
        )
    engine.decode = NativeDecoder(engine.decode)
    if type(engine.model.lm_head) is Linear:
        engine.score = Product(engine.model.lm_head)
    return engine


class Product:
    """x Wᵀ of these layers side by side, from their weights in panels; (T, I) to (T, O).

    The weights are kept as float16 where `fits_half` says that it holds them.
    """

    def __init__(self, *linears: nn.Module) -> None:
        weights = [cast(Tensor, linear.weight).data for linear in linears]
        weight_OI = torch.cat(weights)
        self.outputs, self.inputs = weight_OI.shape
        self.halves = all(fits_half(weight) for weight in weights)
        padded = torch.nn.functional.pad(weight_OI, (0, 0, 0, -self.outputs % PANEL))
        panels = padded.view(-1, PANEL, self.inputs).transpose(1, 2)
        self.panels = panels.to(torch.float16 if self.halves else torch.float32).contiguous()
        self.call = library().product

    def __call__(self, x_TI: Tensor) -> Tensor:
        x_TI = x_TI.contiguous()
        y_TO = x_TI.new_empty(len(x_TI), self.outputs)
        self.call(x_TI.data_ptr(), self.panels.data_ptr(), y_TO.data_ptr(), len(x_TI),
                  self.inputs, self.outputs, self.halves, torch.get_num_threads())  # fmt: skip
        return y_TO


def quickest(lean: Callable[[Tensor], Tensor], *linears: nn.Module) -> Callable[[Tensor], Tensor]:
    """A `Product` of plain layers; of others (codes of eight bits), what `lean` has of them."""
    return Product(*linears) if all(type(part) is Linear for part in linears) else lean


class NativeDecoder:
    """What `LeanDecoder` computes of a flat row, (1, T) ids to (1, T, hidden)."""

    def __init__(self, lean: LeanDecoder) -> None:
        self.lean = lean
        self.blocks = [NativeBlock(block) for block in lean.blocks]

    def __call__(self, ids_1T: Tensor, cache: PagedCache) -> Tensor:
        lean, place_T = self.lean, cache.place_T
        easy = [part for part in cache.parts if self.is_easy(part)]
        hard = [part for part in cache.parts if not self.is_easy(part)]
        x_TD = lean.decoder._embed(ids_1T, place=place_T)[0].contiguous()
        turn = None if lean.decoder.rotary is None else lean.turns(place_T)
        run = Pass(x_TD, cache, turn, easy)
        views = paged_views(lean.decoder.config, hard)
        for block, view in zip(self.blocks, views, strict=True):
            block(run, view.pages or ())
        assert isinstance(lean.decoder.norm, RMSNorm)
        return run.normed(lean.decoder.norm)[None]

    def is_easy(self, part: Part) -> bool:
        """Whether the kernel attends best: short steps, which see all before them. A prompt's many
        rows read the same keys, which torch's kernel does block by block."""
        windows, dim = self.lean.windows, self.lean.decoder.config.head_dim
        seen = not self.lean.biased and not any(0 < window < part.keys for window in windows)
        return seen and part.place_RT.shape[1] <= SHORT and dim in DIMS


class Pass:
    """A step under way: the residual stream, and what the last layer gave that is still to be added
    to it. `easy` parts attend by the kernel."""

    def __init__(
        self,
        x_TD: Tensor,
        cache: PagedCache,
        turn: tuple[Tensor, Tensor] | None,
        easy: Sequence[Part],
    ) -> None:
        self.x_TD, self.cache, self.easy = x_TD, cache, easy
        self.y_TD: Tensor | None = None
        self.h_TD = torch.empty_like(x_TD)
        self.turn = turn or (None, None)
        self.threads = torch.get_num_threads()
        blocks = max((part.table_RN.shape[1] for part in easy), default=0)
        self.score = x_TD.new_empty(self.threads, blocks * cache.size)
        """Room for the scores of one query, for each thread."""

    def normed(self, norm: RMSNorm) -> Tensor:
        """Add what is to be added, and norm: (T, D), valid until the next call."""
        rows, size = self.x_TD.shape
        library().norm(self.x_TD.data_ptr(), address(self.y_TD), norm.weight.data_ptr(),
                       self.h_TD.data_ptr(), rows, size, norm.eps,
                       min(self.threads, rows))  # fmt: skip
        self.y_TD = None
        return self.h_TD


class NativeBlock:
    """`LeanBlock` by kernels; codes of eight bits and experts stay with torch's calls."""

    def __init__(self, lean: LeanBlock) -> None:
        self.lean, self.attention, self.mlp = lean, lean.attention, lean.mlp
        attention, mlp = lean.attention, lean.mlp
        self.qkv = quickest(lean.qkv, attention.q_proj, attention.k_proj, attention.v_proj)
        self.out = quickest(lean.out, attention.o_proj)
        if lean.dense:
            assert isinstance(mlp, SwiGLU)
            self.gate_up = quickest(lean.gate_up, mlp.gate_proj, mlp.up_proj)
            self.down = quickest(lean.down, mlp.down_proj)

    def __call__(self, run: Pass, hard: Sequence[Part]) -> None:
        before, between = self.lean.norms
        run.y_TD = self.out(self.attend(self.qkv(run.normed(before)), run, hard))
        h_TD = run.normed(between)
        if self.lean.dense:
            run.y_TD = self.down(gated(self.gate_up(h_TD), run.threads))
        else:
            run.y_TD = self.mlp(h_TD[None])[0].contiguous()

    def attend(self, qkv_TO: Tensor, run: Pass, hard: Sequence[Part]) -> Tensor:
        """(T, H · E), from queries, keys and values side by side, which are changed in place."""
        attention, cache, kernels = self.attention, run.cache, library()
        rows, dim, (heads, shared, _) = len(qkv_TO), attention.head_dim, self.lean.heads
        keys, values = cache.keys[attention.layer], cache.values[attention.layer]
        q_norm, k_norm = attention.q_norm, attention.k_norm
        gains = [None if norm is None else norm.weight for norm in (q_norm, k_norm)]
        eps = 0.0 if q_norm is None else q_norm.eps
        kernels.store(
            qkv_TO.data_ptr(), *map(address, gains), *map(address, run.turn), keys.data_ptr(),
            values.data_ptr(), cache.slot_T.data_ptr(), rows, heads, shared, dim, eps,
            min(run.threads, rows),
        )  # fmt: skip
        y_THE = qkv_TO.new_empty(rows, heads, dim)
        for part in run.easy:
            requests, time = part.place_RT.shape
            kernels.attend(
                qkv_TO[part.first :].data_ptr(), keys.data_ptr(), values.data_ptr(),
                part.table_RN.data_ptr(), part.place_RT.data_ptr(), y_THE[part.first :].data_ptr(),
                run.score.data_ptr(), requests * time, time, heads, shared, dim, cache.size,
                part.table_RN.shape[1], min(run.threads, requests * time * heads),
            )  # fmt: skip
        q_1HTE = qkv_TO.view(rows, -1, dim)[:, :heads].transpose(0, 1)[None]
        for part in hard:
            seen_HTE = paged_attention(q_1HTE, keys, values, [part])[0]
            y_THE[part.first : part.first + seen_HTE.shape[1]] = seen_HTE.transpose(0, 1)
        return y_THE.flatten(1)


def gated(both_TI: Tensor, threads: int) -> Tensor:
    """silu(gate) · up, from gate and up side by side: (T, 2 I) to (T, I)."""
    rows, inner = len(both_TI), both_TI.shape[1] // 2
    y_TI = both_TI.new_empty(rows, inner)
    library().gated(both_TI.data_ptr(), y_TI.data_ptr(), rows, inner, min(threads, rows))
    return y_TI


def address(numbers: Tensor | None) -> int | None:
    """Where a tensor lies; None, which C takes as no address, for none."""
    return None if numbers is None else numbers.data_ptr()
