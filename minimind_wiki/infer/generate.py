"""Generation: feed the prompt once, then one token a step, with a key-value cache.

The first pass ("prefill") fills the cache with the prompt; every later pass handles a single
position. All rows of a batch have prompts of one length.

Shapes: B batch, T time, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from minimind_wiki.errors import WrongCall
from minimind_wiki.infer.caches import SinkCache, make_cache, read
from minimind_wiki.infer.sampling import check_sampling, sample_next
from minimind_wiki.model import RowCache, Transformer


@torch.no_grad()  # not inference_mode: reinforcement learning trains on what is generated here
def stream(
    model: Transformer,
    ids_BT: Tensor,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
    stop_ids: Sequence[int] = (),
    cache: str | RowCache = "static",
) -> Iterator[Tensor]:
    """Yield the next token of every row, (B) int64, as soon as it is known.

    A row that has produced one of `stop_ids` goes on with the model's pad token; when all rows
    have, the stream ends. The context limit is an error before the first token, not a silent cut:
    prompt and new tokens together must fit `max_position_embeddings` (WrongCall otherwise).

    `cache` is one of `caches.KINDS`, or a cache that is empty. With "sinks" there is no limit: the
    stream goes on, and forgets all but the first tokens and the last.
    """
    endless = cache == "sinks" or isinstance(cache, SinkCache)
    _check_length(model, ids_BT, max_new_tokens, endless)
    check_sampling(temperature, top_k, top_p)
    batch, prompt = ids_BT.shape
    weight = model.lm_head.weight
    ids_BT = ids_BT.to(weight.device)
    if isinstance(cache, str):
        cache = make_cache(cache, model, batch, prompt + max_new_tokens)
    stops = torch.tensor(list(stop_ids), device=weight.device)
    done_B = torch.zeros(batch, dtype=torch.bool, device=weight.device)
    for _ in range(max_new_tokens):
        last_BD = read(model, ids_BT, cache)  # only the last position needs scores
        next_B = sample_next(model.lm_head(last_BD), temperature, top_k, top_p, generator)
        next_B = next_B.masked_fill(done_B, model.config.pad_token_id)
        yield next_B
        if stop_ids:
            done_B |= torch.isin(next_B, stops)
            if bool(done_B.all()):
                return
        ids_BT = next_B[:, None]


def generate(
    model: Transformer,
    ids_BT: Tensor,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
    stop_ids: Sequence[int] = (),
) -> Tensor:
    """Prompt and continuation, (B, T + new) int64; the arguments are those of `stream`."""
    steps = stream(model, ids_BT, max_new_tokens, temperature, top_k, top_p, generator, stop_ids)
    device = model.lm_head.weight.device
    return torch.cat([ids_BT.to(device), *(step[:, None] for step in steps)], dim=1)


def _check_length(
    model: Transformer, ids_BT: Tensor, max_new_tokens: int, endless: bool = False
) -> None:
    if ids_BT.dim() != 2 or ids_BT.shape[1] == 0:
        raise WrongCall(
            f"the prompt has shape {tuple(ids_BT.shape)}; give (batch, time) with at least one "
            "token, for example the bos token."
        )
    limit, prompt = model.config.max_position_embeddings, ids_BT.shape[1]
    if max_new_tokens < 0:
        raise WrongCall(f"max_new_tokens is {max_new_tokens}; give 0 or more.")
    if endless:
        return
    if prompt > limit:
        raise WrongCall(
            f"the prompt has {prompt} tokens and the model's context is {limit}; shorten it."
        )
    if prompt + max_new_tokens > limit:
        raise WrongCall(
            f"a prompt of {prompt} tokens and {max_new_tokens} new ones do not fit the model's "
            f"context of {limit}; ask for at most {limit - prompt}, or shorten the prompt."
        )
