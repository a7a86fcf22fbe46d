"""Fine-tuning on chats: what is learned, what a step reads, and that runs resume to the bit."""

import dataclasses
import gzip
import json
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from stops_at import StopAt

from minimind_wiki.data.packing import IGNORE
from minimind_wiki.data.sft_rows import examples
from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.infer import load_model_folder, save_model_folder
from minimind_wiki.model import Transformer, preset
from minimind_wiki.tokenizer import ByteTokenizer
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.device import choose
from minimind_wiki.train.method import Workshop
from minimind_wiki.train.sft import SftSettings, chat_feed, packed, questions, sft, short_first
from minimind_wiki.train.sources import open_source

TOKENIZER = ByteTokenizer()


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base") / "model"
    return save_model_folder(folder, Transformer(preset("nano"), seed=0), TOKENIZER)


@pytest.fixture
def config(base):
    return TrainConfig(
        init=str(base), data="world/instructions", steps=6, batch_size=4, context_length=256,
        eval_every=3, eval_windows=6, sample_tokens=0, device="cpu", threads=1, learning_rate=3e-3,
    )  # fmt: skip


def feed_of(config, settings=None):
    source = open_source(config.data, "sft", config.seed, config.held_out, config.eval_windows)
    return source, chat_feed(source, config, settings or SftSettings(), TOKENIZER)


def test_a_step_learns_what_its_chats_assistants_say_and_nothing_else(config):
    source, feed = feed_of(config)
    for step in (0, 1, 5):
        batch = feed.at(step)
        chats = list(examples(source.rows(step * 4, 4), TOKENIZER, 256))
        said = sorted(id for chat in chats for id in chat.ids[chat.flags > 0].tolist())
        assert sorted(batch.labels_BT[batch.labels_BT != IGNORE].tolist()) == said
        assert torch.equal(feed.at(step).ids_BT, batch.ids_BT)  # a function of the step
    assert feed.at(0).ids_BT.tolist() != feed.at(1).ids_BT.tolist()


def test_texts_keep_their_share_and_ask_nothing(config):
    mixed = dataclasses.replace(config, data="world/instructions,world/pretrain")
    source, feed = feed_of(mixed)
    batch = feed.at(0)
    chats = list(examples(source.rows(0, 4), TOKENIZER, 256))
    assert sum(int(chat.flags.sum()) for chat in chats) == batch.predicted
    assert sum("text" in row for row in source.rows(0, 4)) == 2
    order = short_first(source.rows(0, 4), bands=4)
    assert "text" in source.row(order[-1])  # stories are long
    with pytest.raises(WrongCall, match="mix texts into data"):
        sft(dataclasses.replace(config, replay="world"))


def test_a_run_learns_chats_and_texts(config, tmp_path):
    mixed = dataclasses.replace(config, data="world/instructions,world/pretrain", steps=12)
    found = sft(mixed, SftSettings(gold_items=2, gold_tokens=4), tmp_path / "run").state.held_out
    assert found["loss"][-1] < found["loss"][0]


def test_empty_rows_make_the_rows_even_and_change_nothing(config, monkeypatch):
    source, _ = feed_of(config)
    chats = list(examples(source.rows(0, 3), TOKENIZER, 256))
    alone = packed(chats, 256, TOKENIZER.pad_id)
    monkeypatch.setenv("WORLD_SIZE", "4")
    shared = packed(chats, 256, TOKENIZER.pad_id)
    rows = len(alone.ids_BT)
    assert len(shared.ids_BT) % 4 == 0 and len(shared.ids_BT) > rows
    assert torch.equal(shared.labels_BT[:rows], alone.labels_BT)
    assert (shared.labels_BT[rows:] == IGNORE).all() and shared.predicted == alone.predicted


def test_it_learns_to_answer_and_leaves_a_model_folder(config, tmp_path):
    outcome = sft(config, None, tmp_path / "run")
    losses = outcome.state.held_out["loss"]
    assert losses[-1] < losses[0] - 0.3
    tokenizer = load_model_folder(tmp_path / "run")[1]
    assert tokenizer.fingerprint == TOKENIZER.fingerprint
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["method"]["name"] == "sft" and run["method"]["long_chats"] == "drop"
    assert run["command"].startswith("minimind sft --model ")
    assert run["init"]["sha256"] and run["bigram_loss"] is None


def test_a_stopped_run_resumes_to_the_bit(config, tmp_path):
    whole = sft(config, None, tmp_path / "whole")
    assert not sft(config, None, tmp_path / "run", report=StopAt(2)).finished
    resumed = sft(config, None, tmp_path / "run", resume=True)
    assert resumed.state.train == whole.state.train
    other = whole.model.state_dict()
    assert all(torch.equal(t, other[name]) for name, t in resumed.model.state_dict().items())


def rows_file(path, rows):
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return path


def chat(question, answer):
    return {"conversations": [{"role": "user", "content": question},
                              {"role": "assistant", "content": answer}]}  # fmt: skip


