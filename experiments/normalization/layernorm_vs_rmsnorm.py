"""Is RMSNorm faster than LayerNorm, and what else do they differ in?

Both are measured in three forms: as the formula is written with float32 statistics (the package's),
as one fused kernel of torch, and as a careless hand would write it in half precision (statistics in
the input's own type). Each timing alternates with torch's fused LayerNorm on the same input, so
that the ratio is fair on a busy machine, and freed memory is kept for the next call, or the time
would be that of asking the system for pages (measured too). It is a CPU result: on a GPU the ratios
are others. Which of the two trains better is measured in `language_model`.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from minimind_wiki.book.experiment import Experiment, Measurement
from minimind_wiki.lite.plot import Axis, Bars, Figure, Level, Panel

from ._forms import (
    error_at,
    forward_backward,
    forward_only,
    keep_freed_memory,
    normalizer,
    return_freed_memory,
    times,
)

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}
TITLES = {"plain": "hand-written", "fused": "fused", "half": "half-precision statistics"}
NAMES = {"layernorm": "LayerNorm", "rmsnorm": "RMSNorm"}


@dataclass(frozen=True, slots=True)
class Settings:
    """shapes: (tokens, width) of the timed inputs; rounds: alternations of each timing."""

    shapes: tuple[tuple[int, int], ...] = ((1, 512), (128, 512), (512, 512))
    rounds: int = 200
    width: int = 512


experiment = Experiment(
    name="normalization/layernorm_vs_rmsnorm",
    factors=("norm", "form"),
    arms={
        f"{norm}_{form}": {
            "title": f"{NAMES[norm]}, {TITLES[form]}", "role": norm, "norm": norm, "form": form,
        }
        for form in TITLES for norm in NAMES
    },
    settings=Settings(),
    quick=Settings(shapes=((512, 512),), rounds=30),
    primary="forward_time_ratio_512x512",
    parallel=False,
    noisy=("*_microseconds_*", "*_time_ratio_*"),
)  # fmt: skip


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    torch.manual_seed(seed)
    values, curves = {}, {}
    keep_freed_memory()
    for tokens, width in settings.shapes if arm["form"] != "half" else ():
        for name, step in (("forward", forward_only), ("training", forward_backward)):
            took, ratio = times(arm, (tokens, width), settings.rounds, step)
            values[f"{name}_microseconds_{tokens}x{width}"] = took * 1e6
            values[f"{name}_time_ratio_{tokens}x{width}"] = ratio
    if arm["form"] != "half" and return_freed_memory():
        took, _ = times(arm, (512, 512), settings.rounds // 3, forward_only, return_freed_memory)
        values["forward_microseconds_512x512_memory_returned"] = took * 1e6
    function, affine = normalizer(arm, settings.width, torch.float32)
    values["parameters"] = float(sum(p.numel() for p in affine))
    x = (torch.randn(64, settings.width) + 0.5).requires_grad_()
    upstream = torch.randn_like(x)
    (grad,) = torch.autograd.grad(function(x), x, upstream)
    values["gradient_along_input"] = F.cosine_similarity(grad, x, dim=-1).abs().max().item()
    values["gradient_mean"] = (grad.mean(-1).abs() / grad.abs().mean(-1)).mean().item()
    (far,) = torch.autograd.grad(function(10 * x), x, upstream)
    values["gradient_at_ten_times"] = (far / 10).norm().item() / grad.norm().item()
    shifted = function(x + 100.0) - function(x)
    values["change_when_shifted"] = (shifted.norm() / function(x).norm()).item()
    exponents = range(-20, 16)
    for name, dtype in DTYPES.items():
        errors = [error_at(arm, 2.0**e, dtype, settings.width, seed) for e in exponents]
        good = [2.0**e for e, error in zip(exponents, errors, strict=True) if error < 0.01]
        values[f"{name}_smallest_scale"] = min(good, default=float("nan"))
        values[f"{name}_largest_scale"] = max(good, default=float("nan"))
        curves[f"{name}_error"] = ([2.0**e for e in exponents], errors)
    return Measurement(values, curves)


def ratios(record, arm, step):
    shapes = ["x".join(map(str, shape)) for shape in record.settings["shapes"]]
    return [record.value(arm, f"{step}_time_ratio_{shape}") for shape in shapes]


def faster(record, one, other):
    """Whether `one` takes less time than `other` at every shape, forward and training."""
    steps = {}
    for step in ("forward", "training"):
        pairs = zip(ratios(record, one, step), ratios(record, other, step), strict=True)
        steps[step] = [a / b for a, b in pairs]
    said = "; ".join(f"{step} × {', '.join(f'{r:.2f}' for r in rs)}" for step, rs in steps.items())
    return all(r < 1 for rs in steps.values() for r in rs), f"time ratio by shape: {said}"


@experiment.claim()
def plain_rmsnorm_faster(record):
    """Written by hand, RMSNorm takes less time than LayerNorm at every shape."""
    return faster(record, "rmsnorm_plain", "layernorm_plain")


@experiment.claim()
def fused_rmsnorm_faster(record):
    """As torch's own kernels on a CPU, RMSNorm takes less time than LayerNorm at every shape."""
    return faster(record, "rmsnorm_fused", "layernorm_fused")


