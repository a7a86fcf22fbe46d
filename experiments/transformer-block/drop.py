"""Which part of a block is missed most when it is left out from the beginning?

A character decoder of four blocks, trained with one part left out at a time: a norm, or all of
them; positions; the projection behind the heads; attention or the feed-forward in every block.
Where a branch is gone so are its parameters, so a second arm puts as many back: into wider
feed-forwards, or into more layers of attention. The learning rate is swept for each.
"""

from dataclasses import replace

from minimind_wiki.book.experiment import Experiment, Measurement, Sweep
from minimind_wiki.lite.plot import Axis, Figure, Panel

from ._claims import below, gap, mean, rates, rises, spans
from ._train import QUICK, Settings, described, measured

NORMS = ("norm a", "norm f", "norm last")
WHOLE = "afafafaf"
ARMS = {  # name: title, role, spelling, dropped, width of the feed-forward
    "whole": ("whole", "prenorm", WHOLE, (), 128),
    "no_attention_norm": ("no norm before attention", "a", WHOLE, NORMS[:1], 128),
    "no_mlp_norm": ("no norm before the feed-forward", "a", WHOLE, NORMS[1:2], 128),
    "no_last_norm": ("no last norm", "a", WHOLE, NORMS[2:], 128),
    "no_norms": ("no norm at all", "none", WHOLE, NORMS, 128),
    "no_rope": ("no positions", "b", WHOLE, ("rope",), 128),
    "no_out": ("no projection behind the heads", "b", WHOLE, ("out",), 128),
    "no_mlp": ("no feed-forward", "he", "aaaa", (), 128),
    "no_mlp_refilled": ("no feed-forward, more attention", "he", "a" * 12, (), 128),
    "no_attention": ("no attention", "none", "ffff", (), 128),
    "no_attention_refilled": ("no attention, wider feed-forward", "none", "ffff", (), 192),
}

experiment = Experiment(
    name="transformer-block/drop",
    factors=("spelling", "drop", "width"),
    arms={name: {"title": title, "role": role, "spelling": spelling, "drop": drop, "width": width}
          for name, (title, role, spelling, drop, width) in ARMS.items()},
    settings=Settings(),
    quick=replace(QUICK, layers=4),
    quick_arms=("whole", "no_norms", "no_attention", "no_attention_refilled", "no_mlp_refilled"),
    sweep=Sweep("learning_rate", (3e-3, 1e-2), "selection_loss", quick=(1e-2,),
                beyond=(3e-4, 1e-3, 3e-2)),
    primary="held_out_loss",
    repeat=(("whole", 0),),
)  # fmt: skip


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    return measured(arm, seed, settings)


@experiment.levels
def levels(settings: Settings) -> dict:
    return described()


@experiment.derived
def derived(record):
    return {n: {"rise": mean(gap(record, n, "whole")),
                "best_learning_rate": record.sweep(n)["best"]} for n in record.arms}  # fmt: skip


@experiment.claim(quick=True)
def refilled_is_as_large(record):
    """The refilled arms have as many parameters as the whole model, to two in a hundred."""
    arms = ("whole", "no_mlp_refilled", "no_attention_refilled")
    sizes = [record.value(n, "parameters") for n in arms]
    return max(sizes) < 1.02 * min(sizes), ", ".join(f"{s:,.0f}" for s in sizes)


@experiment.claim()
def attention_is_missed_most(record):
    """Without attention the loss ends above that of every other arm, every seed."""
    others = [n for n in ARMS if n not in ("no_attention", "no_attention_refilled")]
    (none, *others), said = spans(record, "held_out_loss", "no_attention", *others)
    return min(none) > max(map(max, others)), said


@experiment.claim()
def without_attention_a_table(record):
    """Without attention a decoder is a table of pairs: even refilled it ends within 0.05 nats."""
    table = record.level("baseline", "held_out_loss")
    (seeds,), said = spans(record, "held_out_loss", "no_attention_refilled")
    return all(abs(s - table) < 0.05 for s in seeds), f"{said}; table of pairs: {table:.3f}"


@experiment.claim()
def attention_cannot_replace_it(record):
    """As many parameters in attention alone end above the whole model, every seed."""
    return below(record, "whole", "no_mlp_refilled")


@experiment.claim()
def one_norm_is_cheap(record):
    """Leaving out one kind of norm costs less than 0.05 nats, each at its own best rate."""
    arms = ("no_attention_norm", "no_mlp_norm", "no_last_norm")
    cost = {n: mean(gap(record, n, "whole")) for n in arms}
    return max(cost.values()) < 0.05, ", ".join(f"{n} {c:+.3f}" for n, c in cost.items())


@experiment.claim()
def all_norms_are_missed(record):
    """Without any norm the loss ends above the whole model's, every seed."""
    return below(record, "whole", "no_norms")


@experiment.claim()
def positions_are_missed(record):
    """Without positions the loss ends above the whole model's, every seed."""
    return below(record, "whole", "no_rope")


@experiment.figure()
def parts(record):
    """How far each decoder with a part left out ends above the whole one, in nats a character."""
    names = [n for n in record.arms if n != "whole"]
    x = Axis("nats a character above the whole model")
    bars = [rises(record, names, "whole")]
    return Figure(Panel(x, Axis("", "category"), bars=bars, legend="none"))


@experiment.figure()
def learning_rates(record):
    """Loss on selection text against the learning rate, for every norm left out and for none."""
    arms = ["whole", "no_attention_norm", "no_mlp_norm", "no_last_norm", "no_norms"]
    return rates(record, {"": arms}, top=3.5)
