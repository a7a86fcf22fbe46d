"""The parts of a run: settings, schedule, optimizer groups, batches, the bigram bar, the device."""

import dataclasses
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from minimind_wiki.data import Corpus
from minimind_wiki.data.packing import IGNORE, pack
from minimind_wiki.data.shards import write_shards
from minimind_wiki.data.world import make_document
from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.model import PRESETS, ModelConfig, Transformer, preset
from minimind_wiki.tokenizer import ByteTokenizer
from minimind_wiki.train.batches import Batches, gather, measured_starts, split_ids
from minimind_wiki.train.bigram import Bigram, bigram_loss
from minimind_wiki.train.config import RECIPES, TrainConfig, build
from minimind_wiki.train.device import choose
from minimind_wiki.train.feeds import corpus_feed, make_feed, tokenize, world_feed
from minimind_wiki.train.flags import convert, field_docs, field_types, read_yaml
from minimind_wiki.train.optim import decay_groups, make_adamw
from minimind_wiki.train.report import printable
from minimind_wiki.train.schedule import learning_rate


# --- settings -----------------------------------------------------------------------------------
def test_every_field_has_a_type_and_a_text_for_its_flag():
    for cls in (TrainConfig, ModelConfig):
        docs, types = field_docs(cls), field_types(cls)
        assert docs.keys() == types.keys()
        assert all(len(doc) > 10 for doc in docs.values())
        assert set(types.values()) <= {str, int, float, bool}


def test_recipes_are_for_presets_and_for_fields():
    assert set(RECIPES) <= set(PRESETS)
    for name in RECIPES:
        build({"preset": name}, ())[0].validate()


def test_what_is_given_wins_over_the_recipe_and_that_over_the_default():
    config, fields = build({"preset": "nano", "steps": 7, "hidden_size": 32}, ("hidden_size",))
    assert config.steps == 7
    assert (
        config.context_length == RECIPES["nano"]["context_length"] != TrainConfig().context_length
    )
    assert fields == {"hidden_size": 32}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"steps": 0}, "steps is 0, but it must be at least 1"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0, but it must be above 0"),
        ({"learning_rate": math.inf}, "learning_rate is inf, .* finite"),
        ({"weight_decay": math.nan}, "weight_decay is nan"),
        ({"held_out": 1.0}, "held_out is 1.0"),
        ({"beta2": 1.0}, "beta2 is 1.0"),
        ({"seed": -1}, "seed is -1"),
        ({"warmup_steps": 9, "steps": 8}, r"at most steps \(8\)"),
        ({"micro_batch_size": 5}, r"a divisor of batch_size"),
        ({"device": "gpu"}, "unknown device 'gpu'; did you mean 'cpu'"),
        ({"dtype": "float8"}, "unknown dtype 'float8'; did you mean"),
        ({"lerning_rate": 1.0}, "unknown field 'lerning_rate'; did you mean 'learning_rate'"),
        ({"hiden_size": 1}, "unknown field 'hiden_size'; did you mean 'hidden_size'"),
    ],
)
def test_a_setting_that_cannot_work_is_named(given, message):
    with pytest.raises(WrongCall, match=message):
        build(given, field_types(ModelConfig))


def test_yaml(tmp_path):
    types = field_types(TrainConfig)
    path = tmp_path / "run.yaml"
    path.write_text("learning_rate: 3e-4\nsteps: 20\ncompile: false\npreset: 26m\n")
    assert read_yaml(path, types) == {
        "learning_rate": 3e-4, "steps": 20, "compile": False, "preset": "26m",
    }  # fmt: skip
    for text, message in [
        ("steps: many", r"run.yaml: steps is 'many', but it must be a whole number"),
        ("steps: 1.5", "steps is 1.5"),
        ("compile: 1", "compile is 1, but it must be true or false"),
        ("stepz: 3", r"unknown field in .*run.yaml 'stepz'; did you mean 'steps'"),
        ("- 1", "must hold one 'field: value' a line"),
        ("a: [", "cannot be read as YAML"),
        ("seed: !!python/object/apply:os.system ['true']", "cannot be read as YAML"),
    ]:
        path.write_text(text)
        with pytest.raises(MinimindError, match=message):
            read_yaml(path, types)
    with pytest.raises(MinimindError, match="does not exist"):
        read_yaml(tmp_path / "no.yaml", types)


