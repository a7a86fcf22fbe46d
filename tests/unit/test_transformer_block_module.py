"""What the module on the block rests on: its assembled decoder, its lab's count, its exercise."""

from __future__ import annotations

import importlib
import os
from dataclasses import replace
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import torch
import transformers

from minimind_wiki.book.experiment import load_experiment
from minimind_wiki.infer import load_model_folder
from minimind_wiki.infer.hub_config import config_to_hub
from minimind_wiki.infer.hub_tensors import tensors_to_hub
from minimind_wiki.lite import worker
from minimind_wiki.model import ModelConfig, Transformer, preset
from minimind_wiki.verbs.exercise import data_of, with_library

ROOT = Path(__file__).resolve().parents[2]
SNIPPETS = ROOT / "snippets" / "transformer-block"
SMALL = ModelConfig(
    vocab_size=50, hidden_size=48, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, intermediate_size=80, rope_theta=1e4, rms_norm_eps=1e-3,
    max_position_embeddings=64, initializer_range=0.2,
)  # fmt: skip


def helper(name: str):
    """A helper of the module's experiments, imported as they import it."""
    load_experiment("transformer-block/order", ROOT)
    return importlib.import_module(f"experiments.transformer-block.{name}")


def package(config: ModelConfig = SMALL) -> Transformer:
    """The package's model, with gains away from one: a norm in a wrong place must show."""
    model = Transformer(config, seed=3)
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() == 1:
                weight.add_(0.3 * torch.randn(weight.shape, generator=draw))
    return model


def poured(model: Transformer, spelling: str, **how):
    """The experiment's decoder with the package's weights, branch by branch in reading order."""
    ours = helper("_parts").Assembled(spelling, model.config, **how)
    ours.embed.load_state_dict(model.model.embed_tokens.state_dict())
    ours.last.load_state_dict(model.model.norm.state_dict())
    ours.head.load_state_dict(model.lm_head.state_dict())
    used = {"a": 0, "f": 0}
    for step in ours.steps:
        for branch in step.branches:
            layer = model.model.layers[used[branch]]
            used[branch] += 1
            norm, part = (
                (layer.input_layernorm, layer.self_attn)
                if branch == "a"
                else (layer.post_attention_layernorm, layer.mlp)
            )
            if branch in step.norms:
                step.norms[branch].load_state_dict(norm.state_dict())
            step.parts[branch].load_state_dict(part.state_dict())
    return ours


