"""A small book in a temporary folder: one module, one experiment with its record, one page."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from minimind_wiki.book import pages, records, skeleton

ROOT = Path(__file__).resolve().parents[2]
SLUG = "alpha"
CURRICULUM = """
tiers:
  - id: one
    title: "1 · First"
    modules:
      - {slug: alpha, title: "Why alpha?", covers: [what alpha is]}
      - {slug: beta, title: Beta counts, covers: []}
paths:
  - {slug: quick, title: Quick, time: an hour, goal: both, modules: [alpha, beta]}
"""
GLOSSARY = """
norm: {term: norm, text: A length., see: [scale], module: alpha}
scale: {term: scale, text: How large the values are.}
"""
BIBLIOGRAPHY = """
doe2020: {authors: "Jane Doe, Max Roe", year: 2020, title: On norms, url: https://example.org/doe}
"""
CONFIG = f"""
INHERIT: {ROOT / "mkdocs.yml"}
theme: {{custom_dir: {ROOT / "overrides"}}}
docs_dir: docs/en
extra_css: []
extra_javascript: []
nav:
  - index.md
  - reproducibility.md
  - glossary.md
  - bibliography.md
"""
PAGES = {
    "index.md": "# Home\n",
    "reproducibility.md": "# Records\n\n{{ records_table() }}\n",
    "glossary.md": "# Terms\n\n{{ glossary() }}\n",
    "bibliography.md": "# Sources\n\n{{ bibliography() }}\n",
}
HEAD = "---\ndescription: A page.\n---\n\n"


def python(*words: str, root: Path) -> subprocess.CompletedProcess[str]:
    """Run the command line as a reader would, in a folder of its own."""
    env = os.environ | {"MM_ROOT": str(root), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "minimind_wiki", *words],
        cwd=root, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="session")
def template_book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small book, made once: its record is measured by the real runner."""
    root = tmp_path_factory.mktemp("book")
    docs = root / "docs"
    (docs / "en").mkdir(parents=True)
    (root / "experiments").mkdir()
    for name, text in (
        ("curriculum", CURRICULUM), ("glossary", GLOSSARY), ("bibliography", BIBLIOGRAPHY)
    ):  # fmt: skip
        (docs / f"{name}.yaml").write_text(text, encoding="utf-8")
    for name, text in PAGES.items():
        (docs / "en" / name).write_text(HEAD + text, encoding="utf-8")
    assets = docs / "en" / "assets"
    (assets / "build" / "fonts").mkdir(parents=True)
    for name in ("favicon.svg", "build/book.js", "build/book.css", "build/fonts/serif.woff2",
                 "build/fonts/sans.woff2"):  # fmt: skip
        (assets / name).write_text("", encoding="utf-8")
    (root / "mkdocs.yml").write_text(CONFIG, encoding="utf-8")
    pages.use_root(root)
    try:
        skeleton.write(SLUG)
    finally:
        pages.use_root(None)
    done = python("experiment", "run", f"{SLUG}/first", root=root)
    assert done.returncode == 0, done.stderr
    return root


@pytest.fixture
def book(template_book: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the small book that a test may spoil; macros and fences read from it."""
    root = tmp_path / "book"
    shutil.copytree(template_book, root)
    pages.use_root(root)
    pages.enter("modules/alpha/index.md", "modules/alpha/")
    records._checked.cache_clear()
    yield root
    pages.use_root(None)
    pages.enter("", "")
    records._checked.cache_clear()


@pytest.fixture
def page(book: Path) -> Callable[[str], str]:
    """Convert Markdown as a page of the site does, our fences and formulas included."""
    import yaml
    from markdown import Markdown

    from minimind_wiki.book import fences

    names = ["quiz", "predict", "recall", "figure", "lab", "view", "playground", "exercise"]
    custom = [{"name": n, "class": n, "format": getattr(fences, n)} for n in names]
    config = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    listed = [next(iter(e)) if isinstance(e, dict) else e for e in config["markdown_extensions"]]
    settings = {
        "pymdownx.superfences": {"custom_fences": custom},
        "pymdownx.arithmatex": {"generic": True},
    }

    def convert(text: str) -> str:
        return Markdown(extensions=listed, extension_configs=settings).convert(text)

    return convert
