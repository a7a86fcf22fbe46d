"""Windows, sinks, shared heads, documents and caches: every way of computing gives the formula."""

from __future__ import annotations

import pytest
import torch
from torch.nn.attention import flex_attention as flex

from minimind_wiki.errors import WrongCall
from minimind_wiki.model import KVCache, ModelConfig, Transformer
from minimind_wiki.model.masks import causal_mask, document_mask
from minimind_wiki.model.views import BACKENDS, layer_views

VARIANTS = {
    "full": {},
    "one key head": {"num_key_value_heads": 1},
    "window": {"sliding_window": 3},
    "window and sinks": {"sliding_window": 3, "attention_sinks": 2, "num_key_value_heads": 4},
    "window but for layer 1": {"sliding_window": 2, "full_layers": "1", "qk_norm": True},
    "alibi": {"positions": "alibi"},
    "alibi, window and sinks": {"positions": "alibi", "sliding_window": 4, "attention_sinks": 1},
    "gpt2 and window": {"family": "gpt2", "num_key_value_heads": 4, "sliding_window": 3},
    "learned": {"positions": "learned"},
    "sinusoidal": {"positions": "sinusoidal", "sliding_window": 5},
    "none": {"positions": "none"},
    "yarn": {"rope_type": "yarn", "rope_factor": 4.0, "sliding_window": 4},
}
DOCUMENTS = torch.tensor([[1] * 6 + [2] * 10, [1] * 2 + [2] * 9 + [3] * 3 + [0] * 2])
PIECES = ((0, 0, 6), (0, 6, 16), (1, 0, 2), (1, 2, 11), (1, 11, 14))  # row, first, last


def model(name: str, **fields) -> Transformer:
    sizes = {
        "vocab_size": 99, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "intermediate_size": 48, "max_position_embeddings": 24,
        "rope_theta": 100.0, "initializer_range": 0.3,
    }  # fmt: skip
    return Transformer(ModelConfig(**sizes | VARIANTS.get(name, {}) | fields), seed=3)


