"""No norm, post-LN, pre-LN or pre-RMSNorm: which character model trains, at which learning rates?

Twelve arms: four placements of the norm at 4, 8 and 16 layers, all else equal. Each is trained at
five learning rates half a decade apart on the same batches of real characters, and lower ones while
its best stands at the lower edge. Each is shown at its own best, chosen on text that neither trains
nor is reported, with three seeds. A run diverges when its loss is not finite or passes ten times
chance; the step is recorded, the run is kept as null.
"""

import math
from dataclasses import dataclass

from minimind_wiki.book.experiment import Experiment, Measurement, Sweep
from minimind_wiki.book.text import real_text
from minimind_wiki.lite.plot import Axis, Figure, Level, Line, Panel

from ._decoder import characters, evaluate, residual_growth, train

PLACES = {
    "no_norm": ("no norm", "none", "none", "none", "solid"),
    "post_layernorm": ("post-LN", "postnorm", "after", "layernorm", "dash"),
    "pre_layernorm": ("pre-LN", "prenorm", "before", "layernorm", "dashdot"),
    "pre_rmsnorm": ("pre-RMS", "rmsnorm", "before", "rmsnorm", "longdash"),
}
DEPTHS = (4, 8, 16)
TOP = 3.9  # of the loss axis


@dataclass(frozen=True, slots=True)
class Settings:
    """One size for all arms; steps and batch decide how many characters a run sees."""

    width: int = 64
    heads: int = 4
    context: int = 64
    batch: int = 12
    steps: int = 200
    warmup: int = 20
    eval_windows: int = 128
    learning_rate: float = 1e-3  # swept


