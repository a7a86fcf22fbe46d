"""The page's engine for tests: bundles of many layouts, and one run of it in Node."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from minimind_wiki.infer.export.browser import export_browser
from minimind_wiki.infer.export.bundle import FILE, read_bundle, sha256
from minimind_wiki.infer.hub_config import config_from_hub
from minimind_wiki.model import ModelConfig, Transformer
from minimind_wiki.tokenizer.bytes import ByteTokenizer

ROOT = Path(__file__).resolve().parents[2]
GIVEN = 41  # tokens: more than the engine takes at once, and past every window
DRIVE = ROOT / "web" / "test" / "drive.mjs"

_SMALL: dict[str, Any] = {
    "vocab_size": 259, "hidden_size": 32, "num_hidden_layers": 3, "intermediate_size": 48,
    "max_position_embeddings": 96, "num_attention_heads": 4, "num_key_value_heads": 2,
    "initializer_range": 0.3, "rope_theta": 100.0,
    "pad_token_id": 256, "bos_token_id": 257, "eos_token_id": 258,
}  # fmt: skip
_MOE = _SMALL | {"num_experts": 4, "num_experts_per_tok": 2}
_GPT2 = _SMALL | {"family": "gpt2", "num_key_value_heads": 4}
_LONG = {"rope_factor": 4.0, "rope_original_positions": 24}
LAYOUTS: dict[str, dict[str, Any]] = {
    "llama": _SMALL | {"tie_word_embeddings": False},
    "qwen3": _SMALL | {"qk_norm": True, "rms_norm_eps": 0.1},
    # no size is a multiple of four: the kernel's last steps are on their own
    "odd": _SMALL | {"hidden_size": 30, "head_dim": 6, "intermediate_size": 50,
                     "num_attention_heads": 5, "num_key_value_heads": 5},
    "mistral": _SMALL | {"sliding_window": 5},
    "ministral": _SMALL | {"sliding_window": 5, "full_layers": "1"},
    "qwen3-window": _SMALL | {"qk_norm": True, "sliding_window": 4, "full_layers": "0,2"},
    "sinks": _SMALL | {"sliding_window": 6, "attention_sinks": 2, "full_layers": "2"},
    "qwen3-moe": _MOE | {"qk_norm": True, "norm_topk_prob": True},
    "mixtral": _MOE | {"norm_topk_prob": True},
    "dense-between": _MOE | {"qk_norm": True, "decoder_sparse_step": 2, "mlp_only_layers": "1",
                             "dense_intermediate_size": 40, "num_hidden_layers": 4},
    "shared": _MOE | {"num_shared_experts": 2, "router_bias_rate": 0.001},
    "qwen2-moe": _MOE | {"num_shared_experts": 1, "shared_expert_gate": True},
    "linear": _SMALL | {"rope_type": "linear", "rope_factor": 4.0},
    "yarn": _SMALL | {"rope_type": "yarn"} | _LONG,
    "llama3": _SMALL | {"rope_type": "llama3"} | _LONG,
    "ntk": _SMALL | {"rope_type": "ntk", "rope_factor": 4.0},
    "dynamic": _SMALL | {"rope_type": "dynamic"} | _LONG,
    "dynamic-window": _SMALL | {"rope_type": "dynamic", "sliding_window": 7} | _LONG,
    "gpt2": _GPT2,
    "gpt2-window": _GPT2 | {"sliding_window": 6, "attention_sinks": 2,
                            "tie_word_embeddings": False},
    "gpt2-rotary": _GPT2 | {"positions": "rotary"},
    "gpt2-odd": _GPT2 | {"hidden_size": 30, "num_attention_heads": 6, "intermediate_size": 50,
                         "num_key_value_heads": 6,
                         "positions": "alibi"},
    "learned": _SMALL | {"positions": "learned"},
    "sinusoidal": _SMALL | {"positions": "sinusoidal"},
    "gpt2-sinusoidal": _GPT2 | {"positions": "sinusoidal"},
    "alibi": _SMALL | {"positions": "alibi"},
    "alibi-window": _SMALL | {"positions": "alibi", "sliding_window": 6, "attention_sinks": 2,
                              "num_attention_heads": 6, "num_key_value_heads": 3, "head_dim": 5},
    "no-positions": _SMALL | {"positions": "none"},
    "alibi-moe": _MOE | {"positions": "alibi"},
}  # fmt: skip


def some_ids(vocabulary: int, seed: int = 0, length: int = GIVEN) -> list[int]:
    """Ids that were drawn."""
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(0, vocabulary, (length,), generator=draw).tolist()


def stirred(config: ModelConfig, seed: int = 3) -> Transformer:
    """Gains and biases away from one and zero: a forgotten one must show."""
    made = Transformer(config, seed=seed).eval()
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in [*made.parameters(), *made.buffers()]:
            if parameter.dim() == 1:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=draw))
    return made


def site_models() -> Any:
    """scripts/site_models.py as a module."""
    spec = importlib.util.spec_from_file_location(
        "site_models", ROOT / "scripts" / "site_models.py"
    )
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_site(folder: Path) -> list[str]:
    """The shipped models and one of each layout, as the site has them; return all ids."""
    listed = site_models().build(folder)
    for name, fields in LAYOUTS.items():
        export_browser(stirred(ModelConfig(**fields)), ByteTokenizer(), folder / name)
        files = [
            {"name": f.name, "bytes": f.stat().st_size, "sha256": sha256(f.read_bytes())}
            for f in sorted((folder / name).iterdir())
        ]
        size = sum(int(f["bytes"]) for f in files)
        listed.append({"id": name, "title": name, "stage": "pretrained", "folder": name,
                       "bytes": size, "files": files, "chat": False})  # fmt: skip
    (folder / "models.json").write_text(json.dumps(listed))
    return [entry["id"] for entry in listed]


def same_weights(folder: Path) -> Transformer:
    """A bundle's model in torch, with the weights that its int8 stand for."""
    assert (folder / FILE).exists()
    header, weights = read_bundle(folder)
    config = config_from_hub(header["config"])
    state = {name: torch.tensor(values) for name, values in weights.items()}
    if config.tie_word_embeddings:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    model = Transformer(config, seed=None)
    model.load_state_dict(state)
    return model.eval()


def run_engine(folder: Path, calls: list[tuple[str, list[Any]]], work: Path) -> list[Any]:
    """What the engine answers to these calls, each a method and what it is given."""
    task, answers = work / "task.json", work / "answers.json"
    described = [{"method": method, "given": given} for method, given in calls]
    task.write_text(json.dumps({"folder": f"{folder}/", "calls": described}))
    node = shutil.which("node") or str(Path(sys.executable).with_name("node"))
    done = subprocess.run(
        [node, str(DRIVE), str(task), str(answers)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return list(json.loads(answers.read_text()))
