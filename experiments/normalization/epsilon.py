"""Where exactly do eps and the cast of a norm stand, and what does each mistake cost?

RMSNorm as the package has it, and eight near misses that run without an error. Each is compared
with the exact formula in float64 on activations of a briefly trained decoder: as they are, with
outliers as large models have, very small, and with a zero vector; output, gradient, and how many
rows are not finite. Then each trains a character decoder in float32 at its own best learning rate.
"""

import math
from dataclasses import dataclass
from functools import cache, partial

import torch
from torch import Tensor

from minimind_wiki.book.experiment import Experiment, Measurement, Sweep
from minimind_wiki.lite.plot import Axis, Bars, Figure, Panel

from ._decoder import NORMS, batch, characters, evaluate, train
from ._variants import VARIANTS, Norm, errors, inputs

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

NORMS.update({name: partial(Norm, variant=name) for name in VARIANTS})


@dataclass(frozen=True, slots=True)
class Settings:
    """The decoder, as in `language_model`; warm_steps: how long the probed one trained."""

    width: int = 64
    heads: int = 4
    context: int = 64
    batch: int = 12
    depth: int = 3
    steps: int = 150
    warmup: int = 15
    warm_steps: int = 40
    eval_windows: int = 128
    learning_rate: float = 1e-2  # swept


experiment = Experiment(
    name="normalization/epsilon",
    factors=("variant",),
    arms={name: {"title": title, "role": "rmsnorm" if name == "correct" else "a", "variant": name}
          for name, (title, _) in VARIANTS.items()},
    settings=Settings(),
    quick=Settings(width=32, context=32, batch=8, steps=20, warm_steps=10, eval_windows=32),
    sweep=Sweep("learning_rate", (3e-3, 1e-2, 3e-2), "selection_loss", (1e-2,)),
    primary="held_out_loss",
    repeat=tuple((name, 0) for name in VARIANTS),
)  # fmt: skip


@cache
def activations(seed: int, settings: Settings) -> tuple[Tensor, Tensor]:
    """What enters every norm of a decoder after a few steps, (rows, width), and uneven gains."""
    arm = {"placement": "before", "norm": "rmsnorm"}
    steps = train(arm, settings.depth, seed, settings)
    model = next(model for step, _, model in steps if step == settings.warm_steps)
    seen: list[Tensor] = []
    norms = [m for m in model.modules() if type(m).__name__ == "RMSNorm"]
    hooks = [m.register_forward_pre_hook(lambda _, x: seen.append(x[0].detach())) for m in norms]
    data = characters()
    model(batch(data.held_out, torch.tensor([0, 5000]), settings.context)[0])
    for hook in hooks:
        hook.remove()
    rows = torch.cat([x.flatten(0, 1) for x in seen])
    return rows, 1 + 0.3 * torch.randn(rows.shape[1])


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    variant, values = VARIANTS[arm["variant"]][1], {}
    rows, weight = activations(seed, Settings() if settings.steps > 100 else settings)
    for kind, x in inputs(rows).items():
        for name, dtype in DTYPES.items():
            out, grad, bad = errors(variant, x, weight, dtype)
            values |= {f"{name}_{kind}_output_error": out, f"{name}_{kind}_gradient_error": grad,
                       f"{name}_{kind}_not_finite": bad}  # fmt: skip
    diverged_at = None
    placement = {"placement": "before", "norm": arm["variant"]}
    for step, loss, now in train(placement, settings.depth, seed, settings):
        model = now
        if step < settings.steps and not math.isfinite(loss):
            diverged_at = step
            break
    data = characters()
    for name, ids in (("held_out_loss", data.held_out), ("selection_loss", data.select)):
        values[name] = evaluate(model, ids, settings) if diverged_at is None else math.nan
    return Measurement(values, {}, diverged_at)


def cost(record, variant, dtype, kind, what="output_error"):
    return record.value(variant, f"{dtype}_{kind}_{what}")


@experiment.claim(quick=True)
def correct_is_exact(record):
    """The package's order loses only the rounding of the type, on every kind of input."""
    worst = {d: max(cost(record, "correct", d, kind) for kind in ("real", "outliers", "small"))
             for d in DTYPES}  # fmt: skip
    fine = worst["float32"] < 1e-6 and worst["bfloat16"] < 1e-2 and worst["float16"] < 1e-3
    return fine, ", ".join(f"{d} {e:.1e}" for d, e in worst.items())


