"""Ask the shipped model after each stage of its training, and keep what it answered.

Writes snippets/playground/stages.json, which the playground shows before (and without) JavaScript.
"""

from __future__ import annotations

import json
from pathlib import Path

from minimind_wiki.book.stages import made

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "snippets" / "playground" / "stages.json"


def main() -> None:
    """Write the record, a line a stage."""
    record = made(ROOT)
    rows = ",\n  ".join(json.dumps(stage, ensure_ascii=False) for stage in record.pop("stages"))
    text = json.dumps(record, ensure_ascii=False, indent=1).removesuffix("\n}")
    text += f',\n "stages": [\n  {rows}\n ]\n}}'
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(text + "\n", encoding="utf-8")
    print(f"wrote {OUT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
