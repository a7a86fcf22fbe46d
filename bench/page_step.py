"""Where a training step in the page spends its time, operation by operation, in Chromium.

Drives the page's own worker, as `train_page.py` does, with the program of the playground and a
stopwatch around what lite calls (`page_step_watch.py`). Prints the share of each operation in a
step, forward and backward, and the share inside each C kernel. With `--turns` it compares steps
with lite's fused RMSNorm and with the formula written out, one after the other in one run
(`page_step_turns.py`). Run after `make web`:

    python bench/page_step.py                       # one minute
    python bench/page_step.py --turns
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from train_page import NAME, drive, load  # noqa: E402

WARM = 4  # steps that are not counted: the browser compiles what it runs for the first time


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


def ratio(steps: list[dict[str, Any]]) -> tuple[float, int]:
    """The median over pairs of neighbours of the second's time by the first's, and the pairs.

    >>> ratio([{"took": 2.0}, {"took": 3.0}, {"took": 1.0}, {"took": 2.0}, {"took": 9.0}])
    (1.75, 2)
    """
    pairs = list(zip(steps[::2], steps[1::2], strict=False))
    return statistics.median(b["took"] / a["took"] for a, b in pairs), len(pairs)


def steps_of(appended: str, seconds: float) -> tuple[list[dict[str, Any]], str]:
    """Train for so many seconds of computing; the events of steps, and the browser's version."""
    spec = load(NAME)
    more = (HERE / appended).read_text(encoding="utf-8")
    told, version = drive(f"{spec['code']}\n\n{more}", spec["defaults"], seconds)
    return [e for e in told["events"] if "loss" in e][WARM:], version


def main(argv: list[str] | None = None) -> int:
    """Print the profile, or the comparison."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=40.0, help="of computing")
    parser.add_argument("--turns", action="store_true", help="compare instead of profiling")
    arguments = parser.parse_args(argv)
    script = "page_step_turns.py" if arguments.turns else "page_step_watch.py"
    steps, version = steps_of(script, arguments.seconds)
    print(f"Chromium {version}, {len(steps)} steps")
    if arguments.turns:
        slower, pairs = ratio(steps)
        one, other = steps[0]["arm"], steps[1]["arm"]
        print(f"{other} takes {slower:.3f} times as long as {one} ({pairs} pairs)")
        return 0
    for name, (milliseconds, share) in shares([step["spent"] for step in steps]).items():
        print(f"{milliseconds:8.2f} ms {share:7.1%}  {name}")
    whole = sum(sum(step["spent"].values()) for step in steps)
    kernels = shares([step["inside"] for step in steps])
    print("of this inside the kernels:")
    for name, (milliseconds, _) in kernels.items():
        print(f"{milliseconds:8.2f} ms {milliseconds / 1000 * len(steps) / whole:7.1%}  {name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
