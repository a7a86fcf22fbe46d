"""Which position encoding lets a small decoder copy a row in order, with one layer and with two?

A row of letters, all different, is to be written again. Without their order the best reader guesses
among the letters that have not come yet; that bar is exact. Five schemes, each with one layer and
with two, all else equal, at several learning rates; each is shown at its own best, chosen on rows
that neither train nor are reported. One of them has no position encoding at all.
"""

from dataclasses import dataclass
from math import log

from minimind_wiki.book.experiment import Experiment, Measurement, Sweep
from minimind_wiki.lite.plot import Axis, Bars, Figure, Level, Line, Panel

from ._copying import blind, right, trained

SCHEMES = {
    "none": ("no positions", "none", "solid"),
    "alibi": ("ALiBi", "c", "dot"),
    "sinusoidal": ("sinusoidal", "b", "dash"),
    "learned": ("learned", "a", "dashdot"),
    "rotary": ("RoPE", "model", "longdash"),
}
LAYERS = (1, 2)


@dataclass(frozen=True, slots=True)
class Settings:
    """Letters in a row; rows in a batch; rows that are reported."""

    letters: int = 12
    width: int = 64
    heads: int = 4
    batch: int = 64
    steps: int = 400
    reported: int = 2048
    learning_rate: float = 5e-3  # swept


experiment = Experiment(
    name="position-encoding/schemes",
    factors=("positions", "layers"),
    arms={
        f"{name}_{layers}": {"title": f"{title}, {layers} layer{'s' * (layers > 1)}", "role": role,
                             "positions": name, "layers": layers}
        for layers in LAYERS for name, (title, role, _) in SCHEMES.items()
    },
    settings=Settings(),
    quick=Settings(letters=5, width=32, steps=60, reported=256),
    quick_arms=("none_1", "none_2", "rotary_1"),
    sweep=Sweep("learning_rate", (2e-3, 5e-3, 1.2e-2), "selection_loss", quick=(1e-2,),
                beyond=(8e-4, 3e-2)),
    primary="right",
    repeat=(("none_1", 0), ("sinusoidal_1", 0), ("learned_2", 0), ("rotary_1", 0), ("alibi_1", 0)),
)  # fmt: skip


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    model, loss = trained({"positions": arm["positions"]}, arm["layers"], seed, settings)
    share, by_place = right(model, settings.reported, settings.letters)
    places = range(1, settings.letters + 1)
    return Measurement({"right": share, "selection_loss": loss}, {"places": (places, by_place)})


@experiment.levels
def levels(settings: Settings) -> dict:
    """Chance knows the alphabet; the baseline knows which letters stand there, not their order."""
    known = blind(settings.letters)
    return {"chance": {"right": 1 / 26, "selection_loss": log(26)},
            "baseline": {"right": known["right"], "selection_loss": known["loss"]}}  # fmt: skip


def said(record, arms) -> str:
    return ", ".join(f"{record.arms[a]['title']} {record.value(a, 'right'):.1%}" for a in arms)


@experiment.claim(quick=True)
def one_blind_layer(record):
    """One causal layer without positions stays at or below the bar, with every seed."""
    bar = record.level("baseline", "right")
    return max(
        record.seeds("none_1", "right")
    ) < bar + 0.01, f"{said(record, ['none_1'])}, {bar:.1%}"


@experiment.claim()
def two_layers_tell_order(record):
    """Two causal layers without positions pass the bar clearly, by a tenth or more, with every
    seed: they tell order."""
    bar = record.level("baseline", "right")
    return min(
        record.seeds("none_2", "right")
    ) > bar + 0.1, f"{said(record, ['none_2'])}, {bar:.1%}"


@experiment.claim()
def one_layer_with_places(record):
    """Where places enter queries and keys (learned, sinusoidal, RoPE), one layer copies nearly
    everything: above 98 %, with every seed."""
    arms = [f"{name}_1" for name in ("learned", "sinusoidal", "rotary")]
    return min(min(record.seeds(a, "right")) for a in arms) > 0.98, said(record, arms)


@experiment.claim()
def alibi_one_layer(record):
    """One layer with ALiBi does not copy: its scores only fall with distance, so it stays within
    two hundredths of the bar or below, with every seed."""
    bar = record.level("baseline", "right")
    return max(record.seeds("alibi_1", "right")) < bar + 0.02, said(record, ["alibi_1"])


@experiment.claim()
def explicit_is_better(record):
    """With two layers, each scheme that tells places still beats the stack without any, with every
    seed, ALiBi included."""
    worst = min(min(record.seeds(f"{n}_2", "right")) for n in SCHEMES if n != "none")
    best = max(record.seeds("none_2", "right"))
    return worst > best, said(record, [f"{name}_2" for name in SCHEMES])


@experiment.figure()
def copied(record):
    """Share of letters copied rightly by each scheme, with one layer and with two. The bar of a
    reader without order lies at about a quarter."""
    bars = []
    for layers, role in zip(LAYERS, ("a", "model"), strict=True):
        arms = {n: f"{n}_{layers}" for n in SCHEMES if f"{n}_{layers}" in record.arms}
        seeds = [record.seeds(arm, "right") for arm in arms.values()]
        bars.append(Bars([SCHEMES[n][0] for n in arms], [record.value(a, "right") for a in
                    arms.values()], f"{layers} layer{'s' * (layers > 1)}", role,
                    [min(s) for s in seeds], [max(s) for s in seeds]))  # fmt: skip
    bar = Level(record.level("baseline", "right"), "no order", "baseline")
    return Figure(Panel(Axis(""), Axis("letters copied rightly", range=(0, 1.02)), bars=bars,
                        levels=[bar], legend="top"))  # fmt: skip


@experiment.figure()
def by_place(record):
    """Share of right letters at each place of the copy, for two layers. Learned, sinusoidal and
    RoPE are right everywhere; without positions and with ALiBi the first place is right and the
    middle is hardest."""
    names = [name for name in SCHEMES if f"{name}_2" in record.arms]
    lines = [record.line(f"{n}_2", "places", SCHEMES[n][0], SCHEMES[n][2]) for n in names]
    letters = record.settings["letters"]
    guess = Line(range(1, letters + 1), [1 / (letters - j) for j in range(letters)],
                 "letters known, order not", "baseline", dash="dot")  # fmt: skip
    return Figure(Panel("place in the copy", Axis("right", range=(0, 1.02)), [*lines, guess],
                        legend="top"))  # fmt: skip
