"""Our encoder-decoder is transformers' T5: same names, distances, logits and gradients."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"

import dataclasses

import pytest
import torch
import transformers
from transformers.models.t5.modeling_t5 import T5Attention

from minimind_wiki.errors import WrongCall
from minimind_wiki.model.seq2seq import EncoderDecoder, Seq2SeqConfig, relative_buckets
from minimind_wiki.train.objectives import shift_right

SMALL = Seq2SeqConfig(
    vocab_size=97,
    hidden_size=48,
    num_hidden_layers=3,
    num_decoder_layers=2,
    num_attention_heads=4,
    head_dim=10,  # not hidden_size / heads
    intermediate_size=80,
    relative_attention_num_buckets=8,
    relative_attention_max_distance=16,  # less than the source's length
    rms_norm_eps=0.1,  # large, so that its place in the root shows
)
KINDS = {
    "relu, tied": SMALL,
    "gated, untied": dataclasses.replace(
        SMALL, feed_forward_proj="gated-gelu", tie_word_embeddings=False
    ),
}
CLOSE = {"atol": 1e-5, "rtol": 1e-5}


def ours(config: Seq2SeqConfig = SMALL) -> EncoderDecoder:
    """With gains away from one and distances that matter."""
    model = EncoderDecoder(config, seed=3)
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1 or "relative_attention_bias" in name:
                parameter.add_(0.5 * torch.randn(parameter.shape, generator=draw))
    return model


def theirs(config: Seq2SeqConfig, state: dict[str, torch.Tensor]) -> torch.nn.Module:
    """transformers' model of the same shape with `state`, every name of it."""
    hub = transformers.T5Config(
        vocab_size=config.vocab_size,
        d_model=config.hidden_size,
        d_kv=config.head_dim,
        d_ff=config.intermediate_size,
        num_layers=config.num_hidden_layers,
        num_decoder_layers=config.num_decoder_layers,
        num_heads=config.num_attention_heads,
        relative_attention_num_buckets=config.relative_attention_num_buckets,
        relative_attention_max_distance=config.relative_attention_max_distance,
        layer_norm_epsilon=config.rms_norm_eps,
        feed_forward_proj=config.feed_forward_proj,
        tie_word_embeddings=config.tie_word_embeddings,
        decoder_start_token_id=0,
    )
    hub._attn_implementation = "eager"
    model = transformers.T5ForConditionalGeneration(hub)
    if not config.tie_word_embeddings:  # their constructor ties always
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    model.load_state_dict(state)  # strict: no name too many, none too few
    return model.eval()


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Sources with padding at both ends, what of them is real, and targets."""
    draw = torch.Generator().manual_seed(1)
    source = torch.randint(1, 97, (3, 25), generator=draw)
    real = torch.ones(3, 25, dtype=torch.bool)
    real[1, 13:] = False
    real[2, :6] = False
    return source.masked_fill(~real, 0), real, torch.randint(1, 97, (3, 19), generator=draw)


@pytest.mark.parametrize("both_ways", [True, False])
@pytest.mark.parametrize("buckets, farthest", [(32, 128), (8, 16), (6, 20), (10, 100)])
def test_distances_fall_in_t5s_buckets(buckets, farthest, both_ways):
    distance = torch.arange(-3 * farthest, 3 * farthest + 1)
    got = relative_buckets(distance, buckets, farthest, both_ways)
    wanted = T5Attention._relative_position_bucket(distance, both_ways, buckets, farthest)
    assert torch.equal(got, wanted)
    assert set(got.tolist()) <= set(range(buckets))


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_logits_and_gradients_are_t5s(kind, padded):
    a = ours(KINDS[kind])
    b = theirs(KINDS[kind], a.state_dict())
    source, real, labels = batch()
    real = real if padded else None
    target = shift_right(labels, start_id=0, pad_id=0)
    logits_a = a(source, target, real)
    mask = None if real is None else real.long()
    logits_b = b(source, attention_mask=mask, labels=labels).logits  # shifts by itself
    assert logits_a.std() > 0.1  # a model that says nothing would agree with anything
    torch.testing.assert_close(logits_a, logits_b, **CLOSE)
    for logits in (logits_a, logits_b):
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten()).backward()
    wanted = {name: parameter.grad for name, parameter in b.named_parameters()}
    got = {name: parameter.grad for name, parameter in a.named_parameters()}
    assert got.keys() == wanted.keys()
    for name, gradient in got.items():
        torch.testing.assert_close(gradient, wanted[name], **CLOSE, msg=name)


def test_the_shift_is_t5s():
    labels = torch.tensor([[5, 6, 1, -100, -100], [7, 8, 9, 4, 1]])
    model = theirs(SMALL, ours().state_dict())
    assert torch.equal(shift_right(labels, start_id=0, pad_id=0), model._shift_right(labels))


def test_the_decoder_sees_the_past_and_the_encoder_everything():
    model = ours()
    source, real, target = batch()
    before = model(source, target, real)
    for place in (0, 7, 18):
        other = target.clone()
        other[:, place] = 1 + target[:, place] % 90
        moved = (model(source, other, real) - before).abs().amax(dim=(0, 2))
        assert (moved[:place] < 1e-5).all() and (moved[place:] > 1e-4).all()
    for place in (0, 24):
        other = source.clone()
        other[0, place] = 1 + source[0, place] % 90
        assert ((model(other, target, real) - before)[0].abs().amax(-1) > 1e-4).all()


def test_no_token_sees_padding():
    model = ours()
    source, real, target = batch()
    before = model(source, target, real)
    hidden = source.masked_fill(~real, 50)
    torch.testing.assert_close(model(hidden, target, real), before, **CLOSE)
    for row, part in ((1, slice(0, 13)), (2, slice(6, 25))):  # positions are relative: either end
        alone = model(source[row : row + 1, part], target[row : row + 1])
        torch.testing.assert_close(alone[0], before[row], **CLOSE)


def test_a_source_of_padding_alone_is_finite():
    model = ours()
    source, real, target = batch()
    real[0] = False
    logits = model(source, target, real)
    logits[1:].sum().backward()
    assert logits.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_the_first_weights_have_the_sizes_that_the_docstring_names():
    state = torch.random.get_rng_state()
    model = EncoderDecoder(dataclasses.replace(SMALL, vocab_size=400), seed=1)
    assert torch.equal(state, torch.random.get_rng_state())
    attention = "encoder.block.1.layer.0.SelfAttention."
    sizes = {
        "shared.weight": 1.0,
        attention + "q.weight": (48 * 10) ** -0.5,
        attention + "k.weight": 48**-0.5,
        attention + "o.weight": 40**-0.5,
        "decoder.block.0.layer.2.DenseReluDense.wo.weight": 80**-0.5,
    }
    for name, wanted in sizes.items():
        drawn = model.state_dict()[name]
        five_errors = 5 / (2 * drawn.numel()) ** 0.5  # relative error of a standard deviation
        assert abs(float(drawn.std()) / wanted - 1) < five_errors, name


def test_one_graph_without_a_break():
    source, real, target = batch()
    model = ours()
    compiled = torch.compile(model, backend="eager", fullgraph=True)  # raises at a break
    got = compiled(source, target, real)
    torch.testing.assert_close(got, model(source, target, real), **CLOSE)


def test_wrong_calls_say_what_to_do():
    source, real, target = batch()
    with pytest.raises(WrongCall, match="a bool for each"):
        ours()(source, target, real[:, :-1])
    with pytest.raises(WrongCall, match="did you mean 'gated-gelu'"):
        Seq2SeqConfig(feed_forward_proj="gated-gelo")
    for buckets in (2, 7, 32):
        with pytest.raises(WrongCall, match="even number from 4 to 30"):
            Seq2SeqConfig(
                relative_attention_num_buckets=buckets, relative_attention_max_distance=16
            )
