"""The macros of the pages: what `{{ … }}` may call. Functions only, never data; all of them raise.

A lookup in bare data can print a method of a dict and pass every check; a function cannot.
Loaded by the macros plugin of MkDocs (`modules: [minimind_wiki.book.macros]`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minimind_wiki.book import (
    benches,
    chips,
    library,
    pages,
    reference,
    runtimes,
    samples,
    sources,
    syllabus,
    timetable,
)
from minimind_wiki.book.views.chip import look

MACROS: dict[str, Callable[..., str]] = {
    "m": chips.m,
    "setting": chips.setting,
    "seconds": chips.seconds,
    "verdict": chips.verdict,
    "claim": chips.claim,
    "claims": chips.claims,
    "given": chips.given,
    "bench": benches.bench,
    "look": look,
    "records_table": chips.records_table,
    "code": sources.code,
    "source": sources.source,
    "symbol": sources.symbol,
    "api": reference.api,
    "api_index": reference.api_index,
    "ref": library.ref,
    "cited": library.cited,
    "bibliography": library.bibliography,
    "term": library.term,
    "glossary": library.glossary,
    "path": library.path,
    "module_status": library.module_status,
    "module_link": library.module_link,
    "timetable": timetable.timetable,
    "path_length": timetable.length,
    "certificate": timetable.certificate,
    "syllabus": syllabus.syllabus,
    "walk": syllabus.walk,
    "machine_time": syllabus.machine_time,
    "path_hours": syllabus.path_hours,
    "path_planned": syllabus.path_planned,
    "planned": syllabus.planned,
    "written_of": syllabus.written_of,
    "recipe_table": runtimes.recipe_table,
    "recipe_result": runtimes.recipe_result,
    "recipe_found": runtimes.recipe_found,
    "world_rows": samples.world_rows,
    "world_story": samples.world_story,
    "world_exam": samples.world_exam,
    "data_sets": samples.data_sets,
}


# Macros that give a piece of a line. Their attributes stand in single quotes, so that they can be
# used inside a double-quoted text of YAML; what is inside the quotes is escaped either way.
IN_LINE = ("m", "look", "setting", "seconds", "verdict", "claim", "given", "bench", "symbol", "ref",
           "cited", "term", "module_link")  # fmt: skip


def _single_quoted(function: Callable[..., str]) -> Callable[..., str]:
    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> str:
        return function(*args, **kwargs).replace('"', "'")

    return wrapped


MACROS |= {name: _single_quoted(MACROS[name]) for name in IN_LINE}


def define_env(env: Any) -> None:
    """Register the macros; the folder of mkdocs.yml is the repository."""
    config_file = env.conf.get("config_file_path")
    if config_file:
        pages.use_root(Path(config_file).resolve().parent)
    for name, function in MACROS.items():
        env.macro(function, name)


def on_pre_page_macros(env: Any) -> None:
    """Remember the page at work, for relative links and for the names in faults."""
    pages.enter(env.page.file.src_uri, env.page.url, env.page.meta)
