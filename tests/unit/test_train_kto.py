"""KTO on the loop: its rows, its reference point, that it learns and resumes to the bit."""

import dataclasses
import json
import re

import pytest
import torch
from stops_at import StopAt

from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.infer import save_model_folder
from minimind_wiki.model import Transformer, preset
from minimind_wiki.tokenizer import ByteTokenizer
from minimind_wiki.train.comparisons import last_turn, verdict, verdict_feed, verdict_rows
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.dpo import DpoSettings, dpo
from minimind_wiki.train.kto import KtoLoss, Liking
from minimind_wiki.train.logprobs import logprobs, row_sums
from minimind_wiki.train.parallel import Alone
from minimind_wiki.train.preference import Answers, kto, kto_reference
from minimind_wiki.train.sources import open_source

TOKENIZER = ByteTokenizer()
KTO = DpoSettings("kto")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base") / "model"
    return save_model_folder(folder, Transformer(preset("nano"), seed=0), TOKENIZER)


def chat(question, answer):
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def pair(number):
    question = f"Is {number} a number?"
    good, bad = f"Yes, {number} is.", f"Shut up {number}!"
    return {"chosen": chat(question, good), "rejected": chat(question, bad)}


def single(number, label):
    return {"conversations": pair(number)["chosen" if label else "rejected"], "label": label}