def ids() -> torch.Tensor:
    return torch.randint(0, 50, (2, 9), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("tied", [True, False])
def test_afaf_is_the_packages_decoder(tied):
    model = package(replace(SMALL, tie_word_embeddings=tied))
    ours = poured(model, "afaf")
    torch.testing.assert_close(ours(ids()), model(ids()), atol=1e-5, rtol=0)
    assert helper("_parts").count(ours) == model.num_parameters()


def test_every_other_spelling_is_another_model():
    model = package()
    said = {s: poured(model, s)(ids()) for s in ("afaf", "fafa", "aaff", "ffaa", "PP", "pp")}
    names = sorted(said)
    for n, one in enumerate(names):
        for other in names[n + 1 :]:
            assert (said[one] - said[other]).abs().max() > 1e-2, (one, other)


def test_a_parallel_block_is_the_sum_of_its_branches():
    model = package(replace(SMALL, num_hidden_layers=1))
    layer, inner = model.model.layers[0], model.model
    x = inner.embed_tokens(ids())
    rope = inner.rotary(0, ids().shape[1])
    a = layer.self_attn(layer.input_layernorm(x), rope)
    two = x + a + layer.mlp(layer.post_attention_layernorm(x))
    one = x + a + layer.mlp(layer.input_layernorm(x))
    for spelling, want in (("P", two), ("p", one)):
        got = poured(model, spelling)(ids())
        torch.testing.assert_close(got, model.lm_head(inner.norm(want)), atol=1e-5, rtol=0)


def test_what_is_dropped_is_gone():
    model = package(replace(SMALL, num_hidden_layers=1))
    inner, layer = model.model, model.model.layers[0]
    x = inner.embed_tokens(ids())
    rope = inner.rotary(0, ids().shape[1])
    build = helper("_parts").Assembled

    def said(*drop, branch="af"):
        ours = build(branch, model.config, drop)
        state = poured(model, branch).state_dict()
        ours.load_state_dict({k: v for k, v in state.items() if k in ours.state_dict()})
        return ours(ids())

    def head(y):
        return model.lm_head(inner.norm(y))

    a = x + layer.self_attn(layer.input_layernorm(x), rope)
    torch.testing.assert_close(said("norm f"), head(a + layer.mlp(a)), atol=1e-4, rtol=0)
    torch.testing.assert_close(
        said("sum f"), head(layer.mlp(layer.post_attention_layernorm(a))), atol=1e-4, rtol=0
    )
    no_rope = x + layer.self_attn(layer.input_layernorm(x))
    torch.testing.assert_close(said("rope", branch="a"), head(no_rope), atol=1e-4, rtol=0)
    whole = a + layer.mlp(layer.post_attention_layernorm(a))
    torch.testing.assert_close(said("norm last"), model.lm_head(whole), atol=1e-4, rtol=0)


def test_biases_and_dropout_are_where_they_should_be():
    parts = helper("_parts")
    plain, biased = (parts.Assembled("af", SMALL, bias=b) for b in (False, True))
    inner, shared = 48, 24
    assert parts.count(biased) - parts.count(plain) == 2 * inner + 2 * shared + 2 * 80 + inner
    dropped = parts.Assembled("af", SMALL, dropout=0.5)
    assert not torch.equal(dropped(ids()), dropped(ids()))
    assert torch.equal(dropped.eval()(ids()), dropped(ids()))


def test_the_lab_counts_the_presets():
    lab = worker.namespace((SNIPPETS / "count.py").read_text(encoding="utf-8"))
    for width, name in ((512, "26m"), (768, "104m")):
        layers = preset(name).num_hidden_layers
        with torch.device("meta"):
            total = Transformer(preset(name), seed=None).num_parameters()
        assert f"{total:,} parameters" in lab["run"](width=width, layers=layers)["text"]


def test_the_labs_block_is_torchs_arithmetic():
    lab = worker.namespace((SNIPPETS / "build.py").read_text(encoding="utf-8"))
    parts = (lambda x: 2 * x, lambda x: x + 1, lambda x: 3 * x, lambda x: x * x)
    x = 5  # norm 1 gives 10, attention 11, so 16; norm 2 gives 48, squared 2304
    assert lab["block"](x, "sequential", *parts) == 16 + 48**2
    assert lab["block"](x, "parallel", *parts) == 5 + 11 + 15**2
    assert lab["block"](x, "post", *parts) == 3 * (22 + 22**2)


def reader(library: str = "torch"):
    """The exercise's solution, and its check, as the page runs them."""
    folder = SNIPPETS / "decoder"
    code = with_library((folder / "solution.py").read_text(encoding="utf-8"), library)
    check = worker.namespace((folder / "check.py").read_text(encoding="utf-8"))
    return worker.namespace(code)["decoder"], check, data_of(folder)


def test_the_readers_decoder_is_the_packages_and_transformers():
    """From given parts to logits: equal to the package's model, and to transformers' Llama."""
    decoder, _, _ = reader()
    model = package()
    inner = model.model
    rope = inner.rotary(0, 9)
    blocks = [
        (b.input_layernorm, lambda x, b=b: b.self_attn(x[None], rope)[0],
         b.post_attention_layernorm, b.mlp)
        for b in inner.layers
    ]  # fmt: skip
    got = decoder(ids()[0], inner.embed_tokens.weight, blocks, inner.norm)
    torch.testing.assert_close(got, model(ids())[0], atol=1e-5, rtol=0)
    hub = transformers.AutoConfig.for_model(**config_to_hub(SMALL))
    theirs = transformers.AutoModelForCausalLM.from_config(hub, attn_implementation="eager")
    theirs.load_state_dict(tensors_to_hub(model.state_dict(), SMALL), strict=False)
    theirs.tie_weights()
    assert got.std() > 0.1
    torch.testing.assert_close(got, theirs.eval()(ids()[:1]).logits[0], atol=1e-4, rtol=0)


def test_the_checks_trained_model_is_the_packages():
    _, check, data = reader()
    model, _ = load_model_folder(ROOT / "models" / "world-nano", "cpu", torch.float32)
    tokens = [1, *range(300, 330)]
    want = model.eval()(torch.tensor([tokens]))[0].detach()
    got = torch.tensor(check["the_scores"](torch, *check["shipped"](torch, data), tokens))
    assert want.std() > 1
    torch.testing.assert_close(got.float(), want, atol=1e-3, rtol=0)
