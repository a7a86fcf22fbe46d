"""What does more text than in training do to each position encoding: help, or hurt?

Five byte decoders read windows of 64 bytes of Shakespeare, with learned, sinusoidal, rotary or no
positions, or ALiBi. Then each reads held-out text with 32 to 512 bytes before the same 32 bytes
that are judged. A model that can use more text gets better, one that can ignore it stays, one that
is thrown off gets worse. Each at its own best learning rate, chosen on other text at the trained
length. The bar is a table of byte pairs.
"""

from math import log

from minimind_wiki.book.experiment import Experiment, Measurement, Sweep
from minimind_wiki.lite.plot import Axis, Figure, Level, Panel

from ._text import Reading, described, losses, pairs, selection, shape, trained

DASHES = {"none": "solid", "learned": "dashdot", "sinusoidal": "dash", "rotary": "longdash",
          "alibi": "dot"}  # fmt: skip


def arm(title: str, role: str, positions: str) -> dict:
    return {"title": title, "role": role, "positions": positions}


experiment = Experiment(
    name="position-encoding/length",
    factors=("positions",),
    arms={
        "none": arm("no positions", "none", "none"),
        "learned": arm("learned", "a", "learned"),
        "sinusoidal": arm("sinusoidal", "b", "sinusoidal"),
        "rotary": arm("RoPE", "model", "rotary"),
        "alibi": arm("ALiBi", "c", "alibi"),
    },
    settings=Reading(),
    quick=Reading(lengths=(64, 256), longest=256, windows=16, width=32, steps=20),
    quick_arms=("rotary", "alibi"),
    sweep=Sweep("learning_rate", (5e-3, 1e-2, 2e-2), "selection_loss", quick=(1e-2,),
                beyond=(2.5e-3, 4e-2, 8e-2, 1.6e-1)),
    primary="at_trained",
    repeat=(("learned", 0), ("sinusoidal", 0), ("alibi", 0)),
)  # fmt: skip


@experiment.measure
def measure(arm: dict, seed: int, settings: Reading) -> Measurement:
    model = trained(shape(settings) | {"positions": arm["positions"]}, seed, settings).eval()
    found = losses(model, settings)
    at = dict(zip(settings.lengths, found, strict=True))
    values = {
        "selection_loss": selection(model, settings.context, settings),
        "at_trained": at[settings.context],
        "at_longest": found[-1],
        "change": found[-1] - at[settings.context],
        **{f"at_{length}": loss for length, loss in at.items()},
    }
    return Measurement(values, {"loss": (settings.lengths, found)})


@experiment.levels
def levels(settings: Reading) -> dict:
    """Chance knows nothing; the baseline is a smoothed table of byte pairs on the same bytes."""
    return {"chance": {"at_trained": log(256)}, "baseline": {"at_trained": pairs(settings)},
            "data": described()}  # fmt: skip


def changes(record, arms) -> str:
    return ", ".join(f"{record.arms[a]['title']} {record.value(a, 'change'):+.2f}" for a in arms)


@experiment.claim(quick=True)
def learns(record):
    """Every scheme learns: its loss at the trained length is more than a nat below chance."""
    worst = max(max(record.seeds(a, "at_trained")) for a in record.arms)
    chance = record.level("chance", "at_trained")
    return worst < chance - 1, f"at most {worst:.2f} nats a byte, chance {chance:.2f}"


@experiment.claim()
def below_pairs(record):
    """At the trained length every scheme is below the table of byte pairs, with every seed."""
    worst = max(max(record.seeds(a, "at_trained")) for a in record.arms)
    bar = record.level("baseline", "at_trained")
    return worst < bar, f"at most {worst:.2f} nats a byte, pairs {bar:.2f}"


@experiment.claim()
def rope_does_not_extrapolate(record):
    """RoPE alone does not extrapolate: at eight times the trained length it is worse than at the
    trained length by half a nat or more, with every seed."""
    return min(record.seeds("rotary", "change")) > 0.5, changes(record, ["rotary"])


@experiment.claim()
def formula_is_not_enough(record):
    """Nor does the sinusoidal table, although its formula goes on for ever: worse by half a nat or
    more, with every seed."""
    return min(record.seeds("sinusoidal", "change")) > 0.5, changes(record, ["sinusoidal"])


@experiment.claim()
def learned_has_no_rows(record):
    """Learned positions that no training step has touched make it worse by half a nat or more."""
    return min(record.seeds("learned", "change")) > 0.5, changes(record, ["learned"])


@experiment.claim()
def alibi_holds(record):
    """ALiBi alone stays within two hundredths of a nat of its loss at the trained length, or gets
    better, with every seed."""
    return max(record.seeds("alibi", "change")) < 0.02, changes(record, ["alibi"])


@experiment.claim()
def none_drifts(record):
    """Without positions the loss gets worse, and by less than with RoPE, with every seed."""
    pairs = list(zip(*(record.seeds(a, "change") for a in ("none", "rotary")), strict=True))
    return all(0.02 < none < rope for none, rope in pairs), changes(record, ["none", "rotary"])


@experiment.claim()
def rope_is_best_at_home(record):
    """At the trained length RoPE has the lowest loss, with every seed."""
    others = [a for a in record.arms if a != "rotary"]
    best = min(min(record.seeds(a, "at_trained")) for a in others)
    told = ", ".join(f"{r['title']} {record.value(a, 'at_trained'):.2f}"
                     for a, r in record.arms.items())  # fmt: skip
    return max(record.seeds("rotary", "at_trained")) < best, told


@experiment.figure()
def beyond(record):
    """Loss on the same held-out bytes against the number of bytes read before and with them. Up to
    the trained length all fall or stay; beyond it RoPE, learned and sinusoidal rise steeply, no
    positions a little, and ALiBi stays."""
    roles = {"sinusoidal": "d"}  # "b" and "none" have one colour
    lines = [record.line(a, "loss", dash=DASHES[a], marker="circle",
                         role=roles.get(a, r["role"])) for a, r in record.arms.items()]  # fmt: skip
    bar = [Level(record.level("baseline", "at_trained"), "byte pairs", "baseline")]
    x = Axis("bytes read (trained: 64)", "log", ticks=list(record.settings["lengths"]))
    return Figure(Panel(x, Axis("held-out nats a byte"), lines, levels=bar, legend="top"))
