"""The neurons that the page's engine shows are what torch's feed-forward projects back."""

from __future__ import annotations

import pytest
import torch
from page_engine import run_engine, same_weights, some_ids, write_site

LAYER, AT, TOP = 1, 20, 5


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site") / "lm"
    write_site(folder)
    return folder


def fired_by(model, ids):
    """What the layer's feed-forward holds before the last projection, (T, F)."""
    kept = []
    down = model.model.layers[LAYER].mlp.down_proj
    handle = down.register_forward_pre_hook(lambda _m, given: kept.append(given[0][0]))
    with torch.no_grad():
        model(torch.tensor([ids]))
    handle.remove()
    return kept[0]


@pytest.mark.parametrize("name", ["world-tiny", "qwen3", "gpt2"])
def test_neurons_and_their_words_are_torchs(name, site, tmp_path):
    model = same_weights(site / name)
    ids = some_ids(model.config.vocab_size, seed=4)
    fired_TF = fired_by(model, ids)
    order = fired_TF[AT].abs().argsort(descending=True).tolist()
    kept = order[-1]
    wish = {"layer": LAYER, "at": AT, "top": TOP, "keep": kept}
    calls = [("load", [{"kind": "shipped", "id": name}]), ("trace", [name, ids, {"neurons": wish}])]
    found = run_engine(site, calls, tmp_path)[1]["value"]["neurons"]

    assert [row["neuron"] for row in found["rows"]] == [kept, *order[: TOP - 1]]
    assert (found["width"], found["at"]) == (fired_TF.shape[1], AT)
    largest = fired_TF.abs().max().item()
    assert found["most"] == pytest.approx(largest, rel=1e-3)
    raised = []
    for row in found["rows"]:
        neuron = row["neuron"]
        torch.testing.assert_close(
            torch.tensor(row["values"]), fired_TF[:, neuron], atol=2e-3 * largest, rtol=1e-3
        )
        value_D = model.model.layers[LAYER].mlp.down_proj.weight[:, neuron].detach()
        read_V = model.lm_head.weight @ (value_D * model.model.norm.weight)
        own_T = fired_TF[:, neuron]
        raised += (read_V * own_T[own_T.abs().argmax()].sign()).topk(3).indices.tolist()
    texts = run_engine(site, [calls[0], ("trace", [name, raised])], tmp_path)[1]["value"]["texts"]
    assert [text for row in found["rows"] for text in row["raises"]] == texts


def test_a_layer_without_neurons_of_its_own_is_refused(site, tmp_path):
    wish = {"at": -1, "top": 2, "keep": -1}
    asked = [("dense-between", 3), ("dense-between", 0), ("qwen3", 99)]
    calls = [("load", [{"kind": "shipped", "id": name}]) for name in ("dense-between", "qwen3")]
    calls += [("trace", [n, [1, 2, 3], {"neurons": wish | {"layer": at}}]) for n, at in asked]
    experts, dense, beyond = run_engine(site, calls, tmp_path)[2:]
    assert experts["code"] == "input" and "experts" in experts["error"]
    assert len(dense["value"]["neurons"]["rows"]) == 2
    assert beyond["code"] == "input" and "from 0 to" in beyond["error"]
