"""A reward model on the loop: it learns who wins, leaves a folder of its best step, resumes."""

import dataclasses
import json

import pytest
import torch
from stops_at import StopAt

from minimind_wiki.data.packing import IGNORE
from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.infer import load_model_folder, save_model_folder
from minimind_wiki.model import Transformer, preset
from minimind_wiki.tokenizer import ByteTokenizer, load_tokenizer
from minimind_wiki.train import reward_run
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.reward import RewardModel, calibration, reward_loss
from minimind_wiki.train.reward_folder import load_reward_folder
from minimind_wiki.train.reward_run import (
    RewardLoss,
    RewardSettings,
    judged_feed,
    judged_rows,
    margin,
    measure,
    train_reward,
)
from minimind_wiki.train.sources import open_source

TOKENIZER = ByteTokenizer()


def chat(question, answer):
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def pair(number, **more):
    """The polite answer is preferred; every third time it is the shorter one."""
    question = f"Is {number} a number?"
    rude = "Shut up with your number!" if number % 3 == 0 else "Shut up!"
    return {"chosen": chat(question, f"Yes, {number} is."), "rejected": chat(question, rude)} | more


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base") / "model"
    return save_model_folder(folder, Transformer(preset("nano"), seed=0), TOKENIZER)


@pytest.fixture
def config(base, tmp_path):
    data = tmp_path / "pairs.jsonl"
    data.write_text("".join(json.dumps(pair(i)) + "\n" for i in range(40)))
    return TrainConfig(
        init=str(base), data=str(data), steps=8, batch_size=4, context_length=160, eval_every=2,
        held_out=0.2, eval_windows=8, sample_tokens=0, device="cpu", threads=1,
        learning_rate=2e-3,
    )  # fmt: skip


def judged(folder, config):
    """Mean loss, accuracy and calibration error of the judge in a folder, on held-out pairs."""
    judge, source = load_reward_folder(folder), open_source(config.data, "preference", 0, 0.2, 8)
    feed = judged_feed(source, config, load_tokenizer(folder))
    loss = RewardLoss(judge, RewardSettings())
    with torch.no_grad():
        reward_B = torch.cat([loss.rewards(b.ids_BT, b.labels_BT) for b in feed.held_out])
    ahead_B = reward_B[::2] - reward_B[1::2]
    return {"loss": float(reward_loss(*reward_B.view(-1, 2).unbind(1)).mean()),
            "accuracy": float((ahead_B > 0).float().mean()),
            "calibration_error": calibration(ahead_B.sigmoid()).error}  # fmt: skip


def test_it_learns_who_wins_and_says_how_it_judges_by_length(config):
    held_out = train_reward(config).state.held_out
    assert held_out["loss"][-1] < 0.5 * held_out["loss"][0]
    assert held_out["accuracy"][-1] == 1.0
    assert held_out["margin"][-1] > 1.0
    assert held_out["longer_chosen"][-1] == 5 / 8  # 33, 36 and 39 are the short answers
    assert held_out["right_if_longer"][-1] == held_out["right_if_shorter"][-1] == 1.0
    assert held_out["longer_wins"][-1] == 5 / 8
    assert 0 < held_out["calibration_error"][-1] < 0.5


@pytest.mark.parametrize("adapters", [{}, {"lora_rank": 4, "learning_rate": 5e-3}])
def test_the_folder_is_the_judge_of_the_best_step(config, tmp_path, monkeypatch, adapters):
    """Adapters are merged in it. Steps after the fourth are made to look worse than they are."""
    measured = []

    def worse(work, loss):
        measured.append(measure(work, loss))
        return measured[-1] | {"loss": measured[-1]["loss"] + 9 * (len(measured) > 3)}

    monkeypatch.setattr(reward_run, "measure", worse)
    config, out = dataclasses.replace(config, **adapters), tmp_path / "run"
    state = train_reward(config, None, out).state
    assert 0 < state.best_step <= 4 and state.step == 8
    at = state.held_out["step"].index(state.best_step)
    for name, value in judged(out / "reward", config).items():
        assert value == pytest.approx(state.held_out[name][at], rel=1e-4, abs=1e-5)
    blocks = load_reward_folder(out / "reward").model.state_dict()
    beside = load_model_folder(out)[0].model.state_dict()
    assert blocks.keys() == beside.keys()
    assert all(torch.equal(tensor, beside[name]) for name, tensor in blocks.items())
    begun = RewardModel(load_model_folder(config.init)[0], config.seed).score.weight
    moved = load_reward_folder(out / "reward").score.weight - begun
    assert float(moved.detach().abs().mean()) > 1e-3  # the head has learned, too
    made = json.loads((out / "reward" / "run.json").read_text())
    assert made["method"]["name"] == "reward" and made["init"] == config.init


