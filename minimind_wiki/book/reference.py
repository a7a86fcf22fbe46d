"""The reference pages: which modules stand on which page, and what the pages say to mkdocstrings.

A page of docs/en/reference/ calls `api("train")` for all of a folder, `api("train", "dpo", "kto")`
for some of its modules. A folder's own page shows what no other page takes, so a new module has a
page at once.
"""

from __future__ import annotations

import ast
import re
from functools import lru_cache
from pathlib import Path

from minimind_wiki.book import library, pages
from minimind_wiki.book.pages import esc
from minimind_wiki.errors import unknown

CALL = re.compile(r"\{\{\s*api(\(.*?\))\s*\}\}", re.DOTALL)
SOURCELESS = "book"
"""A folder that is long, and whose sources no reader comes for: its page stays light."""


def api(folder: str, *names: str) -> str:
    """mkdocstrings directives for the public modules of a package folder ('model', 'data/world').

    folder: 'package' stands for the modules that lie directly in minimind_wiki/. names: only
    these modules of the folder; without names all of them, and those of the folders in it, that no
    other page of the reference shows.
    """
    top = pages.root() / "minimind_wiki"
    place = top if folder == "package" else top / folder
    if not place.is_dir():
        folders = [p.name for p in top.iterdir() if p.is_dir() and not p.name.startswith("_")]
        raise pages.fault(str(unknown("package folder", folder, folders)))
    shown = modules(folder, names)
    if not shown:
        return f"*Nothing stands in `minimind_wiki/{folder}/` yet.*"
    bare = folder.split("/")[0] == SOURCELESS
    options = "    options:\n      show_source: false\n" if bare else ""
    return "\n".join(f"::: {dotted(file)}\n{options}" for file in shown)


def modules(folder: str, names: tuple[str, ...] = ()) -> list[Path]:
    """The files that `api(folder, *names)` shows, in the order of the page."""
    top = pages.root() / "minimind_wiki"
    place = top if folder == "package" else top / folder
    if names:
        known = {file.stem: file for file in place.glob("*.py") if _shown(file)}
        for name in names:
            if name not in known:
                raise pages.fault(unknown(f"module of minimind_wiki/{folder}", name, known))
        return [known[name] for name in names]
    files = sorted(place.glob("*.py") if folder == "package" else place.rglob("*.py"))
    others = taken(folder)
    return [file for file in files if _shown(file) and not _among(file, others)]


def taken(folder: str) -> list[Path]:
    """Files and folders inside a folder that other pages of the reference show."""
    top = pages.root() / "minimind_wiki"
    out: list[Path] = []
    for other, names in calls().values():
        if names and other == folder:
            out += [top / other / f"{name}.py" for name in names]
        elif other.startswith(f"{folder}/"):
            out.append(top / other)
    return out


def calls() -> dict[str, tuple[str, tuple[str, ...]]]:
    """For each page of the reference, by its address: the arguments of its `api`."""
    home = pages.docs() / "reference"
    found = {}
    for page in home.rglob("*.md"):
        arguments = _arguments(page, page.stat().st_mtime)
        if arguments:
            name = page.relative_to(home).with_suffix("").as_posix().removesuffix("/index")
            found[f"reference/{name}/"] = (arguments[0], arguments[1:])
    return dict(sorted(found.items()))


def address(file: Path) -> str:
    """The reference page that shows a file of the package, relative to the book's first page."""
    inside = file.relative_to(pages.root() / "minimind_wiki")
    parts = inside.parts
    best = f"reference/{parts[0] if len(parts) > 1 else 'package'}/"
    depth = 0
    for page, (folder, names) in calls().items():
        path = Path(folder)
        if names:
            if inside.parent == path and inside.stem in names:
                return page
        elif path in inside.parents and len(path.parts) > depth:
            best, depth = page, len(path.parts)
    return best


def api_index() -> str:
    """The pages of the reference with the modules that each of them shows, as a list of links.

    In the order of the navigation.
    """
    nav = (pages.root() / "mkdocs.yml").read_text(encoding="utf-8")
    listed = sorted(calls().items(), key=lambda item: nav.find(f" {item[0].rstrip('/')}"))
    out = []
    for page, (folder, names) in listed:
        place = pages.docs() / page
        file = place / "index.md" if place.is_dir() else place.with_suffix(".md")
        text = file.read_text(encoding="utf-8")
        title = re.search(r"^# (.+)$", text, re.MULTILINE)
        if title is None:
            raise pages.fault(f"{page.rstrip('/')} has no title; begin its text with '# '.")
        about = str(library.front_matter(text)["description"]).rpartition(": ")[2]
        href = pages.relative(page)
        links = " ".join(
            f'<a href="{href}#{dotted(file)}"><code>{esc(_short(file, folder))}</code></a>'
            for file in modules(folder, names)
        )
        out.append(
            f'<dt><a href="{href}">{esc(title.group(1).strip())}</a></dt>'
            f"<dd><p>{esc(about[:1].upper() + about[1:])}</p><p>{links}</p></dd>"
        )
    return f'<dl class="mm-modules">{"".join(out)}</dl>'


def dotted(file: Path) -> str:
    """The name under which a file is imported."""
    name = ".".join(file.relative_to(pages.root()).with_suffix("").parts)
    return name.removesuffix(".__init__")


def _short(file: Path, folder: str) -> str:
    name = dotted(file).removeprefix("minimind_wiki.")
    return name.removeprefix(folder.replace("/", ".") + ".")


def _among(file: Path, others: list[Path]) -> bool:
    return any(file == other or other in file.parents for other in others)


def _shown(file: Path) -> bool:
    """True for public modules, and for a package's own file where it defines something."""
    if file.name == "__init__.py":
        return _defines(file, file.stat().st_mtime)
    return not file.name.startswith("_")


@lru_cache(maxsize=512)
def _defines(file: Path, stamp: float) -> bool:
    kinds = (ast.FunctionDef, ast.ClassDef)
    return any(isinstance(node, kinds) for node in ast.parse(file.read_text(encoding="utf-8")).body)


@lru_cache(maxsize=64)
def _arguments(page: Path, stamp: float) -> tuple[str, ...]:
    """What a page gives to `api`; nothing where it does not call it."""
    call = CALL.search(page.read_text(encoding="utf-8"))
    if call is None:
        return ()
    node = ast.parse(f"api{call.group(1)}", mode="eval").body
    assert isinstance(node, ast.Call)
    return tuple(ast.literal_eval(argument) for argument in node.args)
