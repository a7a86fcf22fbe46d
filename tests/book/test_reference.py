"""The reference pages: each public module stands on exactly one, and links lead to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from minimind_wiki.book import pages, reference, sources
from minimind_wiki.book.build import fewer_spans
from minimind_wiki.errors import MinimindError

ROOT = Path(__file__).resolve().parents[2]
LISTED = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
UNLISTED = {"verbs"}
"""Folders that the command line stands for: `minimind VERB --help` is their reference."""


@pytest.fixture
def package(book: Path) -> Path:
    """A package of three modules and a folder, and reference pages for it."""
    top = book / "minimind_wiki" / "train"
    (top / "deep").mkdir(parents=True)
    for name in ("loop", "dpo", "kto", "_own", "deep/one"):
        (top / f"{name}.py").write_text("def f():\n    pass\n", encoding="utf-8")
    (top / "__init__.py").write_text('"""Nothing is defined here."""\n', encoding="utf-8")
    home = pages.docs() / "reference"
    (home / "train").mkdir(parents=True)
    for name, call in (
        ("train/index", '"train"'), ("train/choice", '\n  "train", "kto", "dpo",\n'),
        ("train/deep", '"train/deep"'), ("index", None),
    ):  # fmt: skip
        body = "{{ api(" + call + ") }}" if call else "{{ api_index() }}"
        (home / f"{name}.md").write_text(
            f"---\ndescription: 'Reference: about {name}.'\n---\n\n# The {name}\n\n{body}\n",
            encoding="utf-8",
        )
    return top


def test_a_folders_page_shows_what_no_other_page_takes(package: Path) -> None:
    assert reference.api("train") == "::: minimind_wiki.train.loop\n"
    assert reference.api("train", "kto", "dpo").split() == [
        ":::", "minimind_wiki.train.kto", ":::", "minimind_wiki.train.dpo"
    ]  # fmt: skip
    assert reference.api("train/deep") == "::: minimind_wiki.train.deep.one\n"


def test_links_lead_to_the_page_that_shows_the_module(package: Path) -> None:
    for module, page in (("loop", ""), ("dpo", "choice/"), ("deep.one", "deep/")):
        name = f"minimind_wiki.train.{module}"
        assert f'href="../../reference/train/{page}#{name}.f"' in sources.symbol(f"{name}:f")


def test_the_index_names_every_page_with_its_modules(package: Path) -> None:
    pages.enter("reference/index.md", "reference/")
    html = reference.api_index()
    assert '<a href="train/choice/#minimind_wiki.train.kto"><code>kto</code></a>' in html
    assert '<a href="train/deep/">The train/deep</a></dt><dd><p>About train/deep.</p>' in html
    assert html.count("<dt>") == 3


def test_a_module_that_is_not_there_is_named(package: Path) -> None:
    with pytest.raises(MinimindError, match="did you mean 'loop'"):
        reference.api("train", "lop")


def test_every_public_module_of_the_book_stands_on_one_page() -> None:
    top = ROOT / "minimind_wiki"
    shown = [
        file for folder, names in reference.calls().values()
        for file in reference.modules(folder, names)
    ]  # fmt: skip
    assert len(shown) == len(set(shown))
    public = {
        file for file in top.rglob("*.py")
        if not file.name.startswith("_") and file.relative_to(top).parts[0] not in UNLISTED
    }  # fmt: skip
    assert public <= set(shown)
    for page, call in reference.calls().items():
        assert f" {page.rstrip('/')}.md\n" in LISTED or f"- {page}index.md\n" in LISTED
        for file in reference.modules(*call):
            assert reference.address(file) == page


def test_code_keeps_its_text_and_its_colours_with_fewer_spans() -> None:
    code = '<span class="k">if</span><span class="w"> </span><span class="n">x</span>'
    code += '<span class="p">:</span><span class="n"><a href="#y">y</a></span>'
    page = f'<p><span class="n">3</span></p><pre>{code}</pre>'
    kept = '<span class="k">if</span> x{}<span class="n"><a href="#y">y</a></span>'
    assert fewer_spans(page) == (
        '<p><span class="n">3</span></p><pre>'
        + kept.format('<span class="p">:</span>') + "</pre>"
    )  # fmt: skip
    documented = f'<div class="doc doc-object doc-function"><pre>{code}</pre></div>'
    assert kept.format(":") in fewer_spans(documented)
