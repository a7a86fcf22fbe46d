"""The models that ship: what is put there is what was trained, and a changed byte is found."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from minimind_wiki.cli import main
from minimind_wiki.evaluate.shipped import exam_faults, faults, ship, shipped
from minimind_wiki.infer import load_model_folder
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.pretrain import pretrain


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one shipped model, of two steps of training."""
    root = tmp_path_factory.mktemp("models")
    config = TrainConfig(preset="nano", data="embedded", steps=2, batch_size=2, context_length=16,
                         eval_windows=2, sample_tokens=0, device="cpu")  # fmt: skip
    pretrain(config, out=root / "run")
    ship(root / "run", "small", root / "models", items=2)
    return root / "models"


@pytest.fixture
def copy(models: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(models, tmp_path / "models"))


def test_the_shipped_model_is_the_trained_one_in_bfloat16(models: Path) -> None:
    trained, _ = load_model_folder(models.parent / "run")
    small, tokenizer = load_model_folder(models / "small")
    assert tokenizer.vocab_size == 259
    for name, tensor in trained.state_dict().items():
        assert torch.equal(small.state_dict()[name], tensor.to(torch.bfloat16)), name
    entry = shipped(models)["small"]
    assert entry["command"].startswith("minimind pretrain --preset nano --data embedded --steps 2")
    assert entry["parameters"] == trained.num_parameters()
    assert faults(models / "small", entry) == exam_faults(models / "small", entry) == []


def test_the_models_of_this_repository_are_whole_and_answer_as_they_did() -> None:
    root = Path(__file__).parents[2] / "models"
    found = shipped(root)
    assert {"world-nano", "world-tiny"} <= set(found)
    for name, entry in found.items():
        assert faults(root / name, entry) == []
    right = found["world-nano"]["exam"]["right"]["grammar"]
    assert right > 60  # of 100, so that one who knows nothing would be told from it
    entry = {"exam": {"items": 100, "right": {"grammar": right}}}
    assert exam_faults(root / "world-nano", entry) == []


def test_a_changed_a_missing_and_a_strange_file_are_told(copy: Path, capsys) -> None:
    folder = copy / "small"
    run = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(run | {"seconds": 0}))
    (folder / "generation_config.json").unlink()
    (folder / "notes.txt").write_text("mine")
    assert main(["models", "verify", "--folder", str(copy)]) == 1
    told = capsys.readouterr().err
    for name, what in (("run.json", "was changed"), ("generation_config.json", "is missing"),
                       ("notes.txt", "is not in ship.json")):  # fmt: skip
        assert f"{folder / name} {what}" in told


def test_a_model_that_answers_otherwise_is_told(copy: Path) -> None:
    entry = shipped(copy)["small"]
    entry["exam"] = {"items": 4, "right": {"grammar": -3}}
    assert "grammar has" in exam_faults(copy / "small", entry)[0]


def test_list_verify_and_wrong_names(models: Path, capsys) -> None:
    assert main(["models", "list", "--folder", str(models)]) == 0
    assert "small was made by" in capsys.readouterr().out
    assert main(["models", "verify", "small", "--folder", str(models)]) == 0
    assert "small: as it was shipped" in capsys.readouterr().out
    assert main(["models", "verify", "smal", "--folder", str(models)]) == 2
    assert "small" in capsys.readouterr().err
    assert main(["models", "verify", "--folder", str(models.parent / "none")]) == 1


def test_nothing_is_overwritten(models: Path, tmp_path: Path, capsys) -> None:
    run = str(models.parent / "run")
    assert main(["models", "add", run, "--name", "small", "--folder", str(models)]) == 2
    assert "not overwritten" in capsys.readouterr().err
    assert main(["models", "add", str(tmp_path), "--name", "x", "--folder", str(models)]) == 2
    assert main(["models", "add", run, "--name", "a/b", "--folder", str(models)]) == 2
