"""How fast a run is, and how much of the device it uses.

*Useful* tokens are those that are predicted; the *total* counts every place of a row, padding and
masked prompts too. A token costs, forward and backward together (Chowdhery et al. 2022, PaLM,
arXiv:2204.02311, appendix B),

    6 · W + 12 · L · H · D · T  floating-point operations,

W the weights that it is multiplied with (the head, not the embedding that it is looked up in; of
experts, those that it visits), L layers of H heads of width D, T tokens in a row. Two for each
weight forward, four backward; the second part is attention's two products, counted as if nothing
were masked, as is usual. What is computed twice to save memory is counted once. Utilisation is
that cost times tokens/s by the device's peak.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

import torch

from minimind_wiki.model import Transformer
from minimind_wiki.model.linear import product
from minimind_wiki.train.device import Place
from minimind_wiki.train.faults import size

# 10^12 operations per second in bfloat16 or float16, dense (a data sheet's figure "with sparsity"
# is twice that), sums in float32. From NVIDIA's data sheets of each card and the appendix of its
# whitepapers on Ampere (GA102) and Ada (AD102); the longest name that fits a card counts.
PEAKS = {
    "H200": 989.0,
    "H200 NVL": 835.5,
    "H100": 989.0,
    "H100 NVL": 835.5,
    "H100 PCIe": 756.0,
    "A100": 312.0,
    "A10": 125.0,
    "L40S": 362.0,
    "L4": 121.0,
    "RTX 4090": 165.2,
    "RTX 3090": 71.0,
    "V100": 125.0,
    "V100 PCIE": 112.0,
    "T4": 65.0,
}


@dataclass(frozen=True, slots=True)
class Peak:
    """Operations per second that the device can reach, and how that is known."""

    flops: float
    source: str


def flops_per_token(model: Transformer, length: int) -> float:
    """Floating-point operations of a training step for each token in rows of `length`.

    >>> from minimind_wiki.model import preset
    >>> with torch.device("meta"):
    ...     model = Transformer(preset("26m"))
    >>> f"{flops_per_token(model, 512):.3e}"
    '1.801e+08'
    """
    config = model.config
    looked_up = 0
    if not config.tie_word_embeddings:
        looked_up += config.vocab_size * config.hidden_size
    if model.model.embed_positions is not None:
        looked_up += model.model.embed_positions.weight.numel()
    width = config.num_attention_heads * config.head_dim
    attention = 12 * config.num_hidden_layers * width * length
    return 6 * (model.active_parameters() - looked_up) + attention


def peak_of(place: Place) -> Peak:
    """From the table for a known card in 16 bits, else measured by a product of two matrices."""
    if place.device.type == "cuda" and place.dtype is not torch.float32:
        name = torch.cuda.get_device_name(place.device)
        if fits := known_peak(name):
            return Peak(fits, "its data sheet")
    return Peak(measured_peak(place), "measured by one matrix product")


def known_peak(name: str) -> float:
    """Peak of the card with this name; 0 if it is not in the table.

    >>> [known_peak(f"NVIDIA {name}") / 1e12 for name in ("H100 80GB HBM3", "A100-SXM4-40GB")]
    [989.0, 312.0]
    >>> known_peak("NVIDIA GeForce RTX 4090 Laptop GPU")
    0
    """
    words = f" {name.replace('-', ' ')} "
    fits = [card for card in PEAKS if f" {card} ".lower() in words.lower()]
    if "laptop" in words.lower():
        fits = []  # the same name on another chip
    return PEAKS[max(fits, key=len)] * 1e12 if fits else 0


def measured_peak(place: Place, side: int = 0) -> float:
    """Operations per second of the fastest of five products of two square matrices."""
    side = side or (512 if place.device.type == "cpu" else 4096)
    dtype = place.dtype
    left = torch.ones(side, side, dtype=dtype, device=place.device)
    best = float("inf")
    for _ in range(6):  # the first also warms up
        began = time.perf_counter()
        found = product(left, left)  # as the model multiplies: torch's own may be slower
        found[0, 0].item()  # waits for the device
        best = min(best, time.perf_counter() - began)
    return 2 * side**3 / best


def peak_memory(device: torch.device) -> int:
    """Most bytes so far: of tensors on a CUDA card, of the whole process on a CPU; 0 if unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if device.type == "mps":
        return torch.mps.driver_allocated_memory()
    try:
        import resource
    except ImportError:  # Windows
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


@dataclass(slots=True)
class Meter:
    """Tokens and seconds of this sitting. `processes` share the tokens that are counted.

    The first step is left out of the speeds as soon as there is another: it waits for the data,
    for memory and for the compiler.
    """

    flops_per_token: float
    place: Place
    processes: int = 1
    steps: int = 0
    total: int = 0
    useful: int = 0
    seconds: float = 0.0
    peak: Peak | None = None  # looked up or measured when first asked for

    def add(self, total: int, useful: int, seconds: float) -> None:
        """Count a step."""
        self.steps += 1
        if self.steps == 2:
            self.total, self.useful, self.seconds = 0, 0, 0.0
        self.total += total
        self.useful += useful
        self.seconds += seconds

    @property
    def speed(self) -> float:
        """Total tokens per second."""
        return self.total / max(self.seconds, 1e-9)

    @property
    def seconds_per_step(self) -> float:
        """Mean time of a step."""
        return self.seconds / max(1, self.steps - (self.steps > 1))

    def summary(self) -> dict[str, float | str]:
        """For run.json and the loggers; empty before the first step."""
        if not self.steps:
            return {}
        self.peak = self.peak or peak_of(self.place)
        used = self.speed * self.flops_per_token / self.processes
        return {
            "tokens_per_second": round(self.speed, 1),
            "useful_tokens_per_second": round(self.useful / max(self.seconds, 1e-9), 1),
            "flops_per_token": self.flops_per_token,
            "flops_per_second": used,
            "peak_flops_per_second": self.peak.flops,
            "peak_source": self.peak.source,
            "utilisation": used / self.peak.flops,
            "peak_memory_bytes": peak_memory(self.place.device),
        }

    def line(self) -> str:
        """The same for a reader."""
        if not (told := self.summary()):
            return ""
        share = self.useful / max(1, self.total)
        memory = size(float(told["peak_memory_bytes"])) if told["peak_memory_bytes"] else "unknown"
        return (
            f"  {self.speed:,.0f} tokens/s, {share:.0%} of them useful; "
            f"{size(float(told['flops_per_second']), 'FLOP/s')}, "
            f"{float(told['utilisation']):.1%} of the peak ({told['peak_source']}); "
            f"memory at most {memory}"
        )
