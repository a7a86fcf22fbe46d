"""A model with RoPE was trained on short windows. What makes it read longer text?

One byte decoder per seed is trained on windows of 64 bytes. Then its rotary waves are slowed for
four times the length: all of them (position interpolation), through a larger base (NTK), or those
alone that never finished a turn (YaRN). Or anew for each text, by its own length: as the published
formula has it (dynamic NTK), or by just as much as the text is longer (fitted NTK). Or they stay
and each layer sees only the last 64 bytes. As it is, and after a tenth as many steps again on
windows of 256 bytes, at the best of several learning rates. The controls: the same further steps
without any slowing, and a model trained on the long windows from the start, at the rate of the
short ones. Judged on the same 32 held-out bytes, with 32 to 512 bytes read.
"""

from dataclasses import replace

from minimind_wiki.book.experiment import Experiment, Measurement, Sweep
from minimind_wiki.lite.plot import Axis, Figure, Panel

from ._stretched import Settings, model_of
from ._text import described, losses, selection


def arm(title: str, role: str, kind: str, further: bool = False, start: str = "short") -> dict:
    return {"title": title, "role": role, "kind": kind, "further": further, "start": start}


experiment = Experiment(
    name="position-encoding/stretching",
    factors=("kind", "further", "start"),
    arms={
        "plain": arm("as it is", "none", "default"),
        "linear": arm("position interpolation", "a", "linear"),
        "ntk": arm("NTK", "b", "ntk"),
        "dynamic": arm("dynamic NTK", "d", "dynamic"),
        "fitted": arm("fitted NTK", "e", "fitted"),
        "yarn": arm("YaRN", "model", "yarn"),
        "window": arm("window of 64", "c", "window"),
        "plain_tuned": arm("as it is", "none", "default", True),
        "linear_tuned": arm("position interpolation", "a", "linear", True),
        "ntk_tuned": arm("NTK", "b", "ntk", True),
        "yarn_tuned": arm("YaRN", "model", "yarn", True),
        "trained_long": arm("long from the start", "floor", "default", False, "long"),
    },
    settings=Settings(),
    quick=Settings(lengths=(64, 256), longest=256, windows=16, width=32, steps=20, more_steps=2),
    quick_arms=("plain", "dynamic", "yarn", "window", "yarn_tuned"),
    sweep=Sweep("learning_rate", (1e-3, 3e-3, 1e-2), "selection_loss", quick=(3e-3,),
                beyond=(3e-2,)),
    primary="at_long",
    repeat=(("ntk", 0), ("dynamic", 0), ("window", 0), ("yarn_tuned", 0), ("trained_long", 0)),
)  # fmt: skip

DASHES = {"plain": "solid", "linear": "dot", "ntk": "dash", "dynamic": "dashdot", "fitted": "dash",
          "yarn": "longdash", "window": "dashdot", "trained_long": "dot"}  # fmt: skip


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    long, model = settings.factor * settings.context, model_of(arm, seed, settings)
    found = losses(model, settings)
    if arm["kind"] == "fitted":  # another model for each length
        found = [losses(model_of(arm, seed, settings, n), replace(settings, lengths=(n,)))[0]
                 for n in settings.lengths]  # fmt: skip
    at = dict(zip(settings.lengths, found, strict=True))
    values = {
        "selection_loss": selection(model, long, settings),
        "at_trained": at[settings.context],
        "at_long": at[long],
        **{f"at_{length}": loss for length, loss in at.items()},
    }
    return Measurement(values, {"loss": (settings.lengths, found)})


@experiment.levels
def levels(settings: Settings) -> dict:
    return {"data": described()}


def told(record, arms, metric="at_long") -> str:
    return ", ".join(f"{a.replace('_', ' ')} {record.value(a, metric):.2f}" for a in arms)


def below(record, one: str, other: str, by: float = 0.0, metric: str = "at_long") -> bool:
    """Whether one arm is better than another by more than `by` nats, with every seed."""
    pairs = zip(record.seeds(one, metric), record.seeds(other, metric), strict=True)
    return all(a < b - by for a, b in pairs)


@experiment.claim(quick=True)
def measured_all(record):
    """Every arm gives a finite loss at the long length."""
    losses = [x for a in record.arms for x in record.seeds(a, "at_long")]
    return all(0 < x < 10 for x in losses), f"{min(losses):.2f} to {max(losses):.2f}"


@experiment.claim()
def yarn_helps_at_once(record):
    """Without any further training YaRN reads four times the length better than the model as it is,
    than position interpolation and than NTK, with every seed."""
    others = ("plain", "linear", "ntk")
    return all(below(record, "yarn", o) for o in others), told(record, ("yarn", *others))


