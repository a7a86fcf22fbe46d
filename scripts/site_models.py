"""The trained models as the page's engine reads them, into docs/en/assets/build/lm/.

numpy is all that this needs: the site is built where torch is not installed. A folder for each
model and each adapter, and models.json, the list of them. Where the models do not lie in the
checkout (a source archive without them), nothing is written and the playground says so.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT / "models"
BUNDLE = ROOT / "minimind_wiki" / "infer" / "export" / "bundle.py"
TOKENIZER = ("tokenizer.json", "tokenizer_config.json")

STAGES: list[dict[str, Any]] = [
    {"id": "random", "title": "Untrained", "stage": "random", "base": "world-tiny", "chat": False},
    {"id": "world-nano", "title": "Pretrained, small", "stage": "pretrained",
     "chat": False},
    {"id": "world-tiny", "title": "Pretrained", "stage": "pretrained",
     "chat": False},
    {"id": "world-tiny-chat", "title": "Fine-tuned on chats (SFT)", "stage": "sft", "chat": True},
    {"id": "world-tiny-dpo", "title": "Preferred replies (DPO)", "stage": "dpo",
     "base": "world-tiny-chat", "chat": True},
    {"id": "world-tiny-grpo", "title": "Reinforced on sums (GRPO)", "stage": "rl",
     "base": "world-tiny-chat", "chat": True},
]  # fmt: skip
"""What the playground offers, a base before its adapters."""

_LAYER = (
    "input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
    "self_attn.o_proj", "self_attn.q_norm", "self_attn.k_norm", "post_attention_layernorm",
    "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj",
)  # fmt: skip


def bundle_module() -> ModuleType:
    """infer/export/bundle.py by its path: its package imports torch, the file does not."""
    sys.path.insert(0, str(ROOT))
    spec = importlib.util.spec_from_file_location("site_bundle", BUNDLE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read_safetensors(file: Path) -> dict[str, Any]:
    """Tensors as float32 arrays. numpy has no bfloat16: it is the upper half of a float32."""
    import numpy as np

    raw = file.read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:start])
    tensors = {}
    for name, about in header.items():
        if name == "__metadata__":
            continue
        first, end = (start + offset for offset in about["data_offsets"])
        part = raw[first:end]
        if about["dtype"] == "BF16":
            values = (np.frombuffer(part, "<u2").astype("<u4") << 16).view("<f4")
        else:
            values = np.frombuffer(part, {"F32": "<f4", "F16": "<f2"}[about["dtype"]])
        tensors[name] = values.astype(np.float32).reshape(about["shape"])
    return tensors


def in_reading_order(tensors: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """A dense model's tensors in the order of a pass, which is that of the package's exporter."""
    layers = {int(name.split(".")[2]) for name in tensors if name.startswith("model.layers.")}
    order = ["model.embed_tokens.weight"]
    order += [f"model.layers.{i}.{part}.weight" for i in sorted(layers) for part in _LAYER]
    order += ["model.norm.weight", "lm_head.weight"]
    unknown = tensors.keys() - set(order)
    if unknown:
        sys.exit(f"web: the models step does not know the tensor {sorted(unknown)[0]}.")
    return ((name, tensors[name]) for name in order if name in tensors)


def write_model(bundle: ModuleType, name: str, folder: Path) -> dict[str, Any]:
    """Write a model's bundle; return its config.json, as the bundle's header has it."""
    source = MODELS / name
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    config.pop("dtype", None)  # of the file that it was read from; here it is int8
    for file in TOKENIZER:
        shutil.copyfile(source / file, folder / file)
    beside = {file: bundle.sha256((folder / file).read_bytes()) for file in TOKENIZER}
    tensors = in_reading_order(read_safetensors(source / "model.safetensors"))
    (folder / bundle.FILE).write_bytes(bundle.model_file(config, tensors, beside))
    return dict(config)


def write_adapter(bundle: ModuleType, name: str, base: Path, folder: Path) -> None:
    """Write an adapter's file for the bundle of its model."""
    about = json.loads((MODELS / name / "adapter_config.json").read_text(encoding="utf-8"))
    tensors = read_safetensors(MODELS / name / "adapter_model.safetensors")
    prefix = "base_model.model."
    names = sorted({key.removeprefix(prefix).rpartition(".lora_")[0] for key in tensors})
    layers = {
        layer: (
            tensors[f"{prefix}{layer}.lora_A.weight"],
            tensors[f"{prefix}{layer}.lora_B.weight"],
        )
        for layer in names
    }
    rank = about["r"]
    scale = about["lora_alpha"] / (rank**0.5 if about.get("use_rslora") else rank)
    header, _ = bundle.read_bundle(base)
    (folder / bundle.ADAPTER).write_bytes(bundle.adapter_file(layers, scale, header["sha256"]))


def build(out: Path) -> list[dict[str, Any]]:
    """Write all bundles and models.json into `out`, replacing what is there; return the list."""
    bundle = bundle_module()
    fresh = out.with_name(f"{out.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    listed: dict[str, dict[str, Any]] = {}
    configs = {}
    for stage in STAGES:
        entry = dict(stage)
        name, base = entry["id"], entry.get("base")
        listed[name] = entry
        if entry["stage"] == "random":
            continue
        folder = fresh / name
        folder.mkdir()
        if base:
            write_adapter(bundle, name, fresh / base, folder)
        else:
            configs[name] = write_model(bundle, name, folder)
        entry["folder"] = name
        entry["files"] = [
            {"name": file.name, "bytes": file.stat().st_size,
             "sha256": bundle.sha256(file.read_bytes())}
            for file in sorted(folder.iterdir())
        ]  # fmt: skip
        main = bundle.ADAPTER if base else bundle.FILE
        entry["sha256"] = next(file["sha256"] for file in entry["files"] if file["name"] == main)
    for entry in listed.values():
        base = listed.get(entry.get("base", ""), {})
        fetched = [*entry.get("files", ()), *base.get("files", ())]
        if entry["stage"] == "random":
            entry["config"] = configs[entry["base"]]
            fetched = [file for file in fetched if file["name"] in TOKENIZER]
        entry["bytes"] = sum(file["bytes"] for file in fetched)
    (fresh / "models.json").write_text(json.dumps(list(listed.values()), indent=1) + "\n")
    shutil.rmtree(out, ignore_errors=True)
    fresh.rename(out)
    return list(listed.values())


if __name__ == "__main__":
    if not all((MODELS / stage["id"]).is_dir() for stage in STAGES if stage["stage"] != "random"):
        print("web: no trained models here, so the playground has none.")
    elif importlib.util.find_spec("numpy") is None:
        print("web: no numpy here, so the playground has no models; 'make setup-site' brings it.")
    else:
        total = sum(entry["bytes"] for entry in build(Path(sys.argv[1])))
        print(f"web: models for the page, {total / 1e6:.1f} MB if each is opened alone")