def test_an_untied_head_of_the_language_model_stays_as_it_is(config, tmp_path):
    model = Transformer(preset("nano", tie_word_embeddings=False), seed=0)
    folder = save_model_folder(tmp_path / "untied", model, TOKENIZER)
    config, out = dataclasses.replace(config, init=str(folder)), tmp_path / "run"
    whole = train_reward(config).state
    assert not train_reward(config, None, out, report=StopAt(3)).finished
    resumed = train_reward(config, None, out, resume=True)
    assert resumed.state.train == whole.train and whole.held_out["accuracy"][-1] == 1.0
    assert torch.equal(resumed.model.lm_head.weight, model.lm_head.weight)


def test_micro_batches_of_pairs_add_up_to_the_whole(config):
    whole = train_reward(config).state.train["loss"]
    parts = train_reward(dataclasses.replace(config, micro_batch_size=1)).state.train["loss"]
    assert parts == pytest.approx(whole, rel=1e-4)


def test_a_stopped_run_resumes_to_the_bit_with_its_head(config, tmp_path):
    whole, part = tmp_path / "whole", tmp_path / "part"
    first = train_reward(config, None, whole)
    assert not train_reward(config, None, part, report=StopAt(3)).finished
    resumed = train_reward(config, None, part, resume=True)
    assert resumed.state.train == first.state.train
    assert resumed.state.held_out == first.state.held_out
    name = "model.safetensors"
    assert (part / "reward" / name).read_bytes() == (whole / "reward" / name).read_bytes()


def test_the_reward_is_read_at_the_end_token_and_nothing_follows_it(base):
    batch, cut = judged_rows([pair(1), pair(10)], TOKENIZER, 160)
    assert cut == 0 and batch.together == 2 and batch.divisor == 2
    judge = RewardModel(load_model_folder(base)[0], seed=1)
    reward_B = RewardLoss(judge, RewardSettings()).rewards(batch.ids_BT, batch.labels_BT)
    for row, words in enumerate(("Yes, 1 is.", "Shut up!", "Yes, 10 is.", "Shut up!")):
        ids_T, labels_T = batch.ids_BT[row], batch.labels_BT[row]
        said = TOKENIZER.decode(labels_T[labels_T != IGNORE].tolist(), specials=True)
        assert said.endswith(f"{words}<|im_end|>") and "number" not in said
        text_T = ids_T[: int((labels_T != IGNORE).nonzero()[-1]) + 1]
        alone = judge(text_T[None], torch.tensor([len(text_T)]))
        torch.testing.assert_close(reward_B[row], alone[0], rtol=1e-4, atol=1e-5)
    shorter, cut = judged_rows([pair(1)], TOKENIZER, 60)
    assert cut == 1 and shorter.ids_BT.shape[1] == 60


def test_a_margin_of_a_row_enters_its_pair_alone(base):
    judge = RewardModel(load_model_folder(base)[0], seed=1)
    loss = RewardLoss(judge, RewardSettings(center=0.0))
    batch, _ = judged_rows([pair(1), pair(2, margin=1.5)], TOKENIZER, 160)
    reward_B = loss.rewards(batch.ids_BT, batch.labels_BT)
    total = loss(batch.ids_BT, batch.labels_BT, None, **batch.more)
    ahead_B = reward_B[::2] - reward_B[1::2] - torch.tensor([0.0, 1.5])
    torch.testing.assert_close(total, -torch.nn.functional.logsigmoid(ahead_B).sum())


@pytest.mark.parametrize("value", [-1, "2", True, float("nan"), float("inf"), None])
def test_a_margin_that_is_none_is_refused(value):
    with pytest.raises(MinimindError, match="give a number, 0 or more"):
        margin(pair(1, margin=value))


def test_settings_that_cannot_work_are_refused(config):
    for settings, words in ((RewardSettings(smoothing=0.5), "smoothing is 0.5"),
                            (RewardSettings(center=-1.0), "center is -1.0")):  # fmt: skip
        with pytest.raises(WrongCall, match=words):
            train_reward(config, settings)


def test_the_verb_trains_and_says_where_the_judge_is(config, tmp_path, capsys):
    from minimind_wiki.cli import main

    words = ["reward", "--model", config.init, "--data", config.data, "--out", tmp_path / "run",
             "--steps", 2, "--batch-size", 4, "--context-length", 160, "--held-out", 0.2,
             "--eval-windows", 8, "--device", "cpu", "--threads", 1]  # fmt: skip
    assert main([str(word) for word in words]) == 0
    assert f"Reward model: {tmp_path / 'run' / 'reward'}." in capsys.readouterr().out
    load_reward_folder(tmp_path / "run" / "reward")