@experiment.claim()
def nothing_is_as_good_as_short(record):
    """But no stretching alone makes the long text worth reading: each is worse at four times the
    length than the model as it is at the trained length, with every seed."""
    kinds = ("linear", "ntk", "yarn")
    seeds = zip(*(record.seeds(a, "at_long") for a in kinds), record.seeds("plain", "at_trained"),
                strict=True)  # fmt: skip
    good = all(min(long) > short for *long, short in seeds)
    return (
        good,
        f"{told(record, kinds)}; {record.value('plain', 'at_trained'):.2f} at the trained length",
    )


@experiment.claim()
def stretching_costs_short_text(record):
    """Stretching costs at the trained length, and without further training position interpolation
    costs most: more than a tenth of a nat, and more than NTK and YaRN, with every seed."""
    good = below(record, "plain", "linear", 0.1, "at_trained") and all(
        below(record, o, "linear", 0.0, "at_trained") for o in ("ntk", "yarn")
    )
    return good, told(record, ("plain", "linear", "ntk", "yarn"), "at_trained")


@experiment.claim(quick=True)
def own_length_is_free_at_home(record):
    """Slowed by its own length, a text of the trained length is read as before."""
    arms = [a for a in ("dynamic", "fitted") if a in record.arms]
    pairs = [zip(*(record.seeds(b, "at_trained") for b in (a, "plain")), strict=True) for a in arms]
    gap = max(abs(one - plain) for pair in pairs for one, plain in pair)
    return gap < 1e-4, f"a difference of {gap:.0e} nats at most"


@experiment.claim()
def dynamic_goes_further(record):
    """At eight times the length dynamic NTK is better than NTK and YaRN for four times, with every
    seed."""
    good = all(below(record, "dynamic", o, metric="at_512") for o in ("ntk", "yarn"))
    return good, told(record, ("dynamic", "fitted", "ntk", "yarn"), "at_512")


@experiment.claim()
def fitted_is_better(record):
    """The published formula slows by more than the text is longer. Fitted NTK, which does not, is
    better at four and at eight times the length, with every seed."""
    good = all(below(record, "fitted", "dynamic", metric=m) for m in ("at_long", "at_512"))
    return good, "; ".join(told(record, ("fitted", "dynamic"), m) for m in ("at_long", "at_512"))


@experiment.claim()
def window_is_enough(record):
    """The arm that spoils the story: with a window of the trained length and nothing else, the loss
    at eight times the length is within five hundredths of that at the trained length."""
    pairs = zip(record.seeds("window", "at_512"), record.seeds("plain", "at_trained"), strict=True)
    gaps = [a - b for a, b in pairs]
    return max(gaps) < 0.05, f"{min(gaps):+.3f} to {max(gaps):+.3f} nats"


@experiment.claim()
def tuning_repairs_all(record):
    """A few further steps on long windows repair all of them, the model without any slowing
    included: each comes within a tenth of a nat of the model trained on long windows."""
    arms = ("plain_tuned", "linear_tuned", "ntk_tuned", "yarn_tuned")
    good = all(below(record, a, "trained_long", -0.1) for a in arms)
    return good, told(record, (*arms, "trained_long"))


@experiment.claim()
def yarn_tuned_is_best(record):
    """After further steps YaRN is better than the model without slowing, with every seed."""
    return below(record, "yarn_tuned", "plain_tuned"), told(record, ("yarn_tuned", "plain_tuned"))


def panel(record, arms, title) -> Panel:
    x = Axis("bytes read (trained: 64)", "log", ticks=list(record.settings["lengths"]))
    kinds = {a: a.removesuffix("_tuned") for a in arms if a in record.arms}
    roles = {"ntk": "f"}  # "b" and "none" have one colour
    lines = [record.line(a, "loss", dash=DASHES[kind], marker="circle",
                         role=roles.get(kind, record.arms[a]["role"]))
             for a, kind in kinds.items()]  # fmt: skip
    return Panel(x, Axis("held-out nats a byte"), lines, title=title, legend="top")


@experiment.figure()
def lengths(record):
    """Loss on the same held-out bytes against the bytes read, in two panels. As trained: the plain
    model rises steeply beyond 64, NTK later, YaRN less; position interpolation is high at every
    length; the window stays level. After further steps on windows of 256 all are level up to 256
    and rise beyond, near the model trained on long windows."""
    after = [a for a in record.arms if a.endswith("_tuned")]
    return Figure([
        panel(record, ("plain", "linear", "ntk", "dynamic", "fitted", "yarn", "window"),
              "stretched, no further step"),
        panel(record, (*after, "trained_long"), "after 30 steps on 256 bytes"),
    ])  # fmt: skip
