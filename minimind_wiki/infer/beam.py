"""Beam search: keep the few likeliest beginnings, not one.

Greedy decoding takes the best token at each step and may miss a text whose first token is not the
best. Beam search goes on with the `beams` likeliest texts so far. Texts that ended compete by
their log-probability divided by length ** length_penalty: without it the shortest would win, as
each token only adds a negative number. The rules, down to when it stops, are those of transformers
(`generate` with num_beams, tests/parity/test_beam.py).

Shapes: K beams, C candidates of a step, T tokens, D hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from minimind_wiki.errors import WrongCall
from minimind_wiki.model import KVCache, Transformer


@dataclass(frozen=True, slots=True)
class Beam:
    """A text that beam search found."""

    score: float
    """Log-probability of the new tokens / their number ** length_penalty."""
    ids: list[int]
    """The new tokens, the end token included."""


@torch.no_grad()
def beam_search(
    model: Transformer,
    prompt: Sequence[int],
    beams: int,
    max_new_tokens: int,
    length_penalty: float = 1.0,
    early_stopping: bool | Literal["never"] = False,
    stop_ids: Sequence[int] = (),
) -> list[Beam]:
    """The `beams` best continuations that were found, the best first.

    A text ends with one of `stop_ids` or at `max_new_tokens`. The search is over when no text at
    work can still beat the worst that is kept: judged by its score at its present length (False),
    or at the best length it may reach ("never", slower); or as soon as `beams` have ended (True).
    Raises WrongCall for numbers without a meaning and a prompt that leaves no room.

    >>> from minimind_wiki.model import preset
    >>> found = beam_search(Transformer(preset("nano")), [1, 2, 3], beams=2, max_new_tokens=4)
    >>> len(found), len(found[0].ids), found[0].score >= found[1].score
    (2, 4, True)
    """
    _check(model, prompt, beams, max_new_tokens, early_stopping)
    weight = model.lm_head.weight
    stops = torch.tensor(list(stop_ids), dtype=torch.int64, device=weight.device)
    # Of each beam an end token may be among the best: so many candidates leave `beams` that go on.
    candidates = max(2, 1 + len(stops)) * beams
    cache = KVCache(model.config, 1, len(prompt) + max_new_tokens, weight.device, weight.dtype)
    texts_KT = torch.tensor([list(prompt)], device=weight.device)
    read_KT = texts_KT
    score_K = torch.zeros(1, device=weight.device)
    ended: list[Beam] = []
    for length in range(1, max_new_tokens + 1):
        logp_KV = torch.log_softmax(model.lm_head(model.model(read_KT, cache)[:, -1]).float(), -1)
        vocabulary = logp_KV.shape[1]
        total = (score_K[:, None] + logp_KV).flatten()
        score_C, place_C = total.topk(min(candidates, len(total)))
        from_C, token_C = place_C // vocabulary, place_C % vocabulary
        texts_CT = torch.cat([texts_KT[from_C], token_C[:, None]], dim=1)
        ends_C = torch.isin(token_C, stops) | (length == max_new_tokens)

        for rank in ends_C[:beams].nonzero().flatten().tolist():  # the rest is only there to go on
            score = float(score_C[rank]) / length**length_penalty
            ended.append(Beam(score, texts_CT[rank, len(prompt) :].tolist()))
        ended = sorted(ended, key=lambda beam: -beam.score)[:beams]

        on_K = (~ends_C).nonzero().flatten()[:beams]
        if len(on_K) == 0 or (early_stopping is True and len(ended) == beams):
            break
        texts_KT, score_K = texts_CT[on_K], score_C[on_K]
        longest = early_stopping == "never" and length_penalty > 0
        hoped = float(score_K[0]) / (max_new_tokens if longest else length) ** length_penalty
        if len(ended) == beams and hoped <= ended[-1].score:
            break
        _reorder(cache, from_C[on_K])
        read_KT = texts_KT[:, -1:]
    return ended


def _reorder(cache: KVCache, from_K: Tensor) -> None:
    """Give each text the keys and values of the one that it continues."""
    cache.keys = [keys[from_K] for keys in cache.keys]
    cache.values = [values[from_K] for values in cache.values]


def _check(
    model: Transformer,
    prompt: Sequence[int],
    beams: int,
    max_new_tokens: int,
    early_stopping: bool | str,
) -> None:
    vocabulary, context = model.config.vocab_size, model.config.max_position_embeddings
    if not 1 <= beams <= vocabulary // 2:
        raise WrongCall(f"beams is {beams}; give 1 to {vocabulary // 2}, half the vocabulary.")
    if early_stopping not in (True, False, "never"):
        raise WrongCall(f"early_stopping is {early_stopping!r}; give True, False or 'never'.")
    if not prompt or max_new_tokens < 1:
        raise WrongCall("prompt or max_new_tokens is empty; give at least one token of each.")
    if len(prompt) + max_new_tokens > context:
        raise WrongCall(
            f"a prompt of {len(prompt)} tokens and {max_new_tokens} new ones do not fit the "
            f"model's context of {context}; ask for at most {max(0, context - len(prompt))}."
        )
