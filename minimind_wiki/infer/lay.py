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
    """`PagedCache` for steps of like length side by side."""

    def lay(self, steps: Sequence[Step]) -> Tensor:
        """Prepare the next pass; the flat row of ids that it reads, (1, T) int64.

        Short steps of one length must stand together in `steps`.
        """
        self.parts, row = [], 0
        places: list[int] = []
        slots: list[int] = []
        device, size = self.place_T.device, self.size
        for _, group in groupby(enumerate(steps), key=_alike):
            some = [step for _, step in group]
            time = len(some[0].ids)
            longest = max(step.start for step in some) + time
            blocks = -(-longest // size)
            table = [list(step.blocks[:blocks]) for step in some]
            table = [one + one[:1] * (blocks - len(one)) for one in table]
            for step in some:
                spots = range(step.start, step.start + time)
                places += spots
                slots += [step.blocks[at // size] * size + at % size for at in spots]
            even = all(step.start == some[0].start for step in some)
            place_RT = torch.tensor(places[row:], device=device).view(len(some), time)
            table_RN = torch.tensor(table, device=device)
            self.parts.append(Part(row, place_RT, table_RN, longest, even))
            row = len(places)
        one = len(self.parts) == 1
        self.place_T = self.parts[0].place_RT.flatten() if one else torch.tensor(places).to(device)
        self.slot_T = torch.tensor(slots, device=device)
        return torch.tensor([[i for step in steps for i in step.ids]], device=device)


def _alike(item: tuple[int, Step]) -> int:
    """Equal for steps that attend together."""
    number, step = item
    return len(step.ids) if len(step.ids) <= SHORT else -number
