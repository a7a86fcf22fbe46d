"""Notebook pages: what mkdocs-jupyter makes is rebuilt in the book's own markup."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from minimind_wiki.book import checks, notebooks, pages
from minimind_wiki.errors import MinimindError
from minimind_wiki.lite.plot import Figure, Line, Panel

SOURCE = """# %% [markdown]
# # Title
#
# A formula $x^2$ and [a page](../index.md#top).

# %%
print("<hello>")
"""
CELL = '<div class="jp-Cell jp-Notebook-cell" id="cell-id={0}">{1}</div>'
OUTPUT = '<div class="jp-OutputArea-output" data-mime-type="{0}">{1}</div>'


def built(book: Path, *outputs: str, cells: int = 2) -> Path:
    """A page as mkdocs-jupyter writes it, with scripts and styles of other origins."""
    (book / "docs/notebooks").mkdir(exist_ok=True)
    (book / "docs/notebooks/try.py").write_text(SOURCE, encoding="utf-8")
    folder = book / "site/en/notebooks/try"
    folder.mkdir(parents=True)
    body = "".join(CELL.format(n, "".join(outputs) if n == cells - 1 else "") for n in range(cells))
    (folder / "index.html").write_text(
        "<html><head><title>t</title></head><body><article class='x'>"
        "<script src='https://example.org/mathjax.js'></script><style>a{}</style>"
        f"{body}</article><p>after</p></body></html>", encoding="utf-8",
    )  # fmt: skip
    notebooks.finish(book / "site/en")
    return folder


def test_page_is_rebuilt_without_foreign_parts(book: Path) -> None:
    folder = built(book, OUTPUT.format("text/plain", "<pre>&lt;hello&gt;</pre>"))
    html = (folder / "index.html").read_text(encoding="utf-8")
    assert "mathjax" not in html and "<style>" not in html and "<p>after</p>" in html
    assert "<math" in html and 'python highlight"' in html and 'id="title"' in html
    assert '<pre class="mm-notebook__print">&lt;hello&gt;</pre>' in html
    assert 'href="../../#top"' in html, "a link to a page's source leads to the page"
    notebook = json.loads((folder / "try.ipynb").read_text(encoding="utf-8"))
    assert [cell["cell_type"] for cell in notebook["cells"]] == ["markdown", "code"]


def test_figure_gets_picture_data_and_table(book: Path) -> None:
    figure = Figure(Panel("step", "loss", [Line([0, 1], [3.0, 2.0], "run", "a")]))
    plotly = figure.to_plotly()
    plotly["layout"]["meta"]["figure"] = figure.to_dict()
    mark = f'<script type="application/json" class="{notebooks.MARK}">{json.dumps(plotly)}</script>'
    html = (built(book, OUTPUT.format("text/html", mark)) / "index.html").read_text("utf-8")
    assert '<figure class="mm-figure" id="fig-notebook-try-1"' in html and "<svg" in html
    assert "Plot of loss against step: run." in html and '<th scope="col">run</th>' in html
    assert not checks.read(html).twice


def test_scripts_in_outputs_are_dropped(book: Path) -> None:
    bad = "<table><tr><td>1</td></tr></table><script>alert(1)</script>"
    html = (built(book, OUTPUT.format("text/html", bad)) / "index.html").read_text("utf-8")
    assert "<td>1</td>" in html and "alert" not in html


def test_changed_markup_of_the_plugin_is_noticed(book: Path) -> None:
    with pytest.raises(MinimindError, match="2 cells became 3"):
        built(book, cells=3)


def test_notebook_without_a_page_is_noticed(book: Path) -> None:
    (book / "docs/notebooks").mkdir()
    (book / "docs/notebooks/try.py").write_text(SOURCE, encoding="utf-8")
    with pytest.raises(MinimindError, match="nav"):
        notebooks.finish(book / "site/en")


def test_place_copies_and_removes(book: Path) -> None:
    (book / "docs/notebooks").mkdir()
    source = book / "docs/notebooks/try.py"
    source.write_text(SOURCE, encoding="utf-8")
    notebooks.place()
    copy = pages.docs() / "notebooks" / "try.py"
    assert copy.read_text(encoding="utf-8") == SOURCE
    source.unlink()
    notebooks.place()
    assert not copy.exists()
