"""The training program of the page: the same in lite and torch, in slices, and taken home."""

from __future__ import annotations

import importlib.util
import io
import itertools
import json
import math
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

import minimind_wiki.lite as lite
from minimind_wiki.infer import load_model_folder
from minimind_wiki.lite import worker
from minimind_wiki.lite.training import Text, Training, safetensors
from minimind_wiki.tokenizer.fast_bpe import FastBPETokenizer
from minimind_wiki.verbs.exercise import with_library

ROOT = Path(__file__).resolve().parents[2]
CODE = (ROOT / "snippets" / "training" / "transformer.py").read_text(encoding="utf-8")
KNOBS = {"learning_rate": 0.01, "temperature": 0.7}
LIBRARIES = {"lite": ("minimind_wiki.lite", lite), "torch": ("torch", torch)}


def program(library: str = "lite", **constants: object) -> dict:
    code = with_library(CODE, LIBRARIES[library][0])
    found = worker.namespace(code)
    found.update(constants)
    return found


@pytest.fixture(scope="module")
def builder():
    path = ROOT / "scripts" / "train_text.py"
    spec = importlib.util.spec_from_file_location("train_text", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.STORIES, module.HELD_OUT = 60, 4
    return module


@pytest.fixture(scope="module")
def folder(builder, tmp_path_factory):
    out = tmp_path_factory.mktemp("train")
    builder.build(out)
    return out


@pytest.fixture
def text(folder):
    return Text.read(folder)


class TestTheText:
    def test_it_is_what_the_world_tells(self, text, builder):
        document = builder.make_document("page.0", "train").text
        ids = text.train[text.starts[0] : text.starts[1]].tolist()
        assert ids[0] == text.begin and ids[-1] == text.end
        assert text.decode(ids) == document
        held = text.held_out[0]
        first = next(
            d for n in range(9) if (d := builder.make_document(f"held-out.{n}", "validation").text)
            in text.decode(held[held >= 0].tolist())
        )  # fmt: skip
        assert len(first) > 100
        assert (text.starts + text.held_out.shape[1] <= len(text.train)).all()

    def test_the_numbers_beside_the_curve(self, folder, text, builder):
        about = json.loads((folder / "text.json").read_text())
        rows = [row[row >= 0] for row in text.held_out]
        told = [text.decode(row.tolist()) for row in rows]
        assert sum(len(t.encode()) for t in told) == about["held_out_bytes"]
        by_text = {}
        for n in itertools.count():
            document = builder.make_document(f"held-out.{n}", "validation")
            by_text[document.text] = -document.logp_any / math.log(2)
            if all(t in by_text for t in told):
                break
        floor = sum(by_text[t] for t in told) / about["held_out_bytes"]
        assert about["floor"] == pytest.approx(floor, abs=1e-4)
        assert 0.2 < about["floor"] < 1 < about["bigram"] < 4

    def test_twice_the_same_bytes(self, folder, builder, tmp_path):
        builder.build(tmp_path)
        for file in folder.iterdir():
            assert (tmp_path / file.name).read_bytes() == file.read_bytes()

    def test_a_file_of_another_build_is_refused(self, folder):
        about = json.loads((folder / "text.json").read_text())
        with pytest.raises(ValueError, match="build both again"):
            Text(about, (folder / "text.bin").read_bytes()[:-2])


def test_both_libraries_compute_the_same(text):
    models = {}
    for name in LIBRARIES:
        LIBRARIES[name][1].manual_seed(0)
        models[name] = program(name)["Llama"](text.vocabulary)
    state = {k: v.numpy() for k, v in models["torch"].state_dict().items()}
    models["lite"].load_state_dict({k: lite.tensor(v) for k, v in state.items()})
    assert sum(p.numel() for p in models["lite"].parameters()) >= 200_000
    found = {}
    for name, (_, t) in LIBRARIES.items():
        ids = t.tensor(text.held_out[:2, :40].clip(min=0))
        model = models[name]
        loss = t.nn.functional.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
        loss.backward()
        grads = {k: p.grad.numpy() for k, p in model.named_parameters()}
        bits = program(name)["bits_per_byte"](model, t.from_numpy(text.held_out), 100)
        found[name] = loss.item(), bits, grads
    (ours, our_bits, our_grads), (theirs, their_bits, their_grads) = found.values()
    assert ours == pytest.approx(theirs, rel=1e-5) and our_bits == pytest.approx(their_bits, 1e-5)
    assert our_grads.keys() == their_grads.keys()
    for key, grad in their_grads.items():
        np.testing.assert_allclose(
            our_grads[key], grad, rtol=1e-3, atol=2e-5 * np.abs(grad).max(), err_msg=key
        )


@pytest.mark.parametrize("library", LIBRARIES)
def test_it_learns_and_tells_what_the_page_shows(text, library):
    training = Training(program(library, BATCH=2, CONTEXT=64), text, dict(KNOBS))
    events = []
    while not any(e["step"] == 12 for e in events):
        events += training.advance(1)["events"]
    losses = [e["loss"] for e in events if "loss" in e]
    assert abs(losses[0] - math.log(text.vocabulary)) < 0.1, "it starts at the loss of guessing"
    assert losses[-1] < losses[0] - 0.5
    assert [e["step"] for e in events if "held_out" in e] == [0]
    samples = [e["sample"] for e in events if "sample" in e]
    assert all(b.startswith(a[:-1]) for a, b in itertools.pairwise(samples[:5]))
    bits = losses[0] / math.log(2) / text.bytes_per_token
    assert next(e for e in events if "loss" in e)["bits"] == pytest.approx(bits)


def test_a_knob_counts_from_the_next_step(text):
    training = Training(program(BATCH=1, CONTEXT=16), text, dict(KNOBS))

    def one_step():
        while "loss" not in (event := training.advance(0)["events"][-1]):
            pass
        return event, {k: v.numpy().copy() for k, v in training.model.state_dict().items()}

    _, before = one_step()
    training.knobs["learning_rate"] = 0.0
    event, after = one_step()
    assert event["step"] == 2
    assert all((after[k] == before[k]).all() for k in before)
    training.knobs["learning_rate"] = 0.01
    _, moved = one_step()
    assert any((moved[k] != before[k]).any() for k in before)


def test_slices_last_as_long_as_asked_and_pauses_do_not_count():
    ticks = itertools.count()

    class Toy:
        def parameters(self):
            return []

    def steps(model, text, knobs):
        yield from ({"step": n} for n in range(7))

    toy = {"torch": lite, "Llama": lambda v: Toy(), "train": steps}
    about = type("About", (), {"vocabulary": 3, "bytes_per_token": 1.0})()
    training = Training(toy, about, {})
    first = training.advance(3000, clock=lambda: next(ticks))
    assert [e["step"] for e in first["events"]] == [0, 1, 2] and not first["done"]
    for _ in range(50):
        next(ticks)  # the page is paused
    second = training.advance(9000, clock=lambda: next(ticks))
    assert [e["seconds"] for e in second["events"]] == [4, 5, 6, 7] and second["done"]


def test_what_is_taken_home_is_the_model(text, folder, tmp_path):
    training = Training(program(BATCH=1, CONTEXT=32), text, dict(KNOBS))
    while training.advance(0)["events"][-1].get("loss") is None:
        pass
    names = ("tokenizer.json", "tokenizer_config.json")
    files = {name: (folder / name).read_bytes() for name in names}
    with zipfile.ZipFile(io.BytesIO(training.folder(files))) as archive:
        archive.extractall(tmp_path)
    model, tokenizer = load_model_folder(tmp_path / "my-model")
    assert isinstance(tokenizer.encode("It was"), list)
    ids = text.held_out[:2, :50]
    with torch.no_grad():
        theirs = model(torch.tensor(ids))
    theirs = getattr(theirs, "logits", theirs).numpy()
    ours = training.model(lite.tensor(ids)).detach().numpy()
    np.testing.assert_allclose(ours, theirs, atol=2e-5 * np.abs(theirs).max())
    assert FastBPETokenizer.load(tmp_path / "my-model").vocab_size == text.vocabulary


def test_safetensors_are_read_by_their_own_library():
    from safetensors.numpy import load

    arrays = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.float32([1.5])}
    found = load(safetensors(arrays))
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)


