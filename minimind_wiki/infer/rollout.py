"""Rollouts: several completions of many prompts at once, with the log-probability of every draw.

Reinforcement learning trains on what was sampled, weighed by how likely it was. Both must be exact:
the ids are kept as they were drawn, the end token included, and each log-probability is that of the
distribution which the draw was made from, after temperature, top-k and top-p.

The engine that serves answers them (`infer.engine`): rows come and go as they end, and what prompts
have in common is read once. Here they become a batch for training. Every row draws with a seed of
its own, so it does not depend on its company, nor on how many go at once.

Shapes: P prompts, G completions of each, B = P · G rows (those of a prompt are neighbours),
S tokens of the longest row, T = S - 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.infer.engine import Engine
from minimind_wiki.infer.lay import context_of
from minimind_wiki.infer.request import Request, Sampling
from minimind_wiki.model import Transformer

BLOCK = 16
READ = 2048  # tokens of prompts in a step: enough to keep a device busy, and memory bounded


@dataclass(frozen=True, slots=True)
class Rollout:
    """Rows of prompt and completion, shifted as for training; B rows, T tokens."""

    ids_BT: Tensor
    """What the model reads: prompt, completion, padding."""
    next_BT: Tensor
    """The token after each, the one to predict."""
    mask_BT: Tensor
    """bool: whether the token to predict was sampled. The end token that ends a row was."""
    logp_BT: Tensor
    """float32: its log-probability when it was sampled, 0 elsewhere."""
    ended_B: Tensor
    """bool: a stop id was sampled; otherwise the row was cut at the most new tokens."""
    temperature: float
    """What scores were divided by; whoever scores the rows again must do the same."""

    def sampled(self, row: int) -> tuple[list[int], list[float]]:
        """The sampled ids of a row, its end token included, and their log-probabilities."""
        mask_T = self.mask_BT[row]
        return self.next_BT[row][mask_T].tolist(), self.logp_BT[row][mask_T].tolist()

    def lengths(self) -> Tensor:
        """Sampled tokens of each row, (B) int64."""
        return self.mask_BT.sum(dim=1)


def rollout(
    model: Transformer,
    prompts: Sequence[Sequence[int]],
    completions: int,
    max_new_tokens: int | Sequence[int],
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
    stop_ids: Sequence[int] = (),
    rows_at_once: int = 0,
) -> Rollout:
    """Sample `completions` continuations of each prompt (lists of ids, of any lengths).

    Row p · G + g is completion g of prompt p. A row ends with the first of `stop_ids`, which it
    keeps, or after `max_new_tokens`, which may differ between prompts. `rows_at_once` bounds the
    rows in memory (0: all in one go); the `generator` gives each row its seed.

    The model samples in eval mode, as dropout would make the log-probabilities those of another
    model, and has its mode back afterwards.

    Raises WrongCall with the number of the prompt that is empty, or does not fit the model's
    context with its new tokens; MinimindError where the model's scores are not finite.

    >>> from minimind_wiki.model import preset
    >>> out = rollout(Transformer(preset("nano")), [[1, 2, 3], [4]], 2, max_new_tokens=3)
    >>> out.ids_BT.shape, out.lengths()
    (torch.Size([4, 5]), tensor([3, 3, 3, 3]))
    """
    if isinstance(max_new_tokens, int):
        max_new_tokens = [max_new_tokens] * len(prompts)
    most_P = list(max_new_tokens)
    _check_prompts(model, prompts, completions, most_P)
    batch = len(prompts) * completions
    running = min(rows_at_once or batch, batch)
    longest = max(len(prompt) + most for prompt, most in zip(prompts, most_P, strict=True))
    blocks = -(-longest // BLOCK) + 1  # and one to grow into
    place = generator.device if generator is not None else "cpu"
    seeds_B = torch.randint(2**63 - 1, (batch,), generator=generator, device=place).tolist()
    drawn: list[list[tuple[int, float]]] = [[] for _ in range(batch)]
    ended_B = torch.zeros(batch, dtype=torch.bool)
    with _in_eval_mode(model):
        engine = Engine(
            model,
            room=running * blocks * BLOCK,
            max_running=running,
            step_tokens=running + READ,
            block_size=BLOCK,
        )
        for row, seed in enumerate(seeds_B):
            engine.add(
                Request(
                    prompts[row // completions],
                    most_P[row // completions],
                    Sampling(temperature, top_k, top_p, seed=seed),
                    stop_ids,
                    logprobs=0,
                    logprobs_mode="processed",
                )
            )
        while engine.busy:
            for number, token in engine.step():
                row = number - 1
                if token.finish == "error":
                    raise MinimindError(
                        f"the model's scores for prompt {row // completions} are not finite; go "
                        "back to a checkpoint from before they broke."
                    )
                assert token.logprob is not None
                drawn[row].append((token.id, token.logprob))
                ended_B[row] = token.finish == "stop"
    return _batch(model, prompts, completions, drawn, ended_B, temperature)


def _batch(
    model: Transformer,
    prompts: Sequence[Sequence[int]],
    completions: int,
    drawn: Sequence[Sequence[tuple[int, float]]],
    ended_B: Tensor,
    temperature: float,
) -> Rollout:
    """Rows side by side, padded behind their ends, on the model's device."""
    starts = [len(prompts[row // completions]) for row in range(len(drawn))]
    stop = max(start + len(row) for start, row in zip(starts, drawn, strict=True))
    ids_BS = torch.full((len(drawn), stop), model.config.pad_token_id)
    mask_BS = torch.zeros(len(drawn), stop, dtype=torch.bool)
    logp_BS = torch.zeros(len(drawn), stop)
    for row, (start, pairs) in enumerate(zip(starts, drawn, strict=True)):
        ids, logps = zip(*pairs, strict=True)
        end = start + len(ids)
        ids_BS[row, :end] = torch.tensor([*prompts[row // completions], *ids])
        mask_BS[row, start:end] = True
        logp_BS[row, start:end] = torch.tensor(logps)
    device = next(model.parameters()).device
    ids_BS, mask_BS, logp_BS = (part.to(device) for part in (ids_BS, mask_BS, logp_BS))
    return Rollout(
        ids_BS[:, :-1],
        ids_BS[:, 1:],
        mask_BS[:, 1:],
        logp_BS[:, 1:],
        ended_B.to(device),
        temperature,
    )


@contextmanager
def _in_eval_mode(model: Transformer) -> Iterator[None]:
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:  # not model.train(): a frozen part may have been in eval mode
            module.training = True


def _check_prompts(
    model: Transformer,
    prompts: Sequence[Sequence[int]],
    completions: int,
    most_P: Sequence[int],
) -> None:
    if not prompts:
        raise WrongCall("there are no prompts; give at least one.")
    if len(most_P) != len(prompts):
        raise WrongCall(
            f"there are {len(prompts)} prompts and {len(most_P)} numbers of new tokens; give one "
            "number for all, or one for each."
        )
    if completions < 1 or min(most_P) < 1:
        raise WrongCall(
            f"{completions} completions of {min(most_P)} tokens are nothing to sample; give 1 or "
            "more of both."
        )
    limit = context_of(model.config)
    for number, (prompt, most) in enumerate(zip(prompts, most_P, strict=True)):
        if not prompt:
            raise WrongCall(f"prompt {number} is empty; give at least the bos token.")
        if len(prompt) + most > limit:
            raise WrongCall(
                f"prompt {number} has {len(prompt)} tokens, and with {most} new ones it does not "
                f"fit the model's context of {limit}; shorten it or sample fewer tokens."
            )