def ids(batch: int = 2, time: int = 16) -> torch.Tensor:
    return torch.randint(0, 99, (batch, time), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("window, sinks", [(0, 0), (1, 0), (3, 0), (3, 2), (2, 4), (9, 1)])
def test_masks_are_the_rule_written_out(window, sinks):
    def may(row: list[int], query: int, key: int) -> bool:
        inside = [place for place in range(len(row)) if row[place] == row[query]]
        near = not window or query - key < window or inside.index(key) < sinks
        return key in inside and key <= query and near

    mask_B1TT = document_mask(DOCUMENTS, window, sinks)
    for b, row in enumerate(DOCUMENTS.tolist()):
        wanted = [
            [may(row, q, k) if row[q] == row[k] else False for k in range(16)] for q in range(16)
        ]
        assert mask_B1TT[b, 0].tolist() == wanted
    one = [[may([1] * 16, q, k) for k in range(16)] for q in range(16)]
    for queries in (1, 5, 16):
        assert causal_mask(queries, 16, None, window, sinks).tolist() == one[16 - queries :]


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", VARIANTS)
def test_every_backend_gives_the_same_logits_and_gradients(name, packed, monkeypatch):
    """Also FlexAttention, which torch refuses to differentiate on a CPU though its formula can."""
    monkeypatch.setattr(flex, "_validate_device", lambda *tensors: None)
    ours = model(name)
    found = {}
    for backend in BACKENDS[1:]:  # "auto" is one of them
        ours.model.attention_backend = backend
        ours.zero_grad()
        logits = ours(ids(), documents_BT=DOCUMENTS if packed else None)
        logits.square().mean().backward()
        found[backend] = (logits.detach(), [p.grad.clone() for p in ours.parameters()])
    plain, gradients = found.pop("plain")
    assert plain.std() > 0.3
    for backend, (logits, others) in found.items():
        torch.testing.assert_close(logits, plain, atol=1e-4, rtol=1e-4, msg=backend)
        for one, other in zip(gradients, others, strict=True):
            torch.testing.assert_close(other, one, atol=1e-5, rtol=1e-3, msg=backend)


@pytest.mark.parametrize("name", [*VARIANTS, "dynamic"])
@pytest.mark.parametrize(
    "pieces, backend", [([1] * 16, "auto"), ([7, 1, 1, 4, 3], "plain"), ([5, 8, 3], "packed")]
)
@torch.no_grad()
def test_with_a_cache_the_logits_are_the_same(name, pieces, backend):
    # Dynamic scaling, here from 8 trained tokens on, turns by the length so far: each step has a
    # full pass of its own. Only in one layer, as deeper ones keep what the old turns gave them.
    dynamic = {"rope_type": "dynamic", "rope_factor": 3.0, "num_hidden_layers": 1}
    ours = model(name, **(dynamic if name == "dynamic" else {}))
    ours.model.attention_backend = backend
    cache = KVCache(ours.config, 2, 16)
    for part in ids().split(pieces, dim=1):
        logits = ours(part, cache)
        whole = ours(ids()[:, : cache.length])[:, -part.shape[1] :]
        torch.testing.assert_close(logits, whole, atol=1e-4, rtol=1e-4)
    assert cache.length == 16


@pytest.mark.parametrize("backend", ["auto", "fused"])
@pytest.mark.parametrize("name", VARIANTS)
@torch.no_grad()
def test_documents_packed_in_one_row_are_read_as_if_alone(name, backend):
    """With windows, sinks and absolute positions too, which begin anew in each document."""
    ours = model(name)
    ours.model.attention_backend = backend
    packed = ours(ids(), documents_BT=DOCUMENTS)
    assert torch.isfinite(packed).all()
    ours.model.attention_backend = "plain"
    for row, first, last in PIECES:
        alone = ours(ids()[row : row + 1, first:last])[0]
        torch.testing.assert_close(packed[row, first:last], alone, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(packed[0, 6:], ours(ids())[0, 6:], atol=1e-2)


@torch.no_grad()
def test_a_window_ends_where_transformers_says():
    """One layer: a token is felt window - 1 places later and no further, but for a sink."""
    ours = model("", num_hidden_layers=1, sliding_window=4, attention_sinks=1)
    before = ours(ids())
    for place, felt in ((6, range(6, 10)), (0, range(16)), (1, range(1, 5))):
        changed = ids()
        changed[:, place] = (changed[:, place] + 1) % 99
        moved = (ours(changed) - before).abs().amax(dim=(0, 2)) > 1e-5
        assert moved.nonzero().flatten().tolist() == list(felt)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("name", ["full", "alibi, window and sinks"])
@pytest.mark.parametrize("backend", ["plain", "fused", "packed", "flex"])
@torch.no_grad()
def test_in_half_precision_the_logits_are_nearly_the_same(name, backend):
    ours = model(name)
    wanted = ours(ids(), documents_BT=DOCUMENTS)
    ours.model.attention_backend = backend
    with torch.autocast("cpu", torch.bfloat16):
        mixed = ours(ids(), documents_BT=DOCUMENTS)
    half = ours.bfloat16()(ids(), documents_BT=DOCUMENTS)
    for logits in (mixed, half):
        assert logits.dtype == torch.bfloat16
        assert (logits - wanted).abs().mean() < 0.04 * wanted.std()


def test_layers_that_see_the_same_share_one_mask():
    config = model("", num_hidden_layers=4, sliding_window=3, full_layers="0,2").config
    views = layer_views(config, ids(), 0)
    assert views[0].mask is None is views[2].mask
    assert views[1].mask is views[3].mask and views[1].mask.shape == (16, 16)
    assert [config.window(layer) for layer in range(4)] == [0, 3, 0, 3]
    # a window that hides nothing needs no mask, and so keeps torch's quickest kernel
    assert all(view.mask is None for view in layer_views(config, ids(2, 3), 0))


def test_what_cannot_work_says_what_to_do():
    ours = model("window")
    ours.model.attention_backend = "flash"
    with pytest.raises(WrongCall, match="unknown attention backend 'flash'"):
        ours(ids())
    with pytest.raises(WrongCall, match=r"documents have shape \(2, 15\) and token ids \(2, 16\)"):
        ours(ids(), documents_BT=DOCUMENTS[:, 1:])
    dynamic = model("", rope_type="dynamic", rope_factor=3.0)
    dynamic(ids(2, 8), documents_BT=DOCUMENTS[:, :8])
    with pytest.raises(WrongCall, match="packed rows hold several; give rows of at most 8 tokens"):
        dynamic(ids(), documents_BT=DOCUMENTS)


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"attention_sinks": 2}, "attention_sinks needs a window beside it; give sliding_window"),
        ({"full_layers": "0"}, "full_layers needs a window"),
        ({"sliding_window": 3, "full_layers": "0;1"}, "full_layers is '0;1'; give numbers"),
        ({"sliding_window": 3, "full_layers": "0,2"}, "layer 2, but they go from 0 to 1"),
        ({"sliding_window": -1}, "sliding_window is -1; give a value of at least 0"),
    ],
)
def test_windows_that_cannot_be(fields, message):
    with pytest.raises(WrongCall, match=message):
        model("", **fields)
