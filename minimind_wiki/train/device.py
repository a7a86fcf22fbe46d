"""Where a run computes, in which number format, and the reason for both in one sentence.

Weights, gradients and optimizer state are float32 in every format; under autocast the large
products alone are in 16 bits (Micikevicius et al. 2018, arXiv:1710.03740). bfloat16 has float32's
range. float16 does not: small gradients vanish in it, so the loss is multiplied by a large factor
before the backward pass, which a scaler halves when a gradient overflows and doubles when none did
for long.
"""

from __future__ import annotations

import os
import platform
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

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

    def scaler(self) -> torch.amp.GradScaler:
        """What keeps float16's gradients in range; it does nothing in the other formats."""
        return torch.amp.GradScaler(self.device.type, enabled=self.dtype is torch.float16)

    def describe(self) -> str:
        """The line that says where the run computes and why."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else ""
        what = f"{self.device.type} {name}".strip()
        return f"Device: {what}, {str(self.dtype).removeprefix('torch.')}, because {self.why}."


def choose(device: str = "auto", dtype: str = "auto") -> Place:
    """The device asked for, or the fastest there is: cuda, then mps, then cpu.

    bfloat16 only on CUDA cards that have units for it: on CPUs without them it is over ten times
    slower than float32. MinimindError if the device asked for is not there, or cannot train in the
    format asked for: nothing is taken in its place.
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
    fast = device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    if dtype == "auto":
        dtype = "bfloat16" if fast else "float32"
        why += " and it computes bfloat16 fast" if fast else ""
        if device == "cuda" and not fast:
            why += " and it has no units for bfloat16 (--dtype float16 may be faster)"
    else:
        why += f" and --dtype asks for {dtype}"
        if dtype == "bfloat16" and device == "cuda" and not fast:
            why += ", though this card has no units for it and is slow (try --dtype float16)"
    if device == "mps" and os.environ.get("PYTORCH_ENABLE_MPS_FALLBACK", "0") != "0":
        why += "; PYTORCH_ENABLE_MPS_FALLBACK is set, so what MPS lacks runs on the CPU"
    place = Place(torch.device(device), getattr(torch, dtype), why)
    if place.dtype is not torch.float32:
        try_format(place)
    return place


def hardware(place: Place) -> dict[str, str | int]:
    """What the run computes on, for run.json."""
    found: dict[str, str | int] = {
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count() or 0,
    }
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    found["processor"] = names[0] if names else platform.processor()
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        found["memory_bytes"] = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if place.device.type == "cuda":
        card = torch.cuda.get_device_properties(place.device)
        found |= {"gpu": card.name, "gpu_memory_bytes": card.total_memory,
                  "cuda": torch.version.cuda or ""}  # fmt: skip
    return found


def try_format(place: Place) -> None:
    """One step of a single weight in the place's format; MinimindError if it does not work there.

    Which device can do which format differs between versions of torch, so it is tried, not looked
    up.
    """
    weight = torch.ones(8, 8, device=place.device, requires_grad=True)
    optimizer, scaler = torch.optim.SGD([weight]), place.scaler()
    try:
        with place.autocast():
            loss = (weight @ weight).float().sum()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()
        if not torch.isfinite(weight).all():
            raise RuntimeError("a product of ones is not finite")
    except (RuntimeError, NotImplementedError, TypeError, AssertionError) as error:
        raise MinimindError(
            f"{place.device.type} cannot train in {str(place.dtype).removeprefix('torch.')} with "
            f"torch {torch.__version__} ({str(error).splitlines()[0][:120]}). Use --dtype float32."
        ) from error
