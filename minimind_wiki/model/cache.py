"""The key-value cache: what attention would compute again for every token it has already seen.

One block of memory a layer, allocated once for the longest sequence, filled from the left. The fill
level is a Python number, so that reading it never waits for the device.

Shapes: L layers, B batch, K key-value heads, S room in tokens, T new tokens, D head_dim.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from minimind_wiki.errors import WrongCall
from minimind_wiki.model.config import ModelConfig


class Cache(Protocol):
    """What attention asks of a cache; `pages.PagedCache` is the one for many requests."""

    turns_late: bool
    """Keys are stored before they are turned, and turned by their place in what is returned."""

    def extend(self, layer: int, k_BKTD: Tensor, v_BKTD: Tensor, /) -> tuple[Tensor, Tensor]:
        """Store one layer's new keys and values, and return what the view reads."""
        ...


class RowCache:
    """What the decoder asks of a cache for texts of one length; the kinds differ in what they keep.

    Here is what holds where all is kept; `infer.caches` has others.
    """

    turns_late = False
    whole = True
    """All tokens so far are returned, in their order; if not, `places` says which."""
    length = 0
    """Tokens stored so far, the same in every layer between two forward passes."""

    def extend(self, layer: int, k_BKTD: Tensor, v_BKTD: Tensor, /) -> tuple[Tensor, Tensor]:
        """Store one layer's new keys and values, and return what the view reads."""
        raise NotImplementedError

    def advance(self, tokens: int) -> None:
        """Count `tokens` as stored; called once, after the last layer."""
        self.length += tokens

    def places(self, window: int, tokens: int) -> Tensor:
        """Where the keys stand in the text that a layer with this window gets with `tokens` new
        ones, (S) int64."""
        raise NotImplementedError


class KVCache(RowCache):
    """Keys and values of all layers for `batch` sequences of at most `room` tokens.

    Memory: 2 · L · B · K · S · D numbers.
    """

    def __init__(
        self,
        config: ModelConfig,
        batch: int,
        room: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        shape = (batch, config.num_key_value_heads, room, config.head_dim)
        layers = range(config.num_hidden_layers)
        self.keys = [torch.empty(shape, device=device, dtype=dtype) for _ in layers]
        self.values = [torch.empty(shape, device=device, dtype=dtype) for _ in layers]
        self.room = room

    def extend(self, layer: int, k_BKTD: Tensor, v_BKTD: Tensor) -> tuple[Tensor, Tensor]:
        """Store one layer's new keys and values; return all of that layer's so far (a view)."""
        stop = self.length + k_BKTD.shape[2]
        if stop > self.room:
            raise WrongCall(
                f"the cache has room for {self.room} tokens, but {stop} are needed; make it with "
                f"room={stop}."
            )
        self.keys[layer][:, :, self.length : stop] = k_BKTD
        self.values[layer][:, :, self.length : stop] = v_BKTD
        return self.keys[layer][:, :, :stop], self.values[layer][:, :, :stop]