def test_convert_accepts_dashes_and_scientific_numbers():
    types = field_types(TrainConfig)
    assert convert("learning-rate", "1e-3", types) == 1e-3
    assert convert("steps", "1e3", types) == 1000
    with pytest.raises(WrongCall, match="seed is 'nan'"):
        convert("seed", "nan", types)


# --- schedule and optimizer -----------------------------------------------------------------------
def test_schedule_starts_above_zero_peaks_once_and_wastes_no_step():
    rates = [learning_rate(step, 100, 10, 1.0, 0.1) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == 1.0
    assert rates[99] > rates[100] == pytest.approx(0.1)
    assert all(a > b for a, b in pairwise(rates[9:]))
    assert learning_rate(99, 100, 10, 1.0) > 0
    assert learning_rate(0, 1, 1, 1.0) == 1.0  # a run of one step has the peak


def test_norms_biases_and_embeddings_are_not_decayed():
    model = Transformer(preset("nano"), seed=0)
    decayed, plain = decay_groups(model)
    assert sorted(decayed + plain) == sorted(n for n, _ in model.named_parameters())
    assert {n.rsplit(".", 2)[-2] for n in decayed} == {
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    }  # fmt: skip
    assert "model.embed_tokens.weight" in plain  # also the head: tied
    biased = nn.Sequential(nn.Embedding(4, 4), nn.Linear(4, 4), nn.LayerNorm(4))
    assert decay_groups(biased)[0] == ["1.weight"]
    groups = make_adamw(model, 0.1, (0.9, 0.99)).param_groups
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]


# --- batches --------------------------------------------------------------------------------------
def test_a_batch_is_a_function_of_seed_and_step():
    ids = np.arange(1000) % 251
    one, two = Batches(ids, 4, 16, seed=3), Batches(ids, 4, 16, seed=3)
    later = two.at(40)  # asked out of order
    for step in range(40):
        one.at(step)
    assert torch.equal(one.at(40), later)
    assert not torch.equal(Batches(ids, 4, 16, seed=4).at(40), later)


def test_an_epoch_reads_each_window_once_and_the_next_is_cut_elsewhere():
    ids = np.arange(1000)
    batches = Batches(ids, batch_size=7, context_length=10, seed=0)
    starts = np.concatenate([batches.starts(step) for step in range(60)])
    first, second = starts[: batches.windows], starts[batches.windows : 2 * batches.windows]
    for epoch in (first, second):
        assert len(set(epoch.tolist())) == batches.windows
        assert np.diff(np.sort(epoch)).tolist() == [10] * (batches.windows - 1)
        assert epoch.min() >= 0 and epoch.max() + 11 <= len(ids)
    assert first.min() != second.min()
    assert batches.at(0).shape == (7, 11)


def test_the_smallest_corpus_is_one_window():
    batches = Batches(np.arange(17), batch_size=2, context_length=16, seed=0)
    assert batches.at(5)[:, 0].tolist() == [0, 0]


def test_held_out_windows_are_disjoint_and_predict_each_token_once():
    ids = np.arange(101)
    starts = measured_starts(len(ids), 10, most=1000)
    assert gather(ids, starts, 10)[:, 1:].flatten().tolist() == list(range(1, 101))
    assert len(measured_starts(len(ids), 10, most=4)) == 4


def test_documents_stand_between_their_marks_and_a_single_text_has_none():
    tokenizer = ByteTokenizer()
    ids, offsets = tokenize(("ab", "c"), tokenizer)
    assert ids.tolist() == [257, 97, 98, 258, 257, 99, 258]
    assert offsets.tolist() == [0, 4, 7]
    assert tokenize(("ab",), tokenizer)[0].tolist() == [97, 98]


def test_the_split_is_the_last_tenth():
    split = split_ids(np.arange(1000), 0.1, 16, "x")
    assert (len(split.train), split.held_out[0]) == (900, 900)


