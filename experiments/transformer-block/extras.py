"""Do a block's linear maps need biases, and does it need dropout?

The decoder of four blocks as it is; with a bias on every linear map of its blocks; with a tenth of
each branch's result dropped while training. Once on text that never repeats, and once on a short
piece of it, read again and again, where a model can learn by heart. The learning rate is swept.
"""

from minimind_wiki.book.experiment import Experiment, Measurement, Sweep
from minimind_wiki.lite.plot import Axis, Figure, Panel

from ._claims import below, gap, mean, rises, spans
from ._train import QUICK, Settings, described, measured

PIECE = 8000  # characters of the short text
TEXTS = {"once": ("read once", 0), "often": ("read again and again", PIECE)}
KINDS = {  # name: title, role, bias, dropout
    "plain": ("plain", "prenorm", False, 0.0),
    "bias": ("biases", "a", True, 0.0),
    "dropout": ("dropout", "b", False, 0.1),
}

experiment = Experiment(
    name="transformer-block/extras",
    factors=("bias", "dropout", "often"),
    arms={f"{text}_{name}": {"title": f"{title}, {said}", "role": role, "bias": bias,
                             "dropout": dropout, "often": often}
          for text, (said, often) in TEXTS.items()
          for name, (title, role, bias, dropout) in KINDS.items()
          if (text, name) != ("often", "bias")},
    settings=Settings(),
    quick=QUICK,
    quick_arms=("once_plain", "once_bias", "often_dropout"),
    sweep=Sweep("learning_rate", (3e-3, 1e-2), "selection_loss", quick=(1e-2,),
                beyond=(3e-4, 1e-3, 3e-2)),
    primary="held_out_loss",
    repeat=(("once_bias", 0), ("often_dropout", 1)),
)  # fmt: skip


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    return measured(arm, seed, settings)


@experiment.levels
def levels(settings: Settings) -> dict:
    return described()


@experiment.derived
def derived(record):
    passes = record.settings["steps"] * record.settings["batch"] * record.settings["context"]
    return {n: {"rise": mean(gap(record, n, f"{n.split('_')[0]}_plain")),
                "overfit": mean([a - b for a, b in zip(record.seeds(n, "held_out_loss"),
                                 record.seeds(n, "training_loss"), strict=True)]),
                "passes": passes / PIECE, "best_learning_rate": record.sweep(n)["best"]}
            for n in record.arms if f"{n.split('_')[0]}_plain" in record.arms}  # fmt: skip


@experiment.claim(quick=True)
def biases_are_few(record):
    """Biases add less than two in a hundred to the parameters."""
    plain, bias = (record.value(f"once_{k}", "parameters") for k in ("plain", "bias"))
    return 1 < bias / plain < 1.02, f"{plain:,.0f} and {bias:,.0f}"


@experiment.claim()
def biases_change_little(record):
    """On text read once, biases move the loss by less than 0.02 nats, on average."""
    rise = mean(gap(record, "once_bias", "once_plain"))
    return abs(rise) < 0.02, f"{rise:+.3f} nats; {spans(record, 'held_out_loss', 'once_plain')[1]}"


@experiment.claim()
def dropout_hurts_once(record):
    """On text read once, dropout raises the loss, every seed."""
    return below(record, "once_plain", "once_dropout")


@experiment.claim()
def dropout_helps_often(record):
    """On a short text read again and again, dropout lowers the loss on new text, every seed."""
    return below(record, "often_dropout", "often_plain")


@experiment.figure()
def extras(record):
    """How far biases and dropout end above the plain decoder on new text, in nats a
    character; below zero is better."""
    shown = {}
    for text, (said, _) in TEXTS.items():
        names = [f"{text}_{k}" for k in ("bias", "dropout") if f"{text}_{k}" in record.arms]
        if names and f"{text}_plain" in record.arms:
            shown[said] = rises(record, names, f"{text}_plain")
            shown[said].x[:] = [KINDS[n.split("_")[1]][0] for n in names]
    ends = [0.0, *(x for bars in shown.values() for x in (*bars.lo, *bars.hi))]
    x = Axis("nats a character above plain", range=(1.1 * min(ends), 1.1 * max(ends)))
    return Figure([Panel(x, Axis("", "category"), bars=[bars], title=said, legend="none")
                   for said, bars in shown.items()])  # fmt: skip
