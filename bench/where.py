"""Where the time of a training step goes: `python bench/where.py`.

One process trains our step (`bench/train.py`, full rows) on a CPU under torch's profiler. Every
operator's own time is added to one kind of work; the table gives each kind's share, forward and
backward together. The profiler itself takes a few percent, which it spreads over small operators.
"""

from __future__ import annotations

import argparse

import torch
from torch.profiler import ProfilerActivity, profile
from train import ARMS, make_arms

# The first kind with a word that is in an operator's name takes it.
KINDS = {
    "attention": ("scaled_dot_product", "flash_attention"),
    "matrix products": ("linear_pointwise", "::mm", "addmm", "::bmm", "::linear", "matmul"),
    "optimizer": ("fused_adam", "Optimizer", "foreach", "linalg_vector_norm", "::norm"),
    "loss": ("log_softmax", "logsumexp", "nll_loss", "gather", "scatter", "Chunked"),
    "embedding": ("embedding", "index_select"),
    "copies": ("copy_", "contiguous", "clone", "::cat", "::_to_copy"),
}
REST = "element by element"  # norms, rotation, SwiGLU, residual sums


def kind_of(operator: str) -> str:
    """The kind of work that an operator belongs to."""
    for kind, words in KINDS.items():
        if any(word in operator for word in words):
            return kind
    return REST


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="26m")
    parser.add_argument("--rows", type=int, default=4, help="rows in a step")
    parser.add_argument("--length", type=int, default=512, help="tokens in a row")
    parser.add_argument("--micro", type=int, default=0, help="rows at a time (0: all)")
    parser.add_argument("--steps", type=int, default=3, help="steps under the profiler")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    args.device, args.dtype, args.compile = "cpu", "float32", False
    torch.set_num_threads(args.threads)
    step, batch = make_arms(args, ARMS[3:])[ARMS[3]]
    step(batch(0))  # memory, and the libraries' own beginnings
    with profile(activities=[ProfilerActivity.CPU]) as found:
        for number in range(args.steps):
            step(batch(number + 1))
    shares: dict[str, float] = dict.fromkeys([*KINDS, REST], 0.0)
    largest: dict[str, tuple[float, str]] = {}
    for event in found.key_averages():
        kind, own = kind_of(event.key), event.self_cpu_time_total
        shares[kind] += own
        largest[kind] = max(largest.get(kind, (0.0, "")), (own, event.key))
    total = sum(shares.values())
    seconds = total / args.steps / 1e6
    print(f"{args.preset}, {args.rows} x {args.length} tokens: {seconds:.2f} s a step")
    for kind, own in sorted(shares.items(), key=lambda pair: -pair[1]):
        print(f"{own / total:7.1%}  {kind}  (most: {largest.get(kind, (0.0, '-'))[1]})")


if __name__ == "__main__":
    main()
