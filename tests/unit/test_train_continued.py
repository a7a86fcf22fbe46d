"""A run may begin with a model, keep some of it still, and read old text among the new."""

import dataclasses
import json
import shutil

import pytest
import torch

from minimind_wiki.data import Corpus, embedded_text
from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.infer import load_model_folder
from minimind_wiki.model import Transformer, preset
from minimind_wiki.tokenizer import ByteTokenizer
from minimind_wiki.train import loop
from minimind_wiki.train.batches import Tokens
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.continued import freeze, mix
from minimind_wiki.train.feeds import corpus_feed
from minimind_wiki.train.pretrain import pretrain

CORPUS = Corpus("village", (embedded_text(60),), "a test", "embedded")
CONFIG = TrainConfig(
    preset="nano", data="embedded", steps=6, batch_size=4, context_length=32, eval_every=6,
    eval_windows=8, sample_tokens=0, device="cpu", threads=1, learning_rate=3e-3,
)  # fmt: skip


def go(out=None, resume=False, fields=None, corpus=CORPUS, **changes):
    return pretrain(dataclasses.replace(CONFIG, **changes), fields or {}, out, resume, None, corpus)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    out = tmp_path_factory.mktemp("base") / "run"
    return out, go(out, fields={"hidden_size": 32, "intermediate_size": 64})


# --- begin with a model ---------------------------------------------------------------------------
def test_it_begins_where_the_other_ended_with_its_shape(base, tmp_path):
    folder, before = base
    after = go(tmp_path / "run", init=str(folder), learning_rate=1e-3)
    assert after.model.config == before.model.config
    assert after.state.held_out["loss"][0] == before.state.best_loss
    assert after.state.best_loss < before.state.best_loss
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert f"--init {folder}" in run["command"] and len(run["init"]["sha256"]) == 64


def stop_at(monkeypatch, step):
    record = loop.Loop.record

    def stops(self, *args):
        record(self, *args)
        if self.state.step == step:
            self.stopping = lambda: True

    monkeypatch.setattr(loop.Loop, "record", stops)
    return lambda: monkeypatch.setattr(loop.Loop, "record", record)


def test_it_resumes_to_the_bit_although_the_first_model_is_gone(base, tmp_path, monkeypatch):
    folder = shutil.copytree(base[0], tmp_path / "base")
    settings = {"init": str(folder), "freeze": "embed", "replay": "embedded", "replay_share": 0.3}
    whole = go(tmp_path / "whole", **settings)
    go_on = stop_at(monkeypatch, 4)
    assert not go(tmp_path / "run", **settings).finished
    go_on()
    shutil.rmtree(folder)
    resumed = go(tmp_path / "run", resume=True, **settings)
    assert resumed.state.train == whole.state.train
    assert resumed.run["init"] == whole.run["init"]
    for name, tensor in resumed.model.state_dict().items():
        assert torch.equal(tensor, whole.model.state_dict()[name]), name


def test_another_shape_tokenizer_or_no_model_is_refused(base, tmp_path):
    folder = str(base[0])
    with pytest.raises(WrongCall, match=r"hidden_size is 32 in .*, not 48; a run that begins"):
        go(init=folder, fields={"hidden_size": 48})

    class Other(ByteTokenizer):
        fingerprint = "0" * 64

    config = dataclasses.replace(CONFIG, init=folder)
    with pytest.raises(WrongCall, match=r"has its own bytes tokenizer, .* Leave --tokenizer out"):
        pretrain(config, corpus=CORPUS, tokenizer=Other())
    with pytest.raises(MinimindError, match="no model folder"):
        go(init=str(tmp_path / "nothing"))


# --- freezing -------------------------------------------------------------------------------------
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("chunk", [0, 50])
def test_what_is_frozen_stays_and_the_rest_moves(optimizer, chunk):
    start = Transformer(preset("nano", vocab_size=259, bos_token_id=257, eos_token_id=258,
                               pad_token_id=256), seed=0).state_dict()  # fmt: skip
    model = go(freeze="embed_tokens|layers.0", optimizer=optimizer, loss_chunk=chunk).model
    for name, tensor in model.named_parameters():
        still = "embed_tokens" in name or "layers.0." in name
        assert torch.equal(tensor, start[name]) is still, name


