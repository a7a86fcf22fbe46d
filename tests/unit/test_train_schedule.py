"""Every schedule is transformers' own, one step ahead, and wastes no step."""

from itertools import pairwise

import pytest
import torch
from transformers import get_scheduler

from minimind_wiki.train.schedule import SCHEDULES, learning_rate

THEIRS = {"wsd": "warmup_stable_decay", "constant": "constant_with_warmup"}


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("steps", "warmup", "decay"), [(50, 5, 0.2), (7, 1, 0.5), (30, 6, 0.8)])
def test_rates_are_transformers_of_one_step_later(schedule, steps, warmup, decay):
    """Their step 0 has the rate 0, and so has their last; ours leave both out."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=3e-3)
    more = {}
    if schedule == "wsd":
        more = {"num_decay_steps": round(decay * steps) + 1, "decay_type": "1-sqrt"}
    theirs = get_scheduler(
        THEIRS.get(schedule, schedule), optimizer, warmup, steps + 1, scheduler_specific_kwargs=more
    )
    for step in range(steps + 1):
        optimizer.step()
        theirs.step()
        ours = learning_rate(step, steps, warmup, 3e-3, 0.0, schedule, decay)
        assert ours == pytest.approx(theirs.get_last_lr()[0], abs=1e-12), step


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_it_ends_at_the_floor_and_never_leaves_the_band(schedule):
    rates = [learning_rate(step, 40, 4, 1.0, 0.1, schedule) for step in range(41)]
    assert max(rates) == rates[3] == 1.0 and rates[0] == 0.25
    assert rates[40] == (1.0 if schedule == "constant" else pytest.approx(0.1))
    assert all(a >= b for a, b in pairwise(rates[3:]))
    if schedule != "constant":
        assert rates[39] > rates[40]


def test_a_decay_longer_than_the_run_begins_after_the_warm_up():
    rates = [learning_rate(step, 20, 5, 1.0, 0.0, "wsd", 1.0) for step in range(20)]
    assert rates[4] == 1.0 and rates[5] < 1.0
