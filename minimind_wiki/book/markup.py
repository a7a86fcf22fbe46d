"""Markdown inside YAML fields (questions, hints, captions) rendered when the site is built.

The same dialect as a page, formulas and highlighted code included; our own fences are left out. The
macros of the pages work too.
"""

from __future__ import annotations

from functools import cache

import jinja2
from markdown import Markdown

from minimind_wiki.book import pages

EXTENSIONS = [
    "tables",
    "attr_list",
    "pymdownx.inlinehilite",
    "pymdownx.arithmatex",
    "pymdownx.highlight",
    "pymdownx.superfences",
    "minimind_wiki.book.tex",
]
CONFIGS = {
    "pymdownx.arithmatex": {"generic": True},
    "pymdownx.highlight": {"pygments_lang_class": True},
}


@cache
def _markdown() -> Markdown:
    return Markdown(extensions=EXTENSIONS, extension_configs=CONFIGS)


@cache
def _jinja() -> jinja2.Environment:
    from minimind_wiki.book.macros import MACROS  # it imports the fences, which import this

    env = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)
    env.globals.update(MACROS)
    return env


def block(text: object) -> str:
    """HTML of a text with paragraphs, lists, code and formulas."""
    source = str(text).strip()
    if "{{" in source:
        try:
            source = _jinja().from_string(source).render()
        except jinja2.TemplateError as error:
            raise pages.fault(f"in the text '{source[:60]}': {error}") from None
    return _markdown().reset().convert(source)


def inline(text: object) -> str:
    """HTML of a text for use inside a line: one paragraph loses its <p>."""
    made = block(text)
    if made.startswith("<p>") and made.endswith("</p>") and made.count("<p>") == 1:
        return made[3:-4]
    return made
