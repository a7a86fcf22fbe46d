"""The engine by torch's calls and by its kernels in C, beside each other: `python bench/native.py`.

A random `26m`, stored in bfloat16 and computed in float32, answers 1, 4, 16 and 32 prompts greedily
at once, on one thread and on all cores. The two ways take turns, and their answers must be equal.
The clock is the wall's, so let nothing else run. `--record` keeps the medians for the book.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections import defaultdict
from importlib.metadata import version

import torch

from minimind_wiki.book.benches import keep
from minimind_wiki.infer.engine import Engine
from minimind_wiki.infer.native import hasten
from minimind_wiki.infer.request import Request, Sampling
from minimind_wiki.model import Transformer, preset

STREAMS, PROMPT, ANSWER = (1, 4, 16, 32), 16, 64


def some_prompts(streams: int) -> list[list[int]]:
    """Prompts of which no two begin alike."""
    return [[3 + (37 * row + 11 * at) % 6000 for at in range(PROMPT)] for row in range(streams)]


def turn(model: Transformer, streams: int, native: bool) -> tuple[float, list[list[int]]]:
    """Seconds, and the tokens of each answer. What an engine makes of the weights is not timed."""
    engine = Engine(model, room=8192, max_running=64, step_tokens=512)
    if native:
        hasten(engine)
    asked = [Request(prompt, ANSWER, Sampling(temperature=0)) for prompt in some_prompts(streams)]
    numbers = [engine.add(request) for request in asked]
    answers: dict[int, list[int]] = {number: [] for number in numbers}
    start = time.perf_counter()
    while engine.busy:
        for number, token in engine.step():
            answers[number].append(token.id)
    return time.perf_counter() - start, [answers[number] for number in numbers]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--record", action="store_true", help="keep what was found for the book")
    words = parser.parse_args()
    model = Transformer(preset("26m"), seed=0).bfloat16().float().eval()
    cores, rounds = os.cpu_count() or 1, defaultdict[str, list[float]](list)
    for threads, name in ((1, "one_thread"), (cores, "all_cores")):
        torch.set_num_threads(threads)
        for streams in STREAMS:
            for _ in range(words.rounds + 1):
                (plain, said), (native, same) = (turn(model, streams, way) for way in (False, True))
                if said != same:
                    raise SystemExit(f"{streams} answers are not the same; no speed counts then.")
                place, total = f"{name}.streams_{streams}", streams * ANSWER
                rounds[f"{place}.torch"].append(total / plain)
                rounds[f"{place}.native"].append(total / native)
                rounds[f"{place}.ratio"].append(plain / native)
            print(name, streams, f"{statistics.median(rounds[f'{place}.ratio'][1:]):.2f}")
    found = {key: statistics.median(values[1:]) for key, values in rounds.items()}  # warm
    if words.record:
        versions = {"torch": torch.__version__, "ziglang": version("ziglang")}
        command = f"python bench/native.py --rounds {words.rounds} --record"
        print(keep("native", command, cores, versions, found))


if __name__ == "__main__":
    main()
