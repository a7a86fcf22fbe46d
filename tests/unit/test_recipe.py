"""Recipes: what is read and refused, what is run and what is not run again."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from minimind_wiki.cli import main
from minimind_wiki.errors import WrongCall
from minimind_wiki.infer import save_model_folder
from minimind_wiki.model import Transformer, preset
from minimind_wiki.tokenizer import ByteTokenizer
from minimind_wiki.train.ledger import fingerprint, read_ledger
from minimind_wiki.train.recipe import read_recipe
from minimind_wiki.verbs import _stages

TOY = """\
about: a toy
stages:
  - {name: base, verb: pretrain, preset: nano, data: embedded, steps: 4, batch_size: 2,
     context_length: 160, eval_windows: 2, eval_every: 2, sample_tokens: 0, threads: 1}
  - name: sft
    verb: sft
    model: base
    data: world/instructions
    learning-rate: 3e-3
    steps: 6
    batch_size: 2
    eval_every: 2
    eval_windows: 4
    gold_items: 0
    threads: 1
  - {name: exam, verb: evaluate, model: sft, limit: 1}
"""


def written(folder, text):
    path = folder / "toy.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def read(path, *changes):
    return read_recipe(path, _stages.fields, changes, _stages.TAKEN)


def test_a_stage_is_the_call_of_its_verb(tmp_path):
    recipe = read(written(tmp_path, TOY), "sft.steps=9")
    assert recipe.about == "a toy" and [s.name for s in recipe.stages] == ["base", "sft", "exam"]
    sft = recipe.stage("sft")
    assert sft.inputs == {"model": "base"} and sft.fields["learning_rate"] == "3e-3"
    words = _stages.words(sft, Path("runs"))
    assert words[:3] == ["sft", "--model", "runs/base"]
    assert words[words.index("--steps") + 1] == "9" and words.count("--steps") == 1
    exam = _stages.words(recipe.stage("exam"), Path("runs"))
    assert exam == ["evaluate", "runs/sft", "--limit", "1"]


def test_switches_lists_and_negative_numbers_become_words(tmp_path):
    text = """\
stages:
  - {name: words, verb: tokenizer train, data: embedded, plain: false, vocab_size: 300}
  - {name: shards, verb: data shard, files: [a.txt, b.txt], tokenizer: words, strict: true}
  - {name: base, verb: pretrain, data: shards, tokenizer: words, qk_norm: true,
     tie_word_embeddings: false, learning_rate: -1}
