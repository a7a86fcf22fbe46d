"""The state of every global random generator, as tensors that safetensors can hold.

Dropout and sampling draw from them. A resumed run that began with fresh ones would be a different
run, with the same settings and another curve.
"""

from __future__ import annotations

import random

import numpy as np
import torch


def seed_generators(seed: int) -> None:
    """Begin all of them from `seed`. NumPy and Python would otherwise begin each process anew."""
    torch.manual_seed(seed)  # of every device
    np.random.seed(seed % 2**32)  # NumPy takes 32 bits
    random.seed(seed)


def random_state() -> dict[str, torch.Tensor]:
    """The state of torch (CPU, each CUDA device, MPS), NumPy and Python."""
    kind, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    assert kind == "MT19937"  # NumPy's only legacy generator
    _, words, next_gauss = random.getstate()
    states = {
        "torch": torch.get_rng_state(),
        "numpy.keys": torch.from_numpy(np.asarray(keys).astype(np.int64)),
        "numpy.rest": torch.tensor([position, has_gauss, gauss], dtype=torch.float64),
        "python.words": torch.tensor(words, dtype=torch.int64),
    }
    if next_gauss is not None:
        states["python.gauss"] = torch.tensor([next_gauss], dtype=torch.float64)
    if torch.cuda.is_available():
        for index, state in enumerate(torch.cuda.get_rng_state_all()):
            states[f"cuda.{index}"] = state
    if torch.backends.mps.is_available():
        states["mps"] = torch.mps.get_rng_state()
    return states


def restore_random_state(states: dict[str, torch.Tensor]) -> None:
    """Undo everything drawn since `random_state`. KeyError when a state is missing."""
    torch.set_rng_state(states["torch"])
    position, has_gauss, gauss = states["numpy.rest"].tolist()
    keys = states["numpy.keys"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", keys, int(position), int(has_gauss), gauss))
    next_gauss = states["python.gauss"].item() if "python.gauss" in states else None
    random.setstate((3, tuple(states["python.words"].tolist()), next_gauss))
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            if f"cuda.{index}" in states:
                torch.cuda.set_rng_state(states[f"cuda.{index}"], index)
    if "mps" in states and torch.backends.mps.is_available():
        torch.mps.set_rng_state(states["mps"])
