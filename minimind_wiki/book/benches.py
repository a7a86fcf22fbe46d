"""What a benchmark of `bench/` found, kept in `bench/records/NAME.json` for the pages.

An experiment is measured again by anybody with one command. A benchmark may need more: several
threads on a machine where nothing else runs, a rival with an environment of its own. Its record
says which command found its values, on what device, and with which versions.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from minimind_wiki.book import pages, record, records
from minimind_wiki.book.pages import esc
from minimind_wiki.errors import unknown


def keep(
    name: str, command: str, threads: int, versions: dict[str, str], values: dict[str, float]
) -> Path:
    """Write the record of `bench/NAME.py`, run on a CPU's threads; the file."""
    from minimind_wiki.book.runner import cpu_name

    device = f"CPU ({cpu_name()}), {threads} thread{'s' * (threads > 1)}"
    root = record.repo_root()
    file = root / "bench" / "records" / f"{name}.json"
    file.parent.mkdir(exist_ok=True)
    data = {
        "bench": name, "command": command, "code_hash": code_hash(root / "bench" / f"{name}.py"),
        "created": datetime.now(UTC).date().isoformat(), "device": device, "versions": versions,
        "values": values,
    }  # fmt: skip
    file.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    return file


def code_hash(file: Path) -> str:
    """Hash of the benchmark's own file."""
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]


def load(name: str) -> dict[str, Any]:
    """The record; refused where there is none, or where the benchmark has changed since."""
    data = records.kept("bench/records", name, "recorded benchmark")
    if data["code_hash"] != code_hash(pages.root() / "bench" / f"{name}.py"):
        raise pages.fault(f"bench/{name}.py has changed since its record; run {data['command']}.")
    return data


def bench(name: str, key: str, spec: str = ".3g") -> str:
    """A number that a benchmark found; the command, the device and the day are its title."""
    data = load(name)
    if key not in data["values"]:
        raise pages.fault(f"bench('{name}', '{key}'): {unknown('value', key, data['values'])}")
    versions = ", ".join(f"{k} {v}" for k, v in data["versions"].items())
    found = f"{data['command']}, {data['created']}, {data['device']}; {versions}"
    value = records.formatted(float(data["values"][key]), spec)
    return f'<span class="mm-given" title="{esc(found)}">{esc(value)}</span>'
