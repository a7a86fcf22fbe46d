"""Run a recipe stage by stage, and keep what each cost: recipes/records/NAME.json.

    python scripts/record_recipe.py run recipes/world-nano.yaml --out runs/own
    minimind path mastery --model runs/own/grpo … --out own.json
    python scripts/record_recipe.py keep recipes/world-nano.yaml --out runs/own --result own.json

Seconds are those of a processor core, user and system, the start of the program included: on an
idle machine a run of one thread takes as long by the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from minimind_wiki.book import pages, runtimes

TIMES = "seconds.json"


def run(recipe: Path, out: Path) -> None:
    """Every stage in a process of its own; what a stage cost is written down when it is done."""
    out.mkdir(parents=True, exist_ok=True)
    times: dict[str, float] = (
        json.loads((out / TIMES).read_text()) if (out / TIMES).exists() else {}
    )
    for stage in pages.read_yaml(recipe.resolve())["stages"]:
        if stage["name"] in times:
            continue
        began = _children()
        words = [sys.executable, "-m", "minimind_wiki", "run", str(recipe), "--out", str(out)]
        env = os.environ | {"OMP_NUM_THREADS": "1"}
        subprocess.run([*words, "--until", stage["name"]], check=True, env=env)
        times[stage["name"]] = round(_children() - began, 1)
        (out / TIMES).write_text(json.dumps(times, indent=1) + "\n")


def keep(recipe: Path, out: Path, result: Path, also: dict[str, Path]) -> Path:
    """The record: stages, seconds, what the path's check found, and found of other things shown."""
    times = json.loads((out / TIMES).read_text())
    stages: list[dict[str, Any]] = [
        {"name": each["name"], "verb": each["verb"], "seconds": times[each["name"]]}
        for each in pages.read_yaml(recipe.resolve())["stages"]
    ]
    record = {
        "recipe": f"recipes/{recipe.name}", "stages_hash": runtimes.stages_hash(recipe.resolve()),
        "created": datetime.now(UTC).date().isoformat(),
        "device": f"CPU ({_processor(out)}), 1 thread",
        "stages": stages, "result": json.loads(result.read_text(encoding="utf-8")),
        "others": {
            name: json.loads(file.read_text(encoding="utf-8"))["parts"]
            for name, file in also.items()
        },
    }  # fmt: skip
    target = pages.root() / "recipes" / "records" / f"{recipe.stem}.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return target


def _processor(out: Path) -> str:
    """As the first training noted it."""
    first = next(iter(sorted(out.glob("*/run.json"))))
    return str(json.loads(first.read_text(encoding="utf-8"))["hardware"]["processor"])


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Run, or keep what was run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["run", "keep"])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--result", type=Path, help="what minimind path wrote")
    parser.add_argument("--also", action="append", default=[], metavar="NAME=RESULT")
    args = parser.parse_args()
    if args.action == "run":
        run(args.recipe, args.out)
    elif args.result is None:
        parser.error("keep needs --result: the file that 'minimind path mastery … --out' wrote.")
    else:
        also = {name: Path(file) for name, _, file in (word.partition("=") for word in args.also)}
        print(f"{keep(args.recipe, args.out, args.result, also)} is written.")


if __name__ == "__main__":
    main()