@experiment.claim(quick=True)
def zero_vector_breaks(record):
    """Without eps, or with eps outside the root, a zero vector's gradient is not finite."""
    shares = {v: cost(record, v, "float32", "zero", "not_finite")
              for v in ("eps_missing", "eps_outside_root", "correct")}  # fmt: skip
    evidence = ", ".join(f"{VARIANTS[v][0]} {share:.0%}" for v, share in shares.items())
    return list(shares.values()) == [1, 1, 0], f"rows not finite: {evidence}"


@experiment.claim(quick=True)
def outside_shows_when_small(record):
    """Eps outside the root hides on usual activations; small ones it gets wrong by over a half."""
    real, small = (cost(record, "eps_outside_root", "float32", kind) for kind in ("real", "small"))
    return real < 1e-4 and small > 0.5, f"relative error {real:.1e} and {small:.1f}"


@experiment.claim(quick=True)
def half_eps_is_zero(record):
    """An eps of 1e-8 protects a zero vector in float32 and not in float16, where it is zero."""
    single, half = (cost(record, "eps_rounds_to_zero", d, "zero", "not_finite")
                    for d in ("float32", "float16"))  # fmt: skip
    return (single, half) == (0, 1), f"rows not finite: float32 {single:.0%}, float16 {half:.0%}"


@experiment.claim(quick=True)
def half_square_erases(record):
    """Squared in float16 before the cast, one large entry erases its vector, and no nan warns."""
    error = cost(record, "square_before_cast", "float16", "outliers")
    bad = cost(record, "square_before_cast", "float16", "outliers", "not_finite")
    return error > 0.99 and bad == 0, f"relative error {error:.2f}, rows not finite {bad:.0%}"


@experiment.claim(quick=True)
def gain_order_is_a_rounding(record):
    """Gain before or after the cast back differs by a rounding; before it is the more exact."""
    after, before = (cost(record, v, "bfloat16", "real") for v in ("correct", "gain_before_cast"))
    return before < after < 1e-2, f"bfloat16 error {before:.1e} before, {after:.1e} after"


@experiment.claim()
def training_hides_mistakes(record):
    """A short training run in float32 shows none of these: all end within 0.05 nats of correct."""
    gaps = {v: abs(gap) for v, gap in loss_gaps(record).items()}
    worst = max(gaps, key=gaps.get)
    return gaps[worst] < 0.05, f"largest gap {gaps[worst]:.3f}, {VARIANTS[worst][0]}"


def loss_gaps(record):
    right = record.value("correct", "held_out_loss")
    return {v: record.value(v, "held_out_loss") - right for v in record.arms if v != "correct"}


@experiment.figure()
def output_error(record):
    """Relative error of the output for each variant, on a log scale: usual activations in float16,
    activations with one large entry in float16, and small activations in float32. What the first
    panel does not show, the other two do."""
    panels = []
    for dtype, kind, title in (("float16", "real", "usual activations, float16"),
                               ("float16", "outliers", "one entry at 400, float16"),
                               ("float32", "small", "small activations, float32")):  # fmt: skip
        bars = [Bars([title for title, _ in VARIANTS.values()],
                     [cost(record, v, dtype, kind) for v in VARIANTS], "", "rmsnorm")]  # fmt: skip
        x = Axis("relative error of the output", "log", range=(1e-8, 10))
        panels.append(Panel(x, Axis("", "category"), bars=bars, title=title))
    return Figure(panels)


@experiment.figure()
def training(record):
    """Held-out loss of each variant after training in float32, minus that of the correct one, in
    nats a character; whiskers are three seeds."""
    right, gaps = record.value("correct", "held_out_loss"), loss_gaps(record)
    seeds = [[s - right for s in record.seeds(v, "held_out_loss")] for v in gaps]
    names, low, high = [VARIANTS[v][0] for v in gaps], map(min, seeds), map(max, seeds)
    bars = Bars(names, gaps.values(), "", "rmsnorm", low, high)
    x = "held-out loss minus correct, nats a character"
    return Figure(Panel(x, Axis("", "category"), bars=[bars]))
