"""Every experiment of the book in quick form: it runs, and the claims that a quick run can support
get the verdict that the committed record has."""

import pytest

from minimind_wiki.book.experiment import load_experiment
from minimind_wiki.book.hashing import stale
from minimind_wiki.book.record import experiment_names, load, record_path, repo_root, svg_path
from minimind_wiki.book.runner import judge, write

NAMES = experiment_names()


@pytest.fixture(autouse=True)
def embedded_text(monkeypatch, tmp_path):
    """The same text on every machine: the embedded corpus, which needs no file."""
    monkeypatch.setenv("MINIMIND_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.mark.parametrize("name", NAMES)
def test_a_quick_run_supports_what_it_can(name, tmp_path):
    experiment = load_experiment(name)
    record = experiment.run(quick=True, progress=False)
    committed = load(name).data["claims"]
    quick = {id: claim for id, claim in record.data["claims"].items() if claim["quick"]}
    assert quick, "an experiment needs at least one claim that a quick run can judge"
    wrong = {id: (claim["verdict"], claim["evidence"]) for id, claim in quick.items()
             if claim["verdict"] != committed[id]["verdict"]}  # fmt: skip
    assert not wrong
    path = write(experiment, record, tmp_path)
    assert path.is_file() and len(list(tmp_path.glob("*.svg"))) == len(experiment.figures)


@pytest.mark.parametrize("name", NAMES)
def test_the_committed_record_is_fresh_full_and_drawn(name):
    record, root = load(name), repo_root()
    assert stale(record, root) is None
    assert not record.quick
    # Three seeds to compare arms; a record of one run compares nothing.
    assert len(record.data["seeds"]) >= 3 or len(record.arms) == 1
    assert set(record.data["claims"]) == set(load_experiment(name).claims)
    for figure in record.data["figures"]:
        assert svg_path(name, figure, root).is_file()


@pytest.mark.parametrize("name", NAMES)
def test_verdicts_and_figures_follow_from_the_committed_record_alone(name):
    record = judge(load_experiment(name), load(name))
    assert record.to_json() == record_path(name).read_text(encoding="utf-8")
