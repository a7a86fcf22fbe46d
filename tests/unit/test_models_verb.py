"""The models that ship: what is put there is what was trained, and a changed byte is found."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from minimind_wiki.cli import main
from minimind_wiki.errors import MinimindError
from minimind_wiki.evaluate.shipped import exam_faults, faults, ship, shipped
from minimind_wiki.infer import load_model_folder
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.pretrain import pretrain
from minimind_wiki.train.sft import SftSettings, sft


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one shipped model, of two steps of training."""
    root = tmp_path_factory.mktemp("models")
    config = TrainConfig(preset="nano", data="embedded", steps=2, batch_size=2, context_length=16,
                         eval_windows=2, sample_tokens=0, device="cpu")  # fmt: skip
    pretrain(config, out=root / "run")
    ship(root / "run", "small", root / "models", items=2)
    return root / "models"


@pytest.fixture(scope="module")
def tuned(models: Path) -> Path:
    """Beside it a LoRA, and one on top of that, each of two steps of fine-tuning."""
    root = Path(shutil.copytree(models, models.parent / "tuned"))
    for name, base, seed in (("asked", "small", 0), ("again", "asked", 1)):
        config = TrainConfig(
            init=str(root / base), data="world/instructions", steps=2, batch_size=2, seed=seed,
            context_length=256, eval_windows=2, sample_tokens=0, device="cpu", lora_rank=2,
            learning_rate=0.1, lora_targets="q_proj",
        )  # fmt: skip
        sft(config, SftSettings(gold_items=0), models.parent / f"run-{name}")
        ship(models.parent / f"run-{name}", name, root, items=2)
    return root


def test_of_a_lora_beside_a_shipped_model_only_the_lora_is_kept(models: Path, tuned: Path) -> None:
    for name in ("asked", "again"):
        assert not (tuned / name / "model.safetensors").exists()
        trained, _ = load_model_folder(models.parent / f"run-{name}")
        shipped_model, tokenizer = load_model_folder(tuned / name)
        assert tokenizer.vocab_size == 259
        for key, tensor in trained.state_dict().items():
            assert torch.allclose(shipped_model.state_dict()[key], tensor, atol=1e-6), key
        entry = shipped(tuned)[name]
        assert faults(tuned / name, entry) == exam_faults(tuned / name, entry) == []
    first, second = (load_model_folder(tuned / n)[0].state_dict() for n in ("asked", "again"))
    assert any(not torch.equal(first[key], second[key]) for key in first)
    half, _ = load_model_folder(tuned / "again", dtype=torch.bfloat16)
    assert next(half.parameters()).dtype is torch.bfloat16


def test_a_model_that_was_scored_on_no_text_is_listed(tuned: Path, tmp_path: Path, capsys) -> None:
    root = Path(shutil.copytree(tuned, tmp_path / "models"))
    file = root / "asked" / "ship.json"
    entry = json.loads(file.read_text())
    entry["held_out"] = {"loss": 0.25, "accuracy": 0.75, "bits_per_byte": None, "step": 2}
    file.write_text(json.dumps(entry))
    assert main(["models", "list", "--folder", str(root)]) == 0
    table = capsys.readouterr().out.split("\n\n")[0].splitlines()[1:]
    bits = {line.split()[0]: line.split()[3] for line in table}
    assert bits["asked"] == "none" and float(bits["small"]) > 0


def test_an_adapter_says_when_its_model_is_gone(tuned: Path, tmp_path: Path) -> None:
    alone = Path(shutil.copytree(tuned / "asked", tmp_path / "asked"))
    with pytest.raises(MinimindError, match=r"belongs to the model '../small', which is not here"):
        load_model_folder(alone)
    config = json.loads((alone / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "../asked"
    (alone / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(MinimindError, match="names itself"):
        load_model_folder(alone)


def test_an_adapter_can_be_asked_and_trained_further(tuned: Path, tmp_path: Path, capsys) -> None:
    assert main(["generate", str(tuned / "again"), "--prompt", "a", "--max-tokens", "2"]) == 0
    out = tmp_path / "more"
    words = ["--steps", "1", "--batch-size", "2", "--eval-windows", "2", "--device", "cpu"]
    assert main(["sft", "--model", str(tuned / "again"), "--out", str(out), *words]) == 0
    about = json.loads((out / "run.json").read_text())
    assert about["settings"]["context_length"] == 256 and about["init"]["sha256"]
    assert len(load_model_folder(out)[0].state_dict()) == len(
        load_model_folder(tuned / "small")[0].state_dict()
    )


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
