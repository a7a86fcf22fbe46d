"""What each of two processes does for `test_distributed.py`: train in every way, compare, report.

Each process also trains alone, on all rows, and compares there; it writes what it saw as JSON.
"""

import dataclasses
import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.distributed.tensor import DTensor

from minimind_wiki.data import Corpus, embedded_text
from minimind_wiki.data.packing import IGNORE
from minimind_wiki.errors import MinimindError
from minimind_wiki.infer.hub_tensors import tensors_to_hub
from minimind_wiki.model import ModelConfig, Transformer, preset
from minimind_wiki.train import parallel
from minimind_wiki.train.batches import Tokens
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.losses import LossModel
from minimind_wiki.train.optim import make_optimizer, optimizer_pieces
from minimind_wiki.train.pretrain import pretrain
from minimind_wiki.train.report import Quiet, Report
from minimind_wiki.train.sharded import (
    Dealt,
    load_optimizer_pieces,
    write_dealt,
)
from minimind_wiki.train.traffic import Traffic

# Every first axis is even, so that two processes get pieces of the same size.
SHAPE = preset("nano", vocab_size=260, qk_norm=True)
ROWS, LENGTH, STEPS = 8, 24, 4

CORPUS = Corpus("village", (embedded_text(60),), "a test", "embedded")
CONFIG = TrainConfig(
    preset="nano", data="embedded", steps=12, batch_size=4, micro_batch_size=1, context_length=32,
    eval_every=5, eval_windows=8, sample_tokens=4, device="cpu", threads=1, learning_rate=3e-3,
)  # fmt: skip

# name -> kind, optimizer, rows in one forward pass of a process
WAYS = {
    "ddp": ("ddp", "adamw", 8),
    "ddp, accumulating": ("ddp", "adamw", 1),
    "ddp, muon": ("ddp", "muon", 8),
    "fsdp": ("fsdp", "adamw", 8),
    "fsdp, accumulating": ("fsdp", "adamw", 2),
    "fsdp, muon": ("fsdp", "muon", 8),
    "tensor": ("tensor", "adamw", 8),
    "tensor, accumulating": ("tensor", "adamw", 4),
}

GPT2 = preset("nano", vocab_size=260, family="gpt2", num_key_value_heads=4)
# The balancing loss is that of a micro-batch, so it depends on how rows are dealt; it is off here.
EXPERTS = preset(
    "nano", vocab_size=260, num_experts=4, num_experts_per_tok=1, router_aux_loss_coef=0.0
)
OTHERS = {"experts, ddp": ("ddp", EXPERTS), "experts, fsdp": ("fsdp", EXPERTS),
          "gpt2, tensor": ("tensor", GPT2)}  # fmt: skip


