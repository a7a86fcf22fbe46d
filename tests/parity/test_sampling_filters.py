"""The filters against transformers' processors, one by one and in the order of its `generate`."""

from __future__ import annotations

import pytest
import torch
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM
from transformers.generation import (
    MinPLogitsWarper,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor,
    TypicalLogitsWarper,
)

from minimind_wiki.infer.draw import Drawer, filtered
from minimind_wiki.infer.filters import (
    add_bias,
    keep_min_p,
    keep_typical,
    penalize_counts,
    penalize_repetition,
    refuse_repeats,
)
from minimind_wiki.infer.request import Request, Sampling

V = 50
BIAS = {3: 4.5, 0: -7.0, 49: 1.25}


def random() -> torch.Tensor:
    return 3 * torch.randn(16, V, generator=torch.Generator().manual_seed(0))


def logits(refused: bool = False) -> torch.Tensor:
    scores = random()
    scores[5] = 1.0  # all alike: ties everywhere
    scores[6] = torch.tensor([0.0, -40.0] * (V // 2))
    if refused:
        scores[:, ::3] = -torch.inf
    return scores


def history(length: int = 40) -> torch.Tensor:
    return torch.randint(0, 7, (16, length), generator=torch.Generator().manual_seed(1))


def seen(ids: torch.Tensor) -> torch.Tensor:
    return torch.zeros(len(ids), V, dtype=torch.bool).scatter(1, ids, True)


@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.parametrize("p", [0.0, 0.02, 0.3, 0.999, 1.0])
def test_min_p(p, refused):
    assert torch.equal(keep_min_p(logits(refused), p), MinPLogitsWarper(p)(None, logits(refused)))


@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.parametrize("mass", [0.01, 0.2, 0.5, 0.9, 0.999])
def test_typical(mass, refused):
    wanted = TypicalLogitsWarper(mass)(None, logits(refused))
    assert torch.equal(keep_typical(logits(refused), mass), wanted)


@pytest.mark.parametrize("penalty", [0.5, 1.0, 1.3])
def test_repetition(penalty):
    wanted = RepetitionPenaltyLogitsProcessor(penalty)(history(), logits())
    assert torch.equal(penalize_repetition(logits(), seen(history()), penalty), wanted)


@pytest.mark.parametrize("length", [0, 1, 2, 3, 40])
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_repeated_runs(size, length):
    ids = history(length)
    wanted = NoRepeatNGramLogitsProcessor(size)(ids, logits()) if length else logits()
    assert torch.equal(refuse_repeats(logits(), ids, size), wanted)


def test_bias():
    wanted = SequenceBiasLogitsProcessor([[[token], value] for token, value in BIAS.items()])
    assert torch.equal(add_bias(logits(), BIAS), wanted(history(), logits()))


def test_presence_and_frequency_are_the_formula_of_the_definition():
    """transformers has neither: mu[j] - c[j] · frequency - float(c[j] > 0) · presence."""
    ids, scores = history(5), logits()
    found = penalize_counts(scores, torch.stack([row.bincount(minlength=V) for row in ids]), 0.7, 2)
    for row in range(16):
        for token in range(V):
            count = ids[row].tolist().count(token)
            wanted = float(scores[row, token]) - count * 2 - float(count > 0) * 0.7
            assert float(found[row, token]) == pytest.approx(wanted, abs=1e-5)


CASES = {
    "all": (
        Sampling(0.7, 20, 0.95, 0.02, 0.9, repetition_penalty=1.4, no_repeat_ngram_size=2,
                 logit_bias=BIAS),
        {"temperature": 0.7, "top_k": 20, "top_p": 0.95, "min_p": 0.02, "typical_p": 0.9,
         "repetition_penalty": 1.4, "no_repeat_ngram_size": 2},
    ),
    "cuts": (
        Sampling(1.5, 30, 0.8, 0.1, 0.5),
        {"temperature": 1.5, "top_k": 30, "top_p": 0.8, "min_p": 0.1, "typical_p": 0.5},
    ),
    "plain": (Sampling(), {"temperature": 1.0, "top_k": 0}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_order_is_that_of_generate(name):
    """transformers builds its own list from the same settings; ours gets the same rows.

    Without ties: top-p must choose among equal scores, and the two sort them in another order.
    """
    sampling, settings = CASES[name]
    shape = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1,
             "num_attention_heads": 1, "vocab_size": V}  # fmt: skip
    model = LlamaForCausalLM(LlamaConfig(**shape))
    if sampling.logit_bias:
        settings = settings | {"sequence_bias": [[[t], b] for t, b in BIAS.items()]}
    config = GenerationConfig(do_sample=True, **settings)
    ids, scores = history(), random()
    wanted = model._get_logits_processor(config, input_ids_seq_length=30)(ids, scores.clone())
    drawers = [Drawer(Request(row, 1, sampling), V) for row in ids[:, :30].tolist()]
    for drawer, row in zip(drawers, ids[:, 30:].tolist(), strict=True):
        for token in row:
            drawer.accept(token)
    found = filtered(scores, drawers)
    assert torch.equal(found, wanted)
    assert name == "plain" or (found.isinf().any(dim=1) & found.isfinite().any(dim=1)).all()
