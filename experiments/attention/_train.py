"""One loop for the small models of this module: Adam, a warm-up, a cosine, no clipping.

The text, its parts and the schedule are those of the module on normalization, so that a loss here
can be laid beside a loss there.
"""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from ..normalization._decoder import batch, characters, rate


def fit(
    parameters, loss_at: Callable[[int], Tensor], settings, chance: float
) -> Iterator[tuple[int, float]]:
    """Yields (step, loss before the step) for each step, and ends early where the loss diverges.

    `loss_at(step)` draws the batch and computes the loss. It diverges when it is not finite or
    passes ten times chance.
    """
    adam = torch.optim.Adam(parameters, betas=(0.9, 0.95), foreach=True)
    for step in range(settings.steps):
        loss = loss_at(step)
        yield step, loss.item()
        if not loss.item() < 10 * chance:  # also true for nan
            return
        adam.zero_grad()
        loss.backward()
        for group in adam.param_groups:
            group["lr"] = rate(step, settings)
        adam.step()


def windows(step: int, seed: int, settings) -> tuple[Tensor, Tensor]:
    """The training batch of a step, inputs and targets (B, T): the same for every arm of a seed."""
    ids = characters().train
    order = torch.Generator().manual_seed(1000 * (seed + 1) + step)
    starts = torch.randint(len(ids) - settings.context - 1, (settings.batch,), generator=order)
    return batch(ids, starts, settings.context)


def trained(model: nn.Module, loss_at, settings, chance: float):
    """Fit the model; its smoothed training losses as (steps, losses), and where it diverged."""
    parameters, diverged_at = list(model.parameters()), None
    losses = [loss for _, loss in fit(parameters, loss_at, settings, chance)]
    if not losses[-1] < 10 * chance:
        diverged_at = len(losses) - 1
        losses.pop()
    window = max(1, settings.steps // 20)
    ends = range(window, len(losses) + 1, window)
    return (list(ends), [math.fsum(losses[e - window : e]) / window for e in ends]), diverged_at
