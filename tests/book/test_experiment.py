"""The experiment machine: fairness, seeds, sweeps, divergence, verdicts, the command."""

import math
from dataclasses import dataclass

import pytest

from minimind_wiki.book.experiment import Experiment, Measurement, Sweep, load_experiment
from minimind_wiki.book.runner import judge
from minimind_wiki.cli import main
from minimind_wiki.errors import WrongCall
from minimind_wiki.lite.plot import Figure, Panel


@dataclass(frozen=True)
class Settings:
    rate: float = 0.1
    steps: int = 10


def make(arms=None, **more) -> Experiment:
    arms = arms or {"good": {"norm": "rms"}, "bad": {"norm": "none"}}
    options = {"factors": ("norm",), "settings": Settings(), "quick": Settings(steps=1)}
    return Experiment(name="m/e", arms=arms, primary="loss", **{**options, **more})


def measured(**more) -> Experiment:
    """The good arm is best at rate 0.3; the bad one diverges from 0.3 on, and on seed 1 always."""
    experiment = make(**more)

    @experiment.measure
    def measure(arm, seed, settings):
        loss = abs(math.log(settings.rate / 0.3)) + 0.01 * seed
        if arm["norm"] == "none" and (settings.rate > 0.2 or seed == 1):
            return Measurement({"loss": math.nan}, {"curve": ([0], [1.0])}, diverged_at=4)
        return Measurement({"loss": loss}, {"curve": ([0, 1], [1.0, loss])})

    @experiment.claim(quick=True)
    def good_wins(record):
        """The good arm wins."""
        return record.value("good", "loss") < record.value("bad", "loss"), "evidence"

    @experiment.claim()
    def unsure(record):
        """Nobody knows."""

    @experiment.figure()
    def drawn(record):
        """A picture."""
        return Figure(Panel("x", "y", [record.line("good", "curve")]))

    return experiment


def test_arms_may_differ_only_in_declared_factors():
    arms = {"a": {"norm": "rms", "width": 64}, "b": {"norm": "none", "width": 128}}
    with pytest.raises(WrongCall, match="'a' and 'b' differ in 'width'"):
        make(arms)
    make(arms, factors=("norm", "width"))
    with pytest.raises(WrongCall, match="'b' differ in 'width'"):
        make({"a": {"norm": "rms", "width": 64}, "b": {"norm": "none"}})
    with pytest.raises(WrongCall, match="does not set the factor 'depth'"):
        make(arms, factors=("norm", "width", "depth"))


def test_titles_and_roles_are_not_factors_and_roles_are_known():
    make({"a": {"norm": 1, "title": "One", "role": "none"}, "b": {"norm": 2, "title": "Two"}})
    with pytest.raises(WrongCall, match="unknown role"):
        make({"a": {"norm": 1, "role": "nonne"}})


def test_a_swept_setting_must_exist_and_cannot_be_a_factor():
    with pytest.raises(WrongCall, match="did you mean 'rate'"):
        make(sweep=Sweep("rat", (1.0,), "loss"))
    arms = {"a": {"norm": 1, "rate": 0.1}, "b": {"norm": 2, "rate": 0.2}}
    with pytest.raises(WrongCall, match="swept and so cannot be a factor"):
        make(arms, factors=("norm", "rate"), sweep=Sweep("rate", (0.1,), "loss"))


def test_diverged_seeds_are_recorded_as_null_with_their_step():
    record = measured().run(progress=False)
    cell = record.cell("bad", "loss")
    assert cell["seeds"][1] is None and (cell["n"], cell["diverged"]) == (2, 1)
    assert record.data["divergence"] == {"bad": [None, 4, None], "good": [None, None, None]}


def test_each_arm_is_shown_at_its_own_best_and_the_edge_is_flagged():
    record = measured(sweep=Sweep("rate", (1.0, 0.1, 0.3, 3.0), "loss")).run(progress=False)
    good, bad = record.sweep("good"), record.sweep("bad")
    assert (good["best"], good["at_edge"]) == (0.3, False)
    assert (bad["best"], bad["at_edge"]) == (0.1, True)
    assert bad["values"] == [0.1, 0.3, 1.0, 3.0] and bad["scores"][1:] == [None] * 3
    assert bad["diverged_at"] == [None, 4, 4, 4]
    assert record.value("good", "loss") == pytest.approx(0.01)  # three seeds at 0.3, not at 0.1


def test_an_arm_at_the_edge_of_the_sweep_is_tried_further_out_and_no_other():
    sweep = Sweep("rate", (1.0, 0.1, 0.3, 3.0), "loss", beyond=(0.03, 0.01, 10.0))
    record = measured(sweep=sweep).run(progress=False)
    assert record.sweep("good")["values"] == [0.1, 0.3, 1.0, 3.0]
    bad = record.sweep("bad")  # 0.03 is worse than 0.1: the best is inside now, 0.01 is not tried
    assert bad["values"] == [0.03, 0.1, 0.3, 1.0, 3.0]
    assert (bad["best"], bad["at_edge"]) == (0.1, False)


def test_an_arm_that_always_diverges_stays_in_the_record():
    record = measured(sweep=Sweep("rate", (0.3, 1.0), "loss")).run(progress=False)
    assert record.cell("bad", "loss")["mean"] is None
    assert record.data["claims"]["good_wins"]["verdict"] == "not supported"  # nan wins nothing


def test_seeds_and_quick():
    assert measured().run(seeds=(5, 7), progress=False).data["seeds"] == [5, 7]
    quick = measured().run(quick=True, progress=False)
    assert quick.settings["steps"] == 1 and quick.data["seeds"] == [0]
    assert quick.data["claims"]["unsure"]["evidence"] == "a quick run cannot tell"


def test_verdicts_are_computed_again_from_the_record_alone():
    experiment = measured()
    record = experiment.run(progress=False)
    assert record.data["claims"]["good_wins"]["verdict"] == "not supported"
    assert record.data["claims"]["unsure"]["verdict"] == "inconclusive"
    record.data["values"]["bad"]["loss"]["mean"] = 99.0
    experiment.measure_fn = None  # rendering must not measure
    assert judge(experiment, record).data["claims"]["good_wins"]["verdict"] == "supported"
    assert record.data["figures"]["drawn"]["alt"] == "A picture."


def test_a_claim_without_a_sentence_is_refused():
    with pytest.raises(WrongCall, match="needs a docstring"):
        make().claim()(lambda record: True)


def test_an_unknown_experiment_names_the_nearest(capsys):
    with pytest.raises(WrongCall, match="normalization/depth"):
        load_experiment("normalization/deph")
    assert main(["experiment", "run", "normalization/deph"]) == 2
    assert "did you mean 'normalization/depth'" in capsys.readouterr().err
    assert main(["experiment", "rnu", "normalization/depth"]) == 2
    assert main(["experiment", "run"]) == 2


def test_list_shows_every_experiment(capsys):
    assert main(["experiment", "list"]) == 0
    shown = capsys.readouterr().out
    for name in ("depth", "language_model", "layernorm_vs_rmsnorm", "epsilon"):
        assert f"normalization/{name}" in shown
