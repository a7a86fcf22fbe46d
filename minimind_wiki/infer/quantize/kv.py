"""A key-value cache in eight bits: one scale for each token and head, of keys and of values.

A cache grows with the text, and soon weighs more than the model. A vector of D numbers becomes D
bytes and a scale of four: (D + 4) / 4D of float32's memory, 0.27 for D = 64. It saves memory and
not time: attention multiplies float numbers, so what it reads is unpacked each time.

Each number moves by at most half a step, largest / 254. A score q·k / √D then moves by at most
ε = ½ · step · ‖q‖₁ / √D, and so a softmax weight by a factor between e^-2ε and e^2ε: see
`tests/unit/test_quantize_kv.py`.
Shapes: B batch, K key-value heads, S room in tokens, T new tokens, D head_dim, R requests.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from minimind_wiki.errors import WrongCall
from minimind_wiki.model import KVCache, ModelConfig, PagedCache


def encode_vectors(x: Tensor) -> tuple[Tensor, Tensor]:
    """Absmax over the last axis: codes (..., D) int8 and scales (..., 1) float32.

    >>> encode_vectors(torch.tensor([[-127.0, 63.6]]))
    (tensor([[-127,   64]], dtype=torch.int8), tensor([[1.]]))
    """
    scale = x.float().abs().amax(-1, keepdim=True) / 127
    return (x / scale.clamp_min(1e-30)).round().to(torch.int8), scale


class Int8Cache(KVCache):
    """`KVCache` in eight bits: the model sees a cache as ever."""

    def __init__(
        self,
        config: ModelConfig,
        batch: int,
        room: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        shape = (batch, config.num_key_value_heads, room)
        kinds = range(2 * config.num_hidden_layers)  # of each layer: keys, values
        self.codes = [
            torch.empty(*shape, config.head_dim, dtype=torch.int8, device=device) for _ in kinds
        ]
        self.scales = [torch.empty(*shape, 1, device=device) for _ in kinds]
        self.dtype, self.room, self.length = dtype, room, 0

    def extend(self, layer: int, k_BKTD: Tensor, v_BKTD: Tensor) -> tuple[Tensor, Tensor]:
        """Store one layer's new keys and values; return all of that layer's so far, unpacked."""
        start, stop = self.length, self.length + k_BKTD.shape[2]
        if stop > self.room:
            raise WrongCall(
                f"the cache has room for {self.room} tokens, but {stop} are needed; make it with "
                f"room={stop}."
            )
        out = []
        for place, x_BKTD in ((2 * layer, k_BKTD), (2 * layer + 1, v_BKTD)):
            codes, scales = self.codes[place], self.scales[place]
            codes[:, :, start:stop], scales[:, :, start:stop] = encode_vectors(x_BKTD)
            out.append((codes[:, :, :stop] * scales[:, :, :stop]).to(self.dtype))
        return out[0], out[1]


class Int8Blocks:
    """The blocks of a layer's keys or values, as far as `pages.read_blocks` asks: only the blocks
    that a text needs are unpacked.
    """

    def __init__(
        self, shape: tuple[int, ...], device: torch.device | str, dtype: torch.dtype
    ) -> None:
        self.shape, self.dtype = shape, dtype
        self.codes = torch.zeros(shape, dtype=torch.int8, device=device)
        self.scales = torch.zeros(*shape[:-1], 1, device=device)

    def put(self, slot_T: Tensor, x_TKD: Tensor) -> None:
        """Write the vectors of new tokens, each to its row of the blocks laid end to end."""
        codes, scales = encode_vectors(x_TKD)
        self.codes.flatten(0, 1).index_copy_(0, slot_T, codes)
        self.scales.flatten(0, 1).index_copy_(0, slot_T, scales)

    def index_select(self, axis: int, index: Tensor) -> Tensor:
        """These blocks, unpacked."""
        codes, scales = (x.index_select(axis, index) for x in (self.codes, self.scales))
        return (codes * scales).to(self.dtype)

    def __setitem__(self, blocks: list[int], value: float) -> None:
        self.codes[blocks] = 0
        self.scales[blocks] = value


class Int8PagedCache(PagedCache):
    """`PagedCache` in eight bits, for the engine."""

    def __init__(
        self,
        config: ModelConfig,
        blocks: int,
        size: int = 16,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(config, 0, size, device, dtype)  # no blocks of its own
        shape = (blocks, *self.keys[0].shape[1:])
        layers = range(config.num_hidden_layers)
        # attention asks no more of them than Int8Blocks can do
        self.keys = [cast(Tensor, Int8Blocks(shape, device, dtype)) for _ in layers]
        self.values = [cast(Tensor, Int8Blocks(shape, device, dtype)) for _ in layers]

    def extend(self, layer: int, k_1KTD: Tensor, v_1KTD: Tensor) -> tuple[Tensor, Tensor]:
        """Store one layer's new keys and values; return all its blocks."""
        for blocks, x_1KTD in ((self.keys[layer], k_1KTD), (self.values[layer], v_1KTD)):
            cast(Int8Blocks, blocks).put(self.slot_T, x_1KTD[0].transpose(0, 1))
        return self.keys[layer], self.values[layer]
