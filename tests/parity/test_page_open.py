"""The page opens a model folder by itself, and makes the bundle that the package exports."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from page_engine import run_engine, site_models, some_ids
from safetensors.torch import load_file, save_file

from minimind_wiki.infer.export.browser import export_browser, read_bundle
from minimind_wiki.infer.folder import load_model_folder, save_model_folder
from minimind_wiki.model import ModelConfig, Transformer

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or not (ROOT / "web/node_modules").is_dir(),
    reason="Node and the npm packages of web/ are not installed",
)
SMALL = {
    "vocab_size": 2048,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 20,
    "max_position_embeddings": 64,
}
EXPERTS = {"num_experts": 3, "num_experts_per_tok": 2}
LAYOUTS = {
    "llama": {"tie_word_embeddings": False},
    "qwen3": {"qk_norm": True},
    "qwen3_moe": dict(qk_norm=True, mlp_only_layers="0", dense_intermediate_size=28, **EXPERTS),
    "gpt2": {"family": "gpt2", "num_key_value_heads": 4, "tie_word_embeddings": False},
    "minimind": {"positions": "learned"},
    "qwen2_moe": dict(num_shared_experts=2, shared_expert_gate=True, **EXPERTS),
    "mixtral": dict(norm_topk_prob=True, **EXPERTS),
    "minimind_moe": dict(num_shared_experts=1, router_bias_rate=0.001, **EXPERTS),
}


def opened(folder: Path, out: Path) -> str:
    """What the page says while it opens the folder and writes the bundle to `out`."""
    command = ["node", str(Path(__file__).with_name("page_open.mjs")), str(folder), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout


def same_bundle(made: Path, exported: Path) -> None:
    """The same header, but for how JSON is spaced, and the same data to the byte."""
    headers, data = [], []
    for file in (made, exported):
        raw = file.read_bytes()
        start = 8 + int.from_bytes(raw[4:8], "little")
        headers.append(json.loads(raw[8:start]))
        data.append(raw[start:])
    assert data[0] == data[1]
    for key in ("tensors", "bytes", "sha256"):
        assert headers[0][key] == headers[1][key]


def test_a_shipped_model_becomes_the_exported_bytes(tmp_path: Path) -> None:
    folder = ROOT / "models/world-tiny"
    model, tokenizer = load_model_folder(folder)
    export_browser(model, tokenizer, tmp_path / "exported")
    assert opened(folder, tmp_path / "model.bin") == ""
    same_bundle(tmp_path / "model.bin", tmp_path / "exported/model.bin")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_becomes_the_exported_bytes(layout: str, tmp_path: Path) -> None:
    config = ModelConfig(**(SMALL | LAYOUTS[layout]))
    assert config.layout == layout
    tokenizer = load_model_folder(ROOT / "models/world-nano")[1]
    # a folder's numbers are often 16 bits wide: one kind here, the other in the next test
    model = Transformer(config).to(torch.bfloat16)
    folder = save_model_folder(tmp_path / "model", model, tokenizer)
    export_browser(model, tokenizer, tmp_path / "exported")
    assert opened(folder, tmp_path / "model.bin") == ""
    same_bundle(tmp_path / "model.bin", tmp_path / "exported/model.bin")


def test_a_gpt2_as_it_was_first_saved_is_opened(tmp_path: Path) -> None:
    """Without the first word of each name, and with the mask, which can be computed."""
    config = ModelConfig(**(SMALL | LAYOUTS["gpt2"] | {"tie_word_embeddings": True}))
    tokenizer = load_model_folder(ROOT / "models/world-nano")[1]
    folder = save_model_folder(tmp_path / "model", Transformer(config), tokenizer)
    export_browser(Transformer(config), tokenizer, tmp_path / "exported")
    tensors = load_file(folder / "model.safetensors")
    old = {name.removeprefix("transformer."): values for name, values in tensors.items()}
    old["h.0.attn.bias"] = torch.ones(1, 1, 4, 4)
    save_file(old, folder / "model.safetensors")
    assert opened(folder, tmp_path / "model.bin") == ""
    same_bundle(tmp_path / "model.bin", tmp_path / "exported/model.bin")


def test_shards_of_float16_are_read_with_their_subnormals(tmp_path: Path) -> None:
    model = Transformer(ModelConfig(**SMALL)).half()
    first = next(model.parameters())
    with torch.no_grad():
        first[0, :4] = torch.tensor([2.0**-24, -(2.0**-15), 65504.0, -0.0])
    tokenizer = load_model_folder(ROOT / "models/world-nano")[1]
    folder = save_model_folder(tmp_path / "model", model, tokenizer)
    export_browser(model, tokenizer, tmp_path / "exported")
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names, shards = sorted(tensors), ("model-1.safetensors", "model-2.safetensors")
    where = {name: shards[number % 2] for number, name in enumerate(names)}
    for shard in shards:
        part = {name: tensors[name] for name in names if where[name] == shard}
        save_file(part, folder / shard)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    assert opened(folder, tmp_path / "model.bin") == ""
    same_bundle(tmp_path / "model.bin", tmp_path / "exported/model.bin")
    (folder / shards[1]).unlink()
    assert f"missing: {shards[1]} is missing" in opened(folder, tmp_path / "model.bin")


def test_the_bundle_of_the_page_is_one_that_the_package_reads(tmp_path: Path) -> None:
    """Its own tokenizer beside it, since the header names the hashes of those files."""
    model = Transformer(ModelConfig(**SMALL))
    tokenizer = load_model_folder(ROOT / "models/world-nano")[1]
    folder = save_model_folder(tmp_path / "model", model, tokenizer)
    opened(folder, folder / "model.bin")
    _, weights = read_bundle(folder)
    name = "model.layers.1.mlp.up_proj.weight"
    wanted = model.state_dict()[name].numpy()
    half_a_step = np.abs(wanted).max(axis=1, keepdims=True) / 127 / 2
    assert (np.abs(weights[name] - wanted) <= half_a_step * 1.001).all()


def test_a_config_of_other_weights_is_refused_by_name(tmp_path: Path) -> None:
    folder = save_model_folder(tmp_path / "model", Transformer(ModelConfig(**SMALL)),
                               load_model_folder(ROOT / "models/world-nano")[1])  # fmt: skip
    config = json.loads((folder / "config.json").read_text())
    for change, said in (
        ({"intermediate_size": 21}, "gate_proj.weight has the shape (20, 24)"),
        ({"model_type": "gpt2"}, "shared key heads"),
        ({"model_type": "mamba"}, "the layout “mamba”"),
        ({"tie_word_embeddings": False}, "lacks lm_head.weight"),
        ({"num_hidden_layers": 1}, "has besides model.layers.1."),
        ({"hidden_act": "gelu"}, 'hidden_act = "gelu"'),
    ):
        (folder / "config.json").write_text(json.dumps(config | change))
        assert said in opened(folder, tmp_path / "model.bin")


def test_a_lora_folder_is_applied_to_the_model_that_it_names(tmp_path: Path) -> None:
    """PEFT's files give what the site's own adapter gives: on a shipped base, beside its own."""
    site = tmp_path / "lm"
    site_models().build(site)
    name, base, ids = "world-tiny-grpo", "world-tiny-chat", some_ids(2048)
    lora = chosen(ROOT / "models" / name, name)
    both = [*lora, *chosen(ROOT / "models" / base, base)]
    half = {"kind": "adapter", "id": f"own:{name}", "scale": 0.5}
    calls = [
        ("load", [{"kind": "shipped", "id": name}]), ("logits", [name, ids]),
        ("logits", [base, ids]),
        ("load", [{"kind": "files", "name": name, "files": lora}]),
        ("logits", [f"own:{name}", ids]), ("logits", [f"own:{name}", ids, [half]]),
        ("logits", [name, ids, [half | {"id": name}]]),
        ("load", [{"kind": "files", "name": name, "files": both}]),
        ("logits", [f"own:{name}", ids]), ("logits", [f"own:{base}", ids]),
    ]  # fmt: skip
    answers = run_engine(site, calls, tmp_path)
    assert not [answer["error"] for answer in answers if "error" in answer]
    shipped, plain, own, halved, shipped_half, with_base, own_base = (
        answers[at]["value"] for at in (1, 2, 4, 5, 6, 8, 9)
    )
    assert own == shipped == with_base and shipped != plain == own_base
    assert halved == shipped_half and halved not in (plain, shipped)
    assert answers[3]["value"]["base"] == base and answers[7]["value"]["base"] == f"own:{base}"


def test_a_lora_folder_without_its_model_says_so(tmp_path: Path) -> None:
    site = tmp_path / "lm"
    site_models().build(site)
    folder = tmp_path / "mine"
    shutil.copytree(ROOT / "models/world-tiny-dpo", folder)
    about = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(
        json.dumps(about | {"base_model_name_or_path": "/elsewhere/secret"})
    )
    files = {"kind": "files", "name": "mine", "files": chosen(folder, "mine")}
    alone, _, _, wrong, _, right = run_engine(site, [
        ("load", [files]), ("load", [{"kind": "shipped", "id": "world-nano"}]),
        ("load", [{"kind": "shipped", "id": "world-tiny-chat"}]),
        ("load", [files | {"onto": "world-nano"}]), ("load", [files | {"onto": "none"}]),
        ("load", [files | {"onto": "world-tiny-chat"}]),
    ], tmp_path)  # fmt: skip
    assert alone["code"] == "missing" and "calls “secret”" in alone["error"]
    assert wrong["code"] == "damaged" and "does not fit this model" in wrong["error"]
    assert right["value"]["base"] == "world-tiny-chat"


def chosen(folder: Path, name: str) -> list[dict[str, str]]:
    """A folder's files as a reader chooses them."""
    return [{"name": f"{name}/{file.name}", "path": str(file)} for file in folder.iterdir()]
