"""What experts cost beside the dense model of the same active size: `python bench/moe.py [ROUNDS]`.

One step (forward, balancing loss, backward, AdamW) on the same tokens: *dense*; *experts*, of which
each token visits as many parameters; *plain*, the same weights by the loop over experts that is the
definition (`visit_plainly`). The arms take turns, and each time is divided by the dense one of its
round: median of the rounds and their range. More parameters must be kept and updated, so even free
routing costs more than 1; what the optimizer takes of a dense step is printed beside it.
On one CPU thread the clock is that of the process, which does not run while others do.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F

from minimind_wiki.model import ModelConfig, Transformer, preset
from minimind_wiki.model.moe import MixtureOfExperts, visit_plainly
from minimind_wiki.model.moe_balance import Balancer

ROWS, LENGTH = 4, 512
VOCABULARY = 1024  # small, so that the head is as small a part of the step as in a deep model
COMMON = {
    "num_hidden_layers": 2,
    "max_position_embeddings": LENGTH,
    "vocab_size": VOCABULARY,
}
SHAPES = {  # hidden size, inner width of the dense model, experts, experts a token
    "512 wide, 1 of 4": (512, 1408, 4, 1),
    "512 wide, 2 of 8": (512, 1408, 8, 2),
    "256 wide, 1 of 4": (256, 768, 4, 1),
    "256 wide, 2 of 8": (256, 768, 8, 2),
}


class PlainExperts(MixtureOfExperts):
    """The layer by its definition."""

    def visit(self, x_ND, weight_Nk, expert_Nk):  # type: ignore[no-untyped-def]
        out_ND = visit_plainly(self.experts, x_ND, weight_Nk, expert_Nk)
        return out_ND, torch.zeros_like(expert_Nk[:, 0])


Step = Callable[[], tuple[float, float]]


def arm(config: ModelConfig, plain: bool, ids_BT: torch.Tensor) -> Step:
    """A function that takes one step and says how long it took, and of that the optimizer."""
    model = Transformer(config).to(ids_BT.device)
    for module in model.modules():
        if plain and isinstance(module, MixtureOfExperts):
            module.__class__ = PlainExperts
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    balancer = Balancer(model)
    alone = not ids_BT.is_cuda and torch.get_num_threads() == 1
    clock = time.process_time if alone else time.perf_counter
    synchronize = torch.cuda.synchronize if ids_BT.is_cuda else lambda: None

    def step() -> tuple[float, float]:
        synchronize()
        began = clock()
        with torch.autocast(ids_BT.device.type, torch.bfloat16, enabled=ids_BT.is_cuda):
            logits_BTV = model(ids_BT)
        loss = F.cross_entropy(logits_BTV[:, :-1].flatten(0, 1), ids_BT[:, 1:].flatten())
        (loss + balancer.loss()).backward()
        synchronize()
        moved = clock()
        optimizer.step()
        optimizer.zero_grad()
        balancer.step()
        synchronize()
        return clock() - began, clock() - moved

    return step


def spread(values: list[float]) -> str:
    """Median and range."""
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    device = "cuda" if torch.cuda.is_available() else "cpu"
    threads = torch.get_num_threads()
    print(f"torch {torch.__version__}, {device}, {threads} threads, {ROWS} x {LENGTH} tokens")
    print("| shape | dense, ms | experts / dense | plain loop / dense | update: dense, experts |")
    print("|---|---|---|---|---|")
    draw = torch.Generator().manual_seed(0)
    ids_BT = torch.randint(3, VOCABULARY, (ROWS, LENGTH), generator=draw).to(device)
    for name, (hidden, width, experts, k) in SHAPES.items():
        dense = preset("26m", **COMMON, hidden_size=hidden, intermediate_size=width)
        sparse = preset(
            "26m", **COMMON, hidden_size=hidden, intermediate_size=width // k,
            num_experts=experts, num_experts_per_tok=k,
        )  # fmt: skip
        steps = [arm(dense, False, ids_BT), arm(sparse, False, ids_BT), arm(sparse, True, ids_BT)]
        for step in steps:
            step()  # memory is taken, kernels are chosen
        times = [[step() for step in steps] for _ in range(rounds)]
        whole = [[total for total, _ in row] for row in times]
        update = [statistics.median(row[arm][1] / row[0][0] for row in times) for arm in (0, 1)]
        print(f"| {name} | {1000 * statistics.median(row[0] for row in whole):.0f} "
              f"| {spread([row[1] / row[0] for row in whole])} "
              f"| {spread([row[2] / row[0] for row in whole])} "
              f"| {update[0]:.2f}, {update[1]:.2f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
