"""Our reward model is transformers' sequence classifier, its loss TRL's, its probes the formulas.

Float32; 1e-5 relative for rewards and losses, 1e-4 for gradients.
"""

import json
from collections import defaultdict
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.infer import load_model_folder, save_model_folder
from minimind_wiki.infer.hub_config import config_to_hub
from minimind_wiki.model import Transformer, preset
from minimind_wiki.tokenizer import ByteTokenizer
from minimind_wiki.train.answers import padded
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.reward import RewardModel, calibration, length_bias, reward_loss
from minimind_wiki.train.reward_folder import load_reward_folder, save_reward_folder
from minimind_wiki.train.reward_run import RewardLoss, RewardSettings, judged_rows, train_reward

SMALL = {"hidden_size": 32, "intermediate_size": 48, "max_position_embeddings": 64}


def rows(seed=0):
    """Six texts of different length; none holds the pad id inside."""
    draw = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 20, (6,), generator=draw).tolist()
    texts = [torch.randint(256, (length,), generator=draw).tolist() for length in lengths]
    return padded(texts, pad_id=256)


def test_the_head_is_transformers_sequence_classifier_and_loads_in_it():
    from transformers import AutoConfig, LlamaForSequenceClassification

    ours = RewardModel(Transformer(preset("nano", **SMALL), seed=3))
    hub = config_to_hub(ours.config) | {"num_labels": 1}
    theirs = LlamaForSequenceClassification(AutoConfig.for_model(hub.pop("model_type"), **hub))
    theirs.load_state_dict(ours.state_dict(), strict=True)
    ids_BT, lengths_B = rows()
    found_B = ours(ids_BT, lengths_B)
    want_B = theirs(ids_BT, attention_mask=(ids_BT != 256).long()).logits[:, 0]
    torch.testing.assert_close(found_B, want_B, rtol=1e-5, atol=1e-5)
    for rewards_B in (found_B, want_B):
        reward_loss(*rewards_B.chunk(2), margin_B=0.3).sum().backward()
    gradients = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(
            parameter.grad, gradients[name].grad, rtol=1e-4, atol=1e-5, msg=name
        )


@pytest.mark.parametrize("margin", [None, torch.tensor([0.0, 0.5, 2.0])])
@pytest.mark.parametrize("center", [None, 0.01])
def test_the_loss_is_trls(margin, center):
    from trl.trainer.reward_trainer import RewardTrainer

    accelerator = SimpleNamespace(gather=lambda x: x, gather_for_metrics=lambda x: x)
    trainer = SimpleNamespace(
        model=SimpleNamespace(training=True), accelerator=accelerator, _total_train_tokens=0,
        args=SimpleNamespace(center_rewards_coefficient=center), _tp_size=1,
        _metrics={"train": defaultdict(list)},
    )  # fmt: skip
    rewards_B = torch.randn(6, generator=torch.Generator().manual_seed(0)).requires_grad_()
    inputs = {"attention_mask": torch.ones(6, 2)} | ({} if margin is None else {"margin": margin})
    want = RewardTrainer.compute_loss(
        trainer, lambda **_: SimpleNamespace(logits=rewards_B[:, None]), inputs
    )
    more = {} if margin is None else {"margin_B": margin}
    loss_B = reward_loss(*rewards_B.chunk(2), center=center or 0.0, **more)
    torch.testing.assert_close(loss_B.mean(), want)
    pulled = [torch.autograd.grad(loss, rewards_B)[0] for loss in (loss_B.mean(), want)]
    torch.testing.assert_close(*pulled)


def test_the_first_rewards_are_of_size_one():
    base = Transformer(preset("nano", **SMALL))
    ids_BT, lengths_B = rows()
    found = torch.stack([RewardModel(base, seed)(ids_BT, lengths_B).detach() for seed in range(99)])
    assert 0.7 < float(found.square().mean().sqrt()) < 1.3


