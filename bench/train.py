"""Our training step against a plain loop around transformers' own model: `python bench/train.py`.

The plain loop is how small trainers are usually written: a row of token ids for each conversation,
padded to the longest allowed length, transformers' model of the same shape, logits of every place
at once, torch's AdamW, gradients clipped. Two kinds of rows:

- *conversations*: as long as conversations are (log-normal, half below 150 tokens), which the plain
  loop pads and ours packs;
- *full rows*: all of the same length, so that nothing is won by packing.

With `--minimind DIR`, a checkout of github.com/jingyaogong/minimind, its own model file reads the
same padded conversations by the step of its trainer (train_pretrain.py). A batch is one optimizer
step for every arm; `--plain-micro 32` lets the plain loop and MiniMind's add up the gradients of 32
rows at a time, as that trainer does.

Tokens per second are useful ones: those that are predicted. The arms take turns in one process,
`--turn` steps each, so that a GPU need not wait for the clock after every step; the median of the
ratios of neighbouring turns is printed. On a GPU, utilisation is that of all places of a row,
padding too (see `meters.py`), and memory is what a step held besides the weights and the
optimizer's state. On a CPU, memory is the highest resident size of a fresh process that trains one
arm alone, less that of a process that only imports what the arms import.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

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
from minimind_wiki.train.meters import flops_per_token, peak_of
from minimind_wiki.train.optim import make_optimizer
from minimind_wiki.train.parallel import Alone
from minimind_wiki.train.pretrain import loss_chunk
from minimind_wiki.train.report import Quiet
from minimind_wiki.train.state import State

ARMS = ("plain, conversations", "ours, conversations", "plain, full rows", "ours, full rows")
THEIRS = "minimind, conversations"


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
        self.place, self.rows = place, args.plain_micro or args.rows
        self.forward = torch.compile(self.model) if args.compile else self.model

    def loss(self, batch: Tokens) -> torch.Tensor:
        """Mean over the predicted tokens, from the scores of all places at once."""
        logits = self.forward(input_ids=batch.ids_BT, use_cache=False).logits
        return F.cross_entropy(logits.flatten(0, 1).float(), batch.labels_BT.flatten())

    def __call__(self, batch: Tokens) -> None:
        parts = list(batch.to(self.place.device).split(self.rows))
        for part in parts:
            with self.place.autocast():
                loss = self.loss(part) / len(parts)
            loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def minimind_file(checkout: str) -> ModuleType:
    """The module model/model_minimind.py of a MiniMind checkout; SystemExit if it is not there."""
    path = Path(checkout) / "model" / "model_minimind.py"
    spec = importlib.util.spec_from_file_location("model_minimind", path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise SystemExit(f"{path} is not there. Give --minimind a checkout of MiniMind.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # transformers looks a model's module up by its name
    spec.loader.exec_module(module)
    for name in ("MiniMindConfig", "MiniMindForCausalLM"):
        if not hasattr(module, name):
            raise SystemExit(f"{path} has no {name}; give --minimind MiniMind 3 (2026) or newer.")
    return module


class MiniMinds(Plain):
    """MiniMind's model and the step of its trainer, uncompiled as that trainer leaves it.

    Its model shifts the labels itself. Since MiniMind 3 it has q/k-norm in every size.
    """

    def __init__(self, shape: ModelConfig, place: Place, args: argparse.Namespace) -> None:
        module = minimind_file(args.minimind)
        names = ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
                 "intermediate_size", "vocab_size", "rope_theta", "rms_norm_eps")  # fmt: skip
        config = module.MiniMindConfig(**{name: getattr(shape, name) for name in names})
        self.model = module.MiniMindForCausalLM(config).to(place.device).train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4)
        self.place, self.rows = place, args.plain_micro or args.rows

    def loss(self, batch: Tokens) -> torch.Tensor:
        labels_BT = torch.cat([batch.ids_BT[:, :1], batch.labels_BT[:, :-1]], dim=1)
        out = self.model(batch.ids_BT, labels=labels_BT)
        return out.loss + out.aux_loss


KINDS = {"plain": Plain, "minimind": MiniMinds}


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
    batches[THEIRS] = batches[ARMS[0]]
    steps: dict[str, Callable[[Tokens], None]] = {}
    for arm in wanted:
        kind = arm.split(",")[0]
        if kind not in steps:
            steps[kind] = KINDS.get(kind, Ours)(shape, place, args)
    return {arm: (steps[arm.split(",")[0]], batches[arm]) for arm in wanted}


def highest_megabytes() -> float:
    """What this process held at most. Not getrusage: a child begins with its parent's."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) / 1024


