"""Our experts are those of Mixtral, Qwen3-MoE and Qwen2-MoE: logits, gradients, losses, folders."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import torch
import transformers
from test_folder import SIZES, assert_same_model, load_quietly
from test_model import SMALL, randomize, token_ids
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

from minimind_wiki.errors import MinimindError
from minimind_wiki.infer import load_model_folder, save_model_folder
from minimind_wiki.infer.hub_config import config_from_hub, config_to_hub
from minimind_wiki.infer.hub_tensors import tensors_from_hub, tensors_to_hub
from minimind_wiki.model import ModelConfig, Transformer, preset
from minimind_wiki.model.moe_balance import Balancer, load_balancing_loss

TWO = {"num_experts_per_tok": 2, "num_key_value_heads": 2}
SHARED = {"num_shared_experts": 1, "shared_expert_gate": True, "qk_norm": False}
OURS: dict[str, tuple[str, ModelConfig]] = {
    "mixtral": ("mixtral", preset("moe-198m", **SMALL, **TWO, qk_norm=False, norm_topk_prob=True)),
    "qwen3_moe, hybrid": ("qwen3_moe", preset(
        "moe-198m", **SMALL, **TWO, mlp_only_layers="0", dense_intermediate_size=112,
    )),
    "qwen3_moe, every second": ("qwen3_moe", preset(
        "moe-198m", **SMALL, **TWO, decoder_sparse_step=2, num_experts=8, norm_topk_prob=True,
    )),
    "qwen2_moe": ("qwen2_moe", preset("moe-198m", **SMALL, **TWO, **SHARED)),
    "qwen2_moe, wide": ("qwen2_moe", preset(
        "moe-198m", **SMALL, **TWO, **SHARED | {"num_shared_experts": 3}, mlp_only_layers="1",
        tie_word_embeddings=False,
    )),
}  # fmt: skip
THEIRS = {
    "mixtral": (transformers.MixtralConfig, {"num_local_experts": 4}),
    "qwen3_moe, hybrid": (transformers.Qwen3MoeConfig, {
        "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "head_dim": 12,
        "decoder_sparse_step": 2, "mlp_only_layers": [0, 2],
    }),
    "qwen2_moe": (transformers.Qwen2MoeConfig, {
        "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32,
        "shared_expert_intermediate_size": 64, "qkv_bias": False, "mlp_only_layers": [2],
    }),
}  # fmt: skip


def model(name: str) -> Transformer:
    ours = Transformer(OURS[name][1], seed=3)
    randomize(ours)
    return ours


@pytest.mark.parametrize("name", OURS)
def test_our_folder_opens_in_transformers(name, tmp_path):
    layout, config = OURS[name]
    assert config.layout == layout and config_from_hub(config_to_hub(config)) == config
    ours = model(name)
    save_model_folder(tmp_path / "model", ours)
    theirs = load_quietly(tmp_path / "model")
    assert theirs.config.model_type == layout
    assert sum(p.numel() for p in theirs.parameters()) == ours.num_parameters()
    assert ours(token_ids()).std() > 0.1
    assert_same_model(ours, theirs)
    back, _ = load_model_folder(tmp_path / "model")
    assert back.config == config
    state = ours.state_dict()
    assert back.state_dict().keys() == state.keys()
    assert all(torch.equal(back.state_dict()[k], state[k]) for k in state)


@pytest.mark.parametrize("name", THEIRS)
def test_transformers_folder_opens_here(name, tmp_path):
    kind, values = THEIRS[name]
    torch.manual_seed(7)
    theirs = transformers.AutoModelForCausalLM.from_config(kind(**SIZES | values)).eval()
    randomize(theirs)
    theirs.save_pretrained(tmp_path / "model")
    ours, _ = load_model_folder(tmp_path / "model")
    assert ours.config.layout == theirs.config.model_type
    assert ours.num_parameters() == sum(p.numel() for p in theirs.parameters())
    assert_same_model(ours, theirs)


@pytest.mark.parametrize("name", ["mixtral", "qwen3_moe, hybrid", "qwen2_moe"])
def test_gradients_are_transformers(name, tmp_path):
    """Of the language loss and the balancing loss together, through every weight."""
    ours, ids = model(name), token_ids()
    save_model_folder(tmp_path / "model", ours)
    theirs = load_quietly(tmp_path / "model")
    for logits in (ours(ids), (out := theirs(ids, output_router_logits=True)).logits):
        torch.nn.functional.cross_entropy(
            logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()
        ).backward(retain_graph=True)
    layers = Balancer(ours).layers
    routings = [layer.routing for layer in layers]
    together = load_balancing_loss(
        torch.cat([routing.logits_NE for routing in routings]),
        torch.cat([routing.expert_Nk for routing in routings]),
    )
    assert together.item() == pytest.approx(out.aux_loss.item(), rel=1e-5)
    together.backward()
    out.aux_loss.backward()
    config = ours.config
    gradients = tensors_to_hub({n: p.grad for n, p in ours.named_parameters()}, config)
    for name, parameter in theirs.named_parameters():
        torch.testing.assert_close(
            gradient_of(name, gradients), parameter.grad, atol=5e-5, rtol=2e-3, msg=name
        )


def gradient_of(name: str, stored: dict[str, torch.Tensor]) -> torch.Tensor:
    """By transformers' name in memory, where all experts of a layer are one tensor (E, …)."""
    parts = ("gate_proj", "up_proj") if name.endswith("gate_up_proj") else ("down_proj",)
    if any(".block_sparse_moe." in key for key in stored):
        name = name.replace(".mlp.", ".block_sparse_moe.")
        parts = ("w1", "w3") if name.endswith("gate_up_proj") else ("w2",)
    if ".experts." not in name:
        return stored[name]
    prefix = name.rsplit(".", 1)[0]
    return torch.stack([
        torch.cat([stored[f"{prefix}.{expert}.{part}.weight"] for part in parts])
        for expert in range(4)
    ])  # fmt: skip


