"""The same products by oneDNN and by torch's own choice (MKL): `python bench/linear.py [ROUNDS]`.

`minimind_wiki/model/linear.py` sends float32 products on a CPU to oneDNN. Here are the shapes of
the `26m` preset on 2,048 tokens, then smaller ones down to and below the size from which on it
does so (LEAST multiplications). Both libraries compute each in turn; a ratio above 1 says that
oneDNN took less time. Median of the rounds and their range. One thread, the process's own clock,
which stands still while other programs run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F

from minimind_wiki.model import linear, preset

BIG = preset("26m")
KV = BIG.num_key_value_heads * BIG.head_dim
SHAPES = {  # rows, inputs, outputs
    "q and o of 26m": (2048, BIG.hidden_size, BIG.hidden_size),
    "k and v of 26m": (2048, BIG.hidden_size, KV),
    "gate and up of 26m": (2048, BIG.hidden_size, BIG.intermediate_size),
    "down of 26m": (2048, BIG.intermediate_size, BIG.hidden_size),
    "head of 26m, a chunk": (655, BIG.hidden_size, BIG.vocab_size),
    "tiny, 512 tokens": (512, 192, 512),
    "16 x LEAST": (256, 256, 512),
    "4 x LEAST": (256, 128, 256),
    "LEAST": (128, 128, 128),
    "LEAST / 4": (64, 64, 128),
    "LEAST / 16": (32, 64, 64),
}
LEAST = linear.LEAST
Product = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def seconds(product: Product, shape: tuple[int, int, int], times: int, backward: bool) -> float:
    """Process time of one product, forward or forward and backward, over so many."""
    rows, inputs, outputs = shape
    x_NI = torch.randn(rows, inputs, requires_grad=backward)
    weight_OI = torch.randn(outputs, inputs, requires_grad=backward)
    grad_NO = torch.randn(rows, outputs)
    began = time.process_time()
    for _ in range(times):
        y_NO = product(x_NI, weight_OI)
        if backward:
            torch.autograd.grad(y_NO, (x_NI, weight_OI), grad_NO)
    return (time.process_time() - began) / times


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("rounds", nargs="?", type=int, default=7)
    parser.add_argument("--work", type=float, default=4e9, help="operations in one measurement")
    words = parser.parse_args()
    if not linear.AVAILABLE:
        raise SystemExit("This build of torch has no oneDNN to compare with.")
    torch.set_num_threads(1)
    linear.LEAST = 0  # oneDNN for every size, or there would be nothing to compare below it
    found: dict[str, dict[str, float]] = {}
    print(f"torch {torch.__version__}, one thread, {words.rounds} rounds; MKL time / oneDNN time")
    print("| product | multiplications / LEAST | forward | and backward | oneDNN, GFLOP/s |")
    print("|---|---|---|---|---|")
    for name, shape in SHAPES.items():
        size = shape[0] * shape[1] * shape[2]
        told: dict[str, float] = {"multiplications": size}
        for way, backward in (("forward", False), ("backward", True)):
            times = max(1, int(words.work / (size * (6 if backward else 2))))
            pair: tuple[Product, Product] = (F.linear, linear.linear)
            both = [[seconds(product, shape, times, backward) for product in pair]
                    for _ in range(words.rounds + 1)][1:]  # fmt: skip  # the first warms up
            ratios = [mkl / onednn for mkl, onednn in both]
            told |= {way: statistics.median(ratios), f"{way}_least": min(ratios),
                     f"{way}_most": max(ratios)}  # fmt: skip
            told["gflops"] = told.get("gflops", 2e-9 * size / min(one for _, one in both))
        found[name] = told
        cells = [f"{told[w]:.2f} ({told[f'{w}_least']:.2f}-{told[f'{w}_most']:.2f})"
                 for w in ("forward", "backward")]  # fmt: skip
        print(f"| {name} | {size / LEAST:.3g} | {' | '.join(cells)} | {told['gflops']:.0f} |",
              flush=True)  # fmt: skip
    print(json.dumps({name: {k: float(f"{v:.4g}") for k, v in row.items()}
                      for name, row in found.items()}))  # fmt: skip


if __name__ == "__main__":
    main()
