"""What two processes send and keep, measured and foretold: `python bench/communication.py`.

For each way of sharing a model (`--preset`, on this machine's CPU over gloo): bytes of weights and
optimizer state in a process; bytes that its collectives are given in a step; bytes that the system
counts on the loopback device in that time, which is what both processes really sent, with the
headers of TCP; and seconds of a step as a multiple of one process's on the same batch. The ways
are timed in turn, `--rounds` times, and the median is told. Two processes on one machine share its
memory and its cores, so the seconds say what sharing costs and not what a cluster gains. Gloo does
a reduce-scatter as an all-reduce of which each process keeps a part, so that `fsdp` sends more here
than the model says, by as much as the gradient; NCCL has one of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
import torch.multiprocessing

from minimind_wiki.model import Transformer, preset
from minimind_wiki.train import parallel
from minimind_wiki.train.batches import Tokens
from minimind_wiki.train.losses import LossModel
from minimind_wiki.train.memory_model import (
    Formats,
    payloads,
    ring_bytes,
    split_count,
    state_bytes,
    tensor_payload,
)
from minimind_wiki.train.optim import make_optimizer
from minimind_wiki.train.traffic import Traffic

WAYS = ("none", "ddp", "fsdp", "tensor")


def loopback() -> int:
    """Bytes that the loopback device has sent so far; 0 where the system does not say."""
    try:
        lines = Path("/proc/net/dev").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[9]) for line in lines if line.strip().startswith("lo:")), 0)


class Way:
    """A model trained one way, by one step at a time."""

    def __init__(self, kind: str, rank: int, name: str) -> None:
        self.group = parallel.Alone() if kind == "none" else parallel.make(kind, rank, 2)
        self.kind, self.model = kind, Transformer(preset(name), seed=0)
        self.forward = self.group.spread(LossModel(self.model))
        self.optimizer = make_optimizer("adamw", self.model, 0.1, (0.9, 0.95))

    def step(self, batch: Tokens) -> None:
        """Forward, backward and AdamW on the batch."""
        part = self.group.rows(batch)
        loss = self.forward(part.ids_BT, part.labels_BT, part.documents_BT)
        (loss * self.group.loss_factor / batch.predicted).backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def kept(self) -> int:
        """Bytes of weights and AdamW's averages in this process."""
        state = [v for s in self.optimizer.state.values() for k, v in s.items() if k != "step"]
        return sum(parallel.own_piece(t).nbytes for t in [*self.model.parameters(), *state])

    def foretold(self, batch: Tokens) -> tuple[float, float, float]:
        """By the model: bytes kept, given to collectives, sent by both processes."""
        parameters, config = self.model.num_parameters(), self.model.config
        formats = Formats(gradients=0)  # they are gone after the step
        kept = state_bytes(parameters, self.kind, 2, formats, split_count(config))
        root = config.vocab_size * config.hidden_size + config.hidden_size
        given = payloads(parameters, self.kind, kept=root) if self.kind != "tensor" else {
            "all_reduce": tensor_payload(config, batch.ids_BT.numel())}  # fmt: skip
        sent = 2 * sum(ring_bytes(name, size, 2) for name, size in given.items())
        return kept, sum(given.values()), sent


def measure(rank: int, port: int, words: argparse.Namespace, out: str) -> None:
    """One of the two processes; the first writes what it saw."""
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2",
                   "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}  # fmt: skip
    ids = torch.randint(preset(words.preset).vocab_size, (words.rows, words.length + 1))
    batch = Tokens(ids[:, :-1], ids[:, 1:])
    found: dict[str, dict[str, float]] = {}
    with parallel.joined("ddp", timeout=120) as group:
        ways = {kind: Way(kind, rank, words.preset) for kind in WAYS}
        for kind, way in ways.items():
            way.step(batch)  # makes the optimizer's state, and DDP's buckets
            with Traffic() as traffic:
                way.step(batch)
            given = sum(v for name, v in traffic.payload.items() if name != "small")
            told = dict(zip(("kept", "given", "sent"), way.foretold(batch), strict=True))
            found[kind] = {f"{name} (model)": value for name, value in told.items()}
            found[kind] |= {"kept": way.kept(), "given": given}
        seconds: dict[str, list[float]] = {kind: [] for kind in WAYS}
        sent: dict[str, list[int]] = {kind: [] for kind in WAYS}
        for _ in range(words.rounds):
            for kind, way in ways.items():
                group.wait()
                before, began = loopback(), time.perf_counter()
                if kind != "none" or group.first:  # one process alone, while the other waits
                    way.step(batch)
                group.wait()
                seconds[kind].append(time.perf_counter() - began)
                sent[kind].append(loopback() - before)
        base = statistics.median(seconds["none"])
        for kind in WAYS:
            found[kind]["sent"] = statistics.median(sent[kind])
            found[kind]["seconds, none = 1"] = statistics.median(seconds[kind]) / base
    if rank == 0:
        Path(out).write_text(json.dumps(found))


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--preset", default="mini")
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7)
    words = parser.parse_args()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        out = f"{folder}/found.json"
        torch.multiprocessing.spawn(measure, (port, words, out), nprocs=2)
        found = json.loads(Path(out).read_text())
    print(f"{words.preset}, {words.rows} rows of {words.length} tokens, torch {torch.__version__}")
    print("MB measured / by the model")
    print(f"{'':8}" + "".join(f"{n:>20}" for n in ("kept", "given", "sent", "seconds, none = 1")))
    for kind, row in found.items():
        cells = [f"{row[n] / 1e6:10.3f}{row[f'{n} (model)'] / 1e6:10.3f}"
                 for n in ("kept", "given", "sent")]  # fmt: skip
        print(f"{kind:8}{''.join(cells)}{row['seconds, none = 1']:20.2f}")


if __name__ == "__main__":
    sys.exit(main())