def written(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture
def config(base, tmp_path):
    data = written(tmp_path / "pairs.jsonl", [pair(i) for i in range(40)])
    return TrainConfig(
        init=str(base), data=data, steps=8, batch_size=4, context_length=160, eval_every=4,
        held_out=0.2, eval_windows=8, sample_tokens=0, device="cpu", threads=1,
        learning_rate=1e-3,
    )  # fmt: skip


@pytest.fixture
def singles(config, tmp_path):
    """Every third answer is a bad one."""
    data = written(tmp_path / "singles.jsonl", [single(i, i % 3 > 0) for i in range(60)])
    return dataclasses.replace(config, data=data, batch_size=6)


def gap(held_out, at):
    return held_out["reward_chosen"][at] - held_out["reward_rejected"][at]


def test_it_learns_from_pairs_what_is_liked(config):
    state = dpo(config, KTO).state
    held_out = state.held_out
    assert held_out["loss"][0] == pytest.approx(0.5, abs=1e-6)  # 1 - σ(0): nothing has moved yet
    assert held_out["kl"][0] == pytest.approx(0.0, abs=1e-6)
    assert held_out["loss"][-1] < 0.48 and held_out["kl"][-1] > 1e-3
    assert gap(held_out, 0) == pytest.approx(0.0, abs=1e-6) and gap(held_out, -1) > 0.5
    assert len(state.train["reference_point"]) == 8


def test_it_learns_from_single_answers(singles):
    held_out = dpo(singles, dataclasses.replace(KTO, unpaired=True)).state.held_out
    assert held_out["loss"][-1] < held_out["loss"][0] and gap(held_out, -1) > 0.5


def test_a_kind_that_weighs_more_is_learned_more(config):
    """The weight of bad answers pushes them further down than that of good ones does."""
    ends = [dpo(config, dataclasses.replace(KTO, **{name: 4.0})).state.held_out["reward_rejected"]
            for name in ("desirable_weight", "undesirable_weight")]  # fmt: skip
    assert ends[1][-1] < ends[0][-1]


@pytest.mark.parametrize("data", ["config", "singles"])
def test_micro_batches_add_up_to_the_whole(data, request):
    config = request.getfixturevalue(data)
    settings = dataclasses.replace(KTO, unpaired=data == "singles")
    config = dataclasses.replace(config, learning_rate=3e-3)
    whole = dpo(config, settings).state.train
    parts = dpo(dataclasses.replace(config, micro_batch_size=1), settings).state.train
    assert parts["loss"] == pytest.approx(whole["loss"], rel=1e-4)
    assert max(whole["reference_point"]) > 0.1  # else the sameness of the points says nothing
    assert parts["reference_point"] == pytest.approx(whole["reference_point"], rel=1e-3, abs=1e-4)


def test_a_stopped_run_resumes_to_the_bit(config, tmp_path):
    whole = dpo(config, KTO, tmp_path / "whole")
    assert not dpo(config, KTO, tmp_path / "run", report=StopAt(3)).finished
    resumed = dpo(config, KTO, tmp_path / "run", resume=True)
    assert resumed.state.train == whole.state.train
    assert resumed.state.held_out == whole.state.held_out


def test_a_cached_reference_gives_the_same_run(singles):
    settings = dataclasses.replace(KTO, unpaired=True)
    config = dataclasses.replace(singles, steps=12, learning_rate=3e-3)
    whole = dpo(config, settings).state
    cached = dpo(config, dataclasses.replace(settings, cache_reference=True)).state
    for name in ("loss", "reference_point"):
        assert cached.train[name] == pytest.approx(whole.train[name], rel=1e-3, abs=1e-4)
        assert cached.held_out[name] == pytest.approx(whole.held_out[name], rel=1e-3, abs=1e-4)
    assert max(whole.train["reference_point"]) > 0.1


def test_each_prompt_is_lent_the_answers_to_the_one_before(config):
    source = open_source(config.data, "preference", 0, 0.2, 8)
    feed = verdict_feed(source, dataclasses.replace(config, batch_size=3), TOKENIZER)
    assert [len(part.ids_BT) for part in feed.held_out] == [6, 6, 4]

    def numbers(ids_BT):
        """Of the question and of the answer, for good and bad answers in turn."""
        texts = [TOKENIZER.decode(ids_T.tolist()) for ids_T in ids_BT]
        words = (r"Yes, (\d+) is", r"Shut up (\d+)!")
        return [[int(re.search(w, text)[1]) for w in (r"Is (\d+) a", words[row % 2])]
                for row, text in enumerate(texts)]  # fmt: skip

    def check(own, lent):
        asked = [question for question, _ in own]
        assert [answer for _, answer in own] == asked
        assert [question for question, _ in lent] == asked
        assert [answer for _, answer in lent] == asked[-2:] + asked[:-2]  # two answers a pair

    batch = feed.at(5)
    assert batch.more["good_B"].tolist() == 3 * [True, False]
    assert (batch.together, batch.units) == (2, 6)
    check(numbers(batch.ids_BT), numbers(batch.more["other_ids_BT"]))
    parts = [(numbers(p.ids_BT), numbers(p.more["other_ids_BT"])) for p in feed.held_out]
    check(*([one for part in some for one in part] for some in zip(*parts, strict=True)))


def test_loss_and_point_are_those_of_the_whole_batch():
    """Against `preference.kto`, itself held to TRL's, on all rows at once."""
    model, reference = (Transformer(preset("nano"), seed=seed) for seed in (0, 1))
    found = [verdict(single(i, i % 2 == 0), TOKENIZER, 200) for i in range(5)]
    batch = verdict_rows(found, found[-1:] + found[:-1], TOKENIZER, 200)

    def answers(ids_BT, labels_BT):
        sums = [row_sums(*logprobs(m, ids_BT, labels_BT)[:2]) for m in (model, reference)]
        return Answers(*sums[0], sums[1][0])

    point = kto_reference(answers(batch.more["other_ids_BT"], batch.more["other_labels_BT"]))
    assert float(point) > 0.1
    want_B, _ = kto(answers(batch.ids_BT, batch.labels_BT), batch.more["good_B"], point, 0.3, 2, 1)

    class Work:
        config = TrainConfig(micro_batch_size=1)  # passes of two rows, of one at the end
        feed = type("Feed", (), {"at": staticmethod(lambda step: batch)})
        place = type("Place", (), {"device": torch.device("cpu"),
                                   "autocast": staticmethod(torch.no_grad)})  # fmt: skip

        group = Alone()

    Work.model = model
    loss = KtoLoss(model, reference, 0, 0.3, 2.0, 1.0)
    made = Liking(Work, loss).at(0)
    torch.testing.assert_close(made.more["point_B"], point.expand(5), rtol=1e-4, atol=1e-4)
    total = loss(made.ids_BT, made.labels_BT, None, **made.more)
    torch.testing.assert_close(total, want_B.sum(), rtol=1e-4, atol=1e-4)


def test_what_cannot_be_judged_is_refused(config, tmp_path):
    with pytest.raises(WrongCall, match="make batch_size 2"):
        dpo(dataclasses.replace(config, batch_size=1), KTO)
    with pytest.raises(MinimindError, match="at least 2 rows held out"):
        dpo(dataclasses.replace(config, eval_windows=1), KTO)
    plain = {"conversations": chat("one?", "a")}
    for row in (plain, plain | {"label": 1}):
        with pytest.raises(MinimindError, match=r"begins with 'user.none\?.*no verdict"):
            verdict(row, TOKENIZER, 200)
    with pytest.raises(MinimindError, match="no assistant's turn"):
        last_turn([{"role": "user", "content": "hi"}], TOKENIZER)
