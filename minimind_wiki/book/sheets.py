"""One style sheet for every page instead of four, and no script in front of the first picture.

A browser paints nothing before it has all sheets that a page links to, and on a phone each of them
costs a way there and back. The theme links two, mkdocstrings one, the book one: here they become
one file, in their order, so that the cascade stays as it was, and without the theme's rules that no
page can use (css.py). Its name holds its hash.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from minimind_wiki.book import css
from minimind_wiki.errors import MinimindError

PLACE = "assets/build"  # where book.css lies: its addresses of fonts stay true
LINK = re.compile(r'[ \t]*<link rel="stylesheet" href="([^"]+)">\n?')
HEAD = re.compile(r'^@charset "[^"]*";|/\*# sourceMappingURL=[^*]*\*/\s*$')
ADDRESS = re.compile(r"url\(\s*(?!['\"]?data:)|@import")
WORD = re.compile(r"[\w-]+")
THEME = re.compile(r'<script (src="[^"]*assets/javascripts/bundle\.[^"]*")>')
ENTRY = re.compile(r'<script src="([^"]*assets/build/)book\.js" type="module">')
# Not import("…"), which is for later.
IMPORT = re.compile(r"""\b(?:from|import)\s*["'](\.{1,2}/[^"']+)["']""")


def join(pages: Path) -> Path | None:
    """Make one sheet of those that the pages below this folder link to, and link to it alone.

    Returns its path; None where no page links to any. Raises MinimindError where two pages differ
    in their sheets, or where a sheet that moves has an address in it.
    """
    wanted: dict[tuple[str, ...], list[Path]] = {}
    texts = {page: page.read_text(encoding="utf-8") for page in sorted(pages.rglob("*.html"))}
    for page, text in texts.items():
        names = tuple(re.sub(r"^.*?(?=assets/)", "", link) for link in LINK.findall(text))
        if names:
            wanted.setdefault(names, []).append(page)
    if not wanted:
        return None
    if len(wanted) > 1:
        named = "; ".join(f"{found[0].name} has {', '.join(key)}" for key, found in wanted.items())
        raise MinimindError(f"the pages link to different style sheets, so none fits all: {named}.")
    (names,) = wanted
    words = _words(pages, texts.values())
    parts = [_part(pages / name, words) for name in names]
    text = "\n".join(parts)
    sheet = pages / PLACE / f"site.{hashlib.sha256(text.encode()).hexdigest()[:8]}.css"
    sheet.write_text(text, encoding="utf-8")
    for page in wanted[names]:
        page.write_text(linked(texts[page], f"{PLACE}/{sheet.name}"), encoding="utf-8")
    for name in names:
        for file in (pages / name, pages / f"{name}.map"):
            file.unlink(missing_ok=True)
    return sheet


def _words(pages: Path, texts: Iterable[str]) -> set[str]:
    """Whatever could be a class: all words of the pages and of the scripts."""
    scripts = (file.read_text(encoding="utf-8") for file in sorted(pages.rglob("*.js")))
    return {word for text in (*texts, *scripts) for word in WORD.findall(text)}


def _part(file: Path, words: set[str]) -> str:
    if not file.is_file():
        raise MinimindError(f"a page links to the style sheet {file.name}, which is not there.")
    text = HEAD.sub("", HEAD.sub("", file.read_text(encoding="utf-8"))).strip()
    if file.parent.as_posix().endswith(PLACE):
        return text  # our own, whose classes scripts may put together
    if not ADDRESS.search(text):
        return css.purge(text, words)
    raise MinimindError(f"{file.name} has an address relative to itself; it cannot be joined.")


def linked(page: str, sheet: str) -> str:
    """The page with this sheet (named from the folder of the pages) in the place of its first.

    >>> two = [f'<link rel="stylesheet" href="../assets/{name}.css">' for name in "ab"]
    >>> linked("<title>T</title>" + "".join(two) + "<p>", "assets/c.css").splitlines()
    ['<title>T</title><link rel="stylesheet" href="../assets/c.css">', '<p>']
    """
    first = LINK.search(page)
    if first is None:
        return page
    start = first.group(1)[: first.group(1).index("assets/")]
    rest = LINK.sub("", page[first.end() :])
    return f'{page[: first.start()]}<link rel="stylesheet" href="{start}{sheet}">\n{rest}'


def deferred(page: str) -> str:
    """The page with the theme's script run after the first picture, still before the book's own.

    >>> deferred('<script src="assets/javascripts/bundle.a5.min.js"></script>')
    '<script defer src="assets/javascripts/bundle.a5.min.js"></script>'
    """
    return THEME.sub(r"<script defer \1>", page)


def chunks(entry: Path) -> list[str]:
    """The modules that the entry of every page imports, at once or through one another.

    entry: the built book.js. Returns addresses relative to its folder, sorted; none where there is
    no such file.
    """
    found = set[Path]()
    waiting = [entry] if entry.is_file() else []
    while waiting:
        file = waiting.pop()
        for name in IMPORT.findall(file.read_text(encoding="utf-8")):
            other = (file.parent / name).resolve()
            if other not in found and other.is_file():
                found.add(other)
                waiting.append(other)
    return sorted(other.relative_to(entry.parent.resolve()).as_posix() for other in found)


def preloaded(page: str, names: list[str]) -> str:
    """The page asking for these modules together with its entry, not one way later.

    >>> preloaded('<script src="assets/build/book.js" type="module">', ["chunks/a.js"])[:58]
    '<link rel="modulepreload" href="assets/build/chunks/a.js">'
    """
    entry = ENTRY.search(page)
    if entry is None:
        return page
    links = "".join(f'<link rel="modulepreload" href="{entry[1]}{name}">' for name in names)
    return page[: entry.start()] + links + page[entry.start() :]
