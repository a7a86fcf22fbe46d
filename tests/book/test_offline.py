"""The list of the site for reading offline, and the worker that is moved beside the pages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from minimind_wiki.book import offline


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    """A small built site."""
    for path, text in {
        "index.html": "home",
        "playground/index.html": "play",
        "404.html": "none",
        "assets/build/book.js": "code",
        "assets/build/book.js.map": "map",
        "assets/javascripts/lunr/min/lunr.fr.js": "french",
        "assets/build/lm/models.json": "[]",
        offline.BUILT: 'const VERSION = "__VERSION__";',
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    return tmp_path


def test_pages_stand_under_the_address_that_readers_use(pages: Path) -> None:
    assert offline.write(pages)
    content = json.loads((pages / offline.LIST).read_text(encoding="utf-8"))
    assert [file["path"] for file in content["files"]] == [
        "assets/build/book.js", "assets/build/lm/models.json", "./", "playground/",
    ]  # fmt: skip
    assert content["bytes"] == len("code[]homeplay")
    assert not (pages / offline.BUILT).exists()
    worker = (pages / offline.WORKER).read_text(encoding="utf-8")
    assert worker == f'const VERSION = "{content["version"]}";'


def version_of(pages: Path) -> str:
    """The version, with the worker put back where the build leaves it."""
    (pages / offline.BUILT).write_text('"__VERSION__"', encoding="utf-8")
    offline.write(pages)
    return json.loads((pages / offline.LIST).read_text(encoding="utf-8"))["version"]


def test_a_changed_byte_is_another_version(pages: Path) -> None:
    first = version_of(pages)
    assert version_of(pages) == first
    (pages / "playground/index.html").write_text("plai", encoding="utf-8")
    assert version_of(pages) != first


def test_without_the_worker_nothing_is_written(pages: Path) -> None:
    (pages / offline.BUILT).unlink()
    assert not offline.write(pages)
    assert not (pages / offline.LIST).exists()
