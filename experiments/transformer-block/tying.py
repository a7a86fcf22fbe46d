"""One table for reading and writing tokens, or two?

A decoder needs a vector for each token that it reads and one for each that it may say. Tied, they
are the same table. Three arms: tied; untied, with more parameters; and tied with feed-forwards so
much wider that it has as many as the untied one. Twice: in characters, where a table is small, and
in tokens of a BPE, where it is most of the model. The learning rate is swept for each.
"""

from minimind_wiki.book.experiment import Experiment, Measurement, Sweep
from minimind_wiki.lite.plot import Axis, Figure, Panel

from ._claims import below, gap, mean, rates, rises, spans
from ._train import QUICK, Settings, described, measured

VOCABULARIES = {"characters": 0, "tokens": 2048}
KINDS = {  # name: title, role, tied, width in characters, width in tokens
    "tied": ("tied", "prenorm", True, 128, 128),
    "untied": ("untied", "a", False, 128, 128),
    "refilled": ("tied, wider inside", "b", True, 133, 299),
}

experiment = Experiment(
    name="transformer-block/tying",
    factors=("tied", "width", "vocabulary"),
    arms={f"{text}_{name}": {"title": f"{text}: {title}", "role": role, "tied": tied,
                             "width": widths[text == "tokens"], "vocabulary": size}
          for text, size in VOCABULARIES.items()
          for name, (title, role, tied, *widths) in KINDS.items()},
    settings=Settings(),
    quick=QUICK,
    quick_arms=tuple(f"characters_{name}" for name in KINDS),
    sweep=Sweep("learning_rate", (3e-3, 1e-2), "selection_loss", quick=(1e-2,),
                beyond=(1e-3, 3e-2)),
    primary="held_out_loss",
    repeat=(("characters_tied", 0), ("characters_untied", 1), ("tokens_untied", 0)),
)  # fmt: skip


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    return measured(arm, seed, settings)


@experiment.levels
def levels(settings: Settings) -> dict:
    return described()


@experiment.derived
def derived(record):
    return {n: {"rise": mean(gap(record, n, f"{n.split('_')[0]}_tied")),
                "best_learning_rate": record.sweep(n)["best"]} for n in record.arms}  # fmt: skip


@experiment.claim(quick=True)
def refilled_is_as_large(record):
    """The wider tied model has as many parameters as the untied one, to one in a hundred."""
    texts = sorted({n.split("_")[0] for n in record.arms})
    sizes = {t: [record.value(f"{t}_{k}", "parameters") for k in KINDS] for t in texts}
    good = all(abs(refilled / untied - 1) < 0.01 for _, untied, refilled in sizes.values())
    return good, "; ".join(f"{t} {', '.join(f'{s:,.0f}' for s in ss)}" for t, ss in sizes.items())


@experiment.claim()
def untied_is_ahead_at_equal_width(record):
    """With a second table the loss in tokens ends below that of one table, every seed."""
    return below(record, "tokens_untied", "tokens_tied")


@experiment.claim()
def tied_is_ahead_at_equal_parameters(record):
    """In tokens, the second table's parameters do more in the feed-forwards, every seed."""
    return below(record, "tokens_refilled", "tokens_untied")


@experiment.claim()
def small_tables_do_not_care(record):
    """In characters the three arms end within 0.03 nats of each other, on average."""
    arms = [f"characters_{k}" for k in KINDS]
    means = [record.value(n, "held_out_loss") for n in arms]
    return max(means) - min(means) < 0.03, spans(record, "held_out_loss", *arms)[1]


@experiment.figure()
def gaps(record):
    """How far two tables, and one with wider feed-forwards, end above one table, in nats a
    character; below zero is better."""
    shown = {}
    for text in VOCABULARIES:
        names = [f"{text}_{k}" for k in ("untied", "refilled") if f"{text}_{k}" in record.arms]
        if names:
            shown[text] = rises(record, names, f"{text}_tied")
            shown[text].x[:] = [KINDS[n.split("_")[1]][0] for n in names]
    ends = [0.0, *(x for bars in shown.values() for x in (*bars.lo, *bars.hi))]
    x = Axis("nats a character above tied", range=(1.1 * min(ends), 1.1 * max(ends)))
    return Figure([Panel(x, Axis("", "category"), bars=[bars], title=text, legend="none")
                   for text, bars in shown.items()])  # fmt: skip


@experiment.figure()
def learning_rates(record):
    """Loss on selection text against the learning rate, in characters and in tokens."""
    return rates(record, {text: [f"{text}_{k}" for k in KINDS] for text in VOCABULARIES})