"""
    recipe = read(written(tmp_path, text))
    calls = [_stages.words(stage, Path("o")) for stage in recipe.stages]
    assert calls[0] == ["tokenizer", "train", "--data", "embedded", "--vocab-size", "300"]
    assert calls[1] == ["data", "shard", "a.txt", "b.txt", "--tokenizer", "o/words", "--strict"]
    assert calls[2] == ["pretrain", "--data", "o/shards", "--tokenizer", "o/words", "--qk-norm",
                        "--no-tie-word-embeddings", "--learning-rate=-1"]  # fmt: skip
    assert recipe.stages[2].inputs == {"data": "shards", "tokenizer": "words"}


WRONG = {
    "stages: [": "cannot be read as YAML",
    "": "is empty",
    "stages: []": "1: 'stages' must be a list of at least one stage",
    "stage: []": "1: unknown entry of a recipe 'stage'; did you mean 'stages'",
    "stages:\n- base": "2: 'name: value' lines were expected",
    "stages:\n- {verb: sft}": "2: the stage has no name",
    "stages:\n- {name: a}": "2: the stage has no verb",
    "stages:\n- {name: ../a, verb: sft}": "2: '../a' is no name for a folder",
    "stages:\n- {name: world, verb: sft}": "2: 'world' is the name of data",
    "stages:\n- name: a\n  verb: stf": "3: unknown verb of a stage 'stf'; did you mean 'sft'",
    "stages:\n- name: a\n  verb: site": "3: unknown verb of a stage 'site'",
    "stages:\n- name: a\n  verb: pretrain\n  stesp: 3": "4: unknown field of pretrain 'stesp'; did",
    "stages:\n- name: a\n  verb: pretrain\n  out: b": "4: unknown field of pretrain 'out'",
    "stages:\n- name: a\n  verb: pretrain\n  name: b": "4: 'name' stands twice",
    "stages:\n- name: a\n  verb: pretrain\n  steps: {a: 1}": "4: a text, a number, true or false",
    "stages:\n- name: a\n  verb: sft\n  model: a": "4: model is 'a', which is neither an earlier",
    "stages:\n- name: a\n  verb: sft\n  model: b\n- {name: b, verb: pretrain}": "4: model is 'b'",
    "stages:\n- {name: a, verb: pretrain}\n- {name: a, verb: pretrain}": "3: 'a' is the name of an",
}  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_a_fault_is_told_with_its_line(text, tmp_path):
    path = written(tmp_path, text)
    with pytest.raises(WrongCall) as told:
        read(path)
    assert str(told.value).startswith(str(path)) and WRONG[text] in str(told.value)


VALUES = {
    "steps: many": "4: steps is 'many', but it must be a whole number",
    "steps: 0": "4: steps is 0, but it must be at least 1",
    "qk_norm: 1": "4: qk_norm is 1, but it must be true or false",
    "steps: true": "4: steps is True, but it must be a text or a number",
    "steps: [1, 2]": "4: steps is a list, but it takes one value",
    "preset: nona": "4: unknown preset 'nona'; did you mean 'nano'",
    "data: world/stf": "4: data is world/stf: unknown kind of row 'stf'",
    "data: tinyshakespear": "4: data is tinyshakespear: unknown data set 'tinyshakespear'; did you",
    "data: the_pile": "4: data is the_pile, which cannot be had",
    "data: arc_easy": "4: data is arc_easy, whose rows are of choice",
    "replay: world/pretrian": "4: replay is world/pretrian: unknown kind of row",
    "data: a/b.txt": "4: data is a/b.txt, which is neither a file, a data set nor world/KIND",
    "data: dolly": "4: data is dolly, whose rows are of sft, but rows of text or pretrain",
    "num_attention_heads: 5": "4: hidden_size 192 is not a multiple of num_attention_heads 5",
}


@pytest.mark.parametrize("line", VALUES)
def test_what_cannot_work_is_told_before_anything_runs(line, tmp_path):
    path = written(tmp_path, f"stages:\n- name: a\n  verb: pretrain\n  {line}")
    with pytest.raises(WrongCall) as told:
        _stages.check(read(path), tmp_path)
    assert str(told.value).startswith(str(path)) and VALUES[line] in str(told.value)


LATER = {
    "verb: sft, model: a, steps: 0": "steps is 0, but it must be at least 1",
    "verb: sft, model: a, learning_rate: fast": "learning_rate is 'fast', but it must be a number",
    "verb: dpo, model: a, data: world/sft": "data is world/sft, but rows of preference are needed",
    "verb: sft, model: a, data: 'world/sft=2,world/stf'": "unknown kind of row 'stf'",
    "verb: grpo, model: a, data: world/rl/sums": "unknown sort of rows of world/rl 'sums'",
    "verb: dpo, data: world/preference": "dpo begins with a model",
    "verb: dpo, model: a, beta: -1": "beta is -1.0",
    "verb: grpo, model: a, group: 7": "group is 7",
    "verb: distill, model: a": "distillation needs a teacher",
    "verb: evaluate": "evaluate needs a model",
    "verb: evaluate, model: a, tasks: word": "unknown task 'word'",
    "verb: evaluate, model: a, limit: all": "limit is 'all', which it cannot take",
    "verb: data shard, files: no.txt, tokenizer: bytes": "which is neither a file",
}


@pytest.mark.parametrize("stage", LATER)
def test_later_stages_are_checked_before_the_first_begins(stage, tmp_path):
    text = f"stages:\n- {{name: a, verb: pretrain, data: embedded}}\n- {{name: b, {stage}}}"
    path = written(tmp_path, text)
    with pytest.raises(WrongCall) as told:
        _stages.check(read(path), tmp_path)
    assert str(told.value).startswith(f"{path}:3: ") and LATER[stage] in str(told.value)


@pytest.mark.parametrize("change", ["a", "a.b", "sftt.steps=3", "sft.stps=3", "sft.steps={a: 1}"])
def test_a_change_that_fits_nothing_is_refused(change, tmp_path):
    with pytest.raises(WrongCall, match="--set"):
        read(written(tmp_path, TOY), change)


# ---- running a toy -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A toy recipe, run to its end."""
    place = tmp_path_factory.mktemp("whole")
    path = written(place, TOY)
    assert main(["run", str(path), "--out", str(place / "out")]) == 0
    return path, place / "out"