@pytest.mark.parametrize("k", [1, 2, 3])
def test_the_balancing_loss_is_transformers(k):
    draw = torch.Generator().manual_seed(2)
    layers = [3 * torch.randn(40, 5, generator=draw) for _ in range(3)]
    mask = (torch.rand(4, 10, generator=draw) > 0.3).long()
    for mask_BT in (None, mask):
        rows = torch.cat(layers)
        mask_N = None if mask_BT is None else mask_BT.flatten().repeat(3)
        ours = load_balancing_loss(rows, rows.topk(k).indices, mask_N)
        theirs = load_balancing_loss_func(tuple(layers), 5, k, mask_BT)
        torch.testing.assert_close(ours, theirs)
    # one layer overloads an expert and another starves it: summed over layers, all looks even
    likes = torch.full((2, 8, 2), -2.0)
    likes[0, :, 0] = likes[1, :, 1] = 2.0
    assert load_balancing_loss_func(tuple(likes), 2, 1).item() == pytest.approx(1)
    assert load_balancing_loss(likes[0], likes[0].topk(1).indices).item() > 1.9


@pytest.mark.parametrize("name", OURS)
def test_names_come_back(name):
    config = OURS[name][1]
    state = Transformer(config).state_dict()
    hub = tensors_to_hub(state, config)
    back = tensors_from_hub(hub, config)
    assert back.keys() == state.keys() and all(torch.equal(back[k], state[k]) for k in state)
    if config.layout == "qwen2_moe":
        wide = hub["model.layers.0.mlp.shared_expert.down_proj.weight"]
        assert wide.shape == (48, 80 * config.num_shared_experts)


@pytest.mark.parametrize(
    "layout, change, message",
    [
        ("qwen2_moe", {"qkv_bias": True}, "sets qkv_bias to True"),
        ("qwen2_moe", {"shared_expert_intermediate_size": 81}, "= a multiple of 80"),
    ],
)
def test_what_we_do_not_build_is_refused(layout, change, message):
    with pytest.raises(MinimindError, match=message):
        config_from_hub(config_to_hub(OURS[layout][1]) | change)


def test_old_qwen_checkpoints_have_biases_without_saying_so():
    hub = config_to_hub(OURS["qwen2_moe"][1])
    hub.pop("qkv_bias")
    with pytest.raises(MinimindError, match="sets qkv_bias to True"):
        config_from_hub(hub)


def test_what_transformers_has_no_model_for_stays_ours(tmp_path):
    config = preset(
        "moe-145m", **SMALL, router_bias_rate=0.001, expert_capacity=1.5, mlp_only_layers="0,1",
        dense_intermediate_size=96,
    )  # fmt: skip
    assert config.layout == "minimind_moe"
    ours = Transformer(config)
    for layer in Balancer(ours).layers:
        layer.e_score_correction_bias.fill_(0.25)
    back, _ = load_model_folder(save_model_folder(tmp_path / "model", ours))
    assert back.config == config
    assert Balancer(back).layers[0].e_score_correction_bias.tolist() == [0.25] * 4