def test_padding_is_not_read():
    model = RewardModel(Transformer(preset("nano", **SMALL)))
    ids_BT, lengths_B = rows()
    alone_B = [
        model(ids_BT[i : i + 1, : int(n)], lengths_B[i : i + 1]).item()
        for i, n in enumerate(lengths_B)
    ]
    longer_BT = F.pad(ids_BT, (0, 5), value=7)
    np.testing.assert_allclose(model(longer_BT, lengths_B).detach(), alone_B, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("length", [0, 99])
def test_a_row_without_tokens_is_named(length):
    model = RewardModel(Transformer(preset("nano", **SMALL)))
    ids_BT, lengths_B = rows()
    lengths_B[4] = length
    with pytest.raises(WrongCall, match=f"row 4 has a length of {length} tokens"):
        model(ids_BT, lengths_B)


def test_it_learns_a_rule_in_forty_steps():
    """Texts where every second token is 7 are the better ones."""
    model = RewardModel(Transformer(preset("nano", **SMALL)))
    ids_BT = torch.randint(256, (32, 12), generator=torch.Generator().manual_seed(0))
    ids_BT[:16, ::2], lengths_B = 7, torch.full((32,), 12)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    for _ in range(40):
        loss = reward_loss(*model(ids_BT, lengths_B).chunk(2)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1


# Probes


def test_calibration_is_guos_error_bin_by_bin():
    p = np.random.default_rng(0).uniform(size=400)
    found = calibration(torch.tensor(p), bins=7)
    sure, right = np.maximum(p, 1 - p), p > 0.5
    error, edges = 0.0, np.linspace(0.5, 1.0, 8)
    for number, (low, high) in enumerate(pairwise(edges)):
        inside = (sure >= low) & (sure < high)
        error += inside.mean() * abs(sure[inside].mean() - right[inside].mean())
        assert found.pairs[number] == inside.sum()
        assert found.right[number] == pytest.approx(right[inside].mean())
    assert found.error == pytest.approx(error)


def test_an_honest_judge_is_calibrated_and_a_boastful_one_is_not():
    """Labels are drawn from σ(d); three times the difference claims more than is so. The share of
    wrong claims is known: E|σ(3d)' - σ(d)'| with x' = max(x, 1-x)."""
    draw = torch.Generator().manual_seed(0)
    difference = torch.randn(20_000, generator=draw, dtype=torch.float64)
    chosen_first = torch.rand(20_000, generator=draw) < torch.sigmoid(difference)
    difference = torch.where(chosen_first, difference, -difference)
    assert calibration(torch.sigmoid(difference)).error < 0.015
    honest, boast = (torch.sigmoid(scale * difference.abs()) for scale in (1, 3))
    found = calibration(torch.sigmoid(3 * difference)).error
    assert found == pytest.approx(float((boast - honest).mean()), abs=0.015)


def test_one_pair_and_ties_are_no_special_case():
    assert calibration(torch.tensor([1.0])).error == 0.0
    assert calibration(torch.tensor([0.5, 0.5])).error == 0.0
    assert calibration(torch.tensor([])).error == 0.0


def test_the_length_probe_is_numpys_correlation():
    random = np.random.default_rng(0)
    lengths = random.integers(1, 50, (2, 60))
    rewards = 0.05 * lengths + random.normal(size=(2, 60))
    found = length_bias(*map(torch.tensor, (*rewards, *lengths)))
    x, y = lengths.ravel(), rewards.ravel()
    assert found.explained == pytest.approx(np.corrcoef(x, y)[0, 1] ** 2)
    assert found.slope == pytest.approx(np.polyfit(x, y, 1)[0])
    dx, dy = lengths[0] - lengths[1], rewards[0] - rewards[1]
    assert found.within == pytest.approx((dx @ dy) ** 2 / ((dx @ dx) * (dy @ dy)))
    differ = dx != 0
    assert found.longer_wins == pytest.approx((np.sign(dx) == np.sign(dy))[differ].mean())
    assert found.longer_chosen == pytest.approx((dx > 0)[differ].mean())
    assert found.right_if_longer == pytest.approx((dy > 0)[dx > 0].mean())
    assert found.right_if_shorter == pytest.approx((dy > 0)[dx < 0].mean())


def test_a_judge_of_length_alone_is_found_out():
    chosen, rejected = torch.tensor([5, 9, 3, 8]), torch.tensor([3, 2, 7, 8])
    found = length_bias(0.1 * chosen, 0.1 * rejected, chosen, rejected)
    assert found.explained == pytest.approx(1.0)
    assert found.within == pytest.approx(1.0)
    assert (found.longer_wins, found.right_if_longer, found.right_if_shorter) == (1.0, 1.0, 0.0)
    assert found.longer_chosen == pytest.approx(2 / 3)


def test_lengths_that_are_all_the_same_explain_nothing():
    same = torch.tensor([4, 4, 4])
    found = length_bias(torch.randn(3), torch.randn(3), same, same)
    assert (found.explained, found.within, found.slope) == (0.0, 0.0, 0.0)
    assert np.isnan(found.longer_wins)


# On disk


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("nano", {}),
        ("nano", {"qk_norm": True, "tie_word_embeddings": False}),
        ("gpt2-124m", {"vocab_size": 259, "num_hidden_layers": 2, "num_attention_heads": 4}),
    ],
)
def test_its_folder_is_read_by_transformers_and_by_us(tmp_path, name, more):
    from transformers import AutoModelForSequenceClassification

    marks = {f"{mark}_token_id": 256 + i for i, mark in enumerate(("pad", "bos", "eos"))}
    ours = RewardModel(Transformer(preset(name, **SMALL, **marks, **more), seed=3))
    (tmp_path / "reward").mkdir()  # an empty folder is no obstacle
    folder = save_reward_folder(tmp_path / "reward", ours, run={"steps": 3})
    (folder / "log.txt").write_text("kept")
    save_reward_folder(folder, ours)  # in its place
    assert (folder / "log.txt").read_text() == "kept"
    ids_BT, lengths_B = rows()
    want_B = ours(ids_BT, lengths_B).detach()
    theirs = AutoModelForSequenceClassification.from_pretrained(folder)
    found_B = theirs(ids_BT, attention_mask=(ids_BT != 256).long()).logits[:, 0].detach()
    torch.testing.assert_close(found_B, want_B, rtol=1e-4, atol=1e-5)
    assert load_reward_folder(folder)(ids_BT, lengths_B).equal(want_B)
    assert [path.name for path in tmp_path.iterdir()] == ["reward"]


