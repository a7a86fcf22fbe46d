"""The model folder: whole or not there, nothing of the reader's lost, errors that help."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.infer import load_model_folder, save_model_folder
from minimind_wiki.model import Transformer, preset

MODEL = Transformer(preset("nano"), seed=1)
IDS = torch.arange(20)[None]


class Words:
    """A tokenizer as far as the folder cares."""

    def save(self, folder: Path) -> None:
        (Path(folder) / "words.txt").write_text("hello")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_model_folder(tmp_path / "model", MODEL, run={"command": "test", "seed": 1})


def test_round_trip(folder):
    model, tokenizer = load_model_folder(folder)
    assert tokenizer is None and not model.training
    assert model.config == MODEL.config
    assert torch.equal(model(IDS), MODEL(IDS))
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert sorted(p.name for p in folder.iterdir()) == [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "run.json",
    ]
    run = json.loads((folder / "run.json").read_text())
    assert (run["seed"], run["parameters"]) == (1, 115_200)
    assert "lm_head.weight" not in load_file(folder / "model.safetensors")


@pytest.mark.parametrize("name", ["moe-145m", "gpt2-124m"])
def test_round_trip_of_other_layouts(name, tmp_path):
    heads = {"num_attention_heads": 4, "num_key_value_heads": 4, "num_hidden_layers": 2}
    model = Transformer(preset(name, hidden_size=32, intermediate_size=48, **heads))
    back, _ = load_model_folder(save_model_folder(tmp_path / "m", model))
    assert back.config == model.config and torch.equal(back(IDS), model(IDS))


def test_saving_again_replaces_the_model_and_keeps_the_readers_files(folder):
    (folder / "log.txt").write_text("mine")
    other = Transformer(preset("nano"), seed=2)
    save_model_folder(folder, other, Words())
    assert torch.equal(load_model_folder(folder)[0](IDS), other(IDS))
    assert (folder / "log.txt").read_text() == "mine"
    assert (folder / "words.txt").exists()
    assert [p.name for p in folder.parent.iterdir()] == ["model"]


def test_a_failed_save_leaves_the_old_model(folder):
    class Broken:
        def save(self, folder: Path) -> None:
            raise OSError(28, "No space left on device")

    with pytest.raises(MinimindError, match="No space left on device"):
        save_model_folder(folder, Transformer(preset("nano"), seed=2), Broken())
    assert torch.equal(load_model_folder(folder)[0](IDS), MODEL(IDS))


def test_other_peoples_folders_are_not_overwritten(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("x")
    with pytest.raises(WrongCall, match="not a model folder, so it is not overwritten"):
        save_model_folder(tmp_path / "thesis", MODEL)
    with pytest.raises(WrongCall, match="not a model folder"):
        save_model_folder(tmp_path / "thesis" / "chapter.tex", MODEL)
    (tmp_path / "empty").mkdir()
    save_model_folder(tmp_path / "empty", MODEL)


def test_missing_folder_and_files(folder, tmp_path):
    with pytest.raises(MinimindError, match=r"no model folder .*nowhere; check the path"):
        load_model_folder(tmp_path / "nowhere")
    folder.rename(tmp_path / ".model.old")
    with pytest.raises(MinimindError, match=r"interrupted save left .*\.model\.old"):
        load_model_folder(tmp_path / "model")
    (tmp_path / ".model.old").rename(folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(MinimindError, match=r"pytorch_model\.bin is a pickle"):
        load_model_folder(folder)
    (folder / "config.json").unlink()
    with pytest.raises(MinimindError, match=r"config\.json is missing"):
        load_model_folder(folder)


@pytest.mark.parametrize("keep", [0, 4, 100, 60_000, -1])
def test_truncated_weights(folder, keep):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(MinimindError, match=r"model\.safetensors is damaged or cut short"):
        load_model_folder(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"model_type": "llama"}'])
def test_damaged_config(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(MinimindError, match=r"config\.json"):
        load_model_folder(folder)


def edit(folder: Path, **values: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | values))


def test_weights_of_another_shape(folder):
    edit(folder, intermediate_size=200)
    with pytest.raises(MinimindError, match=r"has shape \(192, 64\), but .* asks for \(200, 64\)"):
        load_model_folder(folder)


def test_weights_of_another_model(folder):
    edit(folder, num_hidden_layers=3)
    with pytest.raises(
        MinimindError, match=r"lacks model\.layers\.2\.input_layernorm.* and 6 more"
    ):
        load_model_folder(folder)
    edit(folder, num_hidden_layers=1)
    with pytest.raises(MinimindError, match=r"has besides model\.layers\.1"):
        load_model_folder(folder)


def test_a_missing_tensor(folder):
    file = folder / "model.safetensors"
    tensors = load_file(file)
    del tensors["model.norm.weight"]
    save_file(tensors, file)
    with pytest.raises(MinimindError, match=r"lacks model\.norm\.weight"):
        load_model_folder(folder)