def test_a_corpus_shorter_than_one_context_says_what_to_do():
    message = r"x.txt is too short: 100 tokens.* part has 10 .* needs 17.*smaller --context-length"
    with pytest.raises(MinimindError, match=message):
        split_ids(np.arange(100), 0.1, 16, "x.txt")


# --- feeds ----------------------------------------------------------------------------------------
DOCUMENTS = Corpus("x", tuple(f"document {i} " * (1 + i % 5) for i in range(200)), "", "x.jsonl")
PACKED = TrainConfig(preset="nano", batch_size=3, context_length=64, eval_windows=5, seed=1)


def test_packed_documents_are_held_out_whole_and_each_is_read_once_an_epoch():
    tokenizer = ByteTokenizer()
    feed = corpus_feed(DOCUMENTS, PACKED, tokenizer)
    assert feed.prompt == (tokenizer.bos_id,)
    train = tokenizer.decode(feed.sample_ids.tolist())
    assert "document 170 " in train and "document 195 " not in train
    held = "".join(tokenizer.decode(row.tolist()) for part in feed.held_out for row in part.ids_BT)
    assert "document 19" in held and "document 17" not in held
    rows = pack(tokenize(DOCUMENTS.documents[:180], tokenizer)[1], 64).rows
    steps = -(-rows // 3)
    begun = [int((feed.at(s).ids_BT == tokenizer.bos_id).sum()) for s in range(steps + 1)]
    assert 180 <= sum(begun) <= 180 + 2 * max(begun)
    assert torch.equal(feed.at(7).ids_BT, corpus_feed(DOCUMENTS, PACKED, tokenizer).at(7).ids_BT)


def test_packed_rows_number_their_documents_and_end_without_a_label():
    feed = corpus_feed(DOCUMENTS, PACKED, ByteTokenizer())
    batch = feed.at(0)
    assert batch.documents_BT is not None
    last = batch.documents_BT[:, :-1] != batch.documents_BT[:, 1:]
    assert last.any() and (batch.labels_BT[:, :-1][last] == IGNORE).all()
    inside = batch.labels_BT[:, :-1] != IGNORE
    assert torch.equal(batch.labels_BT[:, :-1][inside], batch.ids_BT[:, 1:][inside])


def test_the_arms_differ_in_what_a_row_holds():
    def places(arm):
        config = dataclasses.replace(PACKED, packing=arm)
        batches = [corpus_feed(DOCUMENTS, config, ByteTokenizer()).at(s) for s in range(8)]
        return sum(batch.predicted for batch in batches) / (8 * 3 * 64)

    assert places("pad") < 0.75 < places("pack") < places("concat") == 1


def test_the_world_is_a_feed_whose_held_out_part_is_the_same_for_every_seed():
    config = dataclasses.replace(PACKED, context_length=700, data="world", eval_windows=4)
    one, two = (
        world_feed(dataclasses.replace(config, seed=seed), ByteTokenizer()) for seed in (0, 1)
    )
    assert all(
        torch.equal(a.ids_BT, b.ids_BT) for a, b in zip(one.held_out, two.held_out, strict=True)
    )
    assert not torch.equal(one.at(0).ids_BT, two.at(0).ids_BT)
    assert one.about["sha256"] == two.about["sha256"] and one.about["source"] == "world"
    assert len(one.sample_ids) > 500_000
    read = ByteTokenizer().decode(one.sample_ids.tolist())
    assert '[{"name": "calculator"' in read  # lessons
    assert 0.3 < one.floor < 0.4
    text = "".join(ByteTokenizer().decode(r.tolist()) for p in one.held_out for r in p.ids_BT)
    stories = [make_document(f"held-out.{n}", "validation") for n in range(40)]
    stories = [story for story in stories if len(story.text) <= 698][:4]
    assert all(story.text in text for story in stories)
    bits = -sum(story.logp_any for story in stories) / math.log(2)
    assert one.floor == pytest.approx(bits / sum(len(story.text) for story in stories))
    with pytest.raises(WrongCall, match="hardly any story fits"):
        world_feed(dataclasses.replace(config, context_length=100), ByteTokenizer())
    with pytest.raises(WrongCall, match="kind of row"):
        make_feed(dataclasses.replace(config, data="world/storys"), ByteTokenizer())


def test_shards_are_a_feed_and_the_last_ones_are_held_out(tmp_path):
    tokenizer = ByteTokenizer()
    write_shards(DOCUMENTS.documents, tmp_path, tokenizer, shard_tokens=1500)
    feed = make_feed(dataclasses.replace(PACKED, data=str(tmp_path)), tokenizer)
    text = "".join(tokenizer.decode(row.tolist()) for part in feed.held_out for row in part.ids_BT)
    assert "document 19" in text and "document 17 " not in text
    seen = tokenizer.decode(feed.sample_ids.tolist())
    assert "document 17 " in seen and "document 199" not in seen
    assert torch.equal(
        feed.at(9).ids_BT,
        make_feed(dataclasses.replace(PACKED, data=str(tmp_path)), tokenizer).at(9).ids_BT,
    )
    with pytest.raises(MinimindError, match="tokenizer"):
        make_feed(dataclasses.replace(PACKED, data=str(tmp_path)), Other())
    write_shards(DOCUMENTS.documents, tmp_path / "one", tokenizer)
    with pytest.raises(MinimindError, match="1 shards, but needs one to train on"):
        make_feed(dataclasses.replace(PACKED, data=str(tmp_path / "one")), tokenizer)


class Other(ByteTokenizer):
    fingerprint = "0" * 64


def test_micro_batches_keep_documents_and_labels_together():
    batch = corpus_feed(DOCUMENTS, PACKED, ByteTokenizer()).at(2)
    parts = list(batch.split(2))
    assert [len(part.ids_BT) for part in parts] == [2, 1]
    assert sum(part.predicted for part in parts) == batch.predicted
    assert torch.equal(torch.cat([part.documents_BT for part in parts]), batch.documents_BT)


def test_too_few_documents_say_what_to_do():
    with pytest.raises(MinimindError, match="2 documents, too few to hold some out"):
        corpus_feed(Corpus("x", ("a", "b" * 900), "", ""), PACKED, ByteTokenizer())


# --- the bar --------------------------------------------------------------------------------------
def test_bigram_probabilities_are_counts():
    seen = Bigram(np.array([0, 1, 0, 1, 0, 2]), 3)
    before, after = np.repeat(np.arange(3), 3), np.tile(np.arange(3), 3)
    table = np.exp(seen.log_probability(before, after, pseudo=1e-9)).reshape(3, 3)
    assert table.sum(axis=1) == pytest.approx(1.0)
    assert table[0].tolist() == pytest.approx([0, 2 / 3, 1 / 3], abs=1e-6)
    assert table[1].tolist() == pytest.approx([1, 0, 0], abs=1e-6)
    assert np.log(table[2]) == pytest.approx(np.log(seen.unigram), abs=1e-6)  # never followed


def test_bigram_loss_is_that_of_the_source():
    """A Markov chain with known entropy: the bar lies on it, and well below the unigram's."""
    rng = np.random.default_rng(0)
    state, ids = 0, []
    for draw in rng.random(60_000):
        state = (state + 1) % 3 if draw < 0.9 else state
        ids.append(state)
    ids = np.array(ids)
    entropy = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1))
    held = ids[54_000:]
    assert bigram_loss(ids[:54_000], held[:-1], held[1:], 3) == pytest.approx(entropy, abs=0.02)


# --- device and terminal --------------------------------------------------------------------------
def test_the_device_is_chosen_with_a_reason():
    place = choose("cpu")
    assert place.describe() == "Device: cpu, float32, because --device asks for it."
    assert choose("auto").why
    if not torch.cuda.is_available():
        with pytest.raises(MinimindError, match="torch finds no cuda device here; use --device"):
            choose("cuda")


def test_a_model_cannot_steer_the_terminal():
    assert printable("\x1b]0;x\x07\u202eé\n") == "·]0;x··é\n"