@experiment.claim()
def fused_layernorm_beats_plain_rmsnorm(record):
    """Fusing matters more than the choice: fused LayerNorm always beats hand-written RMSNorm."""
    return faster(record, "layernorm_fused", "rmsnorm_plain")


@experiment.claim()
def memory_costs_more_than_the_mean(record):
    """Giving memory back to the system slows hand-written LayerNorm more than its mean does."""
    metric = "forward_microseconds_512x512"
    kept, rms = (record.value(f"{n}_plain", metric) for n in NAMES)
    if f"{metric}_memory_returned" not in record.data["values"]["layernorm_plain"]:
        return None, "this system's allocator cannot be told"
    returned = record.value("layernorm_plain", f"{metric}_memory_returned")
    evidence = f"LayerNorm {kept:.0f} µs, memory returned {returned:.0f} µs; RMSNorm {rms:.0f} µs"
    return returned - kept > kept - rms, evidence


@experiment.claim(quick=True)
def half_statistics_overflow(record):
    """Statistics in float16 overflow before the input's scale is 256; in float32 they do not."""
    half, wide = ([record.value(f"{n}_{form}", "float16_largest_scale") for n in NAMES]
                  for form in ("half", "plain"))  # fmt: skip
    evidence = f"good up to {max(half):g} in float16, up to {min(wide):g} with float32 statistics"
    return max(half) < 256 <= min(wide), evidence


@experiment.claim(quick=True)
def bfloat16_is_coarse(record):
    """Statistics in bfloat16 do not overflow; the output is off by 0.1 % to 1 %."""
    c = record.curve("rmsnorm_half", "bfloat16_error")
    errors = [e for x, e in zip(c["x"], c["mean"], strict=True) if x >= 1 and e is not None]
    return 1e-3 < min(errors) <= max(errors) < 1e-2, f"{min(errors):.1e} to {max(errors):.1e}"


@experiment.claim(quick=True)
def gradient_ignores_scale(record):
    """Neither sends a gradient along its input, and ten times the input gets a tenth of it."""
    along, shrunk = ([record.value(f"{n}_plain", m) for n in ("rmsnorm", "layernorm")]
                     for m in ("gradient_along_input", "gradient_at_ten_times"))  # fmt: skip
    evidence = f"cosine at most {max(along):.1e}; at ten times the input × {max(shrunk):.3f}"
    return max(along) < 1e-4 and max(abs(s - 0.1) for s in shrunk) < 0.01, evidence


@experiment.claim(quick=True)
def only_layernorm_ignores_shift(record):
    """Adding a constant to the input leaves LayerNorm's output alone and changes RMSNorm's."""
    layernorm, rmsnorm = (record.value(f"{n}_plain", "change_when_shifted") for n in NAMES)
    return layernorm < 1e-3 < 0.5 < rmsnorm, f"relative change {layernorm:.1e} and {rmsnorm:.2f}"


@experiment.figure()
def speed(record):
    """Time of LayerNorm and RMSNorm, by hand and fused, relative to torch's fused LayerNorm, for
    forward alone and with backward. One is as fast as fused LayerNorm; lower is faster."""
    shapes = ["x".join(map(str, shape)) for shape in record.settings["shapes"]][-2:]
    groups = [(form, shape) for shape in shapes for form in ("plain", "fused")]
    said = {"plain": "by hand", "fused": "fused"}
    names = [f"{said[form]}<br>{shape.replace('x', ' × ')}" for form, shape in groups]
    panels = []
    for step, title in (("forward", "forward"), ("training", "forward and backward")):
        bars = []
        for norm, name in NAMES.items():
            keys = [(f"{norm}_{form}", f"{step}_time_ratio_{shape}") for form, shape in groups]
            seeds = [record.seeds(*key) for key in keys]
            mean = [record.value(*key) for key in keys]
            bars.append(Bars(names, mean, name, norm, map(min, seeds), map(max, seeds)))
        panel = Panel("", "time relative to fused LayerNorm", bars=bars, title=title)
        panel.levels, panel.legend = [Level(1.0, "", "floor")], "none" if panels else "top"
        panels.append(panel)
    return Figure(panels)


@experiment.figure()
def precision(record):
    """Relative error of RMSNorm against float64 over the scale of its input. With statistics in
    float16 the output is lost above a scale of about fifty and coarse for small inputs; in bfloat16
    it is coarse everywhere; with float32 statistics only float16's own rounding is left."""
    lines = [record.line("rmsnorm_half", "float16_error", "float16", role="d"),
             record.line("rmsnorm_half", "bfloat16_error", "bfloat16", "dash", role="b"),
             record.line("rmsnorm_plain", "float16_error", "float32", "dot")]  # fmt: skip
    y = Axis("relative error of the output, by type of the statistics", "log")
    return Figure(Panel(Axis("scale of the input", "log"), y, lines))
