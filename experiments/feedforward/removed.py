"""Which facts does a decoder lose without its feed-forward?

A small decoder learns three kinds of facts of the little world: what one word decides (a person's
job), what only two words together decide (where she keeps a thing), and
what the row itself has told. It has a SwiGLU feed-forward, or a linear one of as many parameters,
or none: then with fewer parameters, or with as many as more layers of attention, or as a wider
model. Each learning rate is swept. Then the trained model's feed-forwards are cut out.
"""

from dataclasses import dataclass

import numpy as np

from minimind_wiki.book.experiment import Experiment, Measurement, Sweep
from minimind_wiki.lite.plot import Axis, Bars, Figure, Panel
from minimind_wiki.model import ModelConfig
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.feeds import Feed

from ._facts import LENGTH, OPTIONS, WORDS, World, recall, rows
from ._train import mean_loss, train
from ._units import Nothing, build, count

SAID = {"one_word": ("one word decides", "a"), "two_words": ("two words decide", "model"),
        "told": ("told in the row", "c")}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Settings:
    """Steps of batch rows; rows that select and that are reported."""

    heads: int = 4
    batch: int = 32
    steps: int = 400
    rows: int = 200
    spread: float = 0.1
    learning_rate: float = 1e-2  # swept


def arm(title: str, role: str, kind: str, hidden: int, layers: int, width: int = 1) -> dict:
    return {"title": title, "role": role, "kind": kind, "hidden": hidden, "layers": layers,
            "width": width}  # fmt: skip


experiment = Experiment(
    name="feedforward/removed",
    factors=("kind", "hidden", "layers", "width"),
    arms={
        "swiglu": arm("with SwiGLU", "model", "swiglu", 48, 2, 128),
        "linear": arm("with a linear one", "c", "linear", 48, 2, 192),
        "none": arm("none, fewer parameters", "none", "none", 48, 2),
        "none_deep": arm("none, 6 layers", "a", "none", 48, 6),
        "none_wide": arm("none, hidden 80", "b", "none", 80, 2),
    },
    settings=Settings(),
    quick=Settings(steps=8, batch=4, rows=8),
    quick_arms=("swiglu", "none"),
    sweep=Sweep("learning_rate", (5e-3, 1e-2, 2e-2), "selection_loss", quick=(1e-2,),
                beyond=(2.5e-3, 4e-2)),
    primary="two_words",
    chance={kind: 1 / len(options) for kind, options in OPTIONS.items()},
    repeat=(("swiglu", 0), ("none", 0)),
)  # fmt: skip


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    world = World.draw(seed)
    config = ModelConfig(
        vocab_size=len(WORDS), hidden_size=arm["hidden"], num_hidden_layers=arm["layers"],
        num_attention_heads=settings.heads, intermediate_size=arm["width"], rope_theta=1e4,
        max_position_embeddings=LENGTH, initializer_range=settings.spread, qk_norm=True,
    )  # fmt: skip
    model = build(arm["kind"], config, seed)
    select, report = (rows(world, settings.rows, np.random.default_rng([seed, n])) for n in (1, 2))
    feed = Feed(
        at=lambda step: rows(world, settings.batch, np.random.default_rng([seed, 3, step]))[0],
        held_out=(select[0],), sample_ids=np.empty(0), prompt=(), about={}, line="",
        held_out_line="",
    )  # fmt: skip
    how = TrainConfig(
        steps=settings.steps, batch_size=settings.batch, context_length=LENGTH,
        learning_rate=settings.learning_rate, eval_every=settings.steps, seed=seed,
        sample_tokens=0, prefetch=0,
    )  # fmt: skip
    state = train(model, how, feed, lambda: {"loss": mean_loss(model, feed.held_out)})
    values = {
        "selection_loss": state.held_out["loss"][-1],
        "parameters": count(model),
        **recall(model, *report),
    }
    if arm["kind"] == "swiglu":
        blocks = model.model.layers
        for name, layers in {"0": [0], "1": [1], "all": [0, 1]}.items():
            kept = {n: blocks[n].mlp for n in layers}
            for n in layers:
                blocks[n].mlp = Nothing()
            found = recall(model, *report)
            values |= {f"without_{name}_{kind}": share for kind, share in found.items()}
            for n, mlp in kept.items():
                blocks[n].mlp = mlp
    return Measurement(values)


