"""Curriculum, bibliography and glossary: the three YAML files in docs/ and what pages show of them.

`docs/bibliography.yaml` maps a key to `authors, year, title, url` and optionally `short` (as
cited), `where` (journal, conference, report) and `note` (Markdown: what we take from it).
`docs/glossary.yaml` maps a key to `term` (as shown), `text` (Markdown, one or two sentences) and
optionally `see: [keys]` and `module`. `docs/curriculum.yaml` holds the tiers with their modules,
and the learning paths.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from minimind_wiki.book import markup, pages
from minimind_wiki.book.pages import esc
from minimind_wiki.errors import unknown

Entry = dict[str, Any]
NEEDED = {"bibliography": ("authors", "year", "title", "url"), "glossary": ("term", "text")}


@lru_cache(maxsize=16)
def _read(path: Path, stamp: float) -> Any:
    return pages.read_yaml(path)


def _file(name: str) -> Any:
    path = pages.root() / "docs" / f"{name}.yaml"
    return _read(path, path.stat().st_mtime if path.exists() else 0.0)


def entries(name: str) -> dict[str, Entry]:
    """All entries of docs/<name>.yaml, each checked for the fields that it needs."""
    data: dict[str, Entry] = _file(name) or {}
    for key, entry in data.items():
        for field in NEEDED[name]:
            if not isinstance(entry, dict) or not entry.get(field):
                raise pages.fault(f"docs/{name}.yaml: the entry '{key}' has no '{field}'; add it.")
    return data


def _entry(name: str, kind: str, key: str) -> Entry:
    known = entries(name)
    if key not in known:
        raise pages.fault(f"{unknown(kind, key, known)}. New ones go into docs/{name}.yaml")
    return known[key]


# Citations ------------------------------------------------------------------------------------


def ref(key: str) -> str:
    """A citation: short name and year, linked to the entry of the bibliography page."""
    entry = _entry("bibliography", "source", key)
    return (
        f'<a class="mm-ref" href="{pages.relative(f"bibliography/#{key}")}" '
        f'title="{esc(entry["title"])}">{esc(_short(entry))}</a>'
    )


def _short(entry: Entry) -> str:
    if entry.get("short"):
        return str(entry["short"])
    names = [name.strip().split(" ")[-1] for name in str(entry["authors"]).split(",")]
    if len(names) > 2 or "et al" in str(entry["authors"]):
        who = f"{names[0]} et al."
    else:
        who = " & ".join(names)
    return f"{who} {entry['year']}"


def cited(text: str, key: str) -> str:
    """A number that comes from a source: the text as printed, then the citation."""
    return f'<span class="mm-cited">{esc(text)}</span> ({ref(key)})'


def bibliography() -> str:
    """Every source as a list, newest last, with the anchor that citations point to."""
    rows = []
    known = entries("bibliography")
    for key in sorted(known, key=lambda k: (str(known[k]["authors"]).lower(), known[k]["year"])):
        entry = known[key]
        where = f" {esc(entry['where'])}." if entry.get("where") else ""
        note = markup.block(entry["note"]) if entry.get("note") else ""
        note = f'<div class="mm-bib__note">{note}</div>' if note else ""
        rows.append(
            f'<li id="{esc(key)}">{esc(entry["authors"])} ({entry["year"]}). '
            f'<a href="{esc(entry["url"])}"><cite>{esc(entry["title"])}</cite></a>.'
            f"{where}{note}</li>"
        )
    return '<ul class="mm-bib">' + "".join(rows) + "</ul>"


# Terms ----------------------------------------------------------------------------------------


def term(key: str, text: str | None = None) -> str:
    """A link to the glossary; the entry's own words unless `text` is given."""
    entry = _entry("glossary", "glossary term", key)
    shown = text if text is not None else entry["term"]
    return f'<a class="mm-term" href="{pages.relative(f"glossary/#{key}")}">{esc(shown)}</a>'


