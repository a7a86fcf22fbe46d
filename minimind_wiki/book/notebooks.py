"""Notebooks: executed by mkdocs-jupyter, then given the look of every other page.

mkdocs-jupyter inlines 600 KB of styles and scripts from other origins and cannot show Plotly. So
the page it makes serves as the executed notebook only: its text cells are rendered again from the
source by the book's own Markdown, its code by the book's highlighter, and figures by the markup of
the `figure` fence. HTML:

    <div class="mm-notebook">
      <p class="mm-notebook__files">Download: <a href="NAME.ipynb" download>notebook</a> …</p>
      <div class="mm-notebook__text">…</div>
      <div class="mm-notebook__code">highlighted code</div>
      <div class="mm-notebook__output"><pre class="mm-notebook__print">…</pre>|figure|table</div>
    </div>
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import re
import shutil
from functools import cache
from pathlib import Path
from typing import Any

from markdown import Markdown

from minimind_wiki.book import markup, pages, records
from minimind_wiki.book.fences.figure import figure_html
from minimind_wiki.book.pages import esc
from minimind_wiki.errors import MinimindError

PACKAGE = Path(__file__).resolve().parents[1]
STARTUP = PACKAGE / "book" / "templates" / "ipython_startup.py.txt"
MARK = "mm-notebook-figure"
LINK = re.compile(r'href="(?![a-z]+:)([^"#]*\.md)(#[^"]*)?"')


def sources() -> list[Path]:
    """The percent-format notebooks of docs/notebooks/."""
    return sorted((pages.root() / "docs" / "notebooks").glob("*.py"))


def place() -> None:
    """Copy the notebooks to where MkDocs looks for pages; remove copies that have no source."""
    target = pages.docs() / "notebooks"
    names = {file.name for file in sources()}
    for old in target.glob("*.py"):
        if old.name not in names:
            old.unlink()
    for file in sources():
        target.mkdir(parents=True, exist_ok=True)
        copy = target / file.name
        if not copy.is_file() or copy.read_bytes() != file.read_bytes():
            shutil.copyfile(file, copy)


def environment() -> dict[str, str]:
    """Variables for executing notebooks: the package, our display hook, a cache by code."""
    digest = hashlib.sha256(STARTUP.read_bytes())
    for file in sorted((PACKAGE / "lite").rglob("*.py")):
        digest.update(file.read_bytes())
    home = PACKAGE.parent / "build" / "ipython"
    startup = home / "profile_default" / "startup"
    startup.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(STARTUP, startup / "00_figures.py")
    path = os.pathsep.join(filter(None, [str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")]))
    return {
        "IPYTHONDIR": str(home),
        "MM_NOTEBOOK_CACHE": str(PACKAGE.parent / "build" / "notebooks" / digest.hexdigest()[:16]),
        "PYTHONPATH": path,
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }


def finish(site: Path) -> list[str]:
    """Rewrite every notebook page of a built site; returns the names of the pages."""
    done = []
    for file in sources():
        page = site / "notebooks" / file.stem / "index.html"
        if not page.is_file():
            raise MinimindError(
                f"docs/notebooks/{file.name} did not become a page; add "
                f"'notebooks/{file.name}' to the nav of mkdocs.yml."
            )
        pages.enter(f"notebooks/{file.name}", f"notebooks/{file.stem}/")
        made = _page(page.read_text(encoding="utf-8"), file, page.parent)
        page.write_text(made, encoding="utf-8")
        done.append(file.stem)
    return done


def _page(text: str, file: Path, folder: Path) -> str:
    import jupytext
    from bs4 import BeautifulSoup

    notebook = jupytext.read(file)
    (folder / f"{file.stem}.ipynb").write_text(
        jupytext.writes(notebook, fmt="ipynb"), encoding="utf-8"
    )
    start = text.index(">", text.index("<article")) + 1
    end = text.index("</article>")
    made = BeautifulSoup(text[start:end], "html.parser")
    cells = made.select("div.jp-Notebook-cell[id]")
    if len(cells) != len(notebook.cells):
        raise MinimindError(
            f"{file.name}: {len(notebook.cells)} cells became {len(cells)} in the page; "
            "mkdocs-jupyter has changed its markup, see minimind_wiki/book/notebooks.py."
        )
    parts = [_downloads(file.stem)]
    count = 0
    for cell, shown in zip(notebook.cells, cells, strict=True):
        if cell.cell_type == "markdown":
            parts.append(f'<div class="mm-notebook__text">{_text(cell.source)}</div>')
            continue
        parts.append(f'<div class="mm-notebook__code">{markup.block(_code(cell.source))}</div>')
        for output in shown.select(".jp-OutputArea-output"):
            count += 1
            parts.append(f'<div class="mm-notebook__output">{_output(output, file, count)}</div>')
    body = '<div class="mm-notebook">' + "\n".join(parts) + "</div>"
    return text[:start] + body + text[end:]


def _code(source: str) -> str:
    return f"``````python\n{source}\n``````"


def _downloads(stem: str) -> str:
    return (
        f'<p class="mm-notebook__files">Download: <a href="{stem}.ipynb" download>notebook '
        f'(.ipynb)</a> · <a href="{stem}.py" download>plain text (.py)</a></p>'
    )


@cache
def _markdown() -> Markdown:
    # The plugin makes the page's table of contents with the same extension, so the ids agree.
    return Markdown(extensions=[*markup.EXTENSIONS, "toc"], extension_configs=markup.CONFIGS)


def _text(source: str) -> str:
    html = _markdown().reset().convert(source)
    return LINK.sub(_link, html)


def _link(match: re.Match[str]) -> str:
    """A link to a page's source becomes a link to the page."""
    folder = posixpath.dirname(pages.current().src)
    target = posixpath.normpath(posixpath.join(folder, match.group(1)))
    if not (pages.docs() / target).is_file():
        raise pages.fault(f"the link to '{match.group(1)}' leads nowhere; there is no such page.")
    stem = target.removesuffix(".md")
    address = stem.removesuffix("index") if posixpath.basename(stem) == "index" else stem + "/"
    return f'href="{pages.relative(address + (match.group(2) or ""))}"'


