"""Where preferences could go wrong in silence: ties, empty answers, long rows, sure models."""

import math

import pytest
import torch

from minimind_wiki.data.packing import IGNORE
from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.model import Transformer, preset
from minimind_wiki.train.answers import answer_rows, fit
from minimind_wiki.train.logprobs import label_logprobs, logprobs, row_sums
from minimind_wiki.train.preference import (
    Answers,
    dpo,
    ipo,
    kto,
    log_odds,
    logistic,
    orpo,
    pair_metrics,
    pairs,
    simpo,
)
from minimind_wiki.train.reward import reward_loss

LOG2 = math.log(2)
SMALL = {"hidden_size": 32, "intermediate_size": 48, "max_position_embeddings": 64}


def answers(logp=(-3.0, -9.0), tokens=(2, 5), reference=(-4.0, -8.0)):
    logp_B = torch.tensor(logp, requires_grad=True)
    return Answers(logp_B, torch.tensor(tokens), torch.tensor(reference))


# Chosen equal to rejected

TIES = {
    "dpo": (lambda a: dpo(a, a).loss_B, LOG2),
    "dpo without reference": (
        lambda a: dpo(*(2 * (Answers(a.logp_B, a.tokens_B),))).loss_B,
        LOG2,
    ),
    "dpo per token": (lambda a: dpo(a, a, per_token=True).loss_B, LOG2),
    "dpo smoothed": (lambda a: dpo(a, a, smoothing=0.2).loss_B, LOG2),
    "dpo robust": (lambda a: dpo(a, a, smoothing=0.2, robust=True).loss_B, LOG2),
    "simpo": (lambda a: simpo(a, a, gamma=0.0).loss_B, LOG2),
    "orpo's comparison": (lambda a: orpo(a, a, weight=1.0).loss_B + a.mean_B, LOG2),
    "reward model": (lambda a: reward_loss(a.logp_B, a.logp_B), LOG2),
    "ipo": (lambda a: ipo(a, a, beta=0.25).loss_B, 1 / (2 * 0.25) ** 2),
}


@pytest.mark.parametrize("name", TIES)
def test_a_pair_of_equal_answers_costs_log_two_and_moves_nothing(name):
    loss, want = TIES[name]
    both = answers()
    loss_B = loss(both)
    loss_B.sum().backward()
    torch.testing.assert_close(loss_B.detach(), torch.full((2,), want))
    assert both.logp_B.grad.abs().max() == 0


def test_equal_answers_in_a_model_move_no_weight():
    model = Transformer(preset("nano", **SMALL), seed=1)
    batch = answer_rows(2 * [([1, 2, 3], [4, 5, 258])], pad_id=256)
    scored = logprobs(model, batch.ids_BT, batch.labels_BT)
    rows = Answers(*row_sums(scored.logp_BT, scored.mask_BT))
    loss_B = dpo(*pairs(rows), beta=1.0).loss_B
    loss_B.sum().backward()
    assert loss_B.item() == pytest.approx(LOG2, abs=1e-6)
    assert max(p.grad.abs().max() for p in model.parameters()) < 1e-6


def test_one_answer_called_both_good_and_bad_moves_nothing():
    both = answers(logp=(-3.0, -3.0), reference=(-5.0, -5.0))
    loss_B, _ = kto(both, torch.tensor([True, False]), 0.5, beta=0.7)
    loss_B.sum().backward()
    assert abs(both.logp_B.grad.sum()) < 1e-6
    assert both.logp_B.grad[0] < -0.1  # each alone does


def test_a_tie_counts_as_half_right():
    judged = dpo(answers((-3.0, -2.0, -3.0), (1, 1, 1), (-3.0, -3.0, -1.0)),
                 answers((-7.0, -7.0, -7.0), (1, 1, 1), (-7.0, -7.0, -7.0)))  # fmt: skip
    assert pair_metrics(judged)["accuracy"] == 0.5 + 1 + 0
    assert pair_metrics(judged)["pairs"] == 3


# What each loss wants


def test_the_margins_are_asked_for():
    """At a difference of exactly the margin a pair costs log 2."""
    chosen, rejected = (
        answers(reference=(-5.0, -9.0)),
        answers((-3.0, -9.0), reference=(-3.0, -8.0)),
    )
    ahead = 0.5 * torch.tensor([2.0, 0.0]) - 0.5 * torch.tensor([0.0, -1.0])
    found = dpo(chosen, rejected, beta=0.5, margin=ahead).loss_B
    torch.testing.assert_close(found, torch.full((2,), LOG2))
    better, worse = answers((-2.0, -5.0), (2, 5)), answers((-4.0, -10.0), (2, 5))
    found = simpo(better, worse, beta=2.0, gamma=2.0).loss_B  # means of -1 and -2
    torch.testing.assert_close(found, torch.full((2,), LOG2))


