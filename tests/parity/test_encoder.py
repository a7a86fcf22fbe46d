"""Our encoder is transformers' BERT: same names, hidden states, logits and gradients."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"

import dataclasses

import pytest
import torch
import transformers

from minimind_wiki.errors import WrongCall
from minimind_wiki.model.encoder import Encoder, EncoderConfig, MaskedLM

SMALL = EncoderConfig(
    vocab_size=97,
    hidden_size=48,
    num_hidden_layers=3,
    num_attention_heads=4,
    intermediate_size=80,
    max_position_embeddings=40,
    layer_norm_eps=0.1,  # large, so that its place in the root shows
    initializer_range=0.2,  # large, so that attention is far from uniform
    pad_token_id=3,
)
CLOSE = {"atol": 1e-5, "rtol": 1e-5}


def ours() -> MaskedLM:
    """With gains and biases away from one and zero: a forgotten one must show."""
    model = MaskedLM(SMALL, seed=3)
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=draw))
    return model


def theirs(kind: type, state: dict[str, torch.Tensor], **more: object) -> torch.nn.Module:
    """transformers' model of the same shape with `state`, every name of it."""
    config = transformers.BertConfig(**dataclasses.asdict(SMALL), hidden_act="gelu")
    config._attn_implementation = "eager"
    model = kind(config, **more)
    model.load_state_dict(state)  # strict: no name too many, none too few
    return model.eval()


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids with padding at the end of one row and the start of another; what is real; segments."""
    draw = torch.Generator().manual_seed(1)
    ids = torch.randint(4, 97, (3, 21), generator=draw)
    real = torch.ones(3, 21, dtype=torch.bool)
    real[1, 13:] = False
    real[2, :6] = False
    return ids.masked_fill(~real, 3), real, torch.randint(0, 2, (3, 21), generator=draw)


@pytest.mark.parametrize("padded", [False, True])
def test_logits_and_gradients_are_berts(padded):
    a = ours()
    b = theirs(transformers.BertForMaskedLM, a.state_dict())
    ids, real, segments = batch()
    real = real if padded else None
    logits_a = a(ids, real, segments)
    mask = None if real is None else real.long()
    logits_b = b(ids, attention_mask=mask, token_type_ids=segments).logits
    assert logits_a.std() > 0.1  # a model that says nothing would agree with anything
    torch.testing.assert_close(logits_a, logits_b, **CLOSE)
    labels = ids.roll(1, 1)
    for logits in (logits_a, logits_b):
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten()).backward()
    wanted = {name: parameter.grad for name, parameter in b.named_parameters()}
    got = {name: parameter.grad for name, parameter in a.named_parameters()}
    assert got.keys() == wanted.keys()
    for name, gradient in got.items():
        torch.testing.assert_close(gradient, wanted[name], **CLOSE, msg=name)


def test_hidden_states_are_those_of_the_model_without_a_head():
    encoder = ours().bert
    b = theirs(transformers.BertModel, encoder.state_dict(), add_pooling_layer=False)
    ids, real, segments = batch()
    wanted = b(ids, attention_mask=real.long(), token_type_ids=segments).last_hidden_state
    torch.testing.assert_close(encoder(ids, real, segments), wanted, **CLOSE)
    assert isinstance(encoder, Encoder)


def test_segments_are_the_first_where_none_are_given():
    ids, real, _ = batch()
    model = ours()
    assert torch.equal(model(ids, real), model(ids, real, torch.zeros_like(ids)))


def test_a_token_sees_both_ways_but_no_padding():
    model = ours()
    ids, real, _ = batch()
    before = model(ids, real)
    hidden = ids.masked_fill(~real, 50)
    torch.testing.assert_close(model(hidden, real)[real], before[real], **CLOSE)
    torch.testing.assert_close(model(ids[1:2, :13])[0], before[1, :13], **CLOSE)  # unpadded
    for changed in (0, 20):
        other = ids.clone()
        other[0, changed] = 4 + (ids[0, changed] - 3) % 90
        assert ((model(other, real)[0] - before[0]).abs().amax(-1) > 1e-4).all()


def test_a_row_of_padding_alone_is_finite():
    model = ours()
    ids, real, _ = batch()
    real[0] = False
    logits = model(ids, real)
    logits[real].sum().backward()
    assert logits.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_the_seed_decides_the_weights_and_the_global_generator_is_left_alone():
    state = torch.random.get_rng_state()
    a, b, c = MaskedLM(SMALL, seed=1), MaskedLM(SMALL, seed=1), MaskedLM(SMALL, seed=2)
    assert torch.equal(state, torch.random.get_rng_state())
    name = "bert.encoder.layer.0.attention.self.query.weight"
    first, second, third = (model.state_dict()[name] for model in (a, b, c))
    assert torch.equal(first, second) and not torch.equal(first, third)
    assert 0.19 < float(first.std()) < 0.21  # 2304 draws: standard error 0.003
    assert not a.bert.embeddings.word_embeddings.weight[SMALL.pad_token_id].any()


def test_one_graph_without_a_break():
    ids, real, _ = batch()
    model = ours()
    compiled = torch.compile(model, backend="eager", fullgraph=True)  # raises at a break
    torch.testing.assert_close(compiled(ids, real), model(ids, real), **CLOSE)


def test_wrong_calls_say_what_to_do():
    model = ours()
    ids, real, _ = batch()
    with pytest.raises(WrongCall, match="give ids"):
        model(ids[0])
    with pytest.raises(WrongCall, match="a bool for each"):
        model(ids, real[:, :-1])
    with pytest.raises(WrongCall, match="a bool for each"):
        model(ids, real.long())
    with pytest.raises(WrongCall, match="41 tokens are more than the 40"):
        model(torch.full((1, 41), 5))
    with pytest.raises(WrongCall, match="hidden_size 48"):
        EncoderConfig(hidden_size=48, num_attention_heads=5)
