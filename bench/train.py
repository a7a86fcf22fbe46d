"""Our training step against a plain loop around transformers' own model: `python bench/train.py`.

The plain loop is how small trainers are usually written: a row of token ids for each conversation,
padded to the longest allowed length, transformers' model of the same shape, logits of every place
at once, torch's AdamW, gradients clipped. Two kinds of rows:

- *conversations*: as long as conversations are (log-normal, half below 150 tokens), which the plain
  loop pads and ours packs;
- *full rows*: all of the same length, so that nothing is won by packing.

Tokens per second are useful ones: those that are predicted. The arms take turns, step by step, in
one process; the median of the ratios of neighbouring steps is printed. Memory is, on a GPU, the
most that torch held there; on a CPU the highest resident size of a fresh process that trains one
arm alone, less that of a process that only imports what the arms import.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from minimind_wiki.data.packing import IGNORE, fill, pack
from minimind_wiki.infer.hub_config import config_to_hub
from minimind_wiki.model import ModelConfig, Transformer, preset
from minimind_wiki.tokenizer import ByteTokenizer
from minimind_wiki.train.batches import Tokens, from_packed
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.device import Place, choose
from minimind_wiki.train.feeds import Feed
from minimind_wiki.train.loop import Loop
from minimind_wiki.train.losses import LossModel
from minimind_wiki.train.optim import make_optimizer
from minimind_wiki.train.parallel import Alone
from minimind_wiki.train.pretrain import loss_chunk
from minimind_wiki.train.report import Quiet
from minimind_wiki.train.state import State

ARMS = ("plain, conversations", "ours, conversations", "plain, full rows", "ours, full rows")


def conversations(count: int, longest: int, vocab: int, seed: int) -> list[np.ndarray]:
    """Random ids with the lengths of conversations: log-normal, median 150, cut at `longest`."""
    rng = np.random.default_rng(seed)
    sizes = np.clip(rng.lognormal(5.0, 0.7, count).astype(int), 16, longest)
    return [rng.integers(3, vocab, size) for size in sizes]


def padded(rows: list[np.ndarray], length: int) -> Tokens:
    """One row for each text, filled to `length`; padding is not predicted."""
    ids = np.zeros((len(rows), length), np.int64)
    labels = np.full((len(rows), length), IGNORE, np.int64)
    for line, row in enumerate(rows):
        ids[line, : len(row)] = row
        labels[line, : len(row) - 1] = row[1:]
    return Tokens(torch.from_numpy(ids), torch.from_numpy(labels))


def packed(rows: list[np.ndarray], batch: int, length: int) -> Tokens:
    """The first `batch` rows of the texts packed by best fit."""
    offsets = np.cumsum([0, *map(len, rows)])
    return from_packed(fill(pack(offsets, length), np.arange(batch), np.concatenate(rows)))


class Plain:
    """transformers' model and torch's optimizer, as a loop is usually written."""

    def __init__(self, config: ModelConfig, place: Place, args: argparse.Namespace) -> None:
        from transformers import AutoConfig, AutoModelForCausalLM

        hub = config_to_hub(config)
        self.model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**hub))
        self.model.to(place.device).train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4)
        self.place = place
        self.forward = torch.compile(self.model) if args.compile else self.model

    def __call__(self, batch: Tokens) -> None:
        batch = batch.to(self.place.device)
        with self.place.autocast():
            logits = self.forward(input_ids=batch.ids_BT, use_cache=False).logits
            loss = F.cross_entropy(logits.flatten(0, 1).float(), batch.labels_BT.flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


class Ours:
    """The loop's own step."""

    def __init__(self, shape: ModelConfig, place: Place, args: argparse.Namespace) -> None:
        config = TrainConfig(batch_size=args.rows, micro_batch_size=args.micro, learning_rate=1e-4,
                             context_length=args.length)  # fmt: skip
        self.model = Transformer(shape).to(place.device)
        chunk, _ = loss_chunk(config, self.model, place, Alone())
        forward = LossModel(self.model, chunk)
        optimizer = make_optimizer("adamw", self.model, 0.1, (0.9, 0.99))
        nothing: Feed = None  # type: ignore[assignment]  # the batches are given to each step
        self.step = Loop(
            config, self.model, torch.compile(forward) if args.compile else forward, optimizer,
            place.scaler(), ByteTokenizer(), nothing, place, State(), Quiet(), chunk=chunk,
        ).step  # fmt: skip

    def __call__(self, batch: Tokens) -> None:
        self.step(batch)