def lowest(cost):
    """Where a convex cost of a difference is lowest, by descent in float64."""
    difference = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([difference], lr=0.5, max_iter=100)

    def closure():
        optimizer.zero_grad()
        total = cost(difference).sum()
        total.backward()
        return total

    optimizer.step(closure)
    return difference.item()


def test_smoothing_and_ipo_stop_at_a_finite_difference():
    found = lowest(lambda d: logistic(d, smoothing=0.2))
    assert found == pytest.approx(math.log(0.8 / 0.2), abs=1e-4)
    one = torch.ones(1)
    found = lowest(lambda d: ipo(Answers(d, one), Answers(0 * one, one), beta=0.25).loss_B)
    assert found == pytest.approx(1 / (2 * 0.25), abs=1e-4)


def test_the_robust_loss_is_the_clean_one_on_average_over_flipped_labels():
    d_B, flipped = torch.tensor([-1.0, 0.3, 2.0]), 0.3
    noisy = (1 - flipped) * logistic(d_B, flipped, True) + flipped * logistic(-d_B, flipped, True)
    torch.testing.assert_close(noisy, logistic(d_B))


def test_a_model_that_is_sure_of_an_answer_makes_no_nan_of_its_odds():
    sure = Answers(torch.zeros(2, requires_grad=True), torch.tensor([1, 4]))
    doubt = Answers(torch.tensor([-1.0, -200.0], requires_grad=True), torch.tensor([1, 1]))
    for chosen, rejected in ((sure, doubt), (doubt, sure), (sure, sure)):
        loss = orpo(chosen, rejected).loss_B.sum()
        pulled = torch.autograd.grad(loss, (chosen.logp_B, rejected.logp_B))
        assert math.isfinite(loss.item())
        assert all(part.isfinite().all() for part in pulled)
    assert log_odds(torch.zeros(1)).isfinite()


@pytest.mark.parametrize("loss", [dpo, ipo, simpo, orpo])
def test_micro_batches_add_up(loss):
    draw = torch.Generator().manual_seed(0)
    logp_B, reference_B = (-9 * torch.rand(12, generator=draw) for _ in range(2))
    tokens_B = torch.randint(1, 9, (12,), generator=draw)
    whole = loss(*pairs(Answers(logp_B, tokens_B, reference_B))).loss_B.sum()
    parts = [
        loss(*pairs(Answers(logp_B[i : i + 4], tokens_B[i : i + 4], reference_B[i : i + 4])))
        for i in (0, 4, 8)
    ]
    torch.testing.assert_close(sum(part.loss_B.sum() for part in parts), whole)


def test_rows_that_alternate_come_apart_as_pairs():
    rows = Answers(torch.arange(6.0), torch.arange(1, 7), 10 * torch.arange(6.0))
    chosen, rejected = pairs(rows)
    assert chosen.logp_B.tolist() == [0, 2, 4]
    assert rejected.tokens_B.tolist() == [2, 4, 6]
    assert (chosen.reference_B.tolist(), rejected.reference_B.tolist()) == (
        [0, 20, 40],
        [10, 30, 50],
    )


METHODS = {
    "dpo": lambda c, r: dpo(c, r, beta=0.5).loss_B,
    "dpo per token": lambda c, r: dpo(c, r, beta=2.0, per_token=True).loss_B,
    "ipo": lambda c, r: ipo(c, r, beta=0.2).loss_B,
    "simpo": lambda c, r: simpo(c, r).loss_B,
    "orpo": lambda c, r: orpo(c, r, weight=1.0).loss_B,
    "kto": lambda c, r: kto(c, GOOD, 0.0, 0.5)[0] + kto(r, ~GOOD, 0.0, 0.5)[0],
}
GOOD = torch.ones(4, dtype=torch.bool)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_makes_a_model_prefer_the_chosen_answers(name):
    model = Transformer(preset("nano", **SMALL), seed=1)
    draw = torch.Generator().manual_seed(0)
    texts = torch.randint(256, (8, 9), generator=draw).tolist()
    batch = answer_rows([(text[:4], text[4 : 6 + i % 4]) for i, text in enumerate(texts)], 256)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    reference_B = None
    for _ in range(12):
        scored = logprobs(model, batch.ids_BT, batch.labels_BT, chunk=8)
        logp_B, tokens_B = row_sums(scored.logp_BT, scored.mask_BT)
        reference_B = logp_B.detach() if reference_B is None else reference_B
        chosen, rejected = pairs(Answers(logp_B, tokens_B, reference_B))
        optimizer.zero_grad()
        METHODS[name](chosen, rejected).mean().backward()
        optimizer.step()
    assert (chosen.ratio(per_token=True) > rejected.ratio(per_token=True) + 0.2).all()


