"""Key-value caches for one text, or several of one length: what each keeps decides what it costs.

| cache | keeps | memory after t tokens |
|---|---|---|
| static (`model.KVCache`) | all, in memory taken at the start | 2 · L · K · D · room |
| growing | all, and asks for new memory at every token | 2 · L · K · D · t |
| ring | a window, where the model itself sees no more | 2 · L · K · D · min(t, window) |
| sinks | the first few tokens and a window, for any model | 2 · L · K · D · min(t, room) |

The first three give the tokens that a pass without a cache gives. `sinks` does while the text fits
it; then it goes on for ever, with another rule: every token sees the first few and the last ones.

Shapes: L layers, B batch, K key-value heads, T new tokens, S keys in the cache, D head_dim.
"""

from __future__ import annotations

import torch
from torch import Tensor

from minimind_wiki.errors import WrongCall, unknown
from minimind_wiki.model import KVCache, ModelConfig, RowCache, Transformer

KINDS = ("static", "growing", "ring", "sinks")


class GrowingCache(RowCache):
    """Put the new behind the old. Nobody says how long the text becomes; each token copies all.

    >>> cache = GrowingCache(layers=1)
    >>> cache.extend(0, torch.ones(1, 2, 3, 4), torch.ones(1, 2, 3, 4))[0].shape
    torch.Size([1, 2, 3, 4])
    >>> cache.extend(0, torch.ones(1, 2, 1, 4), torch.ones(1, 2, 1, 4))[0].shape
    torch.Size([1, 2, 4, 4])
    """

    def __init__(self, layers: int) -> None:
        self.keys: list[Tensor | None] = [None] * layers
        self.values: list[Tensor | None] = [None] * layers

    def extend(self, layer: int, k_BKTD: Tensor, v_BKTD: Tensor, /) -> tuple[Tensor, Tensor]:
        """Store one layer's new keys and values; return all of that layer's so far."""
        keys, values = self.keys[layer], self.values[layer]
        if keys is not None and values is not None:
            k_BKTD = torch.cat([keys, k_BKTD], dim=2)
            v_BKTD = torch.cat([values, v_BKTD], dim=2)
        self.keys[layer], self.values[layer] = k_BKTD, v_BKTD
        return k_BKTD, v_BKTD


