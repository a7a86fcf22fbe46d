"""The macros: what they print, and that each of them stops the build by name and page."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from minimind_wiki.book import chips, library, pages, records, reference, sources
from minimind_wiki.book.macros import MACROS, define_env
from minimind_wiki.errors import MinimindError

NAME = "alpha/first"


def fails(call: Callable[[], str], *words: str) -> None:
    """The call raises, and its message names the page and the given words."""
    with pytest.raises(MinimindError) as caught:
        call()
    for word in ("modules/alpha/index.md", *words):
        assert word in str(caught.value)


def test_site_build_needs_no_torch() -> None:
    code = (
        "import sys, minimind_wiki.book.macros, minimind_wiki.book.fences;"
        "import minimind_wiki.book.build;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_only_functions_are_exposed() -> None:
    class Env:
        def __init__(self) -> None:
            self.conf: dict[str, str] = {}
            self.seen: dict[str, object] = {}

        def macro(self, function: object, name: str) -> None:
            self.seen[name] = function

    env = Env()
    define_env(env)
    assert set(env.seen) == set(MACROS) and all(callable(f) for f in env.seen.values())


def test_chip_prints_number_link_and_seeds(book: Path) -> None:
    value = records.lookup(NAME, "with.spread")
    html = chips.m(NAME, "with.spread", ".2f", "cm")
    assert f">{value:.2f} cm</a>" in html
    assert 'href="../../reproducibility/#alpha-first"' in html
    assert "mean of 3 seeds ±" in html and "minimind experiment run alpha/first" in html
    assert "standard deviation" in chips.m(NAME, "with.spread.std")
    assert ">3</a>" in chips.m(NAME, "with.spread.n", ".0f")


def test_inline_macros_fit_into_quoted_yaml(book: Path) -> None:
    html = MACROS["m"](NAME, "with.spread", ".2f")
    assert '"' not in html and "class='mm-chip'" in html


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: chips.m("alpha/frist", "with.spread"), ["alpha/first"]),
        (lambda: chips.m(NAME, "wiht.spread"), ["did you mean 'with'"]),
        (lambda: chips.m(NAME, "with.sprad"), ["did you mean 'spread'"]),
        (lambda: chips.m(NAME, "with.spread", "nonsense"), ["nonsense"]),
        (lambda: chips.setting(NAME, "sample"), ["did you mean 'samples'"]),
        (lambda: chips.verdict(NAME, "frst_claim", "supported"), ["first_claim"]),
        (lambda: chips.verdict(NAME, "first_claim", "not supported"), ["says 'supported'"]),
        (lambda: chips.verdict(NAME, "first_claim", "yes"), ["unknown verdict"]),
        (lambda: chips.given("0.1", " "), ["say why"]),
        (lambda: library.ref("doe2021"), ["did you mean 'doe2020'", "docs/bibliography.yaml"]),
        (lambda: library.cited("7 %", "roe"), ["docs/bibliography.yaml"]),
        (lambda: library.term("nrom"), ["did you mean 'norm'", "docs/glossary.yaml"]),
        (lambda: library.path("quik"), ["did you mean 'quick'"]),
        (lambda: library.module_link("alhpa"), ["did you mean 'alpha'"]),
        (lambda: sources.code("minimind_wiki.lite.plot:Figur"), ["minimind_wiki"]),
        (lambda: sources.source("snippets/alpha/lb.py"), ["did you mean 'lab.py'"]),
        (lambda: sources.source("snippets/alpha/lab.py", region="no"), ["unknown region"]),
        (lambda: reference.api("nothing"), ["unknown package folder"]),
    ],
)  # fmt: skip
def test_wrong_names_stop_the_build(book: Path, call: Callable[[], str], words: list[str]) -> None:
    (book / "minimind_wiki").mkdir()
    fails(call, *words)


def test_stale_record_stops_a_strict_build_and_warns_otherwise(
    book: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = book / "experiments/alpha/first.py"
    file.write_text(file.read_text(encoding="utf-8").replace("gauss(0.0", "gauss(0.5"))
    fails(lambda: chips.m(NAME, "with.spread"), "minimind experiment run alpha/first")
    monkeypatch.setenv("MM_STRICT", "0")
    records._checked.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert "mm-chip" in chips.m(NAME, "with.spread")
    assert "older than its code" in caplog.text


def test_comments_do_not_make_a_record_stale(book: Path) -> None:
    file = book / "experiments/alpha/first.py"
    file.write_text("# a remark\n" + file.read_text(encoding="utf-8"))
    assert "mm-chip" in chips.m(NAME, "with.spread")


def test_diverged_number_cannot_be_printed(book: Path) -> None:
    file = book / "experiments/alpha/records/first.json"
    text = re.sub(r'("mean": )[\d.]+', r"\1null", file.read_text(encoding="utf-8"))
    file.write_text(text, encoding="utf-8")
    fails(lambda: chips.m(NAME, "with.spread"), "diverged")


def test_records_table_has_the_anchor_that_chips_point_to(book: Path) -> None:
    text = chips.records_table()
    assert "{ #alpha-first }" in text and "supported" in text
    for fact in ("minimind experiment run alpha/first", "0, 1, 2", "torch", "second"):
        assert fact in text


def test_terms_sources_and_paths(book: Path) -> None:
    assert 'href="../../glossary/#norm"' in library.term("norm", "lengths")
    assert "Doe &amp; Roe 2020" in library.ref("doe2020")
    assert '<dt id="norm">' in library.glossary() and '<li id="doe2020">' in library.bibliography()
    text = library.path("quick")
    assert text.index('data-module="alpha"') < text.index('data-module="beta"')
    assert "planned" in text and "{ #tier-one }" in library.module_status()


def test_module_is_linked_once_it_is_written(book: Path) -> None:
    assert "<a " not in library.module_link("alpha"), "a draft is not linked"
    page = book / "docs/en/modules/alpha/index.md"
    page.write_text(page.read_text(encoding="utf-8").replace("draft: true\n", ""))
    assert 'href="./"' in library.module_link("alpha")


@pytest.fixture
def package(book: Path) -> Path:
    folder = book / "minimind_wiki" / "model"
    folder.mkdir(parents=True)
    (folder / "norm.py").write_text(
        "import math\n\nEPS = 1e-6\n\n\n@cache\ndef rms(x):\n    # region core\n    y = x * x\n"
        "    # region inner\n    z = y\n    # endregion\n    # endregion\n    return z\n\n\n"
        "class Norm:\n    def forward(self, x):\n        return rms(x)\n",
        encoding="utf-8",
    )
    return folder


def test_code_embeds_an_object_with_its_decorator(package: Path) -> None:
    text = sources.code("minimind_wiki.model.norm:rms")
    assert text.startswith('```python title="minimind_wiki/model/norm.py"\n@cache\ndef rms(x):')
    assert sources.code("minimind_wiki.model.norm:Norm.forward").splitlines()[1] == (
        "def forward(self, x):"
    )
    assert "EPS = 1e-6" in sources.code("minimind_wiki.model.norm:EPS")


def test_region_is_dedented_and_loses_its_marks(package: Path) -> None:
    text = sources.source("minimind_wiki/model/norm.py", region="core")
    assert text.splitlines()[1:-1] == ["y = x * x", "z = y"]


def test_region_without_end_is_a_fault(package: Path) -> None:
    file = package / "norm.py"
    file.write_text("# region core\nx = 1\n", encoding="utf-8")
    fails(lambda: sources.source("minimind_wiki/model/norm.py", "core"), "# endregion")


def test_symbol_links_to_the_reference(package: Path) -> None:
    html = sources.symbol("minimind_wiki.model.norm:Norm.forward")
    assert 'href="../../reference/model/#minimind_wiki.model.norm.Norm.forward"' in html
    fails(lambda: sources.symbol("minimind_wiki.model.norm:Nrom"), "did you mean 'Norm'")
    fails(lambda: sources.symbol("minimind_wiki.model.nrom:Norm"), "minimind_wiki.model.norm")


def test_code_can_leave_the_docstring_out() -> None:
    whole = sources.code("minimind_wiki.model.norm:rms_norm")
    short = sources.code("minimind_wiki.model.norm:rms_norm", docstring=False)
    assert '"""' in whole
    assert '"""' not in short
    assert "def rms_norm(" in short
    assert "return normalized.to(x.dtype)" in short


def test_code_with_fences_inside_gets_a_longer_fence(package: Path) -> None:
    (package / "doc.py").write_text('"""\n```python\nx\n```\n"""\n', encoding="utf-8")
    assert sources.source("minimind_wiki/model/doc.py").startswith("````python")


def test_broken_yaml_names_file_and_line(book: Path) -> None:
    (book / "docs/glossary.yaml").write_text("a: {term: x\nb: : y\n", encoding="utf-8")
    fails(library.glossary, "docs/glossary.yaml, line 2")
    (book / "docs/glossary.yaml").write_text("a: {term: x}\n", encoding="utf-8")
    fails(library.glossary, "'a' has no 'text'")


def test_relative_addresses_from_the_home_page() -> None:
    pages.enter("index.md", "./")
    assert pages.relative("glossary/#norm") == "glossary/#norm"
    pages.enter("", "")