@pytest.mark.parametrize("smoothing", [-0.1, 0.5])
def test_wrong_settings_are_named(smoothing):
    with pytest.raises(WrongCall, match="smoothing"):
        dpo(answers(), answers(), smoothing=smoothing)
    with pytest.raises(WrongCall, match="3 rows"):
        pairs(answers((-1.0, -1.0, -1.0), (1, 1, 1), (-1.0, -1.0, -1.0)))
    with pytest.raises(WrongCall, match="temperature is 0"):
        label_logprobs(abs, torch.zeros(1, 1, 2), torch.zeros(1, 1).long(), temperature=0.0)


# Rows


def test_a_row_with_nothing_to_learn_is_named():
    labels_BT = torch.tensor([[1, IGNORE], [IGNORE, IGNORE], [IGNORE, 2]])
    scored = label_logprobs(lambda x: x, torch.zeros(3, 2, 4), labels_BT)
    with pytest.raises(MinimindError, match="row 1 has nothing to learn"):
        row_sums(scored.logp_BT, scored.mask_BT)
    with pytest.raises(MinimindError, match="row 41 "):
        row_sums(scored.logp_BT, scored.mask_BT, first=40)
    row_sums(scored.logp_BT[::2], scored.mask_BT[::2])


def test_a_batch_without_any_label_has_zeros_and_no_gradient():
    hidden = torch.zeros(1, 2, 4, requires_grad=True)
    found = label_logprobs(lambda x: x, hidden, torch.full((1, 2), IGNORE), chunk=1, entropy=True)
    (found.logp_BT + found.entropy_BT).sum().backward()
    assert not found.logp_BT.any()
    assert not found.mask_BT.any()
    assert not hidden.grad.any()


def test_a_long_prompt_loses_its_beginning_the_same_for_every_answer():
    prompt = list(range(10))
    fitted = fit(prompt, [[20, 21], [30, 31, 32]], max_tokens=7)
    assert (fitted.prompt, fitted.cut) == ([6, 7, 8, 9], 6)
    assert fitted.answers == [[20, 21], [30, 31, 32]]
    assert fit(prompt, [[20, 21, 22]], 13).cut == 0
    assert fit(prompt, [[20, 21, 22]], 12).cut == 1
    assert fit(prompt, [[20, 21, 22]], 4).prompt == [9]


@pytest.mark.parametrize(
    ("prompt", "given", "says"),
    [
        ([1, 2], [[3], []], "has no tokens"),
        ([1, 2], [], "has no tokens"),
        ([], [[3]], "the prompt is empty"),
        ([1, 2], [[3], [3, 4, 5, 6]], "an answer of 4 tokens"),
    ],
)
def test_rows_that_cannot_be_learned_say_why(prompt, given, says):
    with pytest.raises(MinimindError, match=says):
        fit(prompt, given, max_tokens=4)


def test_rows_learn_the_whole_answer_and_nothing_else():
    """Each label stands where its token is predicted, as in a pass over the row alone."""
    model = Transformer(preset("nano", **SMALL), seed=1)
    rows = [([1, 2, 3], [4, 5, 258]), ([6], [7]), ([8, 9], [10, 11])]
    batch = answer_rows(rows, pad_id=256)
    assert batch.predicted == 6
    logp_B, tokens_B = row_sums(*logprobs(model, batch.ids_BT, batch.labels_BT)[:2])
    assert tokens_B.tolist() == [3, 1, 2]
    for number, (prompt, answer) in enumerate(rows):
        every_TV = model(torch.tensor([prompt + answer]))[0].log_softmax(-1)
        want = sum(every_TV[len(prompt) - 1 + i, token] for i, token in enumerate(answer))
        torch.testing.assert_close(logp_B[number], want, rtol=1e-5, atol=1e-5)
