"""Two processes of torch.distributed for a test."""

import os
import socket
from collections.abc import Callable
from typing import Any

import torch
import torch.multiprocessing


def free_ports(count: int) -> tuple[int, ...]:
    """Ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = tuple(one.getsockname()[1] for one in sockets)
    for one in sockets:
        one.close()
    return ports


def work(rank: int, port: int, main: Callable[..., None], given: tuple[Any, ...]) -> None:
    """`main(rank, *given)` with one thread, in the surroundings that torchrun makes, and out.

    Not by Python's own end: a DistributedDataParallel keeps gloo's threads, and one of them may
    abort a process that is done while it ends (github.com/pytorch/pytorch/pull/179291).
    """
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2",
                   "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}  # fmt: skip
    main(rank, *given)
    os._exit(0)


def in_two(main: Callable[..., None], *given: Any) -> None:
    """Run `main(rank, *given)` in two processes; an error of one is raised here."""
    torch.multiprocessing.spawn(work, (free_ports(1)[0], main, given), nprocs=2)
