"""Adapters on the loop: only they learn, checkpoints are plain models, runs resume to the bit."""

import dataclasses
import json

import pytest
import torch
from safetensors.torch import load_file

from minimind_wiki.cli import main
from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.infer import load_model_folder, save_model_folder
from minimind_wiki.model import Transformer, preset
from minimind_wiki.tokenizer import ByteTokenizer
from minimind_wiki.train.checkpoint import list_checkpoints
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.folder import saved_run
from minimind_wiki.train.lora_folder import load_adapter
from minimind_wiki.train.sft import SftSettings, sft

TOKENIZER = ByteTokenizer()
ASK_NOTHING = SftSettings(gold_items=0)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base") / "model"
    return save_model_folder(folder, Transformer(preset("nano"), seed=0), TOKENIZER)


@pytest.fixture
def config(base):
    return TrainConfig(
        init=str(base), data="world/instructions", steps=6, batch_size=4, context_length=256,
        eval_every=3, eval_windows=4, sample_tokens=0, device="cpu", threads=1,
        learning_rate=1e-2, lora_rank=4, lora_dropout=0.1, gradient_clip=1.0,
    )  # fmt: skip


def weights(folder):
    return load_model_folder(folder, "cpu")[0].state_dict()


@pytest.mark.parametrize("quantize", ["", "nf4"])
def test_the_folder_is_a_plain_model_and_the_adapter_lies_beside_it(
    config, base, quantize, tmp_path
):
    config = dataclasses.replace(config, quantize=quantize)
    out = tmp_path / "run"
    outcome = sft(config, ASK_NOTHING, out)
    losses = outcome.state.held_out["loss"]
    assert losses[-1] < losses[0] - 0.1
    before, after = weights(base), weights(out)
    assert before.keys() == after.keys()
    changed = {n for n in before if not torch.equal(before[n], after[n])}
    assert changed == {n for n in before if "_proj." in n}  # all that LoRA names, and no other
    run = json.loads((out / "run.json").read_text())
    assert run["parameters"] == sum(p.numel() for p in Transformer(preset("nano")).parameters())
    if quantize:  # the adapter is one of the packed weights
        return
    loaded = load_model_folder(base, "cpu")[0]
    load_adapter(out / "adapter", loaded)
    ids = torch.arange(20)[None]
    merged = load_model_folder(out, "cpu")[0]
    torch.testing.assert_close(loaded.eval()(ids), merged.eval()(ids), atol=1e-5, rtol=1e-5)


def test_quantized_base_stays_what_four_bits_make_of_it(config, base, tmp_path):
    config = dataclasses.replace(config, quantize="nf4", steps=1, learning_rate=1e-9)
    sft(config, ASK_NOTHING, tmp_path / "run")
    before, after = weights(base), weights(tmp_path / "run")
    off = [(before[n] - after[n]).abs().max() / before[n].abs().max()
           for n in before if "_proj.weight" in n]  # fmt: skip
    # neighbouring values of NF4 are at most 0.304 of a block's largest apart (-1 and -0.696)
    assert all(0.01 < share < 0.16 for share in off)


@pytest.mark.parametrize("quantize", ["", "nf4"])
def test_a_resumed_run_is_the_uninterrupted_one_to_the_bit(config, quantize, tmp_path):
    config = dataclasses.replace(config, quantize=quantize)
    whole = sft(config, ASK_NOTHING, tmp_path / "whole")
    half = tmp_path / "half"
    sft(config, ASK_NOTHING, half)
    for name in ("run.json", "model.safetensors"):
        (half / name).unlink()
    last = list_checkpoints(half)[-1][1]
    for file in last.iterdir():
        file.unlink()
    last.rmdir()
    assert list_checkpoints(half)[-1][0] == 3
    again, _ = saved_run(half)
    resumed = sft(again, ASK_NOTHING, half, resume=True)
    assert resumed.state.held_out == whole.state.held_out
    mine, theirs = weights(half), weights(tmp_path / "whole")
    assert all(torch.equal(mine[n], theirs[n]) for n in mine)
    pair = [load_file(tmp_path / n / "adapter" / "adapter_model.safetensors")
            for n in ("half", "whole")]  # fmt: skip
    assert pair[0].keys() == pair[1].keys()
    assert all(torch.equal(pair[0][n], pair[1][n]) for n in pair[0])


def test_it_does_not_resume_on_another_base(config, base, tmp_path):
    first = save_model_folder(tmp_path / "base", Transformer(preset("nano"), seed=0), TOKENIZER)
    config = dataclasses.replace(config, init=str(first), steps=3)
    sft(config, ASK_NOTHING, tmp_path / "run")
    (tmp_path / "run" / "run.json").unlink()
    save_model_folder(first, Transformer(preset("nano"), seed=1), TOKENIZER)
    with pytest.raises(MinimindError, match="not those that the run began with"):
        sft(config, ASK_NOTHING, tmp_path / "run", resume=True)


def test_the_best_step_is_published_also_when_it_is_not_the_last(config, base, tmp_path):
    much = {"learning_rate": 0.03, "min_learning_rate": 5.0, "gradient_clip": 0.0}
    config = dataclasses.replace(config, lora_dropout=0.0, eval_every=1, **much)
    out = tmp_path / "run"
    state = sft(config, ASK_NOTHING, out).state
    assert state.best_step < state.step
    best = dict(list_checkpoints(out))[state.best_step]
    merged, published = weights(best), weights(out)
    assert all(torch.equal(merged[n], published[n]) for n in merged)
    inside = load_file(best / "method.safetensors")
    apart = load_file(out / "adapter" / "adapter_model.safetensors")
    assert sorted(t.sum().item() for t in inside.values()) == sorted(
        t.sum().item() for t in apart.values()
    )


def test_wrong_settings_are_refused(config):
    for wrong, told in (({"init": ""}, "needs the weights"), ({"freeze": "embed"}, "freeze out"),
                        ({"lora_rank": 0, "quantize": "nf4"}, "lora_rank"),
                        ({"quantize": "int3"}, "quantize")):  # fmt: skip
        with pytest.raises(WrongCall, match=told):
            dataclasses.replace(config, **wrong).validate()


def test_the_verb_trains_adapters_and_resumes(base, tmp_path, capsys):
    out = tmp_path / "run"
    flags = ["--model", str(base), "--data", "world/instructions", "--steps", "2", "--batch-size",
             "2", "--context-length", "192", "--eval-windows", "4", "--gold-items", "0", "--device",
             "cpu", "--out", str(out)]  # fmt: skip
    assert main(["lora", *flags]) == 0
    assert "LoRA: rank 8 in 14 layers" in capsys.readouterr().out
    run = json.loads((out / "run.json").read_text())
    assert run["settings"]["lora_rank"] == 8 and "--lora-rank 8" in run["command"]
    (out / "run.json").unlink()
    assert main(["lora", "--out", str(out), "--resume"]) == 0
    assert (out / "run.json").exists()


def test_a_model_that_is_not_there_is_told(tmp_path, capsys):
    assert main(["lora", "--model", str(tmp_path / "none")]) == 2
    assert "none is no model folder" in capsys.readouterr().err
