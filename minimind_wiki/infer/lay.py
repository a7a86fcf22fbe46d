"""The cache of an engine: `PagedCache`, laid out with less effort for the steps that come most.

Answering takes a token of one text, or of many, or, where guesses are checked, a few tokens of
many. Texts with equally many new tokens attend together, so a step with guesses is a few parts and
not one a text.

Shapes: R requests, T new tokens, N blocks of a table.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor

from minimind_wiki.model import ModelConfig, PagedCache
from minimind_wiki.model.pages import Part, Step

SHORT = 16
"""Steps of at most so many tokens attend with others of the same length. Longer ones are prompts,
whose texts are of unlike length: together, all would be read to the end of the longest."""


def context_of(config: ModelConfig) -> int:
    """Tokens that a text may have: beyond the trained length "dynamic" scaling turns all old keys
    anew at every token, which a cache cannot follow."""
    dynamic = config.rope_type == "dynamic"
    return config.rope_original_positions if dynamic else config.max_position_embeddings


class StepCache(PagedCache):
    """`PagedCache` for steps of like length side by side; all layers in one tensor.

    L layers, B blocks, Z tokens of a block, K key-value heads, E head_dim.
    """

    def __init__(
        self,
        config: ModelConfig,
        blocks: int,
        size: int = 16,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.steps: Sequence[Step] = ()
        self._parts: list[Part] | None = []
        super().__init__(config, 0, size, device, dtype)
        shape = (config.num_hidden_layers, 2, blocks, size, *self.keys[0].shape[2:])
        self.all_L2BZKE = torch.zeros(shape, device=device, dtype=dtype)
        self.rows = self.all_L2BZKE.view(-1, blocks * size, *shape[4:])
        """Blocks end to end, keys and values of a layer side by side: (2 L, B Z, K, E)."""
        self.keys, self.values = ([*self.all_L2BZKE[:, kind].unbind()] for kind in (0, 1))

    def lay(self, steps: Sequence[Step]) -> Tensor:
        """Prepare the next pass; the flat row of ids that it reads, (1, T) int64.

        Short steps of one length must stand together in `steps`.
        """
        self.steps, self._parts = steps, None
        places = [at for step in steps for at in range(step.start, step.start + len(step.ids))]
        self.place_T = torch.tensor(places, device=self.place_T.device)
        return torch.tensor([[i for step in steps for i in step.ids]], device=self.place_T.device)

    @property
    def parts(self) -> list[Part]:
        """The pass as attention needs it, made when it is asked for: a single token needs less."""
        if self._parts is None:
            self._spread()
        return self._parts or []

    @parts.setter
    def parts(self, parts: list[Part]) -> None:
        self._parts = parts

    @property
    def alone(self) -> Step | None:
        """The step of a pass over a single token."""
        one = len(self.steps) == 1 and len(self.steps[0].ids) == 1
        return self.steps[0] if one else None

    def extend(self, layer: int, k_1KTD: Tensor, v_1KTD: Tensor) -> tuple[Tensor, Tensor]:
        """`PagedCache.extend`; under autocast a layer computes in fewer bits than are kept."""
        dtype = self.all_L2BZKE.dtype
        return super().extend(layer, k_1KTD.to(dtype), v_1KTD.to(dtype))

    def _spread(self) -> None:
        parts, slots, size, row = list[Part](), list[int](), self.size, 0
        for _, group in groupby(enumerate(self.steps), key=_alike):
            some = [step for _, step in group]
            time = len(some[0].ids)
            longest = max(step.start for step in some) + time
            blocks = -(-longest // size)
            table = [list(step.blocks[:blocks]) for step in some]
            table = [one + one[:1] * (blocks - len(one)) for one in table]
            for step in some:
                spots = range(step.start, step.start + time)
                slots += [step.blocks[at // size] * size + at % size for at in spots]
            even = all(step.start == some[0].start for step in some)
            place_RT = self.place_T[row : row + len(some) * time].view(len(some), time)
            table_RN = torch.tensor(table, device=place_RT.device)
            parts.append(Part(row, place_RT, table_RN, longest, even))
            row += len(some) * time
        self.slot_T = torch.tensor(slots, device=self.place_T.device)
        self.parts = parts


def _alike(item: tuple[int, Step]) -> int:
    """Equal for steps that attend together."""
    number, step = item
    return len(step.ids) if len(step.ids) <= SHORT else -number
