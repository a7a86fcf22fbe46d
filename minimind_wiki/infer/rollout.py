"""Rollouts: several completions of many prompts at once, with the log-probability of every draw.

Reinforcement learning trains on what was sampled, weighed by how likely it was. Both must be exact:
the ids are kept as they were drawn, the end token included, and each log-probability is that of the
distribution which the draw was made from, after temperature, top-k and top-p.

Prompts differ in length, but a cache has one length for all its rows. So the rows are aligned at
their first token and go through time together: where a row's prompt goes on, the next token is read
from it, where it has ended, the next token is drawn (the way of Llama's first generation code).
Every token has the position that it would have alone, so the cache needs neither padding nor masks,
and every kind of position works. The price is a step for each token that a prompt is longer than
the shortest; rows of like length go together to keep it small.

Shapes: P prompts, G completions of each, B = P · G rows (those of a prompt are neighbours),
S tokens of the longest row, T = S - 1, N rows still at work, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.infer.sampling import check_sampling, keep_top_k, keep_top_p
from minimind_wiki.model import KVCache, Transformer


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


def sampling_logp(
    logits_NV: Tensor, temperature: float, top_k: int | None = None, top_p: float | None = None
) -> Tensor:
    """Logarithm of the distribution that `sample_next` draws from, (N, V) float32.

    Refused tokens have -inf. At temperature 0 the best token is certain: 0, and -inf for the rest.

    >>> sampling_logp(torch.tensor([[0.5, 0.3, 0.2]]).log(), 1.0, top_k=2).exp()
    tensor([[0.6250, 0.3750, 0.0000]])
    """
    if temperature == 0:
        best_N1 = logits_NV.argmax(dim=-1, keepdim=True)
        return torch.full_like(logits_NV, float("-inf"), dtype=torch.float32).scatter(1, best_N1, 0)
    logits_NV = logits_NV.float() / temperature
    if top_k is not None:
        logits_NV = keep_top_k(logits_NV, top_k)
    if top_p is not None and top_p < 1:
        logits_NV = keep_top_p(logits_NV, top_p)
    return torch.log_softmax(logits_NV, dim=-1)


def rollout(
    model: Transformer,
    prompts: Sequence[Sequence[int]],
    completions: int,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
    stop_ids: Sequence[int] = (),
    rows_at_once: int = 0,
    use_cache: bool = True,
) -> Rollout:
    """Sample `completions` continuations of each prompt (lists of ids, of any lengths).

    Row p · G + g is completion g of prompt p. A row ends with the first of `stop_ids`, which it
    keeps, or after `max_new_tokens`. `rows_at_once` bounds the rows in memory (0: all in one go).
    Without the cache every step computes all before it anew: slow, and the same numbers.

    The model samples in eval mode, as dropout would make the log-probabilities those of another
    model, and has its mode back afterwards. With "dynamic" rotary scaling beyond the trained length
    cached numbers are not those of a full pass (see `model.attention`).

    Raises WrongCall with the number of the prompt that is empty, or does not fit the model's
    context with its new tokens; MinimindError where the model's scores are not finite.

    >>> from minimind_wiki.model import preset
    >>> out = rollout(Transformer(preset("nano")), [[1, 2, 3], [4]], 2, max_new_tokens=3)
    >>> out.ids_BT.shape, out.lengths()
    (torch.Size([4, 5]), tensor([3, 3, 3, 3]))
    """
    check_sampling(temperature, top_k, top_p)
    _check_prompts(model, prompts, completions, max_new_tokens)
    device, longest = model.lm_head.weight.device, max(map(len, prompts)) + max_new_tokens
    lengths_P = torch.tensor([len(prompt) for prompt in prompts], device=device)
    batch = len(prompts) * completions
    whole = _Rows(
        ids_BS=torch.full((batch, longest), model.config.pad_token_id, device=device),
        logp_BS=torch.zeros(batch, longest, device=device),
        prompt_B=lengths_P.repeat_interleave(completions),
        new_B=torch.zeros(batch, dtype=torch.int64, device=device),
        ended_B=torch.zeros(batch, dtype=torch.bool, device=device),
    )
    for row, prompt in enumerate(prompts):
        ids = torch.tensor(list(prompt), device=device)
        whole.ids_BS[row * completions : (row + 1) * completions, : len(prompt)] = ids
    at_once = max(1, rows_at_once // completions) if rows_at_once else len(prompts)
    order = sorted(range(len(prompts)), key=lambda p: len(prompts[p]))
    draw = (temperature, top_k, top_p, generator)
    with torch.no_grad(), _in_eval_mode(model):
        for at in range(0, len(order), at_once):
            some = torch.tensor(order[at : at + at_once], device=device)
            rows_PG = some[:, None] * completions + torch.arange(completions, device=device)
            _sample(model, whole, rows_PG, max_new_tokens, draw, stop_ids, use_cache)
    place_S = torch.arange(longest, device=device)
    start_B1 = whole.prompt_B[:, None]
    mask_BS = (place_S >= start_B1) & (place_S < start_B1 + whole.new_B[:, None])
    stop = int((whole.prompt_B + whole.new_B).max())
    return Rollout(
        whole.ids_BS[:, : stop - 1],
        whole.ids_BS[:, 1:stop],
        mask_BS[:, 1:stop],
        whole.logp_BS[:, 1:stop],
        whole.ended_B,
        temperature,
    )


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows as they grow, written in place."""

    ids_BS: Tensor
    logp_BS: Tensor
    prompt_B: Tensor  # tokens of the prompt
    new_B: Tensor  # tokens sampled so far
    ended_B: Tensor


