"""What does it cost to let attention and feed-forward read the same stream?

A parallel block computes both branches from one input and adds both: GPT-NeoX with a norm for each,
GPT-J and PaLM with one norm for both. Character decoders of two and of six blocks, sequential and
parallel; the parameters are the same but for the second norm, and the learning rate is swept.
"""

from minimind_wiki.book.experiment import Experiment, Measurement, Sweep
from minimind_wiki.lite.plot import Axis, Figure, Panel

from ._claims import below, gap, mean, rates, rises, spans
from ._train import QUICK, Settings, described, measured

KINDS = {"sequential": ("sequential", "prenorm", "af"), "two": ("parallel, two norms", "a", "P"),
         "one": ("parallel, one norm", "b", "p")}  # fmt: skip
DEPTHS = (2, 6)

experiment = Experiment(
    name="transformer-block/parallel",
    factors=("spelling", "depth"),
    arms={f"{name}_{depth}": {"title": f"{title}, {depth} blocks", "role": role, "depth": depth,
                              "spelling": letters * depth}
          for depth in DEPTHS for name, (title, role, letters) in KINDS.items()},
    settings=Settings(),
    quick=QUICK,
    seeds=(0, 1, 2, 3, 4),
    quick_arms=("sequential_2", "two_2", "one_2"),
    sweep=Sweep("learning_rate", (3e-3, 1e-2), "selection_loss", quick=(1e-2,),
                beyond=(1e-3, 3e-2)),
    primary="held_out_loss",
    repeat=(("sequential_2", 0), ("two_2", 0), ("one_2", 1)),
)  # fmt: skip


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    return measured(arm, seed, settings)


@experiment.levels
def levels(settings: Settings) -> dict:
    return described()


@experiment.derived
def derived(record):
    return {n: {"rise": mean(gap(record, n, f"sequential_{a['factors']['depth']}")),
                "best_learning_rate": record.sweep(n)["best"]}
            for n, a in record.arms.items()}  # fmt: skip


@experiment.claim(quick=True)
def same_size_but_for_a_norm(record):
    """Two norms: exactly as many parameters as sequential. One norm: fewer by one gain a block."""
    one, two, whole = (record.value(f"{k}_2", "parameters") for k in ("one", "two", "sequential"))
    gains = 2 * record.settings["hidden"]
    return whole == two == one + gains, f"{whole:,.0f}, {two:,.0f}, {one:,.0f}"


@experiment.claim()
def sequential_is_ahead(record):
    """At both depths sequential blocks end below both kinds of parallel ones, every seed."""
    found = [below(record, f"sequential_{d}", f"{k}_{d}") for d in DEPTHS for k in ("two", "one")]
    return all(good for good, _ in found), spans(record, "held_out_loss", *record.arms)[1]


@experiment.claim()
def parallel_costs_little(record):
    """At six blocks parallel ones end less than 0.03 nats above sequential ones, on average."""
    rise = {k: mean(gap(record, f"{k}_6", "sequential_6")) for k in ("two", "one")}
    return max(rise.values()) < 0.03, ", ".join(f"{k} {r:+.3f}" for k, r in rise.items())


@experiment.claim()
def the_gap_shrinks(record):
    """With a norm for each, parallel blocks lose less at six blocks than at two, on average."""
    two, six = (mean(gap(record, f"two_{d}", f"sequential_{d}")) for d in DEPTHS)
    return six < two, f"{two:+.3f} at two blocks, {six:+.3f} at six"


@experiment.claim()
def one_norm_is_enough(record):
    """One norm for both branches ends within 0.02 nats of a norm for each, at both depths."""
    diff = [mean(gap(record, f"one_{d}", f"two_{d}")) for d in DEPTHS]
    return max(map(abs, diff)) < 0.02, ", ".join(f"{x:+.3f}" for x in diff)


@experiment.figure()
def gaps(record):
    """How far parallel blocks end above sequential ones of the same depth, in nats a character."""
    shown = []
    for depth in DEPTHS:
        names = [f"{k}_{depth}" for k in ("two", "one") if f"{k}_{depth}" in record.arms]
        if names:
            shown.append(rises(record, names, f"sequential_{depth}"))
    ends = [0.0, *(x for bars in shown for x in (*bars.lo, *bars.hi))]
    x = Axis("nats a character above sequential", range=(1.1 * min(ends), 1.1 * max(ends)))
    return Figure([Panel(x, Axis("", "category"), bars=[b], legend="none") for b in shown])


@experiment.figure()
def learning_rates(record):
    """Loss on selection text against the learning rate, for two and for six blocks."""
    return rates(record, {f"{d} blocks": [f"{k}_{d}" for k in KINDS] for d in DEPTHS})