def test_a_number_at_the_end_is_whole_and_the_line_counts():
    model = Transformer(preset("nano", vocab_size=259, num_hidden_layers=12), seed=0)
    told = freeze(model, "layers.[01]")
    frozen = {name.split(".")[2] for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {"0", "1"}
    assert told.startswith(f"Frozen: 18 of {9 * 12 + 2} tensors, ")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("layers.[0", r"no regular expression \(unterminated character set"),
        ("lm_head", r"no parameter has such a name \(a tied head is the embedding"),
        ("blocks", r"no parameter has such a name; names are like model.embed_tokens.weight, "),
        ("model", "leaves nothing to train"),
    ],
)
def test_a_pattern_that_cannot_work_is_named(pattern, message):
    with pytest.raises(WrongCall, match=message):
        go(freeze=pattern)


# --- replay ---------------------------------------------------------------------------------------
def numbered(sign, size, documents=False):
    """A feed whose row n holds the number sign · (n + 1)."""
    feed = corpus_feed(CORPUS, CONFIG, ByteTokenizer())

    def at(step):
        rows = sign * torch.arange(step * size + 1, (step + 1) * size + 1)[:, None].expand(size, 3)
        return Tokens(rows, rows, torch.ones_like(rows) * 2 if documents else None)

    return dataclasses.replace(feed, at=at)


@pytest.mark.parametrize(("share", "size"), [(0.1, 4), (0.25, 4), (0.5, 3), (1 / 3, 7), (0.9, 5)])
def test_each_feed_gives_its_rows_in_order_and_the_share_is_kept(share, size):
    mixed = mix(numbered(1, size), numbered(-1, size), share, size)
    rows = [mixed.at(step).ids_BT[:, 0].tolist() for step in range(40)]
    assert all(len(row) == size for row in rows)
    flat = [number for row in rows for number in row]
    new, old = [n for n in flat if n > 0], [-n for n in flat if n < 0]
    assert new == list(range(1, len(new) + 1)) and old == list(range(1, len(old) + 1))
    for step in range(40):
        seen = [n for row in rows[: step + 1] for n in row]
        count = sum(n < 0 for n in seen)
        assert count <= share * len(seen) + 1e-6 < count + 1
    again = mix(numbered(1, size), numbered(-1, size), share, size)
    assert again.at(31).ids_BT[:, 0].tolist() == rows[31]  # without the steps before


def test_what_is_replayed_is_measured_and_less_forgotten(tmp_path):
    """New text of digits alone: without replay the letters are forgotten."""
    letters, digits = tmp_path / "letters.txt", tmp_path / "digits.txt"
    letters.write_text("abcdefgh " * 900)
    digits.write_text("0123456789" * 900)
    settings = {"batch_size": 8, "eval_every": 20, "replay": str(letters)}
    base = go(tmp_path / "base", steps=40, data=str(letters), batch_size=8, corpus=None)
    old = {}
    for share in (0.05, 0.5):
        state = go(init=str(tmp_path / "base"), steps=40, data=str(digits), corpus=None,
                   replay_share=share, **settings).state  # fmt: skip
        assert state.held_out["old_loss"][0] == pytest.approx(base.state.best_loss, rel=1e-6)
        assert len(state.held_out["old_loss"]) == len(state.held_out["step"]) == 3
        old[share] = state.held_out["old_loss"][-1]
    assert old[0.5] < base.state.best_loss + 0.1 and old[0.5] < old[0.05]


def test_documents_are_numbered_where_only_one_feed_has_them():
    batch = mix(numbered(1, 4), numbered(-1, 4, documents=True), 0.5, 4).at(0)
    assert batch.documents_BT[:, 0].tolist() == [1, 1, 2, 2]


def test_a_resumed_run_must_be_given_the_same_old_text(base, tmp_path, monkeypatch):
    (tmp_path / "one.txt").write_text(embedded_text(5) * 3)
    (tmp_path / "two.txt").write_text(embedded_text(6) * 3)
    out, one = tmp_path / "run", str(tmp_path / "one.txt")
    go_on = stop_at(monkeypatch, 2)
    about = go(out, replay=one).run["data"]
    go_on()
    assert about["replay"]["source"] == one and about["replay"]["share"] == 0.1
    with pytest.raises(MinimindError, match="mixed in other old data"):
        go(out, resume=True, replay=str(tmp_path / "two.txt"))
    assert go(out, resume=True, replay=one).finished
    assert load_model_folder(out)[0].config.vocab_size == 259
