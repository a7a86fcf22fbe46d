"""The ONNX graph is our model: prompt in one pass, then token by token, for any batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch.nn.functional import cross_entropy

from minimind_wiki.data.world.rows import make_rows
from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.infer import load_model_folder
from minimind_wiki.infer.export.onnx_file import Step, cache_names, export_onnx, quantize
from minimind_wiki.model import ModelConfig, Transformer, preset

MODELS = Path(__file__).resolve().parents[2] / "models"
SMALL = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 259,
         "intermediate_size": 80, "max_position_embeddings": 64, "initializer_range": 0.2,
         "bos_token_id": 257, "eos_token_id": 258, "pad_token_id": 256}  # fmt: skip
LAYOUTS = {
    "window, sinks": preset("26m", **SMALL, sliding_window=7, attention_sinks=1, full_layers="1"),
    "q/k-norm, untied": preset("64m", **SMALL, tie_word_embeddings=False, head_dim=20),
    "yarn": preset("26m", **SMALL, rope_type="yarn", rope_factor=4.0),
    "no positions": preset("26m", **SMALL, positions="none"),
    "gpt2": preset("gpt2-124m", **SMALL),
    "shared expert": preset("moe-145m", **SMALL, shared_expert_gate=True),
}


class Graph:
    """The graph in onnxruntime, with the cache carried along."""

    def __init__(self, file: Path, config: ModelConfig) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(file), options)
        self.config, self.past = config, []

    def __call__(self, ids_BT: np.ndarray, fresh: bool = False) -> np.ndarray:
        """Logits (B, T, V) of tokens behind those before, or of a `fresh` text."""
        config, names = self.config, cache_names(self.config, "past_key_values")
        if fresh:
            shape = (len(ids_BT), config.num_key_value_heads, 0, config.head_dim)
            self.past = [np.zeros(shape, np.float32) for _ in names]
        feed = dict(zip(names, self.past, strict=True))
        logits, *self.past = self.session.run(None, {"input_ids": ids_BT, **feed})
        return logits


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    model, tokenizer = load_model_folder(MODELS / "world-nano", dtype=torch.float32)
    folder = tmp_path_factory.mktemp("onnx")
    return model, tokenizer, export_onnx(model, folder / "f32.onnx")


def follow(model: Transformer, graph: Graph, ids_BT: np.ndarray, steps: int) -> None:
    """The prompt and `steps` greedy tokens behind it: logits within 1e-4 of ours at each."""
    found = graph(ids_BT, fresh=True)
    with torch.no_grad():
        np.testing.assert_allclose(found, model(torch.tensor(ids_BT)), atol=1e-4, rtol=0)
        for _ in range(steps):
            new_B1 = found[:, -1:].argmax(-1)
            ids_BT = np.concatenate((ids_BT, new_B1), axis=1)
            found = graph(new_B1)
            ours = model(torch.tensor(ids_BT))[:, -1:]
            assert ours.std() > 0.1
            np.testing.assert_allclose(found, ours, atol=1e-4, rtol=0)


def test_a_trained_model_in_a_prompt_and_20_steps(world):
    model, tokenizer, file = world
    graph = Graph(file, model.config)
    for text in ("The cat", "Ana walked to the garden and put the red ball on the table. Where is"):
        follow(model, graph, np.array([tokenizer.encode(text)]), 20)
    draw = np.random.default_rng(0)
    follow(model, graph, draw.integers(0, 2048, (3, 1)), 3)  # three rows that begin with one token
    whole = draw.integers(0, 2048, (2, 9))
    parts = np.concatenate((graph(whole[:, :4], fresh=True), graph(whole[:, 4:])), axis=1)
    np.testing.assert_allclose(parts, graph(whole, fresh=True), atol=1e-4, rtol=0)


def test_experts_and_a_window(tmp_path):
    model = Transformer(
        preset("moe-198m", **SMALL | {"num_hidden_layers": 1}, sliding_window=7), seed=3
    ).eval()
    graph = Graph(export_onnx(model, tmp_path / "m.onnx"), model.config)
    follow(model, graph, np.random.default_rng(0).integers(0, 259, (2, 12)), 2)


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_step_that_is_exported_is_the_model(name):
    """Before torch makes a graph of it: a text in three parts, the cache handed on."""
    model = Transformer(LAYOUTS[name], seed=3).eval()
    config, ids_BT = model.config, torch.randint(0, 259, (2, 12))
    empty = torch.zeros(2, config.num_key_value_heads, 0, config.head_dim)
    past, found = [empty] * (2 * config.num_hidden_layers), []
    with torch.no_grad():
        for part in ids_BT.split((7, 1, 4), dim=1):
            logits_BTV, past = Step(model)(part, past)
            found.append(logits_BTV)
        torch.testing.assert_close(torch.cat(found, 1), model(ids_BT), atol=1e-4, rtol=0)
        assert float(torch.cat(found, 1).std()) > 0.1


def test_int8_stays_near(world, tmp_path):
    """Every product has weights of int8, the head too; the embedding is no product and stays."""
    model, tokenizer, file = world
    small = tmp_path / "int8.onnx"
    small.write_bytes(file.read_bytes())
    quantize(small)
    kinds = [node.op_type for node in onnx.load(str(small)).graph.node]
    products = 7 * model.config.num_hidden_layers + 1
    assert kinds.count("MatMulInteger") == products  # those left as MatMul have no weight
    ids = np.array([tokenizer.encode(row["text"])[:64] for row in make_rows("pretrain", 4, seed=5)])
    loss = []
    for found in (Graph(file, model.config), Graph(small, model.config)):
        scores = torch.tensor(found(ids, fresh=True)[:, :-1]).flatten(0, 1)
        loss.append(float(cross_entropy(scores, torch.tensor(ids[:, 1:]).flatten())))
    assert loss[0] < loss[1] < loss[0] + 0.2


def test_what_has_no_graph_is_refused(tmp_path):
    for more in ({"positions": "alibi"}, {"rope_type": "dynamic", "rope_factor": 2.0}):
        with pytest.raises(MinimindError, match="no ONNX graph"):
            export_onnx(Transformer(preset("26m", **SMALL, **more)), tmp_path / "m.onnx")
    with pytest.raises(WrongCall, match="unknown type"):
        export_onnx(Transformer(preset("26m", **SMALL)), tmp_path / "m.onnx", "f16")
    assert not list(tmp_path.iterdir())
