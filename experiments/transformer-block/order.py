"""Does the order of attention and feed-forward matter?

Character decoders of eight branches, four attentions and four feed-forwards, with a norm before
each and the same parameters. Only the order differs: attention first in each block, as everywhere;
the two swapped; all attentions first; all feed-forwards first; and a sandwich, in which attentions
come early and feed-forwards late (Press et al. 2020). The learning rate is swept for each.
"""

from minimind_wiki.book.experiment import Experiment, Measurement, Sweep
from minimind_wiki.lite.plot import Axis, Figure, Panel

from ._claims import below, gap, mean, rates, rises, spans
from ._train import QUICK, Settings, described, measured

ORDERS = {  # name: title, role, spelling
    "af": ("af af af af", "prenorm", "afafafaf"),
    "fa": ("fa fa fa fa", "a", "fafafafa"),
    "sandwich": ("a af af af f", "b", "aafafaff"),
    "a_first": ("aaaa ffff", "c", "aaaaffff"),
    "f_first": ("ffff aaaa", "none", "ffffaaaa"),
}

experiment = Experiment(
    name="transformer-block/order",
    factors=("spelling",),
    arms={name: {"title": title, "role": role, "spelling": spelling}
          for name, (title, role, spelling) in ORDERS.items()},
    settings=Settings(),
    quick=QUICK,
    quick_arms=("af", "fa"),
    sweep=Sweep("learning_rate", (3e-3, 1e-2), "selection_loss", quick=(1e-2,),
                beyond=(1e-3, 3e-2)),
    primary="held_out_loss",
    repeat=(("af", 0),),
)  # fmt: skip


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    return measured(arm, seed, settings)


@experiment.levels
def levels(settings: Settings) -> dict:
    return described()


@experiment.derived
def derived(record):
    return {n: {"rise": mean(gap(record, n, "af")),
                "best_learning_rate": record.sweep(n)["best"]} for n in record.arms}  # fmt: skip


@experiment.claim(quick=True)
def parameters_are_equal(record):
    """Every order has exactly the same number of parameters."""
    sizes = {record.value(n, "parameters") for n in record.arms}
    return len(sizes) == 1, f"{sizes.pop():,.0f}"


@experiment.claim()
def swapped_is_worse(record):
    """Feed-forward first in each block ends above attention first, every seed."""
    return below(record, "af", "fa")


@experiment.claim()
def attention_last_is_worst(record):
    """All feed-forwards before all attentions ends above every other order, every seed."""
    found = [below(record, n, "f_first") for n in ORDERS if n != "f_first"]
    return all(good for good, _ in found), spans(record, "held_out_loss", *ORDERS)[1]


@experiment.claim()
def sandwich_is_as_good(record):
    """The sandwich ends within 0.02 nats of the usual order, on average."""
    rise = mean(gap(record, "sandwich", "af"))
    return abs(rise) < 0.02, f"{rise:+.3f} nats a character"


@experiment.claim()
def any_order_learns(record):
    """Every order ends below a table of character pairs, every seed: none of them is broken."""
    table = record.level("baseline", "held_out_loss")
    found, said = spans(record, "held_out_loss", *ORDERS)
    return max(map(max, found)) < table, f"{said}; table of pairs: {table:.3f}"


@experiment.figure()
def orders(record):
    """How far each order ends above attention first in each block, in nats a character."""
    names = [n for n in record.arms if n != "af"]
    x = Axis("nats a character above af af af af")
    return Figure(Panel(x, Axis("", "category"), bars=[rises(record, names, "af")], legend="none"))


@experiment.figure()
def learning_rates(record):
    """Loss on selection text against the learning rate for each order."""
    return rates(record, {"": list(ORDERS)})
