"""Beam search against transformers' `generate`: the same texts, in the same order, and scores."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"

from functools import cache
from itertools import product

import pytest
import torch
import transformers

from minimind_wiki.errors import WrongCall
from minimind_wiki.infer import generate
from minimind_wiki.infer.beam import Beam, beam_search
from minimind_wiki.infer.hub_config import config_to_hub
from minimind_wiki.infer.hub_tensors import tensors_to_hub
from minimind_wiki.model import Transformer, preset

NEW, STOPS = 20, (2, 15, 10, 4)
PROMPTS = [[1, 2, 3], [9, 8, 7, 6, 5], [20, 21]]
SETTINGS = list(product((False, True, "never"), (-0.7, 0.0, 1.0, 2.5)))


@cache
def pair() -> tuple[Transformer, torch.nn.Module]:
    """Sharp enough that texts differ, flat enough that a stop id is often among the best."""
    config = preset(
        "26m", hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        vocab_size=24, max_position_embeddings=32, initializer_range=0.3,
    )  # fmt: skip
    ours = Transformer(config, seed=3).eval()
    auto = transformers.AutoConfig.for_model(**config_to_hub(config))
    theirs = transformers.AutoModelForCausalLM.from_config(auto).eval()
    theirs.load_state_dict(tensors_to_hub(ours.state_dict(), config), strict=False)
    return ours, theirs


def wanted(prompt: list[int], beams: int, early: bool | str, penalty: float) -> list[Beam]:
    out = pair()[1].generate(
        torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.int64),
        num_beams=beams, num_return_sequences=beams, max_new_tokens=NEW, do_sample=False,
        length_penalty=penalty, early_stopping=early, eos_token_id=list(STOPS), pad_token_id=0,
        bos_token_id=None, return_dict_in_generate=True, output_scores=True,
    )  # fmt: skip
    found = []
    for row, score in zip(out.sequences.tolist(), out.sequences_scores.tolist(), strict=True):
        new = row[len(prompt) :]
        ends = [at for at, token in enumerate(new) if token in STOPS]
        found.append(Beam(score, new[: ends[0] + 1] if ends else new))
    return found


@pytest.mark.parametrize("beams", [2, 3])
@pytest.mark.parametrize("prompt", PROMPTS)
def test_texts_and_scores_are_transformers(prompt, beams):
    for early, penalty in SETTINGS:
        found = beam_search(pair()[0], prompt, beams, NEW, penalty, early, STOPS)
        theirs = wanted(prompt, beams, early, penalty)
        assert [beam.ids for beam in found] == [beam.ids for beam in theirs], (early, penalty)
        torch.testing.assert_close(
            torch.tensor([beam.score for beam in found]),
            torch.tensor([beam.score for beam in theirs]), atol=1e-4, rtol=0,
        )  # fmt: skip


def test_the_settings_above_are_felt():
    """Otherwise the comparison would be one case many times."""
    texts = {
        (early, penalty): [
            beam.ids
            for prompt, beams in product(PROMPTS, (2, 3))
            for beam in beam_search(pair()[0], prompt, beams, NEW, penalty, early, STOPS)
        ]
        for early, penalty in SETTINGS
    }
    penalties = [penalty for early, penalty in SETTINGS if early is True]
    for one, other in ((False, True), (False, "never"), (True, "never")):
        assert any(texts[one, penalty] != texts[other, penalty] for penalty in penalties)
    assert texts[False, 0.0] != texts[False, 1.0] != texts[False, 2.5]
    assert len({len(ids) for ids in texts[False, 1.0]}) > 3


def test_one_beam_is_greedy_and_more_beams_find_likelier_texts():
    ours = pair()[0]
    gains = []
    for prompt in PROMPTS:
        greedy = generate(ours, torch.tensor([prompt]), NEW, temperature=0)[0, len(prompt) :]
        one = beam_search(ours, prompt, 1, NEW, length_penalty=0)
        assert one[0].ids == greedy.tolist()
        gains.append(beam_search(ours, prompt, 8, NEW, length_penalty=0)[0].score - one[0].score)
    assert min(gains) > -1e-4 and max(gains) > 0.1


def test_with_as_many_beams_as_texts_the_best_is_found():
    """Two tokens over a vocabulary of 24: all 12 · 24 continuations of the best 12 are seen."""
    ours = pair()[0]
    found = beam_search(ours, [1, 2], 12, 2, length_penalty=0)
    with torch.no_grad():
        first = torch.log_softmax(ours(torch.tensor([[1, 2]]))[0, -1], -1)
        rows = torch.tensor([[1, 2, token] for token in range(24)])
        both = first[:, None] + torch.log_softmax(ours(rows)[:, -1], -1)
    score, place = both.flatten().max(0)
    assert found[0].ids == [int(place) // 24, int(place) % 24]
    assert found[0].score == pytest.approx(float(score), abs=1e-4)


@pytest.mark.parametrize(
    "values, message",
    [
        ({"beams": 0}, "beams is 0; give 1 to 12"),
        ({"beams": 13}, "beams is 13; give 1 to 12"),
        ({"prompt": []}, "give at least one token of each"),
        ({"max_new_tokens": 0}, "give at least one token of each"),
        ({"max_new_tokens": 31}, "ask for at most 30"),
        ({"early_stopping": "always"}, "early_stopping is 'always'"),
    ],
)
def test_numbers_without_a_meaning_are_refused(values, message):
    with pytest.raises(WrongCall, match=message):
        beam_search(
            **{"model": pair()[0], "prompt": [1, 2], "beams": 2, "max_new_tokens": 3} | values
        )
