"""Two processes train as one does: equal gradients and curves, and what they keep and send.

Two processes are started once and do everything (`distributed_worker.py`); the tests read what they
saw. All is float32. What may differ is the order in which numbers are added: a gradient agrees
within a few roundings of its largest number. AdamW divides each gradient by its own size, so that
after some steps a weight whose gradient is nearly zero may have drifted a little further.
"""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from distributed_worker import (
    CONFIG,
    CORPUS,
    GPT2,
    LENGTH,
    OTHERS,
    ROWS,
    SHAPE,
    STEPS,
    WAYS,
    Run,
    batch_of,
    main,
)
from processes import free_ports, in_two
from safetensors.torch import load_file

from minimind_wiki.data.packing import IGNORE
from minimind_wiki.errors import MinimindError
from minimind_wiki.infer import load_model_folder
from minimind_wiki.infer.hub_tensors import tensors_from_hub
from minimind_wiki.infer.read import read_tensors
from minimind_wiki.model import Transformer, preset
from minimind_wiki.model.block import Block
from minimind_wiki.model.rope_scaling import RotaryTables
from minimind_wiki.train.checkpoint import list_checkpoints, read_state
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.memory_model import (
    Formats,
    activation_bytes,
    payloads,
    ring_bytes,
    split_count,
    state_bytes,
    tensor_payload,
)
from minimind_wiki.train.parallel import Alone
from minimind_wiki.train.pretrain import pretrain
from minimind_wiki.train.sharded import Dealt, load_optimizer_pieces, write_dealt

ROOT = Path(__file__).resolve().parents[2]
ROUNDING = 5e-6  # of a tensor's largest gradient; float32 resolves 6e-8


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    in_two(main, free_ports(1)[0], folder)
    return folder


@pytest.fixture(scope="module")
def seen(out):
    return [json.loads((out / f"seen-{rank}.json").read_text()) for rank in range(2)]