@pytest.fixture
def copied(whole, tmp_path):
    """The same, to change."""
    shutil.copytree(whole[1], tmp_path / "out")
    return whole[0], tmp_path / "out"


def test_it_leaves_model_folders_and_says_what_was_done(whole):
    _, out = whole
    done = read_ledger(out)
    assert list(done) == ["base", "sft", "exam"]
    assert {entry["status"] for entry in done.values()} == {"finished"}
    run = json.loads((out / "sft" / "run.json").read_text("utf-8"))
    assert done["sft"]["sha256"] == fingerprint(out / "sft")
    assert done["sft"]["inputs"]["model"] == done["base"]["sha256"] == run["init"]["sha256"]
    assert done["sft"]["held_out"]["loss"] == run["held_out"]["loss"]
    assert (out / "exam.txt").read_text("utf-8").startswith("World exam of ")


def files(out):
    return {path: path.stat().st_mtime_ns for path in out.rglob("*")
            if path.is_file() and path.name != "recipe.json"}  # fmt: skip


def test_again_nothing_is_run(whole, capsys):
    path, out = whole
    before, ledger = files(out), (out / "recipe.json").read_text("utf-8")
    assert main(["run", str(path), "--out", str(out)]) == 0
    assert files(out) == before and (out / "recipe.json").read_text("utf-8") == ledger
    told = capsys.readouterr().out
    assert told.count("finished, kept as it is") == 3 and "Run: " not in told
    assert "sft                6" in told


@pytest.mark.parametrize("change, told", [
    ("sft.steps=7", "stage 'sft' was made with steps 6, and the recipe now says 7"),
    ("base.seed=1", "stage 'base' was made with seed as usual, and the recipe now says 1"),
    ("sft.learning_rate=0.003", ""),
])  # fmt: skip
def test_a_finished_stage_with_other_settings_is_refused_by_name(whole, change, told, capsys):
    path, out = whole
    before = files(out)
    status = main(["run", str(path), "--out", str(out), "--set", change])
    err = capsys.readouterr().err
    assert status == (1 if told else 0) and told in err
    assert not told or err.startswith(f"minimind run: --set {change.split('=')[0]}: ")
    assert not told or f"Delete {out}/" in err
    assert files(out) == before


def test_a_field_that_is_gone_is_a_difference_too(copied, tmp_path, capsys):
    _, out = copied
    path = written(tmp_path, TOY.replace("    learning-rate: 3e-3\n", ""))
    assert main(["run", str(path), "--out", str(out)]) == 1
    assert f"{path}:5: stage 'sft' was made with learning_rate '3e-3'" in capsys.readouterr().err


def test_another_input_model_is_refused(copied, capsys):
    path, out = copied
    save_model_folder(out / "other", Transformer(preset("nano"), seed=5), ByteTokenizer())
    shutil.copy(out / "other" / "model.safetensors", out / "base" / "model.safetensors")
    assert main(["run", str(path), "--out", str(out)]) == 1
    assert "stage 'sft' was made with another model than 'base' is now" in capsys.readouterr().err


def test_a_folder_of_unknown_origin_is_refused(copied, capsys):
    path, out = copied
    (out / "recipe.json").unlink()
    assert main(["run", str(path), "--out", str(out)]) == 1
    assert "does not say how it was made" in capsys.readouterr().err


def test_a_damaged_ledger_is_told(copied, capsys):
    path, out = copied
    (out / "recipe.json").write_text("{", "utf-8")
    assert main(["run", str(path), "--out", str(out)]) == 1
    assert "recipe.json is damaged" in capsys.readouterr().err


def test_only_and_until(tmp_path, capsys):
    path, out = written(tmp_path, TOY), tmp_path / "out"
    call = ["run", str(path), "--out", str(out)]
    assert main([*call, "--only", "sft"]) == 1
    assert "base is not finished, and stage 'sft' begins with it" in capsys.readouterr().err
    assert main([*call, "--until", "base"]) == 0
    assert sorted(p.name for p in out.iterdir()) == ["base", "recipe.json"]
    assert main([*call, "--only", "sft", "--seed", "3"]) == 0
    assert json.loads((out / "sft" / "run.json").read_text("utf-8"))["settings"]["seed"] == 3
    assert main([*call, "--until", "nowhere"]) == 2