def make_arms(
    args: argparse.Namespace, wanted: tuple[str, ...]
) -> dict[str, tuple[Callable[[Tokens], None], Callable[[int], Tokens]]]:
    """For each arm its step and its batches by number."""
    shape = preset(args.preset)
    place = choose(args.device, args.dtype)
    rows, length, vocab = args.rows, args.length, shape.vocab_size
    many = 8 * rows  # texts enough to choose from when rows are packed

    def full(step: int) -> Tokens:
        return padded(list(np.random.default_rng(step).integers(3, vocab, (rows, length))), length)

    batches = {
        ARMS[0]: lambda s: padded(conversations(rows, length, vocab, s), length),
        ARMS[1]: lambda s: packed(conversations(many, length, vocab, s), rows, length),
        ARMS[2]: full,
        ARMS[3]: full,
    }
    steps: dict[str, Callable[[Tokens], None]] = {}
    for arm in wanted:
        kind = arm.split(",")[0]
        if kind not in steps:
            steps[kind] = (Plain if kind == "plain" else Ours)(shape, place, args)
    return {arm: (steps[arm.split(",")[0]], batches[arm]) for arm in wanted}


def highest_megabytes() -> float:
    """What this process held at most. Not getrusage: a child begins with its parent's."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated() / 2**20
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) / 1024


def peak_megabytes(args: argparse.Namespace, arm: str) -> float:
    """The memory of a fresh process that takes three steps of `arm` ("": none)."""
    words = [sys.executable, __file__, "--alone", arm or "nothing"]
    for name in ("preset", "rows", "micro", "length", "dtype", "threads", "device"):
        words += [f"--{name}", str(getattr(args, name))]
    words += ["--compile"] if args.compile else []
    return float(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="26m")
    parser.add_argument("--rows", type=int, default=4, help="rows in a step")
    parser.add_argument("--length", type=int, default=512, help="tokens in a row")
    parser.add_argument("--micro", type=int, default=0, help="rows at a time, of our arms (0: all)")
    parser.add_argument("--steps", type=int, default=6, help="timed steps of each arm")
    parser.add_argument("--dtype", default="float32", help="float32 or bfloat16, of all arms")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--compile", action="store_true", help="torch.compile, of all arms")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--alone", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.alone:
        import transformers.models.llama.modeling_llama  # noqa: F401  # counted for every arm

        for step, batch in make_arms(args, (args.alone,) if "," in args.alone else ()).values():
            for number in range(3):
                step(batch(number))
        print(highest_megabytes())
        return
    # one thread: the process's own clock, which stands still while other programs run
    clock = time.process_time if args.threads == 1 and args.device == "cpu" else time.perf_counter
    arms = make_arms(args, ARMS)
    speeds: dict[str, list[float]] = {arm: [] for arm in ARMS}
    for number in range(args.steps + 1):
        for arm, (step, batch) in arms.items():
            rows = batch(number)
            began = clock()
            step(rows)
            if args.device == "cuda":
                torch.cuda.synchronize()
            speeds[arm].append(rows.predicted / (clock() - began))
    empty = peak_megabytes(args, "")
    memory = {arm: peak_megabytes(args, arm) - empty for arm in ARMS}
    found: dict[str, dict[str, float]] = {}
    for arm in ARMS:
        found[arm] = {"useful_tokens_per_second": round(statistics.median(speeds[arm][1:]), 1),
                      "peak_megabytes": round(memory[arm])}  # fmt: skip
    for plain, ours in (ARMS[:2], ARMS[2:]):
        pairs = zip(speeds[plain][1:], speeds[ours][1:], strict=True)  # the first warms up
        found[ours]["times_as_fast"] = round(statistics.median(b / a for a, b in pairs), 2)
        found[ours]["times_the_memory"] = round(memory[ours] / memory[plain], 2)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
