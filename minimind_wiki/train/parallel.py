"""Several processes train one model: the same batch, the same gradient, more hands.

The batch of a step is a function of (seed, step), so each process knows all of it without asking
and takes its own rows. It sums the loss of its rows over tokens and divides by the tokens of the
*whole* batch; the gradients of all processes then add up to that of a single process. Averaging
each one's own mean instead would make a token count more where a neighbour has few.

| kind | a process keeps | and is sent in each step |
|---|---|---|
| `ddp` (Li et al. 2020, arXiv:2006.15704) | everything | the gradient |
| `fsdp` (`parallel_fsdp`) | 1/n of weights, gradients and optimizer | weights and gradient |
| `tensor` (`tensor_parallel`) | 1/n of each matrix in the blocks | activations |

`torchrun` starts the processes and tells each its number by environment variables.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from minimind_wiki.errors import MinimindError, WrongCall, unknown
from minimind_wiki.train.batches import Tokens
from minimind_wiki.train.losses import LossModel

Part = TypeVar("Part")


class Alone:
    """One process. What the loop asks of a group of processes, and the answer where there is none.

    `rank` counts the processes of a run from 0 and `size` is their number. Process 0 is `first`: it
    alone prints and writes. `apart` is whether a process holds only pieces of the model; then all
    must measure and save together.
    """

    kind = "none"
    apart = False
    writes_text = True  # whether this process takes part in samples and exams
    loss_factor = 1.0  # multiplies the loss before backward

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    @property
    def first(self) -> bool:
        """Whether this process prints and writes."""
        return self.rank == 0

    def spread(self, loss: LossModel) -> nn.Module:
        """Give this process its part of the model; returns what to call on a micro-batch.

        Comes before the optimizer is made: parameters may be replaced. The weights of all processes
        must be equal.
        """
        return loss

    def rows(self, batch: Tokens) -> Tokens:
        """This process's rows of the batch. WrongCall if they cannot be dealt evenly."""
        return batch

    def accumulating(self, last: bool) -> AbstractContextManager[object]:
        """Around each micro-batch: all but the last only add to this process's own gradient."""
        return nullcontext()

    def total(self, *values: float) -> tuple[float, ...]:
        """The sum of each value over all processes."""
        return values

    def over_rows(self, loss: float) -> float:
        """The loss of the whole batch, from that of this process's rows."""
        return loss

    def total_over(self, parts: Sequence[Part], measure: Callable[[Part], float]) -> float:
        """The sum of measure(part) over all parts, shared out where that is possible."""
        return sum(measure(part) for part in parts)

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process. All must ask at the same point of the run."""
        return flag

    def from_first(self, number: int) -> int:
        """Process 0's number, for every process."""
        return number

    def wait(self) -> None:
        """Go on when every process has come here."""

    def in_turn(self, work: Callable[[], Part]) -> Part:
        """The work's result: process 0 first, so that the others find what it fetched or mended."""
        result = [work()] if self.first else []
        self.wait()
        return result[0] if self.first else work()

    def whole(self, tensor: Tensor) -> Tensor:
        """A weight, gradient or optimizer tensor with all its pieces. All processes must ask."""
        return tensor.detach()


class Group(Alone):
    """What all kinds of several processes have in common."""

    def total(self, *values: float) -> tuple[float, ...]:
        sums = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(sums)
        return tuple(sums.tolist())

    def any(self, flag: bool) -> bool:
        return self.total(float(flag))[0] > 0

    def from_first(self, number: int) -> int:
        told = torch.tensor(number)
        dist.broadcast(told, src=0)
        return int(told)

    def wait(self) -> None:
        self.total(0.0)  # a barrier would not say in time that a process is gone

    def whole(self, tensor: Tensor) -> Tensor:
        tensor = tensor.detach()
        return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


class Dealing(Group):
    """Process r of n takes every n-th row (pair, group), beginning with number r."""

    def rows(self, batch: Tokens) -> Tokens:
        rows, many = len(batch.ids_BT), batch.together
        if rows % (self.size * many):
            raise WrongCall(
                f"a batch of {rows} rows cannot be dealt to {self.size} processes; make batch_size "
                f"a multiple of {self.size * many}."
            )
        return batch.each(
            lambda rows_BT: rows_BT.unflatten(0, (-1, many))[self.rank :: self.size].flatten(0, 1)
        )

    def over_rows(self, loss: float) -> float:
        return self.total(loss)[0]


