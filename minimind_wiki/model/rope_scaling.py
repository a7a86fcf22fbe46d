"""Rotary frequencies for texts that are longer than those a model was trained on.

A wave longer than the trained context never finished a turn there: beyond it, attention meets
angles that it has never seen. Every cure slows waves by a factor s, about new / trained length:

| rope_type | which waves slow down |
|---|---|
| linear | all, by s: the positions are squeezed (Chen et al. 2023, arXiv:2306.15595) |
| ntk | the slowest by s, the fastest not at all, through a larger theta (bloc97, 2023) |
| dynamic | as ntk, by what the present text needs: none in the trained length (emozilla, 2023) |
| yarn | those with few turns in it by s, those with many not; scores grow (arXiv:2309.00071) |
| llama3 | the same with another ramp between few and many, the scores stay (Llama 3.1) |

`tests/parity/test_rope_scaling.py` holds them equal to transformers' ROPE_INIT_FUNCTIONS, whose
names these are ("ntk" is ours; there it is a larger rope_theta).

Shapes: T time, P all positions, D head_dim.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from minimind_wiki.model.config import ModelConfig
from minimind_wiki.model.rope import rope_frequencies, turns


def ntk_theta(theta: float, head_dim: int, factor: float) -> float:
    """The base with which the slowest of the D/2 waves is `factor` times slower.

    >>> slow = rope_frequencies(8, ntk_theta(100.0, 8, 4.0)) / rope_frequencies(8, 100.0)
    >>> slow[0], slow[-1]
    (tensor(1.), tensor(0.2500))
    """
    return theta * factor ** (head_dim / (head_dim - 2))


def yarn(frequency_D: Tensor, theta: float, factor: float, trained: int, fast: float,
         slow: float) -> Tensor:  # fmt: skip
    """Keep waves of more than `fast` turns in the trained length, slow those of less than `slow`.

    Between the two a ramp, linear in the number of the pair as in the authors' program (the paper
    has it linear in the turns).
    """
    pairs = len(frequency_D)

    def pair(turns: float) -> float:  # which pair turns so often in the trained length
        return pairs * math.log(trained / (turns * 2 * math.pi)) / math.log(theta)

    first, last = max(math.floor(pair(fast)), 0), min(math.ceil(pair(slow)), 2 * pairs - 1)
    place_D = torch.arange(pairs, dtype=torch.float32, device=frequency_D.device)
    slowed_D = ((place_D - first) / (last - first or 0.001)).clamp(0, 1)
    return frequency_D * (1 - slowed_D) + frequency_D / factor * slowed_D


def llama3(frequency_D: Tensor, factor: float, trained: int, fast: float, slow: float) -> Tensor:
    """The same choice as `yarn`, with a ramp that is linear in the turns."""
    turns_D = trained * frequency_D / (2 * math.pi)
    kept_D = ((turns_D - slow) / (fast - slow)).clamp(0, 1)
    return frequency_D * kept_D + frequency_D / factor * (1 - kept_D)


def scaled_frequencies(
    config: ModelConfig, length: int = 0, device: torch.device | None = None
) -> tuple[Tensor, float]:
    """Radians per position of each pair, (D/2) float32, and the factor on cos and sin.

    `length` is that of the present text in tokens; only "dynamic" asks for it.
    """
    kind, factor, theta = config.rope_type, config.rope_factor, config.rope_theta
    trained, fast, slow = (
        config.rope_original_positions, config.rope_beta_fast, config.rope_beta_slow
    )  # fmt: skip
    if kind == "dynamic":
        factor = max(1.0, factor * length / trained - (factor - 1))
    if kind in ("ntk", "dynamic"):
        theta = ntk_theta(theta, config.head_dim, factor)
    frequency_D = rope_frequencies(config.head_dim, theta, device)
    if kind == "linear":
        frequency_D = frequency_D / factor
    elif kind == "yarn":
        frequency_D = yarn(frequency_D, theta, factor, trained, fast, slow)
    elif kind == "llama3":
        frequency_D = llama3(frequency_D, factor, trained, fast, slow)
    return frequency_D, config.rope_attention_factor if kind == "yarn" else 1.0


class RotaryTables(nn.Module):
    """cos and sin of all positions, computed once and shared by every block.

    They are no weights: they are not saved, and a cast of the model (`model.bfloat16()`) must not
    round them for good. So they are written afresh, in float32, after every move or cast;
    `apply_rope` rounds a copy where queries and keys are in half precision.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        cos, sin = self._tables()
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def forward(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """cos and sin of positions start..stop-1, each (T, D/2): a view, without a device sync.

        With "dynamic" scaling of 0..stop-1: every new length turns all positions anew.
        """
        if self.config.rope_type == "dynamic":
            return self._tables(stop, self.cos.device)
        return self.cos[start:stop], self.sin[start:stop]

    def at(self, place_T: Tensor) -> tuple[Tensor, Tensor]:
        """cos and sin of these positions, each (T, D/2); "dynamic" as in the trained length."""
        return self.cos[place_T], self.sin[place_T]

    def _tables(self, length: int = 0, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
        frequency_D, factor = scaled_frequencies(self.config, length, device)
        return turns(length or self.config.max_position_embeddings, frequency_D, factor)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        super()._apply(fn, recurse)
        self.cos, self.sin = self._tables(device=self.cos.device)
        return self
