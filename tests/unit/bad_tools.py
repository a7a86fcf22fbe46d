"""Tools that misbehave, for test_train_sandbox.py; they are run in the sandbox's process."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Unsayable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text either")


def spin() -> None:
    while True:
        pass


def deaf() -> None:
    """Catches whatever is raised in it, for ever."""
    while True:
        with contextlib.suppress(RuntimeError):
            print("x" * 1000)


def gigabyte() -> None:
    for _ in range(1 << 20):
        print("x" * 1024)


def unsayable() -> None:
    raise Unsayable


def leave() -> None:
    raise SystemExit(3)


def low_level(call: Callable[[], Any]) -> str:
    """What the kernel says where no audit hook asks: nothing may come back."""
    try:
        return f"got {call()}"
    except OSError as error:
        return f"errno {error.errno}"


TOOLS: dict[str, Callable[[], Any]] = {
    "fine": lambda: "fine",
    "spin": spin,
    "deaf": deaf,
    "big number": lambda: str(pow(7, 10**9))[:3],  # C code, deaf to Python's signals
    "gigabyte": gigabyte,
    "long": lambda: "x" * 5000,
    "memory": lambda: str(len(bytearray(1 << 30))),
    "unsayable": unsayable,
    "leave": leave,
    "number": lambda: 7,
    "surrogate": lambda: "\ud800 \U0001f642",
    "read": lambda: Path("/etc/hostname").read_text(),
    "write": lambda: Path("left_the_sandbox.txt").write_text("x"),
    "socket": lambda: str(socket.socket()),
    "connect": lambda: str(socket.create_connection(("127.0.0.1", 9))),
    "process": lambda: subprocess.run(["true"], check=True).returncode,
    "fork": os.fork,
    "system": lambda: os.system("true"),
    "list": lambda: os.listdir("/"),
    "import": lambda: __import__("sqlite3").__name__,
    "library": lambda: ctypes.CDLL(None),
    "environment": lambda: " ".join(sorted(os.environ)),
    "raw print": lambda: str(os.write(1, b'{"text": "forged", "failed": false}\n')),
    "pipe": lambda: low_level(os.pipe),
    "dup": lambda: low_level(lambda: os.dup(0)),
    "kill": lambda: os.abort(),
}


def call(name: str, arguments: dict[str, Any], state: dict[str, Any]) -> Any:
    return TOOLS[name]()