def each(record, arm, metric):
    """One metric's range over the seeds, for people."""
    seeds = record.seeds(arm, metric)
    return f"{min(seeds):.0%} to {max(seeds):.0%}"


@experiment.claim(quick=True)
def parameters_are_equal(record):
    """The arms at equal parameters differ by less than one in a hundred."""
    names = [n for n in record.arms if n != "none"]
    sizes = [record.value(name, "parameters") for name in names]
    return max(sizes) < 1.01 * min(sizes), f"{min(sizes):,.0f} to {max(sizes):,.0f}"


@experiment.claim()
def pairs_need_it(record):
    """With SwiGLU the decoder recalls more two-word facts than without, with every seed and against
    every arm, those with as many parameters among them."""
    least = min(record.seeds("swiglu", "two_words"))
    others = [name for name in record.arms if name != "swiglu"]
    good = all(least > max(record.seeds(name, "two_words")) for name in others)
    return good, "; ".join(f"{n} {each(record, n, 'two_words')}" for n in record.arms)


@experiment.claim()
def the_rest_does_without(record):
    """Every arm recalls at least 95 % of one-word facts and of what the row told, every seed."""
    lows = {n: min(record.seeds(n, "one_word") + record.seeds(n, "told")) for n in record.arms}
    return min(lows.values()) >= 0.95, ", ".join(f"{n} {low:.0%}" for n, low in lows.items())


@experiment.claim()
def attention_stores_none(record):
    """Without a feed-forward two-word facts stay at chance: attention stores none."""
    chance, most = record.level("chance", "two_words"), record.value("none", "two_words")
    return most < 2 * chance, f"{each(record, 'none', 'two_words')}, chance {chance:.0%}"


@experiment.claim()
def more_layers_make_up(record):
    """As many parameters in more layers of attention recall more two-word facts than two layers."""
    deep, two = record.seeds("none_deep", "two_words"), record.seeds("none", "two_words")
    good = all(a > b for a, b in zip(deep, two, strict=True))
    return good, f"{each(record, 'none_deep', 'two_words')} and {each(record, 'none', 'two_words')}"


@experiment.claim()
def a_cut_is_no_absence(record):
    """Cutting both layers out of the trained decoder also loses what was told in the row, which a
    decoder that never had them recalls."""
    cut, never = record.seeds("swiglu", "without_all_told"), record.seeds("none", "told")
    said = f"{each(record, 'swiglu', 'without_all_told')} and {each(record, 'none', 'told')}"
    return max(cut) < min(never) - 0.2, said


def bars(record, rows):
    """A panel for each kind of fact; rows are (name, arm, prefix of the metric)."""
    panels = []
    for kind, (title, role) in SAID.items():
        cells = [record.seeds(arm, prefix + kind) for _, arm, prefix in rows]
        shown = Bars([name for name, _, _ in rows], [sum(c) / len(c) for c in cells], role=role,
                     lo=map(min, cells), hi=map(max, cells))  # fmt: skip
        x = Axis("share recalled", range=(0, 1.02))
        panels.append(Panel(x, Axis("", "category"), bars=[shown], title=title, legend="none"))
    return Figure(panels)


@experiment.figure()
def trained(record):
    """Share of the facts of each kind that is recalled, by feed-forward, each decoder trained so
    from the beginning and at its own best rate; whiskers are three seeds."""
    return bars(record, [(arm["title"], name, "") for name, arm in record.arms.items()])


@experiment.figure()
def cut(record):
    """Share recalled by the decoder with SwiGLU, whole and after its feed-forwards are cut out."""
    rows = {"whole": "", "without layer 1's": "without_0_", "without layer 2's": "without_1_",
            "without both": "without_all_"}  # fmt: skip
    return bars(record, [(title, "swiglu", prefix) for title, prefix in rows.items()])
