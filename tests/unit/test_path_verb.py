"""`minimind path mastery`: what a reader made is measured, and what is missing is named."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import pytest
import torch

from minimind_wiki.book import asked, own_model
from minimind_wiki.cli import main
from minimind_wiki.infer import load_model_folder, save_model_folder
from minimind_wiki.train.continued import weights_hash

MODELS = Path(__file__).resolve().parents[2] / "models"
NANO, CHAT = MODELS / "world-nano", MODELS / "world-tiny-chat"


def stage(folder, before, method="sft"):
    """A folder as a fine-tuning of `before` leaves it, with weights of its own."""
    model, tokenizer = load_model_folder(before)
    with torch.no_grad():
        model.model.norm.weight.mul_(1.001 if before == NANO else 1.002)
    begun = {"folder": str(before), "sha256": weights_hash(before)}
    run = {"status": "finished", "method": {"name": method}, "init": begun, "seconds": 2.0,
           "parameters": model.num_parameters(), "data": {"name": "toy"}}  # fmt: skip
    return save_model_folder(folder, model, tokenizer, run)


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """base → sft → dpo, as folders of one run."""
    place = tmp_path_factory.mktemp("own")
    shutil.copytree(NANO, place / "base")
    stage(place / "sft", place / "base")
    stage(place / "dpo", place / "sft", "dpo")
    return place


def change(folder, **fields):
    run = json.loads((folder / "run.json").read_text("utf-8"))
    (folder / "run.json").write_text(json.dumps(run | fields), "utf-8")


@pytest.fixture
def copied(chain, tmp_path):
    """The chain, to spoil; the folders named in run.json are gone, those beside it count."""
    shutil.copytree(chain, tmp_path / "own")
    for name, before in (("sft", "base"), ("dpo", "sft")):
        begun = {"folder": f"gone/{before}", "sha256": weights_hash(tmp_path / "own" / before)}
        change(tmp_path / "own" / name, init=begun)
    return tmp_path / "own"


def test_the_way_back_is_followed_by_hashes(chain, copied):
    for place in (chain, copied):
        stages, broken = own_model.lineage(place / "dpo")
        assert [each.method for each in stages] == ["pretrain", "sft", "dpo"] and not broken
        assert own_model.text(stages, broken).passed
        found = own_model.taught(stages, broken)
        assert found.passed and "pretrain → sft → dpo" in found.found


@pytest.mark.parametrize(("spoil", "told"), [
    (lambda own: (own / "sft" / "run.json").unlink(), "no run.json"),
    (lambda own: change(own / "dpo", status="stopped"), "not finished"),
    (lambda own: shutil.rmtree(own / "base"), "not there"),
    (lambda own: shutil.copy(own / "base" / "model.safetensors", own / "sft"), "not those"),
    (lambda own: change(own / "base", init={"folder": str(own / "dpo"),
                                            "sha256": weights_hash(own / "dpo")}), "itself"),
])  # fmt: skip
def test_a_broken_chain_is_told(copied, spoil, told):
    spoil(copied)
    stages, broken = own_model.lineage(copied / "dpo")
    assert told in broken
    assert told in own_model.text(stages, broken).found
    assert not own_model.taught(stages, broken).passed


def test_a_base_must_beat_pairs_and_be_a_pretraining(copied):
    assert not own_model.taught(*own_model.lineage(copied / "base")).passed
    change(copied / "base", bigram_loss=0.1)
    found = own_model.text(*own_model.lineage(copied / "dpo"))
    assert not found.passed and "Train longer" in found.todo
    change(copied / "base", method={"name": "sft"})
    assert "no pretraining" in own_model.text(*own_model.lineage(copied / "dpo")).found


def test_the_exam_wants_a_gain_that_is_no_chance():
    """A model that was taught to answer against one that was not, and the other way round."""
    nano, chat = own_model.Stage(NANO, {}), own_model.Stage(CHAT, {})
    better = own_model.exam([nano, chat], 8, "cpu")
    assert better.passed and "8 instructions" in better.found
    assert not own_model.exam([chat, nano], 8, "cpu").passed
    same = own_model.exam([nano, nano], 4, "cpu")
    assert not same.passed and "--limit 16" in same.todo
    kept = asked.result([better, same], {})["parts"]
    assert all("right" in part["found"] for part in kept), "what was measured is kept"
    assert not own_model.exam([chat], 4, "cpu").passed


def test_small_is_the_same_model_in_fewer_bits(chain, tmp_path):
    made, other = tmp_path / "int8", tmp_path / "other"
    assert main(["quantize", str(chain / "dpo"), "--bits", "8", "--out", str(made)]) == 0
    found = own_model.small(chain / "dpo", made, 2, "cpu")
    assert found.passed and found.found.startswith("8 bits")
    model, tokenizer = load_model_folder(NANO, dtype=torch.float32)
    for weight in model.model.layers.parameters():
        weight.data = torch.randn_like(weight) * weight.std()
    save_model_folder(tmp_path / "random", model, tokenizer, {})
    assert main(["quantize", str(tmp_path / "random"), "--out", str(other)]) == 0
    assert not own_model.small(chain / "dpo", other, 2, "cpu").passed
    for none in (None, tmp_path / "random"):
        assert "minimind quantize" in own_model.small(chain / "dpo", none, 2, "cpu").todo


@pytest.mark.parametrize(("to", "kind", "name"), [
    ("hf", "bf16", "folder"), ("gguf", "q8_0", "a.gguf"), ("gguf", "q4_0", "b.gguf"),
])  # fmt: skip
def test_an_export_is_read_back(chain, tmp_path, to, kind, name):
    if to == "gguf":
        pytest.importorskip("gguf")
    out = tmp_path / name
    words = ["export", str(chain / "dpo"), "--to", to, "--type", kind, "--out", str(out)]
    assert main(words) == 0
    found = own_model.served(chain / "dpo", None, None, out, "cpu")
    assert found.passed, found.found
    assert not own_model.served(CHAT, None, None, out, "cpu").passed


def test_what_is_no_export_is_told(chain, tmp_path):
    (tmp_path / "notes.txt").write_text("no model")
    for place in (tmp_path / "notes.txt", chain / "dpo", None):
        found = own_model.served(chain / "dpo", None, None, place, "cpu")
        assert not found.passed and "minimind serve" in found.todo


def test_a_server_must_say_what_the_model_says(chain):
    """The real server, over a real socket; then with another model behind it, then none."""
    pytest.importorskip("fastapi")
    from serve_double import serving

    from minimind_wiki.verbs.serve import served_models

    def checked(folder, model=chain / "dpo"):
        args = argparse.Namespace(model=folder, name="own", device="cpu", dtype="auto", room=512)
        with serving(served_models(args, {})) as server:
            url = f"{server.url}/v1/"
            return own_model.served(model, None, url, None, "cpu"), url

    found, url = checked(chain / "dpo")
    assert found.passed and found.found.startswith("6 of 6")
    assert not checked(CHAT)[0].passed
    assert "does not answer" in own_model.served(chain / "dpo", None, url, None, "cpu").found
    assert "http://" in own_model.served(chain / "dpo", None, "file:///x", None, "cpu").found


def test_the_result_is_a_small_file_without_folders(chain, tmp_path, capsys):
    out = tmp_path / "kept" / "mastery.json"
    words = ["path", "mastery", "--model", str(chain / "sft"), "--limit", "20", "--out", str(out)]
    assert main(words) == 1
    told = capsys.readouterr().out
    assert "2 of 5 parts are there." in told and "--quantized" in told and "--served" in told
    data = json.loads(out.read_text("utf-8"))
    assert [part["name"] for part in data["parts"]] == [part.name for part in asked.PARTS]
    assert [part["passed"] for part in data["parts"]] == [True, True, False, False, False]
    assert data["model"]["stages"] == ["pretrain", "sft"] and data["model"]["seconds"] > 2
    assert str(chain) not in out.read_text("utf-8")


@pytest.mark.parametrize(("words", "status", "told"), [
    (["quick"], 2, "mastery"), (["mastery", "--model", "nowhere"], 1, "nowhere"),
    (["mastery", "--model", str(NANO), "--limit", "2"], 2, "--limit"),
])  # fmt: skip
def test_a_wrong_call_says_what_to_do(capsys, words, status, told):
    assert main(["path", *words]) == status
    assert told in capsys.readouterr().err


def test_without_a_model_it_lists_what_is_asked(capsys):
    assert main(["path", "mastery"]) == 0
    told = capsys.readouterr().out
    for part in asked.PARTS:
        assert part.title in told and part.how in told
