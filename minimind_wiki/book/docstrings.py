"""An extension of griffe: examples in docstrings (`>>>`) become code blocks of the reference pages.

Without it their output is read as Markdown, and a list in it as a link.
"""

from __future__ import annotations

from typing import Any

from griffe import Extension, Object


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


class Examples(Extension):
    """Rewrites every docstring when griffe has collected its object."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """Fence the examples of one object."""
        if obj.docstring is not None and ">>> " in obj.docstring.value:
            obj.docstring.value = fenced(obj.docstring.value)
