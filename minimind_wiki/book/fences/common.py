"""What all fences share: parsing the body, checking its fields, naming the page in a fault."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Iterable
from typing import Any

from pymdownx.superfences import SuperFencesException

from minimind_wiki.book import pages
from minimind_wiki.errors import MinimindError

Body = dict[str, Any]
Formatter = Callable[..., str]


def fence(make: Callable[[Body], str]) -> Formatter:
    """Turn a function of the parsed body into a superfences formatter.

    Any other exception than SuperFencesException would silently become a code block, so every fault
    is raised as one, with the page and the kind of fence in its message.
    """

    @functools.wraps(make)
    def formatter(source: str, language: str, css_class: str, options: Body, md: Any,
                  **_: Any) -> str:  # fmt: skip
        pages.enter_from(md)
        place = f"{pages.current().src or 'page'}: {language} box"
        try:
            body = pages.parse_yaml(source, f"{language} box")
            if not isinstance(body, dict):
                raise MinimindError("the body must be lines of 'field: value'.")
            return make(body)
        except MinimindError as error:
            raise SuperFencesException(_placed(str(error), place)) from None
        except Exception as error:
            raise SuperFencesException(f"{place}: {type(error).__name__}: {error}") from error

    return formatter


def _placed(message: str, place: str) -> str:
    page = pages.current().src
    return f"{place}: {message.removeprefix(f'{page}: ')}" if page else f"{place}: {message}"


def check_fields(body: Body, needed: Iterable[str], optional: Iterable[str], where: str) -> None:
    """Raise for a missing or an unknown field, naming the nearest known one.

    >>> check_fields({"idd": 1}, ["id"], [], "question 1")
    Traceback (most recent call last):
        ...
    minimind_wiki.errors.MinimindError: question 1: the field 'id' is missing.
    """
    needed, optional = list(needed), list(optional)
    if not isinstance(body, dict):
        raise MinimindError(f"{where}: expected lines of 'field: value', got {body!r}.")
    for name in needed:
        if body.get(name) in (None, "", []):
            raise MinimindError(f"{where}: the field '{name}' is missing.")
    for name in body:
        if name not in needed + optional:
            close = difflib.get_close_matches(str(name), needed + optional, n=1)
            hint = f" Did you mean '{close[0]}'?" if close else ""
            known = ", ".join(needed + optional)
            raise MinimindError(f"{where}: unknown field '{name}'.{hint} Known: {known}.")
