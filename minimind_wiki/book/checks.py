"""Checks of the built pages, as a browser would see them: links, anchors, ids, loads, texts.

MkDocs checks the links that it can see in Markdown; macros, fences, the theme and notebooks add
others. Everything here reads the finished HTML only.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# What a browser fetches by itself; a link (<a href>) may lead to another origin, these may not.
FETCHED = {"img": ("src", "srcset"), "script": ("src",), "iframe": ("src",),
           "source": ("src", "srcset"), "video": ("src", "poster"), "audio": ("src",),
           "embed": ("src",), "object": ("data",),
           "track": ("src",), "input": ("src",), "image": ("href", "xlink:href"),
           "use": ("href", "xlink:href")}  # fmt: skip
LINK_FETCHES = {"stylesheet", "icon", "preload", "modulepreload", "prefetch", "preconnect",
                "dns-prefetch", "manifest", "apple-touch-icon", "shortcut"}  # fmt: skip
CSS_URL = re.compile(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)")
# mkdocstrings repeats the ids of highlighted lines; nothing links to them.
REPEATED = re.compile(r"^__(span|codelineno)")
SAFE_SCHEMES = {"mailto", "tel"}


@dataclass
class Page:
    """What the checks need of one page."""

    ids: set[str] = field(default_factory=set)
    twice: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    title: str = ""
    description: str = ""
    refresh: bool = False


class Reader(HTMLParser):
    """Collects links, loads, ids and faults of one page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.page = Page()
        self.in_svg = 0
        self.inside = ""
        self.heading: str | None = None

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """`<path/>`: opens nothing."""
        self.handle_starttag(tag, attrs)
        if tag == "svg":
            self.in_svg -= 1

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at one element."""
        page = self.page
        values = {name: value or "" for name, value in attrs}
        self.in_svg += tag == "svg"
        self.inside = tag if tag in ("title", "style") else self.inside
        name = values.get("id")
        if name is not None:
            if name in page.ids and not REPEATED.match(name):
                page.twice.add(name)
            page.ids.add(name)
        if tag == "th":
            self.heading = ""
        if tag == "a":
            if values.get("name"):
                page.ids.add(values["name"])
            if "href" in values:
                page.links.append(values["href"])
        for attribute in FETCHED.get(tag, ()):
            if values.get(attribute):
                several = attribute == "srcset"
                parts = values[attribute].split(",") if several else [values[attribute]]
                page.loads += [part.strip().split(" ")[0] for part in parts]
        if tag == "link" and LINK_FETCHES & set(values.get("rel", "").lower().split()):
            page.loads.append(values.get("href", ""))
        if tag == "img" and "alt" not in values:
            page.faults.append(f"the image '{values.get('src', '?')[:60]}' has no alt text")
        if tag == "meta" and values.get("name") == "description":
            page.description = values.get("content", "").strip()
        if tag == "meta" and values.get("http-equiv", "").lower() == "refresh":
            page.refresh = True
        if "style" in values:
            self._css(values["style"])
        for attribute in values:
            if attribute.startswith("on"):
                page.faults.append(f"<{tag} {attribute}=…>: the policy refuses inline handlers")

    def handle_endtag(self, tag: str) -> None:
        """Leave one element."""
        self.in_svg -= tag == "svg" and self.in_svg > 0
        if tag == self.inside:
            self.inside = ""
        if tag == "th":
            if self.heading is not None and not self.heading.strip():
                self.page.faults.append(
                    "a column of a table has no name; readers of screens need it"
                )
            self.heading = None

    def handle_data(self, data: str) -> None:
        """Text: the page's title, its styles, the names of columns."""
        if self.heading is not None:
            self.heading += data
        if self.inside == "title" and not self.in_svg:
            self.page.title += data.strip()
        elif self.inside == "style":
            self._css(data)

    def _css(self, text: str) -> None:
        for match in CSS_URL.finditer(text):
            self.page.loads.append((match.group(1) or match.group(2)).strip())


def read(text: str) -> Page:
    """Read one page of HTML."""
    reader = Reader()
    reader.feed(text)
    reader.close()
    return reader.page


def check(site: Path, prefix: str = "") -> list[str]:
    """Every fault of the pages below `site`, one sentence each, naming the page.

    prefix: the path below the host at which the site is served (for links that start with "/").
    """
    files = {file.relative_to(site).as_posix(): file for file in sorted(site.rglob("*.html"))}
    if not files:
        return [f"no pages in {site}: build the site first with 'minimind site build'."]
    pages = {name: read(file.read_text(encoding="utf-8")) for name, file in files.items()}
    out = []
    for name, page in pages.items():
        faults = list(page.faults)
        if not page.title:
            faults.append("the page has no <title>")
        if not page.description and not page.refresh and posixpath.basename(name) != "404.html":
            faults.append("the page has no description; add 'description:' to its front matter")
        faults += [f"the id '{twice}' is used twice" for twice in sorted(page.twice)]
        for address in dict.fromkeys(page.loads):
            if address.startswith("#"):
                if unquote(address[1:]) not in page.ids:
                    faults.append(f"a picture uses '{address}', which is not in the page")
                continue
            faults += _load(site, name, address, prefix)
        for address in dict.fromkeys(page.links):
            faults += _link(site, name, address, pages, prefix)
        out += [f"{name}: {fault}." for fault in faults]
    out += _styles(site)
    return out


def _load(site: Path, page: str, address: str, prefix: str) -> list[str]:
    parts = urlsplit(address)
    if parts.scheme in ("data", "blob") or (not parts.path and not parts.netloc):
        return []
    if parts.scheme or parts.netloc:
        return [f"loads '{address[:80]}' from another origin; put the file into the site"]
    if _target(site, page, parts.path, prefix) is None:
        return [f"loads '{address[:80]}', which is not in the site"]
    return []


def _link(site: Path, page: str, address: str, pages: dict[str, Page], prefix: str) -> list[str]:
    parts = urlsplit(address)
    if parts.scheme in SAFE_SCHEMES or parts.scheme in ("http", "https") or parts.netloc:
        return []
    if parts.scheme:
        return [f"the link '{address[:80]}' has a scheme that the policy refuses"]
    target = _target(site, page, parts.path, prefix) if parts.path else page
    if target is None:
        return [f"dead link '{address[:80]}'"]
    anchor = unquote(parts.fragment)
    known = pages.get(target)
    if anchor and known is not None and anchor not in known.ids:
        return [f"dead anchor '{address[:80]}'"]
    return []


def _target(site: Path, page: str, path: str, prefix: str) -> str | None:
    """The file, relative to the site, that an address leads to; None when there is none."""
    path = unquote(path)
    if path.startswith("/"):
        inside = path.removeprefix(prefix.rstrip("/"))
    else:
        inside = posixpath.join(posixpath.dirname(page), path)
    normal = posixpath.normpath(inside.lstrip("/"))
    if normal.startswith(".."):
        return None
    file = site / normal
    if path.endswith("/") or file.is_dir():
        file, normal = file / "index.html", posixpath.normpath(posixpath.join(normal, "index.html"))
    return normal if file.is_file() else None


def _styles(site: Path) -> list[str]:
    """Style sheets that load from another origin."""
    out = []
    for file in sorted(site.rglob("*.css")):
        name = file.relative_to(site).as_posix()
        for match in CSS_URL.finditer(file.read_text(encoding="utf-8", errors="replace")):
            address = (match.group(1) or match.group(2)).strip()
            parts = urlsplit(address)
            if parts.scheme in ("http", "https") or parts.netloc:
                out.append(f"{name}: loads '{address[:80]}' from another origin.")
    return out