def batch_of(step: int) -> Tokens:
    """Rows of which each predicts another number of tokens, in documents of eight tokens."""
    generator = torch.Generator().manual_seed(step)
    ids_BT = torch.randint(260, (ROWS, LENGTH + 1), generator=generator)
    labels_BT = ids_BT[:, 1:].clone()
    for row in range(ROWS):
        labels_BT[row, 3 * row + 1 :] = IGNORE
    documents_BT = (torch.arange(LENGTH) // 8 + 1).expand(ROWS, LENGTH)
    return Tokens(ids_BT[:, :-1], labels_BT, documents_BT)


@dataclass
class Run:
    """A model in training, in the way that `group` stands for."""

    group: parallel.Alone
    optimizer_name: str = "adamw"
    micro: int = ROWS
    shape: ModelConfig = SHAPE

    def __post_init__(self) -> None:
        self.model = Transformer(self.shape, seed=0)
        self.forward = self.group.spread(LossModel(self.model))
        self.optimizer = make_optimizer(self.optimizer_name, self.model, 0.1, (0.9, 0.99))
        for options in self.optimizer.param_groups:
            options["lr"] = 3e-3

    def backward(self, batch: Tokens) -> float:
        parts = list(self.group.rows(batch).split(self.micro))
        total = 0.0
        for number, part in enumerate(parts):
            with self.group.accumulating(last=number == len(parts) - 1):
                loss = self.forward(part.ids_BT, part.labels_BT, part.documents_BT)
                (loss * self.group.loss_factor / batch.predicted).backward()
            total += loss.item() / batch.predicted
        return self.group.over_rows(total)

    def step(self, step: int) -> tuple[float, float]:
        """Loss, and gradient norm before clipping."""
        loss = self.backward(batch_of(step))
        norm = parallel.clip_gradients(self.model.parameters(), 1.0).item()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss, norm

    def weights(self) -> dict[str, torch.Tensor]:
        return {name: self.group.whole(p).clone() for name, p in self.model.named_parameters()}

    def gradients(self) -> dict[str, torch.Tensor]:
        return {name: self.group.whole(p.grad) for name, p in self.model.named_parameters()}


def apart(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> float:
    """The largest difference of any number, as a share of its tensor's largest number.

    A tensor of numbers that are all below a thousandth of the largest anywhere counts as one of
    that size: the bias of keys has no gradient but rounding, and an idle expert has none.
    """
    assert ours.keys() == theirs.keys()
    sizes = {name: float(tensor.abs().max()) for name, tensor in theirs.items()}
    least = max(sizes.values()) / 1000
    return max(float((ours[k] - theirs[k]).abs().max()) / max(sizes[k], least) for k in ours)


def own_bytes(tensors: list[torch.Tensor]) -> int:
    """What the tensors take in this process alone."""
    return sum((t.to_local() if isinstance(t, DTensor) else t).nbytes for t in tensors)


def compare(kind: str, rank: int, optimizer: str, micro: int) -> dict:
    """One way of training against training alone: first gradient, curve, weights, bytes."""
    alone = Run(parallel.Alone(), optimizer)
    run = Run(parallel.make(kind, rank, 2), optimizer, micro)
    alone.backward(batch_of(0))
    with Traffic() as traffic:
        run.backward(batch_of(0))
    gradient = apart(run.gradients(), alone.gradients())
    alone.optimizer.zero_grad()
    run.optimizer.zero_grad()
    steps = STEPS if optimizer == "adamw" else 2  # in pieces, each product of Muon's is gathered
    curve = [run.step(step) for step in range(steps)]
    expected = [alone.step(step) for step in range(steps)]
    parameters = list(run.model.parameters())
    state = [v for p in parameters for k, v in run.optimizer.state[p].items() if k != "step"]
    return {
        "gradient": gradient,
        "curve": curve,
        "expected": expected,
        "weights": apart(run.weights(), alone.weights()),
        "payload": dict(traffic.payload),
        "calls": dict(traffic.calls),
        "weight_bytes": own_bytes(parameters),
        "state_bytes": own_bytes(state),
    }


def gradient_apart(kind: str, rank: int, shape: ModelConfig) -> float:
    alone, run = Run(parallel.Alone(), shape=shape), Run(parallel.make(kind, rank, 2), shape=shape)
    alone.backward(batch_of(0))
    run.backward(batch_of(0))
    return apart(run.gradients(), alone.gradients())


def save(run: Run, folder: Path) -> None:
    if run.group.first:
        folder.mkdir()
    run.group.wait()
    hub = tensors_to_hub(run.model.state_dict(), run.shape)
    write_dealt(folder, "model", hub, run.group)
    write_dealt(folder, "optimizer", optimizer_pieces(run.model, run.optimizer), run.group)


def checkpoint(rank: int, folder: Path) -> dict:
    """Save a sharded run after two steps, go on in a new one, and compare."""
    first = Run(parallel.make("fsdp", rank, 2))
    for step in range(2):
        first.step(step)
    save(first, folder)
    whole = [first.step(step) for step in (2, 3)]
    second = Run(parallel.make("fsdp", rank, 2))
    stored = Dealt(folder, "model")
    with torch.no_grad():
        for name, parameter in second.model.named_parameters():
            parameter.copy_(stored.like(name, parameter))
    load_optimizer_pieces(folder, "optimizer", second.model, second.optimizer)
    resumed = [second.step(step) for step in (2, 3)]
    return {"whole": whole, "resumed": resumed, "weights": apart(second.weights(), first.weights())}


def refusal(kind: str, rank: int, **changes: object) -> str:
    """What the group says to a batch of an odd number of rows, or to a shape it cannot cut."""
    group = parallel.make(kind, rank, 2)
    try:
        if changes:
            group.spread(LossModel(Transformer(preset("nano", **changes))))
        else:
            group.rows(Tokens(torch.zeros(3, 4), torch.zeros(3, 4)))
    except MinimindError as error:
        return str(error)
    return ""


def muon_in_cut_blocks() -> str:
    try:
        config = dataclasses.replace(CONFIG, parallel="tensor", optimizer="muon")
        pretrain(config, {}, corpus=CORPUS)
    except MinimindError as error:
        return str(error)
    return ""


def lost(rank: int) -> str:
    """Process 1 does not answer for longer than the others wait: what does process 0 say?"""
    try:
        with parallel.joined("ddp", timeout=1.0) as group:
            if rank == 1:
                time.sleep(2.5)
            group.wait()
    except MinimindError as error:
        return str(error)
    return ""


class StopAt(Quiet):
    """Sends this process a signal in the middle of a step, as a scheduler would."""

    def step(self, step: int, loss: float, speed: float, left: float) -> None:
        if step == 7:
            os.kill(os.getpid(), signal.SIGTERM)


def whole_run(kind: str, out: Path, report: Report | None = None) -> bool:
    """A run of `pretrain`; whether it reached its last step."""
    config = dataclasses.replace(CONFIG, parallel=kind)
    return pretrain(config, {}, out, report=report, corpus=CORPUS).finished


def main(rank: int, port: int, out: Path) -> None:
    """Process `rank` of two: writes out/seen-RANK.json and the checkpoint out/step."""
    seen: dict[str, object] = {}
    with parallel.joined("ddp", timeout=120) as group:
        seen["group"] = [group.rank, group.size, group.any(rank == 1), group.from_first(rank + 7)]
        for name, (kind, optimizer, micro) in WAYS.items():
            seen[name] = compare(kind, rank, optimizer, micro)
        seen["checkpoint"] = checkpoint(rank, out / "step")
        for name, (kind, shape) in OTHERS.items():
            seen[name] = gradient_apart(kind, rank, shape)
        save(Run(parallel.make("fsdp", rank, 2), shape=GPT2), out / "gpt2")
        seen["stopped"] = not whole_run("ddp", out / "ddp", StopAt())
        seen["finished"] = whole_run("tensor", out / "tensor")
        seen["muon"] = muon_in_cut_blocks()
        seen["odd rows"] = refusal("ddp", rank)
        seen["odd heads"] = refusal("tensor", rank, num_attention_heads=3, num_key_value_heads=3,
                                    head_dim=16)  # fmt: skip
        seen["alibi"] = refusal("tensor", rank, positions="alibi")
        seen["experts"] = refusal("tensor", rank, num_experts=2)
    os.environ["MASTER_PORT"] = str(port)
    seen["lost"] = lost(rank)
    (out / f"seen-{rank}.json").write_text(json.dumps(seen))