def _output(output: Any, file: Path, count: int) -> str:
    figure = output.find("script", class_=MARK)
    if figure is not None:
        return _figure(json.loads(figure.string), file.stem, count)
    kind = output.get("data-mime-type", "")
    if kind == "text/html":
        for bad in output.find_all(["script", "style", "link", "iframe"]):
            bad.decompose()
        return str(output.decode_contents())
    return f'<pre class="mm-notebook__print">{esc(output.get_text().strip(chr(10)))}</pre>'


def _figure(plotly: dict[str, Any], stem: str, count: int) -> str:
    from minimind_wiki.book.svg import figure_svg
    from minimind_wiki.lite.plot import Figure

    spec = plotly["layout"]["meta"].pop("figure")
    drawn = Figure.from_dict(spec)
    alt = describe(spec)
    anchor = f"fig-notebook-{stem}-{count}"
    svg = records.for_page(figure_svg(drawn, f"{anchor}-svg", alt))
    caption = esc(spec.get("caption") or "")
    return figure_html(anchor, f"notebooks/{stem}:{count}", svg, alt, plotly, caption)


def describe(spec: dict[str, Any]) -> str:
    """A sentence for a figure that carries no text of its own.

    >>> panel = {"x": {"label": "step"}, "y": {"label": "loss"}, "lines": [{"name": "a"}]}
    >>> describe({"panels": [panel]})
    'Plot of loss against step: a.'
    """
    parts = []
    for panel in spec["panels"]:
        names = [line["name"] for line in [*panel.get("lines", ()), *panel.get("bars", ())]]
        what = f"{panel['y']['label'] or 'values'} against {panel['x']['label'] or 'x'}"
        parts.append(f"Plot of {what}: {', '.join(filter(None, names)) or 'one curve'}.")
    return " ".join(parts)
