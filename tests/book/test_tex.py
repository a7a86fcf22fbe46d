"""Formulas: MathML when the site is built, a fault with the source when they are wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from minimind_wiki.book import tex
from minimind_wiki.book.docstrings import Reference, fenced
from minimind_wiki.errors import MinimindError


def test_formulas_in_a_page(page: Callable[[str], str]) -> None:
    html = page("Inline $a < b$ and\n\n$$\n\\frac{1}{2}\n$$\n\n- item \\(x_1\\)\n\n`$not$`\n")
    assert html.count("<math") == 3 and "&amp;lt;" not in html
    assert '<div class="mm-math mm-math--display">' in html and "<mfrac>" in html
    assert "<code>$not$</code>" in html


@pytest.mark.parametrize("formula", ["\\nosuch{x}", "\\frac{1}", "x_{1"])
def test_wrong_formula_stops_with_its_source(page: Callable[[str], str], formula: str) -> None:
    with pytest.raises(MinimindError) as caught:
        page(f"Text ${formula}$ here.")
    assert "wrong formula" in str(caught.value) and formula in str(caught.value)


def test_a_sign_that_the_font_leaves_out_stops_the_build(page: Callable[[str], str]) -> None:
    with pytest.raises(MinimindError, match=r"'⋈'.*web/formula-letters\.txt.*make web"):
        page("Text $a \\bowtie b$ here.")


def test_cache_makes_node_unnecessary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = tex.Converter(tmp_path / "tex.json")
    made = first.convert("x^2", display=False)
    first.close()

    def missing() -> str:
        raise MinimindError("no node")

    monkeypatch.setattr(tex, "_node", missing)
    second = tex.Converter(tmp_path / "tex.json")
    assert second.convert("x^2", display=False) == made
    with pytest.raises(MinimindError, match="no node"):
        second.convert("x^2", display=True)
    assert len(json.loads((tmp_path / "tex.json").read_text(encoding="utf-8"))) == 1


def test_broken_cache_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "tex.json").write_text("{", encoding="utf-8")
    converter = tex.Converter(tmp_path / "tex.json")
    assert "<math" in converter.convert("y", display=True)
    converter.close()


def test_punctuation_stays_with_its_formula(page: Callable[[str], str]) -> None:
    html = page("See $x$, and $y$ (or $z$).")
    assert html.count("white-space:nowrap") == 2
    assert "</math></span>,</span>" in html and "</math></span>).</span>" in html


def test_examples_in_docstrings_become_code() -> None:
    assert fenced("Adds.\n>>> f()\n['a', 'b']\n\nEnd.") == (
        "Adds.\n\n```pycon\n>>> f()\n['a', 'b']\n```\n\nEnd."
    )
    assert fenced("No example.") == "No example."


def test_reference_leaves_out_what_only_repeats_an_assignment() -> None:
    import griffe

    source = (
        "class A:\n    size: int = 1\n    def __init__(self):\n        self.plain = 1\n"
        '        self.told = 2\n        """What it is."""\n'
    )
    with griffe.temporary_visited_module(source, module_name="a") as module:
        Reference().on_package(pkg=module)
        assert set(module["A"].members) == {"size", "__init__", "told"}
