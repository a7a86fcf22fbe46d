"""The whole build on the small book: it passes, and each strict rule fails it by name."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from conftest import HEAD, python

from minimind_wiki.book.build import slim_search

PAGE = "docs/en/index.md"
GOOD = """# Home

Measured: {{ m("alpha/first", "with.spread", ".2f") }}, {{ ref("doe2020") }}, {{ term("norm") }},
{{ verdict("alpha/first", "first_claim", expect="supported") }}, $x^2$.

```figure
record: alpha/first
figure: overview
```
"""


@pytest.fixture
def book(template_book: Path, tmp_path: Path) -> Path:
    """A copy of the small book, built in processes of its own."""
    root = tmp_path / "book"
    shutil.copytree(template_book, root)
    (root / PAGE).write_text(HEAD + GOOD, encoding="utf-8")
    return root


def test_sound_book_passes_and_drafts_stay_out(book: Path) -> None:
    done = python("site", "build", "--strict", root=book)
    assert done.returncode == 0, done.stderr
    home = (book / "site/en/index.html").read_text(encoding="utf-8")
    for mark in ("mm-chip", "mm-figure__data", "<math", "Content-Security-Policy", "sha256-"):
        assert mark in home
    assert not (book / "site/en/modules").exists() and not list(book.glob("site/**/*.yaml"))
    assert (book / "site/index.html").is_file() and (book / "site/404.html").is_file()
    assert python("site", "check", root=book).stdout.strip() == "no faults"


def test_skeleton_of_a_module_builds_strictly(book: Path) -> None:
    done = python("site", "build", "--strict", "--drafts", root=book)
    assert done.returncode == 0, done.stderr
    html = (book / "site/en/modules/alpha/index.html").read_text(encoding="utf-8")
    for kind in ("mm-predict", "mm-recall", "mm-lab", "mm-exercise"):
        assert f'<div class="{kind}"' in html
    assert '<meta name="mm-module" content="alpha">' in html
    assert "mm-quiz" in (book / "site/en/modules/alpha/quiz/index.html").read_text("utf-8")


BREAKS = {
    "unknown number": ('"with.spread"', '"with.sprad"', "index.md: m('alpha/first', 'with.sprad')"),
    "changed verdict": ('"supported"', '"not supported"', "index.md: verdict('alpha/first'"),
    "unknown macro": ('{{ term("norm") }}', "{{ trem('norm') }}", "'trem' is undefined"),
    "fault in a box": ("figure: overview", "figure: oveview", "index.md: figure box:"),
    "wrong formula": ("$x^2$", "$\\nosuch$", "index.md: wrong formula '\\nosuch'"),
    "dead page": ("$x^2$", "[x](gone.md)", "gone.md"),
    "dead anchor": ("$x^2$", "<a href='#gone'>x</a>", "dead anchor '#gone'"),
    "load from elsewhere": ("$x^2$", "<img src='https://example.org/' alt=''>", "another origin"),
}  # fmt: skip


@pytest.mark.parametrize("name", BREAKS)
def test_strict_build_fails_by_name(book: Path, name: str) -> None:
    old, new, said = BREAKS[name]
    page = book / PAGE
    assert old in page.read_text(encoding="utf-8")
    page.write_text(page.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    done = python("site", "build", "--strict", root=book)
    assert done.returncode == 1 and said in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


def test_sources_are_checked_before_anything_is_built(book: Path) -> None:
    folder = book / "docs/en/modules/alpha"
    page = folder / "index.md"
    text = page.read_text(encoding="utf-8").replace("draft: true\n", "")
    page.write_text(re.sub(r"^description:.*\n", "", text, flags=re.M) + "\nIt is 20× faster.\n")
    done = python("site", "build", "--strict", root=book)
    assert done.returncode == 1 and not (book / "site").exists()
    assert "typed by hand" in done.stderr and "a TODO is left" in done.stderr
    assert "modules/alpha/index.md: the front matter has no 'description:'" in done.stderr


def test_missing_assets_say_what_to_run(book: Path) -> None:
    (book / "docs/en/assets/build/book.js").unlink()
    done = python("site", "build", root=book)
    assert done.returncode == 1 and "book.js" in done.stderr and "make web" in done.stderr


def test_lenient_build_shows_what_a_strict_one_refuses(book: Path) -> None:
    page = book / PAGE
    page.write_text(page.read_text(encoding="utf-8").replace("$x^2$", "<a href='#gone'>x</a>"))
    file = book / "experiments/alpha/first.py"
    file.write_text(file.read_text(encoding="utf-8").replace("gauss(0.0", "gauss(0.5"))
    done = python("site", "build", root=book)
    assert done.returncode == 0, done.stderr
    assert "dead anchor '#gone'" in done.stdout and "older than its code" in done.stdout


def test_new_module_command(book: Path) -> None:
    done = python("new", "module", "bta", root=book)
    assert done.returncode == 2 and "did you mean 'beta'" in done.stderr
    again = python("new", "module", "alpha", root=book)
    assert again.returncode == 1 and "nothing was written" in again.stderr
    done = python("new", "module", "beta", root=book)
    assert done.returncode == 0 and (book / "snippets/beta/write_it/solution.py").is_file()
    text = (book / "docs/en/modules/beta/index.md").read_text(encoding="utf-8")
    assert "Beta counts." in text and "__" not in text.replace("__init__", "")


def test_search_finds_names_and_words_but_carries_no_sources() -> None:
    docs = [
        {
            "location": "reference/model/#norm",
            "title": "norm",
            "text": "<p>Divides.</p> <p>At length.</p><pre>def f():</pre>",
        },
        {"location": "reference/model/#m.Norm.eps", "title": "eps", "text": "<p>Small.</p>"},
        {
            "location": "reference/model/#m.helper",
            "title": "helper",
            "text": " Source code in <code>m.py</code> <pre>def helper():</pre>",
        },
        {
            "location": "reference/model/#m._private",
            "title": "_private",
            "text": "<p>Ours.</p>",
        },
        {"location": "reference/model/", "title": "Model", "text": ""},
        {"location": "modules/x/", "title": "x", "text": "<pre>make test</pre>"},
        {"location": "modules/x/#y", "title": "y", "text": f"Long:<pre>{'x = 1 ' * 60}</pre>"},
    ]
    slim = json.loads(slim_search(json.dumps({"config": {"lang": ["en"]}, "docs": docs})))
    assert slim["config"] == {"lang": ["en"]}
    texts = ["<p>Divides.</p>", "", "", "<pre>make test</pre>", "Long:"]
    assert [d["text"] for d in slim["docs"]] == texts
    assert slim["docs"][0]["title"] == "norm"
