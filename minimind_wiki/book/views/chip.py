"""Numbers of recorded looks in prose: `{{ look("world-tiny", "Terro was …", "answer.2") }}`."""

from __future__ import annotations

from typing import Any

from minimind_wiki.book import pages, records
from minimind_wiki.book.pages import esc
from minimind_wiki.book.views import recorded
from minimind_wiki.errors import MinimindError


def look(model: str, prompt: str, key: str, spec: str = ".0%", other: str = "") -> str:
    """A number of a recorded look, found by the names and places of `key`, dots between them.

    `attention` is kept in thousandths and told as a share. Raises, naming the page, for a look that
    is not recorded or is of another model, for a key that is not there, and for a wrong format.
    """
    try:
        value: Any = recorded.load(model, prompt, other)
        for part in key.split("."):
            value = value[int(part) if isinstance(value, list) else part]
        number = float(value) / (1000 if key.startswith("attention.") else 1)
        text = records.formatted(number, spec)
    except MinimindError as error:
        raise pages.fault(f"look('{model}', …, '{key}'): {error}") from None
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise pages.fault(
            f"look('{model}', …, '{key}', '{spec}'): no such number ({error}); the keys stand in "
            f"{recorded.path(model, prompt, other).name}."
        ) from None
    about = f"{model}, recorded: {recorded.COMMAND}"
    return f'<span class="mm-chip" title="{esc(about)}">{text}</span>'