class RingCache(RowCache):
    """Only what a sliding window still sees: the newest token is written over the oldest.

    A model with `sliding_window` W looks at W tokens, so a layer needs W slots (and one for each of
    the model's `attention_sinks`). Token p goes to slot p mod W. Attention does not ask in which
    order keys lie, as each was turned by its place in the text. Layers of `full_layers` see all
    before them, so they have `room` slots.
    """

    whole = False

    def __init__(
        self,
        config: ModelConfig,
        batch: int,
        room: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if not config.sliding_window:
            raise WrongCall(
                "the model has no sliding_window, so a ring would have to keep all; use the cache "
                "'static', or 'sinks' to keep a window of it."
            )
        self.room, self.sinks, self.device = room, config.attention_sinks, device
        self.windows = [config.window(layer) for layer in range(config.num_hidden_layers)]
        heads, dim = config.num_key_value_heads, config.head_dim
        shapes = [(batch, heads, self.slots(window), dim) for window in self.windows]
        self.keys = [torch.empty(shape, device=device, dtype=dtype) for shape in shapes]
        self.values = [torch.empty(shape, device=device, dtype=dtype) for shape in shapes]

    def slots(self, window: int) -> int:
        """How many tokens a layer with this window keeps."""
        return min(self.sinks + window, self.room) if window else self.room

    def extend(self, layer: int, k_BKTD: Tensor, v_BKTD: Tensor, /) -> tuple[Tensor, Tensor]:
        """Store new keys and values; return what was there and them, as `places` lists it.

        One token is written first: what it replaces is what it no longer sees. The first of
        several still sees what the later ones replace, so these are written last.
        """
        window, tokens = self.windows[layer], k_BKTD.shape[2]
        if self.length + tokens > self.room:
            raise WrongCall(
                f"the cache has room for {self.room} tokens, but {self.length + tokens} are "
                f"needed; make it with room={self.length + tokens}."
            )
        keys, values = self.keys[layer], self.values[layer]
        stop = self.length + tokens
        place_T = torch.arange(self.length, stop, device=self.device)
        # two tokens for one slot would be written in no certain order: the older one stays out
        stays_T = (place_T < self.sinks) | (place_T >= stop - self._turning(window))
        slot = self._slot_of(place_T[stays_T], window)
        if tokens == 1:
            keys[:, :, slot], values[:, :, slot] = k_BKTD, v_BKTD
            now = self._filled(window, stop)
            return keys[:, :, :now], values[:, :, :now]
        before = self._filled(window, self.length)
        all_keys = torch.cat([keys[:, :, :before], k_BKTD], dim=2)
        all_values = torch.cat([values[:, :, :before], v_BKTD], dim=2)
        keys[:, :, slot], values[:, :, slot] = k_BKTD[:, :, stays_T], v_BKTD[:, :, stays_T]
        return all_keys, all_values

    def places(self, window: int, tokens: int) -> Tensor:
        """Where the keys stand in the text that `extend` returns, (S) int64."""
        if tokens == 1:
            return self._held(window, self.length + 1)
        new_T = torch.arange(self.length, self.length + tokens, device=self.device)
        return torch.cat([self._held(window, self.length), new_T])

    def _filled(self, window: int, length: int) -> int:
        return min(length, self.slots(window))

    def _turning(self, window: int) -> int:
        """How many slots are written again and again."""
        return max(1, self.slots(window) - self.sinks)

    def _slot_of(self, place: Tensor, window: int) -> Tensor:
        """Where the tokens at these places of the text go: sinks stay, the others go round."""
        around = self.sinks + (place - self.sinks) % self._turning(window)
        return torch.where(place < self.sinks, place, around)

    def _held(self, window: int, length: int) -> Tensor:
        """Which token of a text of this length lies in each slot: the last that came there."""
        slot_S = torch.arange(self._filled(window, length), device=self.device)
        turning = self._turning(window)
        last_S = slot_S + (length - 1 - slot_S) // turning * turning
        return torch.where(slot_S < self.sinks, slot_S, last_S)


class SinkCache(RowCache):
    """The first `sinks` tokens and the last ones, `room` in all (StreamingLLM: Xiao et al. 2023,
    arXiv:2309.17453).

    Softmax must put its weight somewhere, and a trained model puts what it does not need on the
    first tokens. Without them it breaks down; with them a text may become any length. Positions are
    counted in the cache and not in the text, so that none is larger than `room`: a key is kept as
    it was before its rotation, and turned anew for each query.

    `length` is what the cache holds. Once it is full, tokens must come one by one (`read`).
    """

    turns_late = True

    def __init__(
        self,
        config: ModelConfig,
        batch: int,
        room: int = 0,
        sinks: int = 4,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        room = room or config.max_position_embeddings
        if not 0 <= sinks < room <= config.max_position_embeddings:
            raise WrongCall(
                f"{sinks} sinks in a cache for {room} tokens; give more room than sinks, and at "
                f"most the model's {config.max_position_embeddings} positions."
            )
        if config.positions in ("learned", "sinusoidal"):
            raise WrongCall(
                f"positions {config.positions!r} are in what is cached and cannot move with it; "
                "streaming needs a model with rotary positions, alibi or none."
            )
        self.room, self.sinks = room, sinks
        shape = (batch, config.num_key_value_heads, 0, config.head_dim)
        layers = range(config.num_hidden_layers)
        self.keys = [torch.empty(shape, device=device, dtype=dtype) for _ in layers]
        self.values = [torch.empty(shape, device=device, dtype=dtype) for _ in layers]

    def extend(self, layer: int, k_BKTD: Tensor, v_BKTD: Tensor, /) -> tuple[Tensor, Tensor]:
        """Store one layer's new keys, not turned yet, and values; return all that are kept."""
        if self.length + k_BKTD.shape[2] > self.room:
            raise WrongCall(
                f"{self.length} tokens and {k_BKTD.shape[2]} new ones are more than the cache's "
                f"{self.room}; give what fits first, and the rest one by one."
            )
        self.keys[layer] = torch.cat([self.keys[layer], k_BKTD], dim=2)
        self.values[layer] = torch.cat([self.values[layer], v_BKTD], dim=2)
        return self.keys[layer], self.values[layer]

    def advance(self, tokens: int) -> None:
        """Count the new tokens; a full cache forgets the oldest that is no sink."""
        self.length += tokens
        if self.length == self.room:
            self.length -= 1
            self.keys = [self._forget(keys) for keys in self.keys]
            self.values = [self._forget(values) for values in self.values]

    def _forget(self, numbers_BKSD: Tensor) -> Tensor:
        first, last = numbers_BKSD[:, :, : self.sinks], numbers_BKSD[:, :, self.sinks + 1 :]
        return torch.cat([first, last], dim=2)


def make_cache(kind: str, model: Transformer, batch: int, room: int) -> RowCache:
    """A cache of one of `KINDS` for `room` tokens, on the model's device and in its number format.

    `sinks` needs no more than the model's context. WrongCall for a kind that is unknown, or that
    the model cannot have.
    """
    config, weight = model.config, model.lm_head.weight
    if kind == "static":
        return KVCache(config, batch, room, weight.device, weight.dtype)
    if kind == "growing":
        return GrowingCache(config.num_hidden_layers)
    if kind == "ring":
        return RingCache(config, batch, room, weight.device, weight.dtype)
    if kind == "sinks":
        return SinkCache(config, batch, device=weight.device, dtype=weight.dtype)
    raise unknown("cache", kind, KINDS)


def read(model: Transformer, ids_BT: Tensor, cache: RowCache) -> Tensor:
    """Let the model read tokens into a cache; its hidden state at the last of them, (B, D).

    All in one pass, but for a `SinkCache` that they overfill: each of those sees another window.
    """
    if isinstance(cache, SinkCache) and cache.length + ids_BT.shape[1] > cache.room:
        first = cache.room - cache.length
        model.model(ids_BT[:, :first], cache)
        for place in range(first, ids_BT.shape[1] - 1):
            model.model(ids_BT[:, place : place + 1], cache)
        ids_BT = ids_BT[:, -1:]
    last_BD: Tensor = model.model(ids_BT, cache)[:, -1]
    return last_BD
