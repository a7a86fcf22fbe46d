"""Learning from pairs on the loop: begins at log 2, learns the preference, resumes to the bit."""

import dataclasses
import json
import math

import pytest
import torch
from stops_at import StopAt

from minimind_wiki.data.packing import IGNORE
from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.infer import load_model_folder, save_model_folder
from minimind_wiki.model import Transformer, preset
from minimind_wiki.tokenizer import ByteTokenizer
from minimind_wiki.train.comparisons import last_turn, pair_rows
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.dpo import DpoSettings, dpo
from minimind_wiki.train.reference import Compared, Remembered, row_keys
from minimind_wiki.train.report import Quiet

TOKENIZER = ByteTokenizer()


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base") / "model"
    return save_model_folder(folder, Transformer(preset("nano"), seed=0), TOKENIZER)


def chat(question, answer):
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def pair(question, chosen, rejected):
    return {"chosen": chat(question, chosen), "rejected": chat(question, rejected)}


@pytest.fixture
def config(base, tmp_path):
    """Pairs in which the polite answer is preferred."""
    rows = [pair(f"Is {i} a number?", f"Yes, {i} is.", f"Shut up {i}!") for i in range(40)]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return TrainConfig(
        init=str(base), data=str(path), steps=8, batch_size=4, context_length=160, eval_every=4,
        held_out=0.2, eval_windows=8, sample_tokens=0, device="cpu", threads=1,
        learning_rate=1e-3,
    )  # fmt: skip


@pytest.mark.parametrize("loss", ["dpo", "ipo", "simpo", "orpo"])
def test_each_loss_learns_which_answer_is_preferred(config, loss):
    held_out = dpo(config, DpoSettings(loss)).state.held_out
    assert held_out["loss"][-1] < held_out["loss"][0]
    assert held_out["accuracy"][-1] == 1.0
    assert held_out["margin"][-1] > held_out["margin"][0]
    if loss in ("dpo", "ipo"):
        assert held_out["kl"][0] == pytest.approx(0.0, abs=1e-6) and held_out["kl"][-1] > 1e-3
    else:
        assert "kl" not in held_out


@pytest.mark.parametrize("cached", [False, True])
def test_it_begins_as_its_own_reference_also_from_weights_of_16_bits(
    config, base, tmp_path, cached
):
    """The weights of the reference are those of the file, too; both compute in float32."""
    half = save_model_folder(tmp_path / "half", load_model_folder(base)[0].bfloat16(), TOKENIZER)
    config = dataclasses.replace(config, steps=1, init=str(half))
    held_out = dpo(config, DpoSettings(cache_reference=cached)).state.held_out
    assert held_out["loss"][0] == pytest.approx(math.log(2), abs=1e-6)
    assert held_out["accuracy"][0] == 0.5 and held_out["margin"][0] == 0.0
    assert cached or held_out["kl"][0] == 0.0


def test_micro_batches_of_pairs_add_up_to_the_whole(config):
    whole = dpo(config).state.train["loss"]
    parts = dpo(dataclasses.replace(config, micro_batch_size=1)).state.train["loss"]
    assert parts == pytest.approx(whole, rel=1e-5)


def test_a_stopped_run_resumes_to_the_bit_with_its_own_reference(config, tmp_path):
    whole = dpo(config, None, tmp_path / "whole")
    assert not dpo(config, None, tmp_path / "run", report=StopAt(3)).finished
    resumed = dpo(config, None, tmp_path / "run", resume=True)
    assert resumed.state.train == whole.state.train
    assert resumed.state.held_out == whole.state.held_out


def test_a_cached_reference_gives_the_same_run_and_is_gone_while_it_runs(config, monkeypatch):
    """Twenty steps of four read each of 32 rows two or three times, in another order each time."""
    config = dataclasses.replace(config, steps=20, eval_every=10)
    whole = dpo(config).state
    scored, references, learn = [], [], Remembered.learn
    monkeypatch.setattr(Remembered, "learn", lambda self, loss, batch, work: (
        scored.append(len(batch.ids_BT)), learn(self, loss, batch, work)))  # fmt: skip
    init = Compared.__init__

    def keep(self, model, reference, chunk):
        init(self, model, reference, chunk)
        references.append(reference)

    monkeypatch.setattr(Compared, "__init__", keep)
    told = []
    report = Quiet()
    report.line = told.append
    cached = dpo(config, DpoSettings(cache_reference=True), report=report).state
    assert cached.train["loss"] == pytest.approx(whole.train["loss"], rel=1e-4)
    for name in ("loss", "accuracy", "margin"):
        assert cached.held_out[name] == pytest.approx(whole.held_out[name], rel=1e-3, abs=1e-5)
    assert whole.train["loss"][-1] < 0.9 * whole.train["loss"][0]  # or all would be log 2
    assert references and not any(references) and "kl" not in cached.held_out
    assert sum(scored) == 2 * 8 + 20 * 8
    assert [line for line in told if "20 of 20" in line] == [
        "Reference: 80 answers scored, up to step 20 of 20."
    ]  # 40 pairs, each answer once


