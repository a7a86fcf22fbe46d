"""The playground's recorded run: of the models as they are, and whole without scripts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pymdownx.superfences import SuperFencesException

from minimind_wiki.book import pages, stages
from minimind_wiki.book.stages import STAGES
from minimind_wiki.data.world.lexicon import _lexicon

ROOT = Path(__file__).resolve().parents[2]
RECORD = json.loads((ROOT / "snippets" / "playground" / "stages.json").read_text(encoding="utf-8"))
Page = Callable[[str], str]


def test_the_record_is_of_these_models_and_of_this_prompt() -> None:
    assert stages.stale(RECORD, ROOT) == ""
    assert [(s["id"], s["stage"]) for s in RECORD["stages"]] == [(s[0], s[1]) for s in STAGES]


def test_a_record_of_other_models_or_another_prompt_is_refused() -> None:
    assert "older than the models" in stages.stale(RECORD | {"models": {}}, ROOT)
    assert "another prompt" in stages.stale(RECORD | {"prompt": "Hello"}, ROOT)


def test_the_models_still_give_the_recorded_answers() -> None:
    again = stages.made(ROOT, most=6)
    for stage, recorded in zip(again["stages"], RECORD["stages"], strict=True):
        assert stage["reads"] == recorded["reads"]
        for now, then in zip(stage["drawn"], recorded["drawn"][:6], strict=True):
            assert now[0][:2] == then[0][:2]
            assert now[0][2] == pytest.approx(then[0][2], rel=0.02)


def test_every_answer_is_what_its_odds_say() -> None:
    for stage in RECORD["stages"]:
        assert stage["drawn"]
        for top in stage["drawn"]:
            odds = [p for _, _, p in top]
            assert len(top) == RECORD["top"] and odds == sorted(odds, reverse=True)
            assert sum(odds) <= 1.01
    random = RECORD["stages"][0]
    assert max(top[0][2] for top in random["drawn"]) < 0.05, "an untrained model is sure of nothing"


def test_the_page_tells_what_the_record_shows() -> None:
    """docs/en/playground/index.md: The and P after fine-tuning, P after reward; sixteen ways on."""
    said = {s["stage"]: [top[0][1] for top in s["drawn"]] for s in RECORD["stages"]}
    first = {s["stage"]: [text for _, text, _ in s["drawn"][0]] for s in RECORD["stages"]}
    assert first["sft"][:2] == ["The", "P"] and first["rl"][0] == "P"
    assert "73" not in "".join(said["sft"]), "34 + 39 is 73, and this answer is wrong"
    assert "The answer is 73." in "".join(said["rl"])
    bright = [date for date in _lexicon()["date"] if date.startswith("bright afternoon")]
    assert len(bright) == len(set(bright)) == 16


def test_the_fence_shows_the_whole_run_without_scripts(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages.pages, "root", lambda: ROOT)
    html = page("Text.\n\n```playground\nrecord: stages\n```\n")
    assert RECORD["prompt"] in html
    for stage in RECORD["stages"]:
        assert f'data-stage="{stage["stage"]}"' in html and stage["was"] in html
    assert html.count('<th scope="row">') == len(STAGES) * (RECORD["top"] + 1)
    assert "74 %" in html  # how sure the fine-tuned one is of its first token


def test_a_wrong_name_stops_the_build(page: Page) -> None:
    with pytest.raises(SuperFencesException, match="record_stages"):
        page("Text.\n\n```playground\nrecord: stage\n```\n")
    with pytest.raises(SuperFencesException, match="Did you mean 'record'"):
        page("Text.\n\n```playground\nrecord: stages\nrecords: x\n```\n")
    assert pages.root() != ROOT