experiment = Experiment(
    name="normalization/language_model",
    factors=("placement", "norm", "depth"),
    arms={
        f"{name}_{depth}_layers": {
            "title": f"{title}, {depth} layers", "role": role,
            "placement": placement, "norm": norm, "depth": depth,
        }
        for depth in DEPTHS for name, (title, role, placement, norm, _) in PLACES.items()
    },
    settings=Settings(),
    quick=Settings(width=32, context=32, batch=8, steps=60, warmup=6, eval_windows=32),
    quick_arms=tuple(f"{name}_4_layers" for name in PLACES),
    sweep=Sweep("learning_rate", (1e-3, 3e-3, 1e-2, 3e-2, 1e-1), "selection_loss",
                quick=(1e-2, 1e-1), beyond=(3e-4, 1e-4)),
    primary="held_out_loss",
    repeat=tuple((f"{name}_4_layers", 0) for name in PLACES),
)  # fmt: skip


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    data = characters()
    steps, losses, diverged_at = [], [], None
    for step, loss, model in train(arm, arm["depth"], seed, settings):
        if step == 0:
            growth = residual_growth(model, data.held_out, settings)
        if step == settings.steps:
            break
        if not loss < 10 * data.chance:  # also true for nan
            diverged_at = step
            break
        steps.append(step)
        losses.append(loss)
    values = {"held_out_loss": math.nan, "selection_loss": math.nan, "residual_growth": growth}
    if diverged_at is None:
        values["held_out_loss"] = evaluate(model, data.held_out, settings)
        values["selection_loss"] = evaluate(model, data.select, settings)
    window = max(1, settings.steps // 20)
    ends = range(window, len(losses) + 1, window)
    smooth = [sum(losses[end - window : end]) / window for end in ends]
    return Measurement(values, {"training_loss": (list(ends), smooth)}, diverged_at)


@experiment.levels
def levels(settings: Settings) -> dict:
    data = characters()
    chance, bigram = {"held_out_loss": data.chance}, {"held_out_loss": data.bigram}
    return {"chance": chance, "baseline": bigram, "data": real_text().described()}


@experiment.derived
def derived(record):
    """What the sweep says: the best rate, the rates within 0.1 nats of it, those that diverge."""
    out = {}
    for arm in record.arms:
        sweep, bigram = record.sweep(arm), record.level("baseline", "held_out_loss")
        tried = list(zip(sweep["values"], sweep["scores"], strict=True))
        finite = [(r, s) for r, s in tried if s is not None]
        near = [r for r, s in finite if s <= min(s for _, s in finite) + 0.1]
        out[arm] = {
            "best_learning_rate": sweep["best"],
            "tolerated_range": max(near) / min(near) if near else math.nan,
            "highest_tolerated_rate": max(near, default=math.nan),
            "rates_that_diverge": len(tried) - len(finite),
            "highest_rate_below_bigram": max((r for r, s in finite if s < bigram), default=0.0),
        }  # fmt: skip
    return out


def per_depth(record, name, metric):
    return [record.value(f"{name}_{depth}_layers", metric) for depth in DEPTHS]


def listed(record, metric, spec, names=tuple(PLACES)):
    rows = ((PLACES[n][0], per_depth(record, n, metric)) for n in names)
    return "; ".join(f"{title} {', '.join(format(v, spec) for v in vs)}" for title, vs in rows)


def both(record, metric, one="no_norm", other="pre_layernorm"):
    """One metric of two placements, a pair for each depth."""
    rows = (per_depth(record, name, metric) for name in (one, other))
    return list(zip(*rows, strict=True))


def gaps(record, one, other="pre_layernorm"):
    """Held-out loss of one placement minus another's, by depth, and the same in words."""
    found = [a - b for a, b in both(record, "held_out_loss", one, other)]
    said = ", ".join(f"{gap:+.3f}" for gap in found)
    return found, f"{PLACES[one][0]} minus {PLACES[other][0]} at {DEPTHS} layers: {said}"


@experiment.claim()
def no_norm_trains(record):
    """Without any norm the model still trains: at its own best rate it beats the bigram table."""
    bigram = record.level("baseline", "held_out_loss")
    losses = per_depth(record, "no_norm", "held_out_loss")
    evidence = listed(record, "held_out_loss", ".3f", ("no_norm",))
    return max(losses) < bigram, f"{evidence}; bigram table {bigram:.3f}"


@experiment.claim()
def norm_wins_at_depth(record):
    """At 16 layers every seed of pre-LN ends below every seed of no norm, each at its best rate."""
    none, pre = (
        record.seeds(f"{n}_16_layers", "held_out_loss") for n in ("no_norm", "pre_layernorm")
    )
    spans = [f"{min(seeds):.3f} to {max(seeds):.3f}" for seeds in (pre, none)]
    return max(pre) < min(none), f"pre-LN {spans[0]}, no norm {spans[1]}"


@experiment.claim()
def pre_tolerates_more(record):
    """Pre-LN stays within 0.1 nats of its best up to a higher rate than no norm, at every depth."""
    higher = [pre > none for none, pre in both(record, "highest_tolerated_rate")]
    return all(higher), listed(record, "highest_tolerated_rate", "g")


@experiment.claim()
def no_norm_diverges_first(record):
    """At every depth no norm diverges at more of the five learning rates than pre-LN."""
    more = [none > pre for none, pre in both(record, "rates_that_diverge")]
    return all(more), listed(record, "rates_that_diverge", "g")


@experiment.claim()
def post_falls_behind(record):
    """Post-LN falls further behind pre-LN with every doubling of the layers."""
    found, evidence = gaps(record, "post_layernorm")
    return found[0] < found[1] < found[2], evidence


@experiment.claim()
def post_stalls(record):
    """Where post-LN fails it stays finite: it stalls half a nat or more above the bigram table."""
    limit = record.level("baseline", "held_out_loss") + 0.5
    sweeps = [record.sweep(f"post_layernorm_{depth}_layers") for depth in DEPTHS]
    stalled = [sum(score is not None and score > limit for score in s["scores"]) for s in sweeps]
    broken = sum(score is None for s in sweeps for score in s["scores"])
    evidence = f"stalled at {stalled} of the rates at {DEPTHS} layers, diverged at {broken}"
    return min(stalled) > 0 and broken == 0, evidence


@experiment.claim()
def rms_equals_layernorm(record):
    """Pre-RMSNorm ends where pre-LN ends: closer than 0.05 nats at every depth."""
    found, evidence = gaps(record, "pre_rmsnorm")
    return max(map(abs, found)) < 0.05, evidence


@experiment.claim(quick=True)
def divergence_is_counted(record):
    """The highest learning rate breaks the model without a norm and the record keeps the step."""
    at = record.sweep("no_norm_4_layers")["diverged_at"][-1]
    return at is not None, f"no norm, 4 layers, rate 0.1: step {at}"


@experiment.figure()
def learning_rates(record):
    """Loss on selection text against the learning rate, one panel for each depth, one line for each
    placement. Crosses along the top mark the rates at which a model without a norm diverges."""
    bigram = Level(record.level("baseline", "held_out_loss"), "bigram table", "baseline")
    tried = sorted({rate for arm in record.arms for rate in record.sweep(arm)["values"]})
    panels = []
    for depth in sorted({arm["factors"]["depth"] for arm in record.arms.values()}):
        lines = []
        for name, (title, role, _, _, dash) in PLACES.items():
            s = record.sweep(f"{name}_{depth}_layers")
            lines.append(Line(s["values"], s["scores"], title, role, dash=dash, marker="circle"))
            lost = [r for r, v in zip(s["values"], s["scores"], strict=True) if v is None]
            if lost:
                where = [TOP - 0.2] * len(lost)
                lines.append(Line(lost, where, "diverged", role, dash="dot", marker="x"))
        y = Axis("nats a character", range=(2.1, TOP))
        rates = Axis("learning rate", "log", (tried[0] / 1.2, tried[-1] * 1.2), tried)
        panels.append(Panel(rates, y, lines, levels=[bigram], title=f"{depth} layers"))
    return Figure(panels)


@experiment.figure()
def best(record):
    """Held-out loss against depth, each arm at its own best learning rate; bands are seeds."""
    lines = []
    depths = sorted({arm["factors"]["depth"] for arm in record.arms.values()})
    for name, (title, role, _, _, dash) in PLACES.items():
        runs = [record.seeds(f"{name}_{d}_layers", "held_out_loss") for d in depths]
        mean = [record.value(f"{name}_{d}_layers", "held_out_loss") for d in depths]
        lines.append(
            Line(depths, mean, title, role, map(min, runs), map(max, runs), dash, "circle")
        )
    bigram = Level(record.level("baseline", "held_out_loss"), "bigram table", "baseline")
    x = Axis("layers", "log", ticks=list(DEPTHS))
    return Figure(
        Panel(x, "held-out loss at its best rate, nats a character", lines, levels=[bigram])
    )


@experiment.figure()
def training(record):
    """Training loss of the deepest models at their own best learning rate; bands are seeds."""
    depth = max(arm["factors"]["depth"] for arm in record.arms.values())
    lines = [
        record.line(f"{n}_{depth}_layers", "training_loss", p[0], p[4]) for n, p in PLACES.items()
    ]
    marks = [Level(record.level("baseline", "held_out_loss"), "bigram table", "baseline"),
             Level(record.level("chance", "held_out_loss"), "chance", "chance")]  # fmt: skip
    return Figure(
        Panel("step", f"training loss, {depth} layers, nats a character", lines, levels=marks)
    )
