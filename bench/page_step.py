"""Where a training step in the page spends its time, operation by operation, in Chromium.

Drives the page's own worker, as `train_page.py` does, with the program of the playground and a stopwatch
around what lite calls (`page_step_watch.py`). Prints the share of each operation in a step, forward and
backward. With `--kernels` it compares instead: steps with and without the named functions of
`minimind_wiki.lite.kernel`, by turns in one run. Run after `make web`:

    python bench/page_step.py                       # one minute
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from train_page import NAME, drive, load  # noqa: E402


def shares(steps: list[dict[str, float]]) -> dict[str, tuple[float, float]]:
    """Milliseconds a step and share of the step by name, the largest first.

    >>> shares([{"a": 0.1, "b": 0.3}, {"a": 0.1, "b": 0.3}])
    {'b': (300.0, 0.75), 'a': (100.0, 0.25)}
    """
    total = sum(sum(step.values()) for step in steps)
    sums: dict[str, float] = {}
    for step in steps:
        for name, seconds in step.items():
            sums[name] = sums.get(name, 0.0) + seconds
    ordered = sorted(sums.items(), key=lambda pair: -pair[1])
    return {n: (round(1000 * s / len(steps), 2), round(s / total, 4)) for n, s in ordered}


def profile(seconds: float) -> dict[str, Any]:
    """Train for so many seconds of computing under the stopwatch."""
    spec = load(NAME)
    watch = (HERE / "page_step_watch.py").read_text(encoding="utf-8")
    told, version = drive(f"{spec['code']}\n\n{watch}", spec["defaults"], seconds)
    steps = [e["spent"] for e in told["events"] if "spent" in e][3:]
    return {"browser": version, "steps": len(steps), "shares": shares(steps)}


def main(argv: list[str] | None = None) -> int:
    """Print the profile."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=40.0, help="of computing")
    found = profile(parser.parse_args(argv).seconds)
    print(f"Chromium {found['browser']}, {found['steps']} steps")
    for name, (milliseconds, share) in found["shares"].items():
        print(f"{milliseconds:8.2f} ms {share:7.1%}  {name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