def _sample(
    model: Transformer,
    rows: _Rows,
    rows_PG: Tensor,
    max_new_tokens: int,
    draw: tuple[float, int | None, float | None, torch.Generator | None],
    stop_ids: Sequence[int],
    use_cache: bool,
) -> None:
    """Fill the rows with these numbers; those of a prompt, which they share, beside each other."""
    temperature, top_k, top_p, generator = draw
    weight, device = model.lm_head.weight, model.lm_head.weight.device
    stops = torch.tensor(list(stop_ids), dtype=torch.int64, device=device)
    rows_N = rows_PG.flatten()
    first, last = int(rows.prompt_B[rows_N].min()), int(rows.prompt_B[rows_N].max())
    cache = None
    if use_cache:
        # What all rows share is read once a prompt, but for the token before the first draw.
        prompts, completions = rows_PG.shape
        cache = KVCache(model.config, prompts, last + max_new_tokens, device, weight.dtype)
        if first > 1:
            model.model(rows.ids_BS[rows_PG[:, 0], : first - 1], cache)
        _pick(cache, torch.arange(prompts, device=device).repeat_interleave(completions))
    busy_N = torch.ones(len(rows_N), dtype=torch.bool, device=device)
    for place in range(first, last + max_new_tokens):
        read = 0 if cache is None else cache.length
        last_ND = model.model(rows.ids_BS[rows_N, read:place], cache)[:, -1]
        logits_NV = model.lm_head(last_ND)
        finite_N = logits_NV.isfinite().all(dim=1)
        if not bool(finite_N.all()):
            prompt = int(rows_N[~finite_N][0]) // rows_PG.shape[1]
            raise MinimindError(
                f"the model's scores for prompt {prompt} are not finite; go back to a checkpoint "
                "from before they broke."
            )
        logp_NV = sampling_logp(logits_NV, temperature, top_k, top_p)
        if temperature == 0:
            next_N = logp_NV.argmax(dim=-1)
        else:
            next_N = torch.multinomial(logp_NV.exp(), 1, generator=generator)[:, 0]
        drawn_N = busy_N & (rows.prompt_B[rows_N] <= place)
        here, token = rows_N[drawn_N], next_N[drawn_N]
        rows.ids_BS[here, place] = token
        rows.logp_BS[here, place] = logp_NV[drawn_N].gather(1, token[:, None])[:, 0]
        rows.new_B[here] += 1
        rows.ended_B[here] = torch.isin(token, stops)
        busy_N = busy_N & ~rows.ended_B[rows_N] & (rows.new_B[rows_N] < max_new_tokens)
        busy = int(busy_N.sum())
        if busy == 0:
            return
        if 2 * busy <= len(rows_N):  # the others cost as much as these, and copying costs too
            if cache is not None:
                _pick(cache, busy_N.nonzero()[:, 0])
            rows_N, busy_N = rows_N[busy_N], busy_N[busy_N]


def _pick(cache: KVCache, rows_N: Tensor) -> None:
    """Keep these rows of a cache, in this order; a row may be named several times."""
    cache.keys = [k_BKSD[rows_N] for k_BKSD in cache.keys]
    cache.values = [v_BKSD[rows_N] for v_BKSD in cache.values]


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
    model: Transformer, prompts: Sequence[Sequence[int]], completions: int, max_new_tokens: int
) -> None:
    if not prompts:
        raise WrongCall("there are no prompts; give at least one.")
    if completions < 1 or max_new_tokens < 1:
        raise WrongCall(
            f"{completions} completions of {max_new_tokens} tokens are nothing to sample; give 1 "
            "or more of both."
        )
    limit = model.config.max_position_embeddings
    for number, prompt in enumerate(prompts):
        if not prompt:
            raise WrongCall(f"prompt {number} is empty; give at least the bos token.")
        if len(prompt) + max_new_tokens > limit:
            raise WrongCall(
                f"prompt {number} has {len(prompt)} tokens, and with {max_new_tokens} new ones it "
                f"does not fit the model's context of {limit}; shorten it or sample fewer tokens."
            )
