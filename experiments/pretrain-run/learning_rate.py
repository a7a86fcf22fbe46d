"""Does the best learning rate of a narrow model serve a wide one?

Models of one depth and of width 64, 128 and 256 read the little world byte by byte, with the same
learning rates in four forms: AdamW and Muon, each with one rate for everything, and each with the
narrowest model as the base, so that wider matrices take less. Heads have one width: a wider model
has more of them. All else is equal: data and its order, steps, initial spread, decay. The result of
a run is its held-out loss at the end.
"""

import math
import random
from dataclasses import dataclass
from functools import cache

from minimind_wiki.book.experiment import Experiment, Measurement
from minimind_wiki.data import Corpus
from minimind_wiki.data.world.rows import make_rows
from minimind_wiki.lite.plot import Axis, Figure, Line, Panel
from minimind_wiki.tokenizer import ByteTokenizer
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.feeds import corpus_feed
from minimind_wiki.train.pretrain import pretrain

BASE, WIDTHS = 64, (64, 128, 256)
FORMS = {  # title, optimizer, base width, widths; Muon costs more, and has no middle width
    "adamw": ("AdamW, one rate", "adamw", 0, WIDTHS),
    "adamw_scaled": ("AdamW, matrices by width", "adamw", BASE, WIDTHS),
    "muon": ("Muon, one rate", "muon", 0, WIDTHS[::2]),
    "muon_scaled": ("Muon, matrices by the root of width", "muon", BASE, WIDTHS[::2]),
}
ROLES = dict(zip(WIDTHS, "abc", strict=True))


@dataclass(frozen=True, slots=True)
class Settings:
    """Steps of batch_size windows of context bytes; powers of 2 that are tried as learning rates;
    stories and lessons of the text (two to one); held-out windows."""

    powers: tuple[int, ...] = (-11, -10, -9, -8, -7, -6, -5, -4)
    steps: int = 80
    batch_size: int = 8
    context: int = 64
    layers: int = 2
    head_dim: int = 32
    rows: int = 2250
    windows: int = 64


experiment = Experiment(
    name="pretrain-run/learning_rate",
    factors=("optimizer", "base_width", "width"),
    arms={
        f"{form}_{width}": {"title": f"width {width}", "role": ROLES[width], "width": width,
                            "optimizer": optimizer, "base_width": base}
        for form, (_, optimizer, base, widths) in FORMS.items()
        for width in widths
        if width != base  # there the scaled form is the other one, to the bit
    },
    settings=Settings(),
    quick=Settings(powers=(-8, -3), steps=12, batch_size=4, context=32, rows=60, windows=8),
    primary="best_loss",
    chance={"best_loss": math.log(ByteTokenizer.vocab_size)},
    repeat=(("adamw_64", 0), ("adamw_scaled_128", 0), ("muon_64", 0), ("muon_scaled_256", 0)),
    budget=900,
)  # fmt: skip


