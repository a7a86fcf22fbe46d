"""An extension of griffe: what the reference pages show of the docstrings, and how.

Examples (`>>>`) become code blocks; otherwise their output is read as Markdown, and a list in it as
a link. Attributes that only repeat an assignment are left out.
"""

from __future__ import annotations

from typing import Any

from griffe import Extension, Module, Object


def fenced(text: str) -> str:
    """Put each run of example lines, up to the next empty line, between fences."""
    out: list[str] = []
    inside = False
    for line in text.splitlines():
        if not inside and line.startswith(">>> "):
            if out and out[-1]:
                out.append("")
            out.append("```pycon")
            inside = True
        elif inside and not line.strip():
            out.append("```")
            inside = False
        out.append("" if inside and line.strip() == "<BLANKLINE>" else line)
    if inside:
        out.append("```")
    return "\n".join(out)


PLACES = {"module-attribute", "class-attribute", "instance-attribute"}
"""Labels that only repeat where an attribute stands."""


class Reference(Extension):
    """Prepares every object of a package that griffe has loaded."""

    def on_package(self, *, pkg: Module, **kwargs: Any) -> None:
        """Walk the package once, fencing examples and dropping what says nothing."""
        _prepare(pkg)


def _prepare(obj: Object) -> None:
    if obj.docstring is not None and ">>> " in obj.docstring.value:
        obj.docstring.value = fenced(obj.docstring.value)
    for name, member in list(obj.members.items()):
        if member.is_alias:
            continue
        if _says_nothing(obj, member):
            del obj.members[name]
        else:
            member.labels.difference_update(PLACES)
            _prepare(member)  # type: ignore[arg-type]


def _says_nothing(parent: Object, member: Any) -> bool:
    """`self.x = …` without a text, and the book machine's own constants."""
    if not member.is_attribute or member.docstring is not None:
        return False
    if parent.is_class:
        return "instance-attribute" in member.labels and "class-attribute" not in member.labels
    return bool(parent.path.startswith("minimind_wiki.book"))
