"""A model folder goes both ways between this package and transformers, without a warning."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"

import logging
import warnings

import pytest
import torch
import transformers
from test_model import LAYOUTS, randomize, token_ids

from minimind_wiki.infer import generate, load_model_folder, save_model_folder
from minimind_wiki.model import Transformer

SIZES = {
    "vocab_size": 259,
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 80,
    "max_position_embeddings": 64,
    "initializer_range": 0.2,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
THEIRS = {
    "llama": (transformers.LlamaConfig, SIZES | {"tie_word_embeddings": True}),
    "llama untied": (transformers.LlamaConfig, SIZES),
    "llama as it comes": (transformers.LlamaConfig, SIZES | {"pad_token_id": None}),
    "qwen3": (transformers.Qwen3Config, SIZES | {"tie_word_embeddings": True, "head_dim": 16}),
    "qwen3 untied": (transformers.Qwen3Config, SIZES | {"head_dim": 12}),
    "qwen3_moe": (transformers.Qwen3MoeConfig, SIZES | {
        "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "head_dim": 12,
    }),
    "gpt2": (transformers.GPT2Config, {
        "vocab_size": 259, "n_embd": 48, "n_layer": 3, "n_head": 4, "n_positions": 64,
        "initializer_range": 0.2, "bos_token_id": 1, "eos_token_id": 2,
    }),
}  # fmt: skip


class Ears(logging.Handler):
    """Keeps what transformers says at WARNING or above."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(record.getMessage())


def load_quietly(folder) -> torch.nn.Module:
    """transformers' model of a folder; fails on a warning, a log line or a stray tensor."""
    ears, logger = Ears(), logging.getLogger("transformers")
    logger.addHandler(ears)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model, info = transformers.AutoModelForCausalLM.from_pretrained(
                folder, output_loading_info=True
            )
    finally:
        logger.removeHandler(ears)
    assert not any(info.values()), info
    assert not ears.heard, ears.heard
    return model.eval()


def assert_same_model(ours: Transformer, theirs: torch.nn.Module) -> None:
    """Logits within 1e-4 and the same 20 greedy tokens, with a cache on both sides."""
    ids = token_ids()
    with torch.no_grad():
        torch.testing.assert_close(ours(ids), theirs(ids).logits, atol=1e-4, rtol=0)
    theirs_ids = theirs.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=20, do_sample=False,
        eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    assert torch.equal(generate(ours, ids, 20, temperature=0), theirs_ids)


@pytest.mark.parametrize("name", LAYOUTS)
def test_our_folder_opens_in_transformers(name, tmp_path):
    ours = Transformer(LAYOUTS[name], seed=3)
    randomize(ours)
    save_model_folder(tmp_path / "model", ours)
    assert_same_model(ours, load_quietly(tmp_path / "model"))


@pytest.mark.parametrize("name", THEIRS)
def test_transformers_folder_opens_here(name, tmp_path):
    kind, values = THEIRS[name]
    torch.manual_seed(7)
    theirs = transformers.AutoModelForCausalLM.from_config(kind(**values)).eval()
    randomize(theirs)
    theirs.save_pretrained(tmp_path / "model")
    ours, tokenizer = load_model_folder(tmp_path / "model")
    assert tokenizer is None
    assert ours.num_parameters() == sum(p.numel() for p in theirs.parameters())
    assert_same_model(ours, theirs)


def test_shards_open_here(tmp_path):
    kind, values = THEIRS["qwen3"]
    theirs = transformers.AutoModelForCausalLM.from_config(kind(**values)).eval()
    theirs.save_pretrained(tmp_path / "model", max_shard_size="50KB")
    assert len(list((tmp_path / "model").glob("*.safetensors"))) > 1
    assert_same_model(load_model_folder(tmp_path / "model")[0], theirs)


def test_half_precision_is_kept(tmp_path):
    ours = Transformer(LAYOUTS["llama"], seed=3).bfloat16()
    save_model_folder(tmp_path / "model", ours)
    assert load_quietly(tmp_path / "model").dtype == torch.bfloat16
    back, _ = load_model_folder(tmp_path / "model")
    assert back.lm_head.weight.dtype == torch.bfloat16
    assert torch.equal(back(token_ids()), ours(token_ids()))
    wide, _ = load_model_folder(tmp_path / "model", dtype=torch.float32)
    assert wide.lm_head.weight.dtype == torch.float32
