"""Where a run computes, in which number format, and the reason for both in one sentence."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from minimind_wiki.errors import MinimindError


@dataclass(frozen=True, slots=True)
class Place:
    """A device, the autocast format, and why."""

    device: torch.device
    dtype: torch.dtype
    why: str

    def autocast(self) -> AbstractContextManager[object]:
        """The context of each forward pass; float32 needs none."""
        if self.dtype is torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)

    def describe(self) -> str:
        """The line that says where the run computes and why."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else ""
        what = f"{self.device.type} {name}".strip()
        return f"Device: {what}, {str(self.dtype).removeprefix('torch.')}, because {self.why}."


def choose(device: str = "auto", dtype: str = "auto") -> Place:
    """The device asked for, or the fastest there is: cuda, then mps, then cpu.

    bfloat16 only on CUDA cards that have units for it: on CPUs without them it is over ten times
    slower than float32. MinimindError if the device asked for is not there.
    """
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if device == "auto":
        device = next(name for name, found in there.items() if found)
        why = "torch finds no GPU" if device == "cpu" else f"torch finds {device}"
    else:
        why = "--device asks for it"
        if not there[device]:
            have = ", ".join(name for name, found in there.items() if found)
            raise MinimindError(f"torch finds no {device} device here; use --device {have}.")
    if dtype == "auto":
        fast = device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        dtype = "bfloat16" if fast else "float32"
        why += " and it computes bfloat16 fast" if fast else ""
    else:
        why += f" and --dtype asks for {dtype}"
    return Place(torch.device(device), getattr(torch, dtype), why)
