"""The skeleton of a module: pages, quiz, lab, exercise and experiment that already work together.

Everything is marked `draft: true`, so the site is built without it until the mark is removed; every
sentence to be written says TODO, and a page that is no draft may not say that.
"""

from __future__ import annotations

from pathlib import Path

from minimind_wiki.book import library, pages
from minimind_wiki.errors import MinimindError

TEMPLATES = Path(__file__).resolve().parent / "templates" / "module"
ENDING = ".txt"


def targets(slug: str) -> dict[Path, Path]:
    """Template to file, for every file of the skeleton."""
    root = pages.root()
    places = {
        "docs": root / "docs" / "en" / "modules" / slug,
        "experiments": root / "experiments" / slug,
        "snippets": root / "snippets" / slug,
    }
    found = {}
    for template in sorted(TEMPLATES.rglob(f"*{ENDING}")):
        top, *rest = template.relative_to(TEMPLATES).parts
        found[template] = places[top].joinpath(*rest).with_name(template.name.removesuffix(ENDING))
    return found


def write(slug: str) -> list[Path]:
    """Write the skeleton of a module of the curriculum and return its files.

    Raises WrongCall for a slug that docs/curriculum.yaml does not have, MinimindError when any of
    the files is already there (then nothing is written).
    """
    module = library.module(slug)
    files = targets(slug)
    there = [file for file in files.values() if file.exists()]
    if there:
        names = ", ".join(str(file.relative_to(pages.root())) for file in there[:4])
        raise MinimindError(
            f"'{slug}' has {len(there)} of these files already ({names}{' …' * (len(there) > 4)}); "
            "nothing was written. Remove or rename them to begin anew."
        )
    covers = "\n".join(f"     - {item}" for item in module.covers)
    words = {"__SLUG__": slug, "__TITLE__": _ended(module.title), "__COVERS__": covers}
    for template, file in files.items():
        text = template.read_text(encoding="utf-8")
        for word, value in words.items():
            text = text.replace(word, value)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return list(files.values())


def _ended(title: str) -> str:
    """A title that others can follow: with a full stop unless it asks.

    >>> _ended("Counting words"), _ended("Why normalize?")
    ('Counting words.', 'Why normalize?')
    """
    return title if title.endswith(("?", "!", ".")) else f"{title}."


def left_over() -> list[str]:
    """Sentences for pages, quizzes and snippets of published modules that still say TODO."""
    out = []
    root = pages.root()
    for module in library.modules().values():
        if module.status != "written":
            continue
        for top in ("docs/en/modules", "experiments", "snippets"):
            for file in sorted((root / top / module.slug).rglob("*")):
                if file.suffix not in (".md", ".yaml", ".py") or not file.is_file():
                    continue
                for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
                    if "TODO" in line:
                        out.append(
                            f"{file.relative_to(root)}:{number}: a TODO is left in a published "
                            "module; write it, or put 'draft: true' into its front matter."
                        )
    return out