@cache
def world(rows: int) -> Corpus:
    """Stories and lessons of training worlds as one text, mixed."""
    texts = [row["text"] for kind, share in (("pretrain", 2), ("lessons", 1))
             for row in make_rows(kind, rows * share // 3, seed=1)]  # fmt: skip
    random.Random(1).shuffle(texts)
    return Corpus("the little world", ("\n\n".join(texts),), "it is generated", "world")


@cache
def feed_of(config: TrainConfig, rows: int):
    return corpus_feed(world(rows), config, ByteTokenizer())


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    import dataclasses

    width = arm["width"]
    fields = {"hidden_size": width, "num_hidden_layers": settings.layers, "qk_norm": True,
              "num_attention_heads": width // settings.head_dim, "head_dim": settings.head_dim,
              "num_key_value_heads": width // settings.head_dim,
              "intermediate_size": 3 * width}  # fmt: skip
    common = TrainConfig(
        preset="tiny", data="world", steps=settings.steps, batch_size=settings.batch_size,
        context_length=settings.context, eval_windows=settings.windows, eval_every=settings.steps,
        sample_tokens=0, seed=seed, device="cpu", dtype="bfloat16", threads=1, prefetch=0,
    )  # fmt: skip
    feed = feed_of(common, settings.rows)
    rates = [2.0**power for power in settings.powers]
    losses = []
    for rate in rates:
        config = dataclasses.replace(common, learning_rate=rate, optimizer=arm["optimizer"],
                                     base_width=arm["base_width"])  # fmt: skip
        outcome = pretrain(config, fields, tokenizer=ByteTokenizer(), feed=feed)
        losses.append(outcome.state.held_out["loss"][-1])
    values = {
        "best_loss": min(losses),
        "parameters": outcome.run["parameters"],
        **{f"loss_at_2^{p}": loss for p, loss in zip(settings.powers, losses, strict=True)},
    }
    return Measurement(values, {"loss": (rates, losses)})


def arm_of(form: str, width: int) -> str:
    """At its base width, a scaled form is its optimizer's plain one."""
    _, optimizer, base, _ = FORMS[form]
    return f"{optimizer if width == base else form}_{width}"


def losses_of(record, arm: str) -> list[list[float]]:
    """For each seed, the loss at each of the tried rates."""
    powers = record.settings["powers"]
    return list(zip(*(record.seeds(arm, f"loss_at_2^{p}") for p in powers), strict=True))


def best_powers(record, arm: str) -> list[float]:
    """For each seed, the power of 2 of the best rate: the lowest point of the parabola through the
    lowest loss and its two neighbours, so that it may lie between the rates that were tried."""
    powers, found = record.settings["powers"], []
    for losses in losses_of(record, arm):
        i = losses.index(min(losses))
        found.append(float(powers[i]))
        if 0 < i < len(losses) - 1:
            left, here, right = losses[i - 1 : i + 2]
            found[-1] += (left - right) / (left - 2 * here + right) / 2
    return found


@experiment.derived
def found(record):
    """Means over the seeds. best_rate: that of the powers of 2. transfer_cost: how much worse than
    at its best of the tried rates an arm is at the best of its form's narrowest model."""
    out = {}
    for form, (*_, widths) in FORMS.items():
        for width in widths:
            arm = arm_of(form, width)
            powers = best_powers(record, arm)
            pairs = zip(losses_of(record, arm_of(form, BASE)), losses_of(record, arm), strict=True)
            costs = [own[narrow.index(min(narrow))] - min(own) for narrow, own in pairs]
            out[arm] = {"best_rate": 2 ** (sum(powers) / len(powers)),
                        "transfer_cost": sum(costs) / len(costs)}  # fmt: skip
    return out


def rises(record, form: str) -> tuple[list[float], str]:
    """For each seed, the powers of 2 by which the best rate rises from the narrowest to the widest,
    and the factors."""
    first, last = (best_powers(record, arm_of(form, width)) for width in (BASE, WIDTHS[-1]))
    found = [b - a for a, b in zip(first, last, strict=True)]
    return found, "factors " + ", ".join(f"{2**x:.2f}" for x in found)


@experiment.claim(quick=True)
def learns(record):
    """Every model learns: its best loss is at least a nat below chance."""
    worst = max(record.value(arm, "best_loss") for arm in record.arms)
    chance = record.level("chance", "best_loss")
    return worst <= chance - 1, f"at most {worst:.2f}, chance {chance:.2f}"


@experiment.claim()
def inside(record):
    """Each best rate, of every seed, lies inside the grid."""
    found = [power for arm in record.arms for power in best_powers(record, arm)]
    first, *_, last = record.settings["powers"]
    return first < min(found) <= max(found) < last, f"2^{min(found):.1f} to 2^{max(found):.1f}"


@experiment.claim()
def adamw_falls(record):
    """With one rate for everything, AdamW's best rate at least halves while the width grows
    fourfold, with every seed."""
    found, told = rises(record, "adamw")
    return max(found) <= -1, told


@experiment.claim()
def adamw_falls_as_width(record):
    """It falls to a quarter, with every seed nearer to a quarter than to a half."""
    found, told = rises(record, "adamw")
    return all(abs(x + 2) < 0.5 for x in found), told


@experiment.claim()
def scaled_adamw_stays(record):
    """Where AdamW's matrices take less by the width, the best rates of the narrowest and the widest
    lie within a factor of 2, one step of the grid, with every seed."""
    found, told = rises(record, "adamw_scaled")
    return all(abs(x) <= 1 for x in found), told


@experiment.claim()
def muon_stays(record):
    """With one rate for everything, Muon's best rates lie within a factor of 2 with every seed."""
    found, told = rises(record, "muon")
    return all(abs(x) <= 1 for x in found), told


@experiment.claim()
def scaled_muon_stays(record):
    """Where Muon's matrices take less by the root of the width, they do."""
    found, told = rises(record, "muon_scaled")
    return all(abs(x) <= 1 for x in found), told


@experiment.claim()
def transfer_is_cheap(record):
    """The narrowest model's best rate costs the widest at most 0.03 nats a byte with scaled
    matrices, and more than that without, for both optimizers."""
    costs = {form: record.value(arm_of(form, WIDTHS[-1]), "transfer_cost") for form in FORMS}
    good = all(costs[f"{name}_scaled"] <= 0.03 < costs[name] for name in ("adamw", "muon"))
    return good, ", ".join(f"{form} {cost:.3f}" for form, cost in costs.items())


@experiment.claim()
def transfer_is_cheaper(record):
    """It costs at most half of what it costs with one rate for everything, for both optimizers."""
    costs = {form: record.value(arm_of(form, WIDTHS[-1]), "transfer_cost") for form in FORMS}
    good = all(costs[f"{name}_scaled"] <= costs[name] / 2 for name in ("adamw", "muon"))
    return good, ", ".join(f"{form} {cost:.3f}" for form, cost in costs.items())


@experiment.claim()
def scaled_is_better(record):
    """At its best rate, the widest model with AdamW is better with scaled matrices than without,
    with every seed."""
    scaled, plain = (record.seeds(arm_of(form, WIDTHS[-1]), "best_loss")
                     for form in ("adamw_scaled", "adamw"))  # fmt: skip
    return max(scaled) < min(plain), f"at most {max(scaled):.3f}, at least {min(plain):.3f}"


@experiment.figure()
def loss(record):
    """Held-out loss over the learning rate: a valley for each width, a panel for each form. Wider
    models lie lower. With one rate for everything the valleys of wider models lie further left."""
    return Figure([panel(record, form) for form in FORMS])


def panel(record, form: str) -> Panel:
    title, _, _, widths = FORMS[form]
    lines = []
    for width in widths:
        arm = arm_of(form, width)
        c = record.curve(arm, "loss")
        i = WIDTHS.index(width)
        lines.append(Line(c["x"], c["mean"], record.arms[arm]["title"], ROLES[width], lo=c["lo"],
                          hi=c["hi"], dash=("dot", "dash", "solid")[i],
                          marker=("circle", "square", "diamond")[i]))  # fmt: skip
    return Panel(Axis("learning rate", "log"), Axis("held-out nats per byte"), lines, title=title)