def test_transformers_reads_the_judge_of_a_run_and_gives_its_rewards(tmp_path):
    """The last token of a text is the one that ends the answer, which is no pad token."""
    from transformers import AutoModelForSequenceClassification

    rows = [
        {key: [{"role": "user", "content": f"{i}?"}, {"role": "assistant", "content": said}]
         for key, said in (("chosen", f"yes, {i}"), ("rejected", "no" * i))}
        for i in range(1, 13)
    ]  # fmt: skip
    data = tmp_path / "pairs.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    tokenizer = ByteTokenizer()
    base = save_model_folder(tmp_path / "base", Transformer(preset("nano"), seed=0), tokenizer)
    config = TrainConfig(
        init=str(base), data=str(data), steps=2, batch_size=2, context_length=64, device="cpu",
        sample_tokens=0, held_out=0.2, learning_rate=1e-3, threads=1,
    )  # fmt: skip
    train_reward(config, None, tmp_path / "run")
    batch, _ = judged_rows(rows, tokenizer, 64)
    folder = tmp_path / "run" / "reward"
    with torch.no_grad():
        found_B = RewardLoss(load_reward_folder(folder), RewardSettings()).rewards(
            batch.ids_BT, batch.labels_BT
        )
        theirs = AutoModelForSequenceClassification.from_pretrained(folder)
        mask_BT = (batch.ids_BT != tokenizer.pad_id).long()
        want_B = theirs(batch.ids_BT, attention_mask=mask_BT).logits[:, 0]
    torch.testing.assert_close(found_B, want_B, rtol=1e-4, atol=1e-5)
    assert float(found_B.std()) > 0.01


def test_folders_of_something_else_are_neither_read_nor_replaced(tmp_path):
    base = Transformer(preset("nano", **SMALL))
    folder = save_model_folder(tmp_path / "model", base)
    with pytest.raises(WrongCall, match="not overwritten"):
        save_reward_folder(folder, RewardModel(base))
    for path in (folder, tmp_path / "nothing"):
        with pytest.raises(MinimindError, match="no reward model"):
            load_reward_folder(path)
    load_model_folder(folder)
