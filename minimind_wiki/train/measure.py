"""What is measured of a model while it trains: held-out loss, the world exam, a sample of its text.

None of it touches the run's own random state, so that measuring more often changes no curve.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import torch

from minimind_wiki.data.packing import IGNORE
from minimind_wiki.evaluate.likelihood import log_likelihood
from minimind_wiki.evaluate.world_exam import by_likelihood, exam
from minimind_wiki.infer import generate
from minimind_wiki.model import Transformer
from minimind_wiki.tokenizer import Tokenizer
from minimind_wiki.train.batches import Tokens
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.device import Place
from minimind_wiki.train.losses import LossModel
from minimind_wiki.train.parallel import Alone


@torch.no_grad()
def held_out_loss(
    model: Transformer,
    held_out: Sequence[Tokens],
    place: Place,
    tokenizer: Tokenizer,
    chunk: int = 0,
    group: Alone | None = None,
    rows: int = 0,
) -> tuple[float, float]:
    """Mean nats per token and bits per byte over the held-out rows.

    Each token is predicted from its own row (and document) only, and none is predicted twice. Bits
    per byte divides by the bytes of text, so that models with different tokenizers can be compared.
    It is plain cross-entropy, whatever training adds to its loss. `chunk`: see `losses.py`. The
    processes of `group` share the work; each gets the result. `rows` pass at a time, 0: as given.
    """
    tokens = 0
    counts = torch.zeros(tokenizer.vocab_size, dtype=torch.int64)
    loss = LossModel(model, chunk)

    def summed(part: Tokens) -> float:
        pieces = part.to(place.device).split(rows or len(part.ids_BT))
        with place.autocast():
            return sum(loss(p.ids_BT, p.labels_BT, p.documents_BT).item() for p in pieces)

    model.eval()
    total = (group or Alone()).total_over(held_out, summed)
    for part in held_out:
        targets = part.labels_BT[part.labels_BT != IGNORE]
        tokens += targets.numel()
        counts += torch.bincount(targets, minlength=tokenizer.vocab_size)
    model.train()
    seen = [(token, n) for token, n in enumerate(counts.tolist()) if n]
    size = sum(n * tokenizer.byte_length(token) for token, n in seen)
    return total / tokens, total / (max(size, 1) * math.log(2))


def sample(
    model: Transformer,
    tokenizer: Tokenizer,
    prompt: Sequence[int],
    config: TrainConfig,
    device: torch.device,
) -> str:
    """A short text after the prompt's ids, drawn with a generator of its own (temperature 0.8)."""
    ids_BT = torch.tensor([list(prompt)], device=device)
    length = min(config.sample_tokens, model.config.max_position_embeddings - len(prompt))
    generator = torch.Generator(device=device).manual_seed(config.seed)
    model.eval()
    ids = generate(model, ids_BT, length, temperature=0.8, generator=generator,
                   stop_ids=(tokenizer.eos_id,))  # fmt: skip
    model.train()
    return tokenizer.decode(ids[0, len(prompt) :].tolist()).strip()


def world_exam(
    model: Transformer, tokenizer: Tokenizer, begin: Sequence[int], items: int
) -> dict[str, float]:
    """Accuracy in each section of the world's validation exam, `items` questions in each."""
    likelihood = log_likelihood(model, tokenizer, begin)
    scores = exam(partial(by_likelihood, likelihood), items, "validation")
    model.train()
    return {score.section: score.accuracy for score in scores}