class TestTheWorker:
    def begin(self, folder, code=CODE):
        about, data = (folder / "text.json").read_text(), (folder / "text.bin").read_bytes()
        return json.loads(worker.begin_training(code, about, data, json.dumps(KNOBS)))

    def test_begin_advance_turn_and_save(self, folder):
        small = CODE.replace("BATCH, CONTEXT = 4, 256", "BATCH, CONTEXT = 1, 16")
        assert small != CODE
        assert self.begin(folder, small)["parameters"] >= 200_000
        first = json.loads(worker.advance(0))
        assert first["events"][0]["step"] == 0 and not first["done"]
        assert json.loads(worker.set_knobs('{"temperature": 0.3}')) is None
        data = worker.save("{}", "{}")
        names = zipfile.ZipFile(io.BytesIO(data)).namelist()
        assert sorted(n.partition("/")[2] for n in names) == [
            "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("code", "message"),
        [
            ("x = 1\n", "must define Llama"),
            ("def Llama(v: pass\n", "SyntaxError in line 1"),
            (CODE.replace("LAYERS, H, G", "LAYERS, G, H"), "must be a multiple"),
            (CODE + "\ndef train(model, text, knobs):\n    yield {}[0]\n", "KeyError"),
        ],
    )
    def test_a_program_that_fails_is_an_answer(self, folder, code, message):
        answer = self.begin(folder, code)
        while "error" not in answer:
            answer = json.loads(worker.advance(0))
            assert not answer.get("done")
        assert message in answer["error"]["message"]