def test_a_row_is_known_again_beside_longer_rows_and_another_one_is_not():
    rows = [pair("1?", "yes", "no"), pair("2?", "a much longer answer", "no")]
    alone, beside = (pair_rows(some, TOKENIZER, 200)[0] for some in (rows[:1], rows))
    assert list(row_keys(alone)) == list(row_keys(beside))[:2]
    assert len(set(row_keys(beside))) == 4
    assert alone.ids_BT.shape[1] < beside.ids_BT.shape[1]


def test_kl_is_the_sum_over_all_tokens_of_the_vocabulary(base):
    model, reference = load_model_folder(base)[0], Transformer(preset("nano"), seed=5)
    batch, _ = pair_rows([pair("1?", "yes", "no"), pair("2?", "maybe", "no")], TOKENIZER, 200)
    answers, total = Compared(model, reference, 4).measure(batch.ids_BT, batch.labels_BT)
    with torch.no_grad():
        logp_BTV, logq_BTV = (m(batch.ids_BT).log_softmax(-1) for m in (model, reference))
    kl_BT = (logp_BTV.exp() * (logp_BTV - logq_BTV)).sum(-1)
    assert total == pytest.approx(float(kl_BT[batch.labels_BT != IGNORE].sum()), rel=1e-4)
    alone = Compared(model, reference, 0).answers(batch.ids_BT, batch.labels_BT)
    for name in ("logp_B", "tokens_B", "reference_B"):
        torch.testing.assert_close(getattr(answers, name), getattr(alone, name))


def test_the_last_answers_alone_are_learned_and_long_prompts_lose_their_beginning():
    row = pair("q" * 100, "yes", "no")
    (whole, none), (cut, one) = (pair_rows([row], TOKENIZER, size) for size in (1000, 80))
    assert (none, one) == (0, 1)
    for batch in (whole, cut):
        said = [
            TOKENIZER.decode(labels[labels != IGNORE].tolist(), specials=True)
            for labels in batch.labels_BT
        ]
        assert [text.split("</think>\n\n")[1] for text in said] == ["yes<|im_end|>", "no<|im_end|>"]
        assert batch.together == 2 and batch.divisor == 1
    assert cut.ids_BT.shape[1] < 80 < whole.ids_BT.shape[1]


def test_a_pair_of_equal_answers_is_refused_with_its_line(config, tmp_path):
    rows = [pair("1?", "yes", "no"), pair("2?", "same", "same")]
    path = tmp_path / "same.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(MinimindError, match=r"same\.jsonl:2: rejected: equal to chosen"):
        dpo(dataclasses.replace(config, data=str(path)))


def test_chats_that_differ_before_the_answer_are_refused():
    row = {"chosen": chat("one?", "a"), "rejected": chat("two?", "b")}
    with pytest.raises(MinimindError, match=r"begins with 'user.*differ before their last turn"):
        pair_rows([row], TOKENIZER, 200)
    with pytest.raises(MinimindError, match="no assistant's turn"):
        last_turn([{"role": "user", "content": "hi"}], TOKENIZER)


def test_settings_that_cannot_work_are_refused(config):
    for settings, words in ((DpoSettings("dpe"), "did you mean 'dpo'"),
                            (DpoSettings(beta=-0.1), "beta is -0.1, but it must be above 0"),
                            (DpoSettings(smoothing=0.5), "smoothing is 0.5"),
                            (DpoSettings(unpaired=True), "dpo compares pairs"),
                            (DpoSettings("orpo", cache_reference=True), "orpo has no reference"),
                            (DpoSettings("kto", undesirable_weight=0.0), "undesirable_weight is 0"),
                            ):  # fmt: skip
        with pytest.raises(WrongCall, match=words):
            dpo(config, settings)