def passes(name):
    """Forward passes of one process in a step."""
    kind, _, micro = WAYS[name]
    rows = ROWS if kind == "tensor" else ROWS // 2
    return -(-rows // micro)


def test_the_rows_differ_in_what_they_predict():
    """Otherwise a mean of means would pass for the mean."""
    counts = (batch_of(0).labels_BT != IGNORE).sum(1)
    assert counts[0::2].sum() != counts[1::2].sum()


def test_the_processes_know_each_other(seen):
    assert [one["group"] for one in seen] == [[0, 2, True, 7], [1, 2, True, 7]]


@pytest.mark.parametrize("name", WAYS)
def test_the_gradient_is_that_of_one_process(seen, name):
    assert all(one[name]["gradient"] < ROUNDING for one in seen)


@pytest.mark.parametrize("name", OTHERS)
def test_other_models_get_the_same_gradient(seen, name):
    """Experts, also those that no token of one process visits; biases and learned positions."""
    assert all(one[name] < ROUNDING for one in seen)


@pytest.mark.parametrize("name", WAYS)
def test_the_curve_is_that_of_one_process(seen, name):
    for one in seen:
        for (loss, norm), (wanted, wanted_norm) in zip(
            one[name]["curve"], one[name]["expected"], strict=True
        ):
            assert loss == pytest.approx(wanted, rel=2e-6)
            assert norm == pytest.approx(wanted_norm, rel=2e-6)
        assert one[name]["weights"] < 1e-3
    assert seen[0][name]["curve"] == seen[1][name]["curve"]


@pytest.mark.parametrize("name", [name for name, way in WAYS.items() if way[0] != "tensor"])
def test_data_parallel_sends_what_the_model_says(seen, name):
    whole = Transformer(SHAPE)
    kept = whole.model.embed_tokens.weight.numel() + whole.model.norm.weight.numel()
    wanted = payloads(whole.num_parameters(), WAYS[name][0], kept=kept, passes=passes(name))
    for one in seen:
        assert {k: v for k, v in one[name]["payload"].items() if k != "small"} == wanted


@pytest.mark.parametrize("name", ["tensor", "tensor, accumulating"])
def test_tensor_parallel_sends_what_the_model_says(seen, name):
    wanted = tensor_payload(SHAPE, ROWS * LENGTH, passes=passes(name))
    assert all(one[name]["payload"]["all_reduce"] == wanted for one in seen)


@pytest.mark.parametrize("name", ["ddp", "fsdp", "tensor"])
def test_each_process_keeps_what_the_model_says(seen, name):
    parameters, cut = Transformer(SHAPE).num_parameters(), split_count(SHAPE)
    weights = state_bytes(parameters, name, 2, Formats(4, 0, 0), cut)
    averages = state_bytes(parameters, name, 2, Formats(0, 0, 8), cut)
    for one in seen:
        assert (one[name]["weight_bytes"], one[name]["state_bytes"]) == (weights, averages)


def test_one_process_sends_nothing():
    assert payloads(1e6, "none") == {}
    assert ring_bytes("all_reduce", 1e6, 1) == 0


@pytest.mark.parametrize("qk_norm", [False, True])
def test_activations_are_what_the_model_says(qk_norm):
    """What autograd keeps of one block, each storage once, without weights and rotary tables."""
    config = preset("nano", num_hidden_layers=1, qk_norm=qk_norm, vocab_size=260)
    block = Block(config, 0)
    torch.nn.init.normal_(block.self_attn.q_proj.weight)
    rope = RotaryTables(config)(0, LENGTH)
    fixed = {t.untyped_storage().data_ptr() for t in (*block.parameters(), *rope)}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in fixed:
            kept[storage.data_ptr()] = storage  # kept alive: no address is used twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        block(torch.randn(ROWS, LENGTH, config.hidden_size, requires_grad=True), rope)
    measured = sum(storage.nbytes() for storage in kept.values())
    tokens = ROWS * LENGTH
    beyond = 4 * tokens * (3 * config.hidden_size + 1 + config.vocab_size)
    assert measured == pytest.approx(activation_bytes(config, tokens) - beyond, rel=0.05)


def test_a_sharded_run_resumes_to_the_bit(seen):
    for one in seen:
        assert one["checkpoint"]["resumed"] == one["checkpoint"]["whole"]
        assert one["checkpoint"]["weights"] == 0


def test_one_process_goes_on_with_what_two_wrote(out, seen):
    """The checkpoint is a model in two files, each with about half; the curve goes on as it was."""
    files = sorted((out / "step").glob("model-*.safetensors"))
    sizes = [file.stat().st_size for file in files]
    assert len(files) == 2 and max(sizes) < 1.1 * min(sizes)
    alone = Run(Alone())
    alone.model.load_state_dict(tensors_from_hub(read_tensors(out / "step"), SHAPE))
    load_optimizer_pieces(out / "step", "optimizer", alone.model, alone.optimizer)
    curve = [alone.step(step) for step in range(2, STEPS)]
    for ours, theirs in zip(curve, seen[0]["checkpoint"]["whole"], strict=True):
        assert ours == pytest.approx(theirs, rel=2e-6)


def test_a_gpt2_in_pieces_is_saved_with_its_own_names(out):
    state = tensors_from_hub(read_tensors(out / "gpt2"), GPT2)
    for name, tensor in Transformer(GPT2, seed=0).state_dict().items():
        assert torch.equal(state[name], tensor), name


def test_nothing_is_pickled(out):
    found = {file.suffix for file in (out / "step").iterdir()}
    assert found == {".safetensors", ".json"}


def test_a_missing_piece_is_named(tmp_path):
    write_dealt(tmp_path, "model", {"a": torch.ones(2), "b": torch.zeros(3)}, Alone())
    stored = Dealt(tmp_path, "model")
    assert torch.equal(stored.whole("a"), torch.ones(2))
    assert load_file(tmp_path / "model-00001-of-00001.safetensors").keys() == {"a", "b"}
    with pytest.raises(MinimindError, match="no readable c"):
        stored.whole("c")
    with pytest.raises(MinimindError, match=r"optimizer\.safetensors\.index\.json is missing"):
        Dealt(tmp_path, "optimizer")


@pytest.fixture(scope="module")
def alone():
    """The run of one process that those of two are compared with."""
    return pretrain(CONFIG, corpus=CORPUS).state


def assert_same_run(state, other):
    """Equal steps, and losses within the roundings of a dozen steps."""
    for curve, wanted in ((state.train, other.train), (state.held_out, other.held_out)):
        assert curve.keys() == wanted.keys()
        for name, values in curve.items():
            assert values == pytest.approx(wanted[name], rel=1e-5)


def test_a_signal_to_one_process_stops_both_and_one_goes_on_alone(out, seen, alone):
    """With the same rows in the same order: the number of processes is no part of the run."""
    assert [one["stopped"] for one in seen] == [True, True]
    assert [step for step, _ in list_checkpoints(out / "ddp")] == [5, 7]
    outcome = pretrain(CONFIG, {}, out / "ddp", resume=True, corpus=CORPUS)
    assert outcome.finished
    assert_same_run(outcome.state, alone)


def test_a_whole_run_in_cut_blocks_is_that_of_one_process(out, seen, alone):
    assert [one["finished"] for one in seen] == [True, True]
    folder = out / "tensor"
    assert_same_run(read_state(folder / "checkpoints" / "step-000012")[0], alone)
    assert load_model_folder(folder)[0].num_parameters() == 115_200


def test_a_process_that_dies_is_started_again_and_the_run_goes_on(tmp_path, alone):
    """torchrun by way of the cluster's own script, sharded: process 1 dies in step 8."""
    corpus = tmp_path / "village.txt"
    corpus.write_text(CORPUS.documents[0])
    words = []
    for field in dataclasses.fields(CONFIG):
        value, usual = getattr(CONFIG, field.name), getattr(TrainConfig(), field.name)
        if value != usual and field.name != "data":
            words += ["--" + field.name.replace("_", "-"), str(value)]
    names = {"OUT": str(tmp_path / "run"), "PROCESSES": "2", "PROGRAM": "elastic_worker",
             "PORT": str(free_ports(1)[0]), "RESTARTS": "1", "OMP_NUM_THREADS": "1",
             "TORCHRUN": str(Path(sys.executable).with_name("torchrun")),
             "PYTHONPATH": f"{ROOT}:{Path(__file__).parent}"}  # fmt: skip
    done = subprocess.run(
        ["bash", ROOT / "cluster" / "train.sh", "--data", corpus, "--parallel", "fsdp", *words],
        env=os.environ | names, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Run: ") == 2  # one process speaks, in each of its two lives
    assert "step-000005, step 5 of 12" in done.stdout
    assert "process 0 of 2 cannot go on: another one ended" in done.stderr
    folder = tmp_path / "run"
    run = json.loads((folder / "run.json").read_text())
    assert (run["processes"], run["parallel"]) == (2, "fsdp")
    checkpoint = folder / "checkpoints" / "step-000012"
    assert len(list(checkpoint.glob("model-*-of-00002.safetensors"))) == 2
    assert_same_run(read_state(checkpoint)[0], alone)


def test_what_cannot_be_dealt_is_refused(seen):
    for one in seen:
        assert "make batch_size a multiple of 2" in one["odd rows"]
        assert "num_attention_heads is 3, which 2 processes cannot share" in one["odd heads"]
        assert "alibi" in one["alibi"]
        assert "muon does not go with tensor" in one["muon"]
        assert "dense blocks only" in one["experts"]


def test_a_silent_process_is_reported_in_time(seen):
    assert "another one ended or did not answer within 1 seconds" in seen[0]["lost"]
    assert "--resume" in seen[0]["lost"]
