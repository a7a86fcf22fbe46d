"""Does a step cost what its tokens and its weights say? `python bench/cost.py [ROUNDS]`.

Five sizes from 1M to 50M parameters take training steps (forward, backward, AdamW) on rows of equal
length, 1,024, 2,048 and 4,096 tokens a step. Foretold is `flops_per_token` (PaLM's count) times
tokens by one rate, which is fitted once, on the middle size's largest step, and serves all. The
exponent is the slope of log(seconds) over log(tokens) of a size: 1 is a cost in proportion to the
tokens; below it, a part of the step (the optimizer, the calls) costs the same for any number.
Sizes and token counts take turns; medians of the rounds. One thread, the process's own clock.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time

import numpy as np
import torch
from train import Ours  # bench/train.py: the loop's own step

from minimind_wiki.model import preset
from minimind_wiki.train.batches import Tokens
from minimind_wiki.train.device import choose
from minimind_wiki.train.meters import flops_per_token

LENGTH = 256
ROWS = (4, 8, 16)  # of a step: 1x, 2x, 4x the tokens
SIZES = {  # parameters: hidden size, layers, heads, key heads, inner width; the fourth is 26m
    "1M": (96, 4, 4, 2, 256),
    "3M": (192, 5, 6, 2, 512),
    "10M": (320, 7, 8, 2, 896),
    "26M": (512, 8, 8, 2, 1408),
    "50M": (640, 10, 8, 2, 1856),
}
MIDDLE = "10M"


def random_rows(rows: int, vocabulary: int) -> Tokens:
    """Rows of LENGTH random tokens, each of which is predicted."""
    ids = np.random.default_rng(rows).integers(3, vocabulary, (rows, LENGTH + 1))
    return Tokens(torch.from_numpy(ids[:, :-1].copy()), torch.from_numpy(ids[:, 1:].copy()))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("rounds", nargs="?", type=int, default=5)
    parser.add_argument("--sizes", default=",".join(SIZES), help="some of them, with commas")
    words = parser.parse_args()
    torch.set_num_threads(1)
    names = [name for name in SIZES if name in words.sizes.split(",")]
    place = choose("cpu", "float32")
    how = argparse.Namespace(rows=max(ROWS), micro=0, length=LENGTH, compile=False)
    steps: dict[str, Ours] = {}
    for name in names:
        hidden, layers, heads, keys, inner = SIZES[name]
        shape = preset("26m", hidden_size=hidden, num_hidden_layers=layers, intermediate_size=inner,
                       num_attention_heads=heads, num_key_value_heads=keys)  # fmt: skip
        steps[name] = Ours(shape, place, how)
    seconds: dict[tuple[str, int], list[float]] = {(n, r): [] for n in names for r in ROWS}
    for _ in range(words.rounds + 1):
        for name, rows in seconds:
            if rows == ROWS[0]:  # the step after a larger model's pays for the memory it gave back
                steps[name](random_rows(rows, steps[name].model.config.vocab_size))
            batch = random_rows(rows, steps[name].model.config.vocab_size)
            began = time.process_time()
            steps[name](batch)
            seconds[name, rows].append(time.process_time() - began)
    taken = {key: statistics.median(times[1:]) for key, times in seconds.items()}  # 1st: warm-up
    flops = {name: flops_per_token(steps[name].model, LENGTH) for name in names}
    middle = MIDDLE if MIDDLE in names else names[len(names) // 2]
    rate = flops[middle] * LENGTH * ROWS[-1] / taken[middle, ROWS[-1]]

    found: dict[str, object] = {"rate_flops_per_second": rate, "fitted_on": middle}
    print(f"torch {torch.__version__}, one thread, rows of {LENGTH} tokens, {words.rounds} rounds; "
          f"rate {rate / 1e9:.1f} GFLOP/s, fitted on {middle}")  # fmt: skip
    tokens = [LENGTH * rows for rows in ROWS]
    print("| parameters | MFLOP a token | " + " | ".join(
        f"{n:,} tokens: measured / foretold, s" for n in tokens) + " | exponent |")  # fmt: skip
    print("|---" * (len(tokens) + 3) + "|")
    for name in names:
        row = [taken[name, rows] for rows in ROWS]
        told = [flops[name] * n / rate for n in tokens]
        slope = float(np.polyfit([math.log(n) for n in tokens], [math.log(s) for s in row], 1)[0])
        cells = [f"{s:.3f} / {t:.3f} = {s / t:.2f}" for s, t in zip(row, told, strict=True)]
        parameters = steps[name].model.num_parameters()
        print(f"| {parameters:,} | {flops[name] / 1e6:.1f} | {' | '.join(cells)} | {slope:.2f} |")
        found[name] = {"parameters": parameters, "flops_per_token": flops[name], "tokens": tokens,
                       "seconds": row, "foretold": told, "exponent": slope}  # fmt: skip
    print(json.dumps(found))


if __name__ == "__main__":
    main()
