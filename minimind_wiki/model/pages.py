"""A cache in blocks, for many requests that grow side by side (PagedAttention: Kwon et al. 2023,
arXiv:2309.06180).

A cache with one row a request must be as long as the longest may become. Here memory is cut into
blocks of a few tokens, and each request has a table of the blocks it uses, in their order. Blocks
are taken when a text reaches them, lie anywhere, and can stand in several tables: requests that
begin alike share what they have in common. Who owns which block is no matter of the model's (see
`infer.paged`); here is only where the numbers are.

One pass takes the new tokens of all requests as ONE row, (1, T). All layers but attention treat
tokens alone, so they need not know; for attention the row is cut into `Part`s.

Shapes: L layers, N blocks of a table, K key-value heads, D head_dim, R requests, T new tokens of
each (in the flat row: of all), S key positions, H query heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from minimind_wiki.model.config import ModelConfig
from minimind_wiki.model.masks import sees
from minimind_wiki.model.positions import alibi_slopes


class Step(NamedTuple):
    """What one request computes in a pass."""

    ids: Sequence[int]  # the new tokens
    start: int  # tokens before them, whose keys and values are stored
    blocks: Sequence[int]  # where the keys of all of them lie, the new ones' too


class Part(NamedTuple):
    """Requests with equally many new tokens, which attend together."""

    first: int  # their first row in the flat batch; R · T rows belong to them
    place_RT: Tensor  # position of each new token in its text
    table_RN: Tensor  # their blocks; short tables end in any block
    keys: int  # tokens of the longest text, the new ones included
    even: bool  # all texts are equally long: the kernel's own causal mask will do
    mask: Tensor | None = None  # else who sees whom, (R, 1 or H, T, S), bool or float


class PagedCache:
    """Keys and values of all layers in `blocks` blocks of `size` tokens.

    Memory: 2 · L · blocks · size · K · D numbers. They start as zeros, not as what was there: a
    mask makes weights zero, and zero times a stray NaN would still be NaN.
    """

    turns_late = False

    def __init__(
        self,
        config: ModelConfig,
        blocks: int,
        size: int = 16,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        shape = (blocks, size, config.num_key_value_heads, config.head_dim)
        layers = range(config.num_hidden_layers)
        self.keys = [torch.zeros(shape, device=device, dtype=dtype) for _ in layers]
        self.values = [torch.zeros(shape, device=device, dtype=dtype) for _ in layers]
        self.size = size
        self.parts: list[Part] = []
        self.place_T = self.slot_T = torch.empty(0, dtype=torch.int64, device=device)

    def lay(self, steps: Sequence[Step]) -> Tensor:
        """Prepare the next pass; the flat row of ids that it reads, (1, T) int64.

        Steps of a single token come first in `steps`: they make one part, every other makes its
        own.
        """
        alone = sum(len(step.ids) == 1 for step in steps)
        groups = [steps[:alone]] if alone else []
        groups += [[step] for step in steps[alone:]]
        device, row = self.place_T.device, 0
        self.parts = []
        for group in groups:
            longest = max(step.start for step in group) + len(group[0].ids)
            blocks = -(-longest // self.size)
            table = [list(step.blocks[:blocks]) for step in group]
            table = [one + one[:1] * (blocks - len(one)) for one in table]
            places = [range(step.start, step.start + len(step.ids)) for step in group]
            even = all(step.start == group[0].start for step in group)
            place_RT = torch.tensor([list(p) for p in places], device=device)
            self.parts.append(
                Part(row, place_RT, torch.tensor(table, device=device), longest, even)
            )
            row += place_RT.numel()
        self.place_T = torch.cat([part.place_RT.flatten() for part in self.parts])
        self.slot_T = torch.cat([self._slots(part) for part in self.parts])
        return torch.tensor([[i for step in steps for i in step.ids]], device=device)

    def _slots(self, part: Part) -> Tensor:
        """Where the new keys go: rows of the blocks laid end to end."""
        block_RT = part.table_RN.gather(1, part.place_RT // self.size)
        return (block_RT * self.size + part.place_RT % self.size).flatten()

    def extend(self, layer: int, k_1KTD: Tensor, v_1KTD: Tensor) -> tuple[Tensor, Tensor]:
        """Store one layer's new keys and values; return all its blocks, (blocks, size, K, D)."""
        keys, values = self.keys[layer], self.values[layer]
        keys.flatten(0, 1).index_copy_(0, self.slot_T, k_1KTD[0].transpose(0, 1))
        values.flatten(0, 1).index_copy_(0, self.slot_T, v_1KTD[0].transpose(0, 1))
        return keys, values

    def wipe(self, blocks: Sequence[int]) -> None:
        """Make blocks zero again, after a text whose numbers broke."""
        for numbers in (*self.keys, *self.values):
            numbers[list(blocks)] = 0


def read_blocks(numbers: Tensor, table_RN: Tensor, keys: int) -> Tensor:
    """The first `keys` tokens of each table, in their order; (R, K, S, D)."""
    rows = numbers.index_select(0, table_RN.flatten())  # (R · N, size, K, D)
    return rows.view(len(table_RN), -1, *numbers.shape[2:])[:, :keys].transpose(1, 2)


def mask_of(config: ModelConfig, part: Part, window: int) -> Tensor | None:
    """Who sees whom in a part, (R, 1 or H, T, S); None where all see all before them.

    One rule hides the future, what has left the window, and what lies in a short text's blocks
    behind its end.
    """
    alibi = config.positions == "alibi"
    window = 0 if window >= part.keys else window
    if part.even and not window and not alibi:
        return None
    place_R1T1 = part.place_RT[:, None, :, None]
    key_S = torch.arange(part.keys, device=place_R1T1.device)
    mask = sees(place_R1T1, key_S, window, config.attention_sinks)
    if not alibi:
        return mask
    slope_H11 = alibi_slopes(config.num_attention_heads, key_S.device)[:, None, None]
    return (slope_H11 * (key_S - place_R1T1)).masked_fill(~mask, float("-inf"))
