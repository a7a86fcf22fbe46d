"""Records as the pages see them: looked up by name, refused when older than their code.

Everything a page prints from a record passes through here, so that a missing, stale or changed
record stops the build with the page, the key and the command that mends it.
"""

from __future__ import annotations

import json
import logging
import math
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from minimind_wiki.book import hashing, pages, record
from minimind_wiki.book.pages import esc, slug
from minimind_wiki.book.slim import slim
from minimind_wiki.errors import MinimindError, unknown

log = logging.getLogger("mkdocs.plugins.minimind_wiki")
SUPERSCRIPT = re.compile(r"^(-?[\d.]+)e([+-])0*(\d+)$")


@lru_cache(maxsize=64)
def _checked(name: str, root: Path, stamp: float) -> record.Record:
    found = record.load(name, root)
    reason = hashing.stale(found, root)
    if reason:
        if pages.strict():
            raise MinimindError(f"stale record: {reason}")
        log.warning("stale record: %s", reason)
    return found


def get(name: str) -> record.Record:
    """The record of an experiment; raises when there is none or when it is older than its code."""
    path = record.record_path(name, pages.root())
    try:
        return _checked(name, pages.root(), path.stat().st_mtime if path.exists() else 0.0)
    except MinimindError as error:
        raise pages.fault(str(error)) from None


def load(name: str) -> dict[str, Any]:
    """The record's JSON, checked as in `get`."""
    return get(name).data


def kept(folder: str, name: str, what: str) -> dict[str, Any]:
    """A record that is no experiment's, FOLDER/NAME.json of the repository; raises for a name that
    is not there, with the nearest of those that are. `what` calls such a thing by its kind."""
    home = pages.root() / folder
    known = [file.stem for file in home.glob("*.json")]
    if name not in known:
        raise pages.fault(str(unknown(what, name, known)))
    data: dict[str, Any] = json.loads((home / f"{name}.json").read_text(encoding="utf-8"))
    return data


def lookup(name: str, key: str) -> float:
    """One number of a record, for example ("normalization/depth", "he_none.grad_ratio")."""
    try:
        value = float(get(name).lookup(key))
    except MinimindError as error:
        raise pages.fault(f"m('{name}', '{key}'): {_without_page(error)}") from None
    if not math.isfinite(value):
        raise pages.fault(f"m('{name}', '{key}'): the record holds {value}; choose another key.")
    return value


def _without_page(error: MinimindError) -> str:
    return str(error).removeprefix(f"{pages.current().src}: ")


def address(name: str) -> str:
    """Where the reproducibility page shows the record, relative to the page at work."""
    return pages.relative(f"reproducibility/#{slug(name)}")


def describe(data: dict[str, Any]) -> str:
    """Half a line on a record: seeds and command."""
    count = len(data["seeds"])
    return f"{count} seed{'s' * (count != 1)} · {data['command']}"


def svg(name: str, figure: str) -> str:
    """The static picture of a record's figure."""
    path = record.svg_path(name, figure, pages.root())
    if not path.is_file():
        raise pages.fault(
            f"the picture {path.name} of record '{name}' is missing: run "
            f"'minimind experiment render {name}'"
        )
    return for_page(path.read_text(encoding="utf-8"))


def for_page(svg_text: str) -> str:
    """A picture for inlining: no XML head, in few words (slim.py), and no plain href.

    The theme's instant navigation assigns to `href` of whatever has one, which a `<use>` refuses.
    """
    text = slim(svg_text[svg_text.index("<svg") :].strip())
    return re.sub(r"(<use\b[^>]*?\s)href=", r"\1xlink:href=", text)


def formatted(value: float, spec: str) -> str:
    """A number for reading: real minus sign, powers of ten written out.

    >>> formatted(0.0164, ".1e"), formatted(-2.5, ".2f"), formatted(12345.0, ",.0f")
    ('1.6 × 10<sup>−2</sup>', '−2.50', '12,345')
    """
    text = format(value, spec)
    match = SUPERSCRIPT.match(text)
    if match:
        sign = "−" if match.group(2) == "-" else ""
        return f"{match.group(1).replace('-', '−')} × 10<sup>{sign}{match.group(3)}</sup>"
    return text.replace("-", "−")


def chip(name: str, value: float, spec: str, unit: str, kind: str = "value") -> str:
    """A number with a link to the record that it comes from."""
    data = load(name)
    if not isinstance(spec, str):
        raise pages.fault(f"the format of a number must be a text such as '.1e', got {spec!r}.")
    try:
        text = formatted(value, spec)
    except ValueError as error:
        raise pages.fault(f"record '{name}': '{spec}' is not a number format ({error}).") from None
    count = len(data["seeds"])
    if kind == "value":
        about = f"mean of {count} seed{'s' * (count != 1)} · {data['command']}"
    else:
        about = f"{kind} · {data['command']}"
    tail = f" {esc(unit)}" if unit and unit != "%" else esc(unit)
    return f'<a class="mm-chip" href="{address(name)}" title="{esc(about)}">{text}{tail}</a>'