def glossary() -> str:
    """Every term in alphabetical order, as a definition list with anchors."""
    known = entries("glossary")
    rows = []
    for key in sorted(known, key=lambda k: str(known[k]["term"]).lower()):
        entry = known[key]
        links = []
        for other in entry.get("see", []):
            links.append(f"see {term(other)}")
        if entry.get("module"):
            links.append(f"taught in {module_link(entry['module'])}")
        tail = f'<p class="mm-glossary__see">{"; ".join(links)}</p>' if links else ""
        rows.append(
            f'<dt id="{esc(key)}">{esc(entry["term"])}</dt>'
            f"<dd>{markup.block(entry['text'])}{tail}</dd>"
        )
    return '<dl class="mm-glossary">' + "".join(rows) + "</dl>"


# Modules and paths ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Module:
    """One module of the curriculum; `status` is 'written', 'draft' or 'planned'."""

    slug: str
    title: str
    tier: str
    covers: tuple[str, ...]
    status: str


def tiers() -> list[dict[str, Any]]:
    """The tiers of docs/curriculum.yaml."""
    found: list[dict[str, Any]] = (_file("curriculum") or {}).get("tiers", [])
    return found


def modules() -> dict[str, Module]:
    """Every module by slug, in the order of the curriculum."""
    found = {}
    for tier in tiers():
        for item in tier["modules"]:
            slug = item["slug"]
            found[slug] = Module(
                slug,
                item["title"],
                tier["title"],
                tuple(map(str, item.get("covers", []))),
                module_page_status(slug),
            )
    return found


def module_page_status(slug: str) -> str:
    """'written' when the module's page exists, 'draft' when its front matter says so."""
    page = pages.docs() / "modules" / slug / "index.md"
    if not page.is_file():
        return "planned"
    return "draft" if front_matter(page.read_text(encoding="utf-8")).get("draft") else "written"


def front_matter(text: str) -> dict[str, Any]:
    """The YAML between the two lines of dashes at the start of a page."""
    if not text.startswith("---\n"):
        return {}
    head, _, _ = text[4:].partition("\n---\n")
    return pages.parse_yaml(head, "front matter") or {}


def module(slug: str) -> Module:
    """The module of that slug, or an error with the nearest names."""
    known = modules()
    if slug not in known:
        raise pages.fault(unknown("module", slug, known))
    return known[slug]


def module_link(slug: str) -> str:
    """The module's title, linked when its page is written."""
    item = module(slug)
    if item.status != "written":
        return esc(item.title)
    return f'<a href="{pages.relative(f"modules/{slug}/")}">{esc(item.title)}</a>'


def _module_row(slug: str) -> str:
    item = module(slug)
    status = "written" if item.status == "written" else "planned"
    return (
        f'<li class="mm-module mm-module--{status}" data-module="{slug}">'
        f'<span class="mm-module__title">{module_link(slug)}</span> '
        f'<span class="mm-module__status">{status}</span></li>'
    )


def path_entry(slug: str) -> dict[str, Any]:
    """A path of the curriculum: its title, time, goal and the slugs of its modules in order."""
    known = {item["slug"]: item for item in (_file("curriculum") or {}).get("paths", [])}
    if slug not in known:
        raise pages.fault(str(unknown("path", slug, known)))
    members = known[slug]["modules"]
    return known[slug] | {"modules": members if isinstance(members, list) else list(modules())}


def path(slug: str) -> str:
    """A learning path: its time, its goal and its modules in order, each with its status."""
    item = path_entry(slug)
    members = item["modules"]
    head = (
        f'<p class="mm-path__about"><span class="mm-path__time">{esc(item["time"])}</span> · '
        f"{esc(item['goal'])}</p>"
    )
    rows = "".join(_module_row(member) for member in members)
    return f'<div class="mm-path" data-path="{slug}">{head}<ol>{rows}</ol></div>'


def module_status() -> str:
    """All tiers with their modules and status: the modules page. Markdown with headings."""
    parts = []
    for tier in tiers():
        rows = "".join(_module_row(item["slug"]) for item in tier["modules"])
        anchor = f"tier-{tier['id']}"
        parts.append(
            f'<section class="mm-tier" aria-labelledby="{anchor}" markdown="block">\n\n'
            f"## {tier['title']} {{ #{anchor} }}\n\n<ol>{rows}</ol>\n\n</section>\n"
        )
    return "\n".join(parts)
