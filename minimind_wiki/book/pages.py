"""Where the book lies, which page is being built, and the small pieces of HTML that all share.

Macros and fences are called by MkDocs one page at a time; the page at work is kept here, so that
links can be relative and a fault can name its page.
"""

from __future__ import annotations

import html
import json
import os
import posixpath
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from minimind_wiki.errors import MinimindError


@dataclass(frozen=True)
class PageAtWork:
    """The page that MkDocs renders now: source path and address inside the docs folder."""

    src: str = ""
    url: str = ""
    meta: dict[str, Any] = field(default_factory=dict)


_root: Path | None = None
_page = PageAtWork()


def root() -> Path:
    """The repository: where mkdocs.yml, docs/, snippets/ and experiments/ lie."""
    return _root or Path(os.environ.get("MM_ROOT") or Path(__file__).resolve().parents[2])


def use_root(path: Path | None) -> None:
    """Read everything from another folder (a test's small site); None goes back to the default."""
    global _root
    _root = path


def docs() -> Path:
    """The folder of the English pages."""
    return root() / "docs" / "en"


def strict() -> bool:
    """True unless the build was asked to be lenient (stale records then only warn)."""
    return os.environ.get("MM_STRICT", "1") != "0"


def current() -> PageAtWork:
    """The page that is being rendered."""
    return _page


def enter(src: str, url: str, meta: dict[str, Any] | None = None) -> None:
    """Remember the page that is being rendered."""
    global _page
    _page = PageAtWork(src, "" if url == "./" else url, dict(meta or {}))


def enter_from(md: Any) -> None:
    """Take the page from a Markdown instance, where MkDocs keeps the file that it renders."""
    if "relpath" in md.treeprocessors:
        file = md.treeprocessors["relpath"].file
        if file.src_uri != _page.src:
            enter(file.src_uri, file.url)


def fault(message: str | MinimindError) -> MinimindError:
    """An error that names the page at work; a given error keeps its class and exit status."""
    kind = type(message) if isinstance(message, MinimindError) else MinimindError
    return kind(f"{_page.src}: {message}" if _page.src else str(message))


def relative(target: str) -> str:
    """Address of `target` (relative to the docs folder, may carry an anchor) from this page.

    >>> enter("modules/normalization/index.md", "modules/normalization/")
    >>> relative("reproducibility/#normalization-depth")
    '../../reproducibility/#normalization-depth'
    """
    path, hash_, anchor = target.partition("#")
    start = posixpath.dirname(_page.url)
    there = posixpath.relpath(path or ".", start or ".")
    if path.endswith("/") or not path:
        there = "./" if there == "." else there + "/"
    return there + hash_ + anchor


def read_yaml(path: Path) -> Any:
    """Parse a YAML file; a fault names the file and the line."""
    shown = path.relative_to(root()) if path.is_relative_to(root()) else path
    if not path.is_file():
        raise fault(f"the file {shown} does not exist; write it or correct the name.")
    return parse_yaml(path.read_text(encoding="utf-8"), str(shown))


def parse_yaml(text: str, where: str) -> Any:
    """Parse YAML text; a fault names where it stands and the line."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise fault(
            f"{where}{line}: this is not valid YAML ({problem}). Put texts with a colon, '#' or "
            "quotes in quotes, or after '|' on lines of their own."
        ) from None


def esc(text: object) -> str:
    """Escape for HTML text and for quoted attributes."""
    return html.escape(str(text), quote=True)


def json_script(data: Any, css_class: str = "") -> str:
    """Data for the page's JavaScript, safe inside HTML and one line long.

    >>> json_script({"a": "</script>"}, "x")
    '<script type="application/json" class="x">{"a": "\\\\u003c/script>"}</script>'
    """
    text = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
    name = f' class="{css_class}"' if css_class else ""
    return f'<script type="application/json"{name}>{text}</script>'


def slug(name: str) -> str:
    """The id that a record, lab or figure has in HTML.

    >>> slug("normalization/depth")
    'normalization-depth'
    """
    return name.replace("/", "-").replace(".", "-")
