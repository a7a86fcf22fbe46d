"""Record the looks into shipped models that the pages show before anyone opens a live one.

    python scripts/record_views.py           those that are missing or older than their model
    python scripts/record_views.py --all     all of them again

Reads every `view` fence below docs/en, writes snippets/views/, removes what no page asks for.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from minimind_wiki.book.views import make, recorded
from minimind_wiki.errors import MinimindError


def text(data: Any) -> str:
    """JSON with one key a line, so that a change can be read."""
    if isinstance(data, list):
        return "[\n" + ",\n".join(json.dumps(item) for item in data) + "\n]\n"
    lines = [f"{json.dumps(key)}: {json.dumps(data[key], ensure_ascii=False)}" for key in data]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def main() -> None:
    """Write what is asked for."""
    place = recorded.folder()
    place.mkdir(parents=True, exist_ok=True)
    (place / "shapes.json").write_text(text(make.compared()), encoding="utf-8")
    kept = {"shapes.json"}
    for model, prompt, other in sorted(recorded.asked()):
        file = recorded.path(model, prompt, other)
        kept.add(file.name)
        try:
            recorded.load(model, prompt, other)
            fresh = "--all" not in sys.argv
        except MinimindError:
            fresh = False
        if not fresh:
            print(f"{file.name}: {model}, {prompt!r}", flush=True)
            file.write_text(text(make.look(model, prompt, other)), encoding="utf-8")
    for file in place.glob("*.json"):
        if file.name not in kept:
            file.unlink()


if __name__ == "__main__":
    main()
