"""Rollouts: what was recorded while sampling is what a full pass over the finished rows says."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers.generation import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.infer import generate
from minimind_wiki.infer.rollout import Rollout, rollout, sampling_logp
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
    logp_BTV = sampling_logp(logits_BTV.flatten(0, 1), out.temperature, top_k, top_p)
    logp_BT = logp_BTV.gather(1, out.next_BT.reshape(-1, 1)).view(out.next_BT.shape)
    return logp_BT.masked_fill(~out.mask_BT, 0.0)


SHAPES = {
    "rotary": {},
    "learned": {"family": "gpt2", "num_key_value_heads": 4},
    "alibi": {"positions": "alibi"},
    "window": {"sliding_window": 5, "attention_sinks": 2, "qk_norm": True},
    "experts": {"num_experts": 4, "num_experts_per_tok": 2, "expert_capacity": 0.5},
}


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_recorded_log_probabilities_are_those_of_a_full_pass(shape, use_cache):
    net = model(**SHAPES[shape])
    out = rollout(net, PROMPTS, 5, 12, 0.7, generator=seeded(), stop_ids=STOPS, use_cache=use_cache)
    lengths = out.lengths()
    assert len(lengths.unique()) > 3 and 0 < out.ended_B.sum() < 20  # rows of all kinds
    net.eval()  # a capacity drops visits in training
    torch.testing.assert_close(out.logp_BT, scored(net, out), atol=1e-5, rtol=0)


@pytest.mark.parametrize("use_cache", [True, False])
def test_the_distribution_is_the_filtered_one(use_cache):
    net, filters = model(), {"top_k": 9, "top_p": 0.8}
    out = rollout(net, PROMPTS, 5, 12, 1.3, **filters, generator=seeded(), use_cache=use_cache)
    torch.testing.assert_close(out.logp_BT, scored(net, out, **filters), atol=1e-5, rtol=0)
    assert (scored(net, out) - out.logp_BT)[out.mask_BT].max() < -1e-3  # without them: another


def test_sampling_logp_is_transformers_filters_and_the_draws_follow_it():
    logits = 3 * torch.randn(16, 50, generator=seeded())
    warped = TopKLogitsWarper(6)(None, TemperatureLogitsWarper(0.7)(None, logits))
    wanted = torch.log_softmax(TopPLogitsWarper(0.9)(None, warped), -1)
    assert torch.equal(sampling_logp(logits, 0.7, 6, 0.9), wanted)
    net = model()
    out = rollout(net, [[5, 6]], 4000, 1, 0.7, top_k=6, generator=seeded())
    share = torch.bincount(out.next_BT[out.mask_BT], minlength=259) / 4000
    wanted = sampling_logp(net(torch.tensor([[5, 6]]))[:, -1], 0.7, 6)[0].exp()
    assert (share[wanted == 0] == 0).all()
    torch.testing.assert_close(share, wanted, atol=0.03, rtol=0)  # 4 standard errors


@pytest.mark.parametrize("rows_at_once", [0, 1, 2, 5])
@pytest.mark.parametrize("use_cache", [True, False])
def test_greedy_rows_are_what_generate_says_of_each_prompt_alone(rows_at_once, use_cache):
    net = model()
    out = rollout(net, PROMPTS, 2, 12, 0, stop_ids=STOPS, rows_at_once=rows_at_once,
                  use_cache=use_cache)  # fmt: skip
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


def test_with_and_without_the_cache_a_seed_draws_the_same():
    one, two = (
        rollout(model(), PROMPTS, 4, 10, generator=seeded(3), stop_ids=STOPS, use_cache=cached)
        for cached in (True, False)
    )
    assert torch.equal(one.ids_BT, two.ids_BT) and torch.equal(one.mask_BT, two.mask_BT)
    other = rollout(model(), PROMPTS, 4, 10, generator=seeded(4), stop_ids=STOPS)
    assert one.sampled(0) != other.sampled(0)


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


def test_a_prompt_is_read_once_and_ended_rows_leave():
    net, shapes = model(), []
    net.model.register_forward_pre_hook(lambda module, args: shapes.append(tuple(args[0].shape)))
    rollout(net, [[1, 2, 3, 4], [5, 6, 7, 8]], 8, 20, generator=seeded(), stop_ids=STOPS)
    assert shapes[0] == (2, 3)
    assert shapes[1] == (16, 1)
    rows = [batch for batch, _ in shapes[1:]]
    assert rows == sorted(rows, reverse=True) and rows[-1] < 8
    assert {time for _, time in shapes[1:]} == {1}


def test_the_model_samples_in_eval_mode_and_keeps_its_own():
    net = model().train()
    net.model.layers[1].eval()  # a frozen part
    before, seen = [m.training for m in net.modules()], []
    net.model.register_forward_pre_hook(lambda module, _: seen.append(module.layers[0].training))
    rollout(net, [[1]], 2, 2)
    assert not any(seen) and [m.training for m in net.modules()] == before


@pytest.mark.parametrize(
    "prompts, completions, new, message",
    [
        ([[1], list(range(47))], 2, 2, "prompt 1 has 47 tokens.*context of 48"),
        ([[1], list(range(60))], 2, 1, "prompt 1 has 60 tokens"),
        ([[1], []], 2, 2, "prompt 1 is empty"),
        ([], 2, 2, "no prompts"),
        ([[1]], 0, 2, "0 completions"),
        ([[1]], 1, 0, "of 0 tokens"),
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