def test_a_file_is_read_in_a_new_order_each_epoch_and_its_end_is_held_out(tmp_path):
    path = rows_file(tmp_path / "a.jsonl.gz", [chat(f"q{i}", f"a{i}") for i in range(20)])
    source = open_source(str(path), "sft", seed=1, held_out=0.1, most=8)
    epochs = [[row["conversations"][0]["content"] for row in source.rows(at, 18)]
              for at in (0, 18)]  # fmt: skip
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(f"q{i}" for i in range(18))
    assert epochs[0] != epochs[1]
    assert [row["conversations"][0]["content"] for row in source.held_out] == ["q18", "q19"]


def test_a_bad_row_is_named_with_file_and_line(tmp_path):
    path = rows_file(tmp_path / "a.jsonl.gz", [chat("q", "a"), {"conversations": []}])
    with pytest.raises(MinimindError, match=r"a\.jsonl\.gz:2: "):
        open_source(str(path), "sft", 0, 0.1, 4)


@pytest.mark.parametrize(
    ("data", "schema", "words"),
    [
        ("world/preference", "sft", "not of schema 'sft'; take one of"),
        ("world/chat", "sft", "unknown kind of row 'chat'"),
        ("nowhere.jsonl", "sft", "neither a file, nor a data set"),
    ],
)
def test_a_source_that_cannot_be_is_refused(data, schema, words):
    with pytest.raises(MinimindError, match=words):
        open_source(data, schema, 0, 0.1, 4)


def test_chats_that_all_are_too_long_are_an_error_and_not_an_empty_step(config):
    short = dataclasses.replace(config, data="world/questions", context_length=16)
    with pytest.raises(MinimindError, match="no held-out chat fits 16 tokens"):
        feed_of(short, SftSettings("reject"))


def test_a_policy_that_is_none_is_refused(config):
    with pytest.raises(WrongCall, match="policy for long chats"):
        sft(config, SftSettings("shorten"))


def test_a_model_that_has_learned_the_answers_by_heart_says_them(config, tmp_path):
    rows = [chat(f"{i}?", "yes") for i in range(24)]
    path = rows_file(tmp_path / "a.jsonl.gz", rows)
    config = dataclasses.replace(config, data=str(path), steps=60, eval_every=60, held_out=0.2)
    found = sft(config, SftSettings(gold_items=4, gold_tokens=8)).state.held_out["exact_answers"]
    assert found == [0.0, 1.0]


def test_only_questions_with_room_for_a_short_answer_are_asked(config):
    said = [chat("?", "x" * 100), chat("y" * 400, "b"), chat("a?", "b")]
    rows = [*said, {"conversations": said[2]["conversations"][:1]}]
    model = Transformer(preset("nano"))
    work = Workshop(model, TOKENIZER, choose("cpu"), None, config, 0)
    asked = questions(rows, work, SftSettings(gold_tokens=32))
    assert [q.gold for q in asked] == ["b"] and len(asked[0].prompt) < 60


def test_a_curriculum_reads_the_same_chats_shorter_ones_first_and_then_mixes(config):
    config = dataclasses.replace(config, steps=12, batch_size=8)
    source, mixed = feed_of(config)
    _, feed = feed_of(config, SftSettings(order="short_first", order_steps=10))

    def said(feed, steps):
        batches = (feed.at(step) for step in steps)
        return sorted(i for b in batches for i in b.labels_BT[b.labels_BT != IGNORE].tolist())

    assert said(feed, range(10)) == said(mixed, range(10))
    assert torch.equal(feed.at(10).ids_BT, mixed.at(10).ids_BT)  # the curriculum is over
    assert torch.equal(feed.at(3).ids_BT, feed.at(3).ids_BT)

    def characters(row):
        return sum(len(message["content"]) for message in row["conversations"])

    order = short_first(source.rows(0, 80))
    lengths = [characters(source.row(number)) for number in order]
    bands = [lengths[at : at + 10] for at in range(0, 80, 10)]
    assert all(max(short) <= min(long) for short, long in pairwise(bands))
    assert bands[0] != sorted(bands[0])  # mixed within a band
    first = packed(list(examples(map(source.row, order[:8]), TOKENIZER, 256)), 256, 0)
    assert torch.equal(feed.at(0).labels_BT, first.labels_BT)


def test_an_order_that_cannot_be_is_refused(config):
    for fields, words in (({"order": "long_first"}, "unknown order 'long_first'"),
                          ({"order_steps": 5}, "only with --order short_first"),
                          ({"order": "short_first", "order_steps": -1}, "0 or more")):  # fmt: skip
        with pytest.raises(WrongCall, match=words):
            sft(config, SftSettings(**fields))


def test_rows_with_tools_can_be_learned_where_they_hold_an_answer(config):
    config = dataclasses.replace(config, data="world/tools", context_length=2048, steps=1,
                                 batch_size=1, eval_windows=1)  # fmt: skip
    longer = Transformer(preset("nano", max_position_embeddings=2048), seed=0)
    save_model_folder(Path(config.init).parent / "longer", longer, TOKENIZER)
    config = dataclasses.replace(config, init=str(Path(config.init).parent / "longer"))
    assert sft(config, SftSettings(gold_items=0)).finished
    with pytest.raises(WrongCall, match="rows of world/rl are not of schema 'sft'"):
        sft(dataclasses.replace(config, data="world/rl"))
