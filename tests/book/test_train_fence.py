"""The `train` fence: complete without JavaScript, and never with the record of another program."""

import json

import pytest
from bs4 import BeautifulSoup

from minimind_wiki.book import pages
from minimind_wiki.book.fences.train import load, train
from minimind_wiki.errors import MinimindError

PROGRAM = '"""A program."""\n\nSTEPS = 3\n'
SPEC = """
title: Train it
alt: The loss falls.
knobs:
  - {name: learning_rate, label: Learning rate, type: choice, default: 0.01,
     options: [{value: 0.01}, {value: 0.1}]}
"""


@pytest.fixture
def folder(tmp_path):
    home = tmp_path / "snippets" / "toy"
    home.mkdir(parents=True)
    (home / "model.py").write_text(PROGRAM)
    (home / "model.train.yml").write_text(SPEC)
    pages.use_root(tmp_path)
    record(home)
    yield home
    pages.use_root(None)


def record(home, **changes):
    run = {
        "program": load("toy/model")["hash"], "created": "2026-01-02", "browser": "Chromium 1",
        "processor": "Toy", "knobs": {"learning_rate": 0.01}, "parameters": 123456,
        "floor": 0.35, "bigram": 1.4, "seconds_per_step": 0.25,
        "held_out": [[0, 1.0, 3.0], [50, 20.0, 1.5], [100, 50.0, 1.1]],
        "samples": [{"step": s, "seconds": t, "text": f"<b>{s}</b>"}
                    for s, t in ((0, 2.0), (50, 21.0), (60, 29.0), (100, 51.0))],
    }  # fmt: skip
    (home / "model.recorded.json").write_text(json.dumps(run | changes))


def made(name="toy/model"):
    return train.__wrapped__({"name": name})


def test_the_recorded_run_stands_in_the_page(folder):
    soup = BeautifulSoup(made(), "html.parser")
    assert soup.select_one(".mm-train__static svg")
    text = soup.get_text()
    assert "123,456 parameters, 0.25 s a step, learning rate 0.01" in text
    shown = [node.get_text() for node in soup.select("blockquote")]
    assert shown == ["<b>60</b>", "<b>100</b>"], "the last sample before each time, as text"
    rows = [row.get_text(" ", strip=True) for row in soup.select("table tr")]
    assert "20 1.5" in rows
    data = json.loads(soup.select_one(".mm-train__spec").string)
    assert data["recorded"][1] == {"step": 50, "seconds": 20.0, "bits": 1.5}
    assert data["code"] == PROGRAM and data["levels"] == {"floor": 0.35, "bigram": 1.4}


def test_a_comment_is_no_other_program_but_a_number_is(folder):
    (folder / "model.py").write_text('"""A program."""\n\nSTEPS = 3  # three\n')
    assert made()
    (folder / "model.py").write_text(PROGRAM.replace("3", "4"))
    with pytest.raises(MinimindError, match=r"another snippets/toy/model.py.*bench/train_page.py"):
        made()


def test_what_is_missing_is_named(folder):
    (folder / "model.recorded.json").unlink()
    with pytest.raises(MinimindError, match="has no recorded run"):
        made()
    with pytest.raises(MinimindError, match=r"no training program snippets/toy/other.py"):
        made("toy/other")
