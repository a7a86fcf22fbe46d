"""What the module on attention rests on: its lab, its wrong masks, its look-up task."""

from __future__ import annotations

import importlib
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from minimind_wiki.book.experiment import load_experiment
from minimind_wiki.lite import worker
from minimind_wiki.model import Transformer, preset

ROOT = Path(__file__).resolve().parents[2]


def helper(experiment: str, name: str):
    """A helper of the module's experiments, imported as the experiment imports it."""
    load_experiment(f"attention/{experiment}", ROOT)
    return importlib.import_module(f"experiments.attention.{name}")


@pytest.fixture(scope="module")
def lab():
    code = (ROOT / "snippets" / "attention" / "by_hand.py").read_text(encoding="utf-8")
    return worker.namespace(code)


@pytest.mark.parametrize("causal", [True, False])
def test_the_lab_is_torchs_attention(lab, causal):
    tables = [torch.tensor(lab[name]).float() for name in "QKV"]
    theirs = F.scaled_dot_product_attention(*(t[None] for t in tables), is_causal=causal)[0]
    ours = lab["attention"](*(lab["torch"].tensor(lab[n]).float() for n in "QKV"), causal)[2]
    torch.testing.assert_close(torch.tensor(ours.tolist()), theirs, atol=1e-6, rtol=0)


def test_the_lab_shows_what_the_page_works_out(lab):
    found = lab["run"]()
    powers = [math.e, math.e**2, 1, 1, math.e]
    want = [power / sum(powers) for power in powers]
    assert found["figure"].panels[0].bars[0].y == pytest.approx(want, abs=1e-6)
    assert f"it gathers ({8 * want[1] + 2 * want[4]:.2f}, " in found["text"]
    weights = [lab["run"](v=v)["figure"].panels[0].bars[0].y for v in (-8, 8)]
    assert weights[0] == weights[1], "the value's knob leaves the weights alone"


def moved(forward, model, kind: str, time: int = 8) -> list[int]:
    """The places whose scores move when the last token is another."""
    ids = torch.randint(3, 250, (1, time), generator=torch.Generator().manual_seed(0))
    other = ids.clone()
    other[0, -1] += 1
    change = (forward(model, ids, kind) - forward(model, other, kind)).abs().amax(-1)[0]
    return [place for place, size in enumerate(change.tolist()) if size > 1e-6]


def test_each_wrong_mask_leaks_what_it_says():
    masked = helper("causal_mask", "_masked")
    model = Transformer(preset("nano"), seed=0)
    with torch.no_grad():
        for parameter in model.parameters():  # far from the start's tiny scores
            parameter.mul_(4.0 if parameter.dim() > 1 else 1.0)
        ids = torch.arange(12)[None]
        torch.testing.assert_close(masked.forward(model, ids, "causal"), model(ids))
        assert moved(masked.forward, model, "causal") == [7]
        # a slip of one place in each of two layers, or in the first layer alone
        assert moved(masked.forward, model, "ahead") == [5, 6, 7]
        assert moved(masked.forward, model, "one_head") == [6, 7]
        assert moved(masked.forward, model, "none") == list(range(8))


def test_look_ups_ask_for_what_the_records_say():
    recall = helper("heads", "_recall")
    settings = load_experiment("attention/heads", ROOT).settings
    draw = recall.draw(16, settings, 4, torch.Generator().manual_seed(0))
    keys_BN, values_BN, asked_BQS, answers_BQS = draw
    for row in range(16):
        book = dict(zip(keys_BN[row].tolist(), values_BN[row].tolist(), strict=True))
        assert len(book) == settings.records, "keys are all different"
        for asked, answers in zip(asked_BQS[row], answers_BQS[row], strict=True):
            assert len(set(asked.tolist())) == 4
            assert [book[key] for key in asked.tolist()] == answers.tolist()
    sizes = {sum(p.numel() for p in recall.Recall(h, 4, settings, 0).parameters()) for h in (1, 8)}
    assert len(sizes) == 1


def test_who_knows_the_values_but_not_the_slots():
    recall = helper("heads", "_recall")
    same, split = torch.tensor([[[3, 3]]]), torch.tensor([[[3, 5]]])
    assert recall.mixed_up((same,)) == (0.0, 1.0)
    nats, right = recall.mixed_up((split,))
    assert nats == pytest.approx(math.log(2)) and right == 0.5


def test_the_refilled_model_is_as_large():
    grouped = load_experiment("attention/grouped", ROOT)
    config_of = grouped.measure_fn.__globals__["config_of"]
    with torch.device("meta"):
        count = {
            arm: Transformer(
                config_of(grouped.arm_settings(arm), grouped.settings)
            ).num_parameters()
            for arm in grouped.arms
        }
    assert count["mha"] == count["mqa_refilled"] == count["one_head"] > count["gqa"] > count["mqa"]


def dictated(form: str):
    """The helper of the experiment on cross-attention, a model, and rows to read and write."""
    parts = helper("cross", "_dictated")
    settings = load_experiment("attention/cross", ROOT).quick
    model = parts.built({"form": form, "width": 1}, settings, 0)
    return parts, model, *parts.rows(3, 5, 9)


def test_rows_are_read_as_they_are_to_be_written():
    parts, _, read, written = dictated("across")
    assert torch.equal(read, written) and read[:, -1].eq(parts.MARK).all()
    assert all(len(set(row)) == 6 for row in read.tolist())
    assert parts.behind(written)[:, 0].eq(parts.MARK).all()
    draws = [(26 - n) for n in range(5)]
    assert parts.unread(5) == pytest.approx(sum(1 / left for left in draws) / 5)


@pytest.mark.parametrize("form", ["across", "one vector", "joined"])
def test_a_writer_sees_what_was_read_and_nothing_ahead(form):
    _, model, read, written = dictated(form)
    with torch.no_grad():
        plain = model.scores(read, written)
        later = written.clone()
        later[:, 3] = (later[:, 3] + 1) % 26  # the fourth letter is seen from the fifth on
        moves = (model.scores(read, later) - plain).abs().amax((0, 2)) > 1e-6
        assert moves.tolist() == [False] * 4 + [True] * 2
        other = (model.scores(read.roll(1, 0), written) - plain).abs().amax((0, 2))
        assert (other > 1e-6).all()


def test_one_vector_is_all_that_its_writer_gets():
    _, model, read, written = dictated("one vector")
    kept = []
    handle = model.decoder.register_forward_hook(lambda _m, given, _o: kept.append(given[3]))
    model.scores(read, written)
    handle.remove()
    assert kept[0].shape[1] == 1
    whole = dictated("across")[1]
    assert sum(p.numel() for p in whole.parameters()) == sum(p.numel() for p in model.parameters())
