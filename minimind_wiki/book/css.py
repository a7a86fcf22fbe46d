"""The rules of a style sheet that some page can use.

The theme's sheet serves every site; a third of its rules name classes that stand in no page and no
script of this one. They cost more than their bytes: when the class of the document changes, as it
does twice while a page starts, rules such as `.no-js … > :first-child` make a browser style every
element of the page anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

CLASS = re.compile(r"[.#]((?:[\w-]|\\.)+)")
GROUP = re.compile(r"^\s*@(?:media|supports|layer|container)\b")
# Attributes' values may look like classes; what `:not(.x)` names need not be in the page.
ASIDE = re.compile(r"\[[^\]]*\]|:(?:not|is|where|has)\([^()]*\)")
# The theme sets this on the body for a moment, at every start: all elements would be styled twice.
SWITCHING = "[data-md-color-switching]"


def rules(sheet: str) -> Iterator[tuple[str, str | None]]:
    """Each rule as what stands before its braces and in them; None for one that has no braces.

    >>> list(rules("@import 'x';a{b:c}@media print{d{e:'}'}}"))
    [("@import 'x'", None), ('a', 'b:c'), ('@media print', "d{e:'}'}")]
    """
    depth = start = inside = 0
    head = quote = ""
    at = -1
    while (at := at + 1) < len(sheet):
        sign = sheet[at]
        if quote:
            at += sign == "\\"
            quote = "" if sign == quote else quote
        elif sign in "\"'":
            quote = sign
        elif sheet.startswith("/*", at):
            at = sheet.index("*/", at) + 1
        elif sign == "{":
            if depth == 0:
                head, inside = sheet[start:at], at + 1
            depth += 1
        elif sign == "}":
            depth -= 1
            if depth == 0:
                yield head, sheet[inside:at]
                start = at + 1
        elif sign == ";" and depth == 0:
            yield sheet[start:at], None
            start = at + 1


def selectors(head: str) -> list[str]:
    """The selectors of a list, which commas part where they stand in no brackets.

    >>> selectors("a:is(b,c),d[e='f,g']")
    ['a:is(b,c)', "d[e='f,g']"]
    """
    parts, depth = [""], 0
    for sign in head:
        depth += (sign in "([") - (sign in ")]")
        if sign == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += sign
    return parts


def used(words: set[str]) -> Callable[[str], bool]:
    """Whether every class and id that a selector asks for is among these words."""

    def can(selector: str) -> bool:
        if SWITCHING in selector:
            return False
        while (bare := ASIDE.sub("", selector)) != selector:
            selector = bare  # brackets may stand in brackets
        names = CLASS.findall(selector)
        return all(name.replace("\\", "") in words for name in names)

    return can


def purge(sheet: str, words: set[str]) -> str:
    """The sheet without what none of these words can be meant by.

    >>> purge(".a,.b:not(.z){c:d}.e .a{f:g}@media print{.e{h:i}}@font-face{j:k}", {"a", "b"})
    '.a,.b:not(.z){c:d}@font-face{j:k}'
    """
    can, out = used(words), []
    for head, body in rules(sheet):
        if body is None:
            out.append(f"{head};")
        elif GROUP.match(head):
            if inner := purge(body, words):
                out.append(f"{head}{{{inner}}}")
        elif head.lstrip().startswith("@"):
            out.append(f"{head}{{{body}}}")
        elif kept := [selector for selector in selectors(head) if can(selector)]:
            out.append(f"{','.join(kept)}{{{body}}}")
    return "".join(out)