def peak_megabytes(args: argparse.Namespace, arm: str) -> float:
    """The memory of a fresh process that takes three steps of `arm` ("": none)."""
    words = [sys.executable, __file__, "--alone", arm or "nothing"]
    for name in (
        "preset",
        "rows",
        "micro",
        "plain_micro",
        "length",
        "dtype",
        "threads",
        "minimind",
    ):
        words += [f"--{name.replace('_', '-')}", str(getattr(args, name))]
    words += ["--compile"] if args.compile else []
    return float(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


def turns(args: argparse.Namespace, names: tuple[str, ...]) -> dict[str, dict[str, list[float]]]:
    """Useful tokens/s, places/s and (on a GPU) megabytes of each arm in each turn."""
    # one thread: the process's own clock, which stands still while other programs run
    clock = time.process_time if args.threads == 1 and args.device == "cpu" else time.perf_counter
    arms, cuda = make_arms(args, names), args.device == "cuda"
    seen: dict[str, dict[str, list[float]]] = {
        name: {"useful": [], "places": [], "megabytes": []} for name in names
    }
    for turn in range(args.steps + 1):
        for name, (step, batch) in arms.items():
            rows = [batch(args.turn * turn + number) for number in range(args.turn)]
            if cuda:
                rows = [part.pinned() for part in rows]
                torch.cuda.reset_peak_memory_stats()
                held = torch.cuda.memory_allocated()
            began = clock()
            for part in rows:
                step(part)
            if cuda:
                torch.cuda.synchronize()
            seconds = clock() - began
            seen[name]["useful"].append(sum(part.predicted for part in rows) / seconds)
            seen[name]["places"].append(sum(part.ids_BT.numel() for part in rows) / seconds)
            if cuda:
                most = torch.cuda.max_memory_allocated() - held
                seen[name]["megabytes"].append(most / 2**20)
    # the first turn compiles, and makes the optimizer's state
    return {name: {k: v[1:] for k, v in told.items()} for name, told in seen.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--preset", default="26m")
    parser.add_argument("--rows", type=int, default=4, help="rows in a step")
    parser.add_argument("--length", type=int, default=512, help="tokens in a row")
    parser.add_argument("--micro", type=int, default=0, help="rows at a time, of our arms (0: all)")
    parser.add_argument("--plain-micro", type=int, default=0, help="the same, of the other arms")
    parser.add_argument("--steps", type=int, default=6, help="timed turns of each arm")
    parser.add_argument("--turn", type=int, default=1, help="steps of an arm in its turn")
    parser.add_argument("--dtype", default="float32", help="float32 or bfloat16, of all arms")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--compile", action="store_true", help="torch.compile, but for MiniMind's")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--minimind", default="", metavar="DIR", help="a checkout of MiniMind")
    parser.add_argument("--no-memory", action="store_true", help="on a CPU: do not measure it")
    parser.add_argument("--out", type=Path, metavar="F.json", help="a record of all this")
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
    names = (*ARMS, THEIRS) if args.minimind else ARMS
    seen = turns(args, names)
    place = choose(args.device, args.dtype)
    found: dict[str, dict[str, float]] = {}
    for name, told in seen.items():
        share = sum(told["useful"]) / sum(told["places"])  # each turn's seconds divide both
        found[name] = {"useful_tokens_per_second": round(statistics.median(told["useful"]), 1),
                       "useful_share": round(share, 3)}  # fmt: skip
        if args.device == "cuda":
            with torch.device("meta"):
                flops = flops_per_token(Transformer(preset(args.preset)), args.length)
            peak = peak_of(place)
            found[name]["utilisation"] = round(
                statistics.median(told["places"]) * flops / peak.flops, 4
            )
            found[name]["step_megabytes"] = round(max(told["megabytes"]))
    if args.device == "cpu" and not args.no_memory:
        empty = peak_megabytes(args, "")
        for name in names:
            found[name]["peak_megabytes"] = round(peak_megabytes(args, name) - empty)
    pairs = {(ARMS[0], ARMS[1]): "", (ARMS[2], ARMS[3]): "", (THEIRS, ARMS[1]): "_as_minimind"}
    for (other, ours), ending in pairs.items():
        if other not in found:
            continue
        both = zip(seen[other]["useful"], seen[ours]["useful"], strict=True)
        found[ours][f"times_as_fast{ending}"] = round(statistics.median(b / a for a, b in both), 2)
        for kind in ("peak_megabytes", "step_megabytes"):
            if kind in found[ours] and not ending:
                share = found[ours][kind] / max(1, found[other][kind])
                found[ours]["times_the_memory"] = round(share, 2)
    print(json.dumps(found, indent=1))
    if args.out:
        settings = {k: v for k, v in vars(args).items() if k not in ("out", "alone", "minimind")}
        card = torch.cuda.get_device_name() if args.device == "cuda" else ""
        peak_flops = {"peak_flops_per_second": peak_of(place).flops} if card else {}
        record = {"settings": settings, "card": card, "torch": torch.__version__} | peak_flops
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(record | {"arms": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
