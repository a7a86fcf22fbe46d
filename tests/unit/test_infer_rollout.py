"""Rollouts: what was recorded while sampling is what a full pass over the finished rows says."""

from __future__ import annotations

from dataclasses import replace

import pytest
import test_infer_engine as layouts
import torch
from stirred import GQA, drawn_logp, stirred
from test_infer_engine import CONFIGS
from torch import Tensor
from transformers.generation import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.infer import generate
from minimind_wiki.infer.rollout import Rollout, rollout
from minimind_wiki.model import Transformer, preset

PROMPTS = [[5, 6, 7, 8, 9, 10, 11], [3, 12], [60, 61, 62], [9, 8, 7, 6, 5, 4]]
STOPS = tuple(range(0, 259, 9))  # many, so that rows end early; a prompt has one too


def model(**changes) -> Transformer:
    config = {"max_position_embeddings": 48, "initializer_range": 0.2} | changes
    return Transformer(preset("nano", **config), seed=1)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def scored(net: Transformer, out: Rollout, top_k=None, top_p=None) -> Tensor:
    """The rows scored in one pass without a cache, as a trainer would."""
    logits_BTV = net(out.ids_BT)
    logp_BTV = drawn_logp(logits_BTV.flatten(0, 1), out.temperature, top_k, top_p)
    logp_BT = logp_BTV.gather(1, out.next_BT.reshape(-1, 1)).view(out.next_BT.shape)
    return logp_BT.masked_fill(~out.mask_BT, 0.0)


SETTINGS = [(1.0,), (0.7,), (1.3, 9), (1.0, None, 0.8), (0.8, 20, 0.9)]


# a capacity drops visits in training, and only there
LAYOUTS = CONFIGS | {"capacity": preset("moe-198m", **GQA, expert_capacity=0.5)}


@pytest.mark.parametrize("name", LAYOUTS)
def test_recorded_log_probabilities_are_those_of_a_full_pass(name):
    """In every layout, after each filter, all rows at once or six of them."""
    net, asked = stirred(replace(LAYOUTS[name], initializer_range=0.2)), layouts.prompts(4, 10)
    for number, how in enumerate(SETTINGS):
        out = rollout(net, asked, 2, 14, *how, generator=seeded(number), stop_ids=(3, 40, 41, 77),
                      rows_at_once=6 * (number % 2))  # fmt: skip
        assert 0 < out.ended_B.sum() < len(out.ended_B)  # rows of all kinds
        torch.testing.assert_close(out.logp_BT, scored(net, out, *how[1:]), atol=1e-5, rtol=0)
        assert float(out.logp_BT[out.mask_BT].min()) < -1  # not all of them are certain


def test_the_distribution_is_the_filtered_one():
    net = model()
    out = rollout(net, PROMPTS, 5, 12, 1.3, top_k=9, top_p=0.8, generator=seeded())
    assert (scored(net, out) - out.logp_BT)[out.mask_BT].max() < -1e-3  # without them: another


def test_the_filters_are_transformers_and_the_draws_follow_them():
    logits = 3 * torch.randn(16, 50, generator=seeded())
    warped = TopKLogitsWarper(6)(None, TemperatureLogitsWarper(0.7)(None, logits))
    wanted = torch.log_softmax(TopPLogitsWarper(0.9)(None, warped), -1)
    assert torch.equal(drawn_logp(logits, 0.7, 6, 0.9), wanted)
    net = model()
    out = rollout(net, [[5, 6]], 4000, 1, 0.7, top_k=6, generator=seeded())
    share = torch.bincount(out.next_BT[out.mask_BT], minlength=259) / 4000
    wanted = drawn_logp(net(torch.tensor([[5, 6]]))[:, -1], 0.7, 6)[0].exp()
    assert (share[wanted == 0] == 0).all()
    torch.testing.assert_close(share, wanted, atol=0.03, rtol=0)  # 4 standard errors


