"""The sheets of the pages become one, in their order, and a fault says which."""

from __future__ import annotations

from pathlib import Path

import pytest

from minimind_wiki.book import sheets
from minimind_wiki.errors import MinimindError

SHEETS = {
    "assets/stylesheets/main.1a.min.css": '@charset "UTF-8";.a{color:red}.gone>*{x:y}\n'
    "/*# sourceMappingURL=main.1a.min.css.map */\n",
    "assets/_mkdocstrings.css": ".b { background: url('data:,x') }",
    "assets/build/book.css": '.a{color:blue;src:url("./fonts/f.woff2")}',
}  # fmt: skip


def page(up: str, names: list[str]) -> str:
    """A page whose head links to these."""
    links = "\n".join(f'    <link rel="stylesheet" href="{up}{name}">' for name in names)
    return f'<head>\n{links}\n<title>T</title></head><body class="a b">text</body>'


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    """A page, one below it, one that knows the host's path, one without sheets."""
    for name, text in SHEETS.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "assets/stylesheets/main.1a.min.css.map").write_text("{}")
    (tmp_path / "below").mkdir()
    for name, up in (("index", ""), ("below/index", "../"), ("404", "/path/en/")):
        (tmp_path / f"{name}.html").write_text(page(up, list(SHEETS)), encoding="utf-8")
    (tmp_path / "plain.html").write_text("<p>none</p>")
    return tmp_path


def test_one_sheet_in_the_order_of_the_links(pages: Path) -> None:
    sheet = sheets.join(pages)
    assert sheet is not None and sheet.parent == pages / "assets/build"
    text = sheet.read_text(encoding="utf-8")
    assert [text.index(mark) for mark in ("red", "data:,x", "blue")] == sorted(
        text.index(mark) for mark in ("red", "data:,x", "blue")
    )
    assert "@charset" not in text and "sourceMapping" not in text and ".gone" not in text
    for name, up in (("index", ""), ("below/index", "../"), ("404", "/path/en/")):
        html = (pages / f"{name}.html").read_text(encoding="utf-8")
        assert html.count("stylesheet") == 1 and f'href="{up}assets/build/{sheet.name}"' in html
        assert html.index("stylesheet") < html.index("<title>") and "text</body>" in html
    assert (pages / "plain.html").read_text() == "<p>none</p>"
    left = [file.name for file in pages.rglob("*") if ".css" in file.name]
    assert left == [sheet.name], "what no page links to is not published"


def test_another_text_has_another_name(pages: Path) -> None:
    first = sheets.join(pages)
    for name in ("index", "below/index", "404"):
        up = {"index": "", "below/index": "../", "404": "/path/en/"}[name]
        (pages / f"{name}.html").write_text(page(up, ["assets/build/book.css"]))
    (pages / "assets/build/book.css").write_text(".a{}")
    second = sheets.join(pages)
    assert first and second and first.name != second.name


def test_pages_that_differ_are_named(pages: Path) -> None:
    (pages / "odd.html").write_text(page("", ["assets/build/book.css"]))
    with pytest.raises(MinimindError, match=r"odd\.html has assets/build/book\.css"):
        sheets.join(pages)


def test_an_address_that_would_break_is_refused(pages: Path) -> None:
    (pages / "assets/_mkdocstrings.css").write_text(".b{background:url(x.svg)}")
    with pytest.raises(MinimindError, match=r"_mkdocstrings\.css has an address"):
        sheets.join(pages)
    (pages / "assets/_mkdocstrings.css").unlink()
    with pytest.raises(MinimindError, match=r"_mkdocstrings\.css, which is not there"):
        sheets.join(pages)


def test_nothing_to_join(tmp_path: Path) -> None:
    assert sheets.join(tmp_path) is None


def test_modules_are_asked_for_with_the_entry_that_imports_them(tmp_path: Path) -> None:
    (tmp_path / "chunks").mkdir()
    (tmp_path / "book.js").write_text(
        'import{a}from"./chunks/one.js";import"./chunks/two.js";const far=import("./chunks/far.js")'
    )
    (tmp_path / "chunks/one.js").write_text('import{b as c}from"./three.js"')
    for name in ("two", "three", "far"):
        (tmp_path / f"chunks/{name}.js").write_text("")
    names = sheets.chunks(tmp_path / "book.js")
    assert names == ["chunks/one.js", "chunks/three.js", "chunks/two.js"]
    entry = '<script src="../assets/build/book.js" type="module"></script>'
    page = sheets.preloaded(f"<body>{entry}</body>", names)
    assert page.count('rel="modulepreload"') == 3 and page.endswith(f"{entry}</body>")
    assert 'href="../assets/build/chunks/three.js"' in page and "far.js" not in page
    assert sheets.preloaded("<body></body>", names) == "<body></body>"
    assert sheets.chunks(tmp_path / "none.js") == []
