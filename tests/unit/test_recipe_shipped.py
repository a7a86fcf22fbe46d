"""The recipes that ship: each is sound as it stands, and runs to its end when it is made small."""

import json
from pathlib import Path

import pytest

from minimind_wiki.cli import main
from minimind_wiki.data.world.rows import make_rows
from minimind_wiki.train.ledger import read_ledger
from minimind_wiki.train.recipe import Recipe, read_recipe
from minimind_wiki.verbs import _stages

SHIPPED = sorted((Path(__file__).resolve().parents[2] / "recipes").glob("*.yaml"))
MODEL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
         "num_key_value_heads": 2, "intermediate_size": 16}  # fmt: skip
TRAIN = {"steps": 1, "batch_size": 2, "eval_windows": 2, "micro_batch_size": 0, "threads": 1,
         "context_length": 768, "device": "cpu", "eval_every": 1}  # fmt: skip
TEXTS = ("tokenizer train", "data shard", "pretrain", "evaluate")
SHRUNK = {
    "tokenizer train": {"vocab_size": 320},
    "data shard": {"shard_tokens": 2000, "workers": 1},
    "pretrain": TRAIN | MODEL | {"sample_tokens": 0, "held_out": 0.2},
    "evaluate": {"limit": 1, "max_tokens": 2},
    "sft": {"gold_items": 0}, "lora": {"gold_items": 0},
    "grpo": {"group": 2, "max_new_tokens": 4},
    "ppo": {"max_new_tokens": 4, "epochs": 1, "minibatches": 1},
}  # fmt: skip


def read(path: Path) -> Recipe:
    return read_recipe(path, _stages.fields, taken=_stages.TAKEN)


def shrunk(path, rows):
    """--set words that make of a shipped recipe a matter of seconds, on rows that are here."""
    words = []
    for stage in read(path).stages:
        less = dict(SHRUNK.get(stage.verb, {}))
        if stage.verb not in TEXTS:
            less = TRAIN | less | {"data": _stages.module_of(stage.verb)._verb().data}
        elif stage.verb != "evaluate" and "data" not in stage.inputs:
            less["files" if stage.verb == "data shard" else "data"] = rows
        if "init" in stage.fields:  # whose shape it has
            less = {name: value for name, value in less.items() if name not in MODEL}
        words += [word for n, v in less.items() for word in ("--set", f"{stage.name}.{n}={v}")]
    return words


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Documents in a file."""
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in make_rows("lessons", 60)), "utf-8")
    return str(path)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_recipe_is_sound(path, tmp_path, capsys):
    assert main(["run", str(path), "--out", str(tmp_path / "out"), "--dry-run"]) == 0
    told = capsys.readouterr().out
    for stage in read(path).stages:
        assert f"{stage.name}: to do" in told and f"minimind {stage.verb} " in told
    assert not (tmp_path / "out").exists()
    assert read(path).about


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_recipe_runs_when_it_is_small(path, rows, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["run", str(path), "--out", str(out), *shrunk(path, rows)]) == 0, (
        capsys.readouterr()
    )
    done = read_ledger(out)
    assert list(done) == [stage.name for stage in read(path).stages]
    assert {entry["status"] for entry in done.values()} == {"finished"}