class Replicated(Dealing):
    """Every process has the whole model; the gradients are summed while backward still runs."""

    kind = "ddp"

    def __init__(self, rank: int, size: int) -> None:
        super().__init__(rank, size)
        self.writes_text = self.first
        self.loss_factor = float(size)  # DDP divides the sum by the processes; we want the sum

    def spread(self, loss: LossModel) -> nn.Module:
        # The only buffers are tables that all processes computed alike.
        known = inspect.signature(DistributedDataParallel).parameters
        # torch 2.13 renamed the flag
        sync = next(f for f in ("forward_sync_buffers", "broadcast_buffers") if f in known)
        still: dict[str, Any] = {sync: False, "gradient_as_bucket_view": True}
        self.wrapped = DistributedDataParallel(loss, **still)
        return self.wrapped

    def accumulating(self, last: bool) -> AbstractContextManager[object]:
        return nullcontext() if last else self.wrapped.no_sync()

    def total_over(self, parts: Sequence[Part], measure: Callable[[Part], float]) -> float:
        return self.total(sum(measure(part) for part in parts[self.rank :: self.size]))[0]


def own_piece(tensor: Tensor) -> Tensor:
    """What this process has of a tensor: all of it, or its piece."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def clip_gradients(parameters: Iterable[nn.Parameter], limit: float) -> Tensor:
    """Scale all gradients so that their joint norm is at most `limit`; returns the norm before.

    The same for whole tensors and for tensors in pieces, which torch's own function does not mix.
    Every process gets the same norm.
    """
    owners = [parameter for parameter in parameters if parameter.grad is not None]
    kinds = [[p for p in owners if isinstance(p, DTensor) is pieces] for pieces in (False, True)]
    norms = []
    for some in filter(None, kinds):
        norm = torch.nn.utils.get_total_norm([p.grad for p in some if p.grad is not None])
        norms.append(norm.full_tensor() if isinstance(norm, DTensor) else norm)
    norm = norms[0] if len(norms) == 1 else torch.linalg.vector_norm(torch.stack(norms))
    for some in filter(None, kinds):
        torch.nn.utils.clip_grads_with_norm_(some, limit, norm)
    return norm


def processes() -> int:
    """How many processes torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this is process 0, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def restarted() -> bool:
    """Whether torchrun starts the processes again after one of them failed."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


@contextmanager
def joined(kind: str = "ddp", timeout: float = 600.0) -> Iterator[Alone]:
    """Meet the other processes that torchrun started, and part at the end.

    `timeout`: seconds that a process waits for the others before it gives up. On machines with
    CUDA each process takes the card of its own local number. MinimindError when another process is
    gone or does not come; unknown kinds raise WrongCall.
    """
    if processes() == 1:
        yield Alone()
        return
    rank, size = int(os.environ["RANK"]), processes()
    if dist.is_initialized():  # by whoever calls
        yield make(kind, rank, size)
        return
    if kind not in KINDS:
        raise unknown("kind of parallel training", kind, KINDS)
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        backend = "cpu:gloo,cuda:nccl"  # small numbers are agreed on without waiting for the card
    wait = timedelta(seconds=timeout)
    try:
        store = fresh_store(wait)
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=wait)
        yield make(kind, rank, size)
        # gloo's threads give back the last tensors while Python stops, and abort the process,
        # unless Python waits for them before (github.com/pytorch/pytorch/pull/179291)
        dist.barrier()
    except RuntimeError as error:
        if not is_lost(error):
            raise
        raise MinimindError(
            f"process {rank} of {size} cannot go on: another one ended or did not answer within "
            f"{timeout:.0f} seconds. Its own message says why; the run goes on from its newest "
            f"checkpoint with --resume. (torch: {str(error).splitlines()[0][:160]})"
        ) from error
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def fresh_store(wait: timedelta) -> dist.Store | None:
    """After a restart, a place where processes find each other's new addresses; before, torch's.

    torchrun keeps its own place from one start to the next, and torch looks there first: it finds
    the addresses of processes that are gone, and waits (github.com/pytorch/pytorch/issues/135712).
    The machines of a run do not count their restarts alike, so that only one can help itself.
    """
    if not (restarted() and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"):
        return None
    if int(os.environ["GROUP_WORLD_SIZE"]) > 1:
        raise MinimindError(
            "after a restart, the machines would meet under old addresses. Set "
            "TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 before torchrun, as cluster/train.sh does."
        )
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    kept = dist.TCPStore(address, port, is_master=False, timeout=wait)
    return dist.PrefixStore(f"start {os.environ['TORCHELASTIC_RESTART_COUNT']}", kept)


def make(kind: str, rank: int, size: int) -> Alone:
    """The group of that kind. torch.distributed must have been started."""
    module, name = KINDS[kind]
    if not module:
        return Replicated(rank, size)
    from importlib import import_module

    group: Any = getattr(import_module(module), name)
    return group(rank, size)


KINDS = {
    "ddp": ("", "Replicated"),
    "fsdp": ("minimind_wiki.train.parallel_fsdp", "Sharded"),
    "tensor": ("minimind_wiki.train.tensor_parallel", "Split"),
}


def is_lost(error: RuntimeError) -> bool:
    """Whether torch means that another process is gone or silent: it has no class for that."""
    told = str(error)
    signs = (
        "Connection closed by peer",
        "Connection reset",
        "Timed out",
        "timed out",
        "Broken pipe",
    )
    return isinstance(error, dist.DistError) or any(sign in told for sign in signs)