def test_a_stage_that_fails_stops_the_recipe_with_its_error(tmp_path, capsys):
    text = TOY.replace("context_length: 160", "context_length: 8")
    path, out = written(tmp_path, text), tmp_path / "out"
    assert main(["run", str(path), "--out", str(out)]) == 1
    told = capsys.readouterr()
    assert "minimind sft: no held-out chat fits 8 tokens" in told.err
    assert "The recipe stopped in stage 'sft'" in told.out
    assert f"minimind run {path} --out {out}" in told.out
    done = read_ledger(out)
    assert {name: entry["status"] for name, entry in done.items()} == {
        "base": "finished", "sft": "begun"}  # fmt: skip


@pytest.mark.skipif(sys.platform == "win32", reason="it signals as POSIX systems do")
def test_killed_in_the_second_stage_it_goes_on_to_the_same_weights(whole, tmp_path):
    from killing import CONTEXT, child

    path, out = written(tmp_path, TOY), tmp_path / "out"
    words = ["run", str(path), "--out", str(out)]

    def go(moment):
        process = CONTEXT.Process(target=child, args=(words, out, moment))
        process.start()
        process.join(60)
        log = Path(f"{out}.log")
        told = log.read_text("utf-8")
        log.unlink()
        return process.exitcode, told

    status, told = go(("SIGTERM", 4 + 3))  # four steps of the base, then the third of sft
    assert status == 1 and "The recipe stopped in stage 'sft'" in told, told
    assert not (out / "sft" / "run.json").exists()
    assert read_ledger(out)["sft"]["status"] == "begun"
    status, told = go(None)
    assert status == 0 and "2/3 sft: to be resumed" in told and "Resuming from" in told, told
    for stage in ("base", "sft"):
        assert fingerprint(out / stage) == fingerprint(whole[1] / stage)
    curves = [json.loads((run / "sft" / "run.json").read_text("utf-8"))["curve"]
              for run in (out, whole[1])]  # fmt: skip
    assert curves[0] == curves[1]


def test_data_that_must_be_fetched_by_hand_stops_it_before_the_first_stage(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("MINIMIND_DATA", raising=False)
    text = "stages:\n- {name: a, verb: pretrain, data: embedded}\n- {name: b, verb: dpo, model: a, "
    path, out = written(tmp_path, text + "data: ultrafeedback}"), tmp_path / "out"
    assert main(["run", str(path), "--out", str(out)]) == 1
    assert "minimind data fetch ultrafeedback --rows N" in capsys.readouterr().err
    assert not out.exists()
    assert main(["run", str(path), "--out", str(out), "--dry-run"]) == 0


def test_files_of_a_data_folder_have_names(tmp_path, monkeypatch):
    (tmp_path / "sft").mkdir()
    raw = b'{"conversations": []}\n'
    (tmp_path / "sft" / "identity.jsonl").write_bytes(raw)
    about = {"file": "sft/identity.jsonl", "name": "", "rows": 1, "stored_bytes": len(raw),
             "sha256": "", "licence": "MIT"}  # fmt: skip
    (tmp_path / "MANIFEST.json").write_text(json.dumps({"files": [about]}), "utf-8")
    monkeypatch.setenv("MINIMIND_DATA", str(tmp_path))
    text = "stages:\n- {name: a, verb: pretrain}\n- {name: b, verb: %s, model: a, %s}"
    recipe = read(written(tmp_path, text % ("sft", "data: sft/identity")))
    assert _stages.check(recipe, tmp_path)["b"].endswith("identity.jsonl")
    with pytest.raises(WrongCall, match="but rows of preference"):
        _stages.check(read(written(tmp_path, text % ("dpo", "data: sft/identity"))), tmp_path)


def test_several_processes_are_told_how(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["run", str(written(tmp_path, TOY)), "--out", str(tmp_path / "out")]) == 2
    assert "Start its stages with torchrun" in capsys.readouterr().err


def test_a_recipe_that_is_not_there_names_its_neighbour(tmp_path, capsys):
    written(tmp_path, TOY)
    assert main(["run", str(tmp_path / "toyy.yaml")]) == 1
    assert f"Did you mean {tmp_path / 'toy.yaml'}?" in capsys.readouterr().err