@pytest.mark.parametrize("rows_at_once", [0, 1, 2, 5])
def test_greedy_rows_are_what_generate_says_of_each_prompt_alone(rows_at_once):
    net = model()
    out = rollout(net, PROMPTS, 2, 12, 0, stop_ids=STOPS, rows_at_once=rows_at_once)
    for row in range(8):
        prompt = PROMPTS[row // 2]
        alone = generate(net, torch.tensor([prompt]), 12, 0, stop_ids=STOPS)[0, len(prompt) :]
        ids, logps = out.sampled(row)
        assert ids == alone.tolist()
        assert logps == [0.0] * len(ids)  # the best token was certain
        assert bool(out.ended_B[row]) == (ids[-1] in STOPS)


def test_under_autocast_the_log_probabilities_are_still_float32():
    net = model()
    with torch.autocast("cpu", torch.bfloat16):
        out = rollout(net, PROMPTS, 5, 12, generator=seeded(), stop_ids=STOPS)
        again = scored(net, out)
    assert out.logp_BT.dtype == torch.float32
    assert (again - out.logp_BT).abs()[out.mask_BT].mean() < 0.02  # bfloat16 keeps 8 bits


def test_a_seed_draws_the_same_however_many_rows_go_at_once():
    one, two = (
        rollout(model(), PROMPTS, 4, 10, generator=seeded(3), stop_ids=STOPS, rows_at_once=rows)
        for rows in (0, 3)
    )
    assert torch.equal(one.ids_BT, two.ids_BT) and torch.equal(one.mask_BT, two.mask_BT)
    other = rollout(model(), PROMPTS, 4, 10, generator=seeded(4), stop_ids=STOPS)
    assert one.sampled(0) != other.sampled(0)
    assert one.sampled(0) != one.sampled(1)  # neighbours of one prompt have their own seeds


def test_each_prompt_may_have_its_own_number_of_new_tokens():
    whole = rollout(model(), PROMPTS, 2, 9, generator=seeded(3))
    out = rollout(model(), PROMPTS, 2, [9, 2, 5, 1], generator=seeded(3))
    assert out.lengths().tolist() == [9, 9, 2, 2, 5, 5, 1, 1]
    for row, length in enumerate(out.lengths().tolist()):
        assert out.sampled(row)[0] == whole.sampled(row)[0][:length]
    assert not out.ended_B.any()


def test_prompt_end_token_and_padding_stand_where_they_should():
    net = model()
    out = rollout(net, PROMPTS, 5, 12, generator=seeded(), stop_ids=STOPS)
    assert not out.logp_BT.requires_grad
    for row in range(20):
        prompt, (ids, _) = PROMPTS[row // 5], out.sampled(row)
        whole = [*out.ids_BT[row, :1].tolist(), *out.next_BT[row].tolist()]
        padding = [net.config.pad_token_id] * (len(whole) - len(prompt) - len(ids))
        assert whole == prompt + ids + padding
        sampled = [False] * (len(prompt) - 1) + [True] * len(ids) + [False] * len(padding)
        assert out.mask_BT[row].tolist() == sampled  # the end token is trained
        assert not set(ids[:-1]) & set(STOPS)
        assert (len(ids) == 12) or out.ended_B[row]
        assert bool(out.ended_B[row]) == (ids[-1] in STOPS)
    assert torch.equal(out.ids_BT[:, 1:], out.next_BT[:, :-1])
    assert out.mask_BT[:, -1].any()  # no column of padding alone


def test_what_prompts_share_is_read_once_and_ended_rows_leave():
    """Nothing is computed for a row that has ended, nor twice for two rows of a prompt."""
    net, read = model(), []
    known = net.model.flat
    net.model.flat = lambda ids_1T, cache: read.append(ids_1T.shape[1]) or known(ids_1T, cache)
    with torch.autocast("cpu", torch.bfloat16):  # else a form of its own computes, unseen
        out = rollout(net, [[*range(9, 43)]] * 2, 8, 12, generator=seeded(), stop_ids=STOPS)
    assert read[0] == 34 + 15 * 2  # two whole blocks of 16 are shared
    lengths = out.lengths()
    assert read[1:] == [int((lengths > step).sum()) for step in range(1, int(lengths.max()))]


def test_the_model_samples_in_eval_mode_and_keeps_its_own():
    net = model().train()
    net.model.layers[1].eval()  # a frozen part
    before, seen = [m.training for m in net.modules()], []
    first = net.model.layers[0]
    known = first.mlp.forward
    first.mlp.forward = lambda x: seen.append(first.training) or known(x)
    with torch.autocast("cpu", torch.bfloat16):  # else a form of its own computes, unseen
        rollout(net, [[1]], 2, 2)
    assert seen and not any(seen) and [m.training for m in net.modules()] == before


@pytest.mark.parametrize(
    "prompts, completions, new, message",
    [
        ([[1], list(range(47))], 2, 2, "prompt 1 has 47 tokens.*context of 48"),
        ([[1], list(range(60))], 2, 1, "prompt 1 has 60 tokens"),
        ([[1], []], 2, 2, "prompt 1 is empty"),
        ([], 2, 2, "no prompts"),
        ([[1]], 0, 2, "0 completions"),
        ([[1]], 1, 0, "of 0 tokens"),
        ([[1], [2]], 1, [3, 0], "of 0 tokens"),
        ([[1], [2]], 1, [3], "2 prompts and 1 numbers"),
    ],
)
def test_what_cannot_be_sampled_is_refused(prompts, completions, new, message):
    with pytest.raises(WrongCall, match=message):
        rollout(model(), prompts, completions, new)


@pytest.mark.parametrize("temperature", [0, 1.0])
def test_broken_scores_name_the_prompt(temperature):
    net = model(tie_word_embeddings=False)
    net.model.embed_tokens.weight.data[60] = float("nan")  # only prompt 2 has it
    with pytest.raises(MinimindError, match="prompt 2 are not finite"):
        rollout(net, [*PROMPTS[:1], [3], [60]], 2, 2, temperature)
