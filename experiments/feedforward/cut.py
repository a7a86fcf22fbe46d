"""What does a trained model lose when the feed-forward of one layer is cut out?

The two small models that ship with this project lose the feed-forward of one layer, of one after
the other and of all. A cut layer adds nothing, or, which is kinder, what it adds on average: the
layers above have learned with that in their stream. Measured are held-out stories, word class by
word class, and the sections of the world exam; each seed is another draw of stories and questions.
"""

from dataclasses import dataclass
from functools import partial

import torch

from minimind_wiki.book.experiment import Experiment, Measurement
from minimind_wiki.book.record import repo_root
from minimind_wiki.evaluate.likelihood import log_likelihood
from minimind_wiki.evaluate.manner import text_begin
from minimind_wiki.evaluate.world_exam import by_likelihood, exam, exam_items
from minimind_wiki.lite.plot import Axis, Bars, Figure, Panel

from ._stories import CLASSES, Constant, loaded, losses, means, stories
from ._units import Nothing

SECTIONS = ("grammar", "tools", "facts", "near", "far", "arithmetic")
PLACES = ("0", "1", "2", "3", "all")


@dataclass(frozen=True, slots=True)
class Settings:
    """Held-out stories, and items of each section of the exam."""

    stories: int = 40
    items: int = 40


def arm(title: str, role: str, model: str, layers: str, fill: str) -> dict:
    return {"title": title, "role": role, "model": model, "layers": layers, "fill": fill}


def cuts(name: str, layers: int) -> dict[str, dict]:
    """Whole, each layer cut in both ways, and all of them cut in both ways."""
    out = {f"{name}_whole": arm("whole", "model", name, "", "zero")}
    sets = {str(n): f"layer {n + 1}" for n in range(layers)}
    sets["".join(sets)] = "all layers"
    for fill, words, role in (("zero", "adds nothing", "a"), ("mean", "adds its mean", "b")):
        for which, said in sets.items():
            short = "all" if len(which) > 1 else which
            out[f"{name}_{fill}_{short}"] = arm(f"{said} {words}", role, name, which, fill)
    return out


experiment = Experiment(
    name="feedforward/cut",
    factors=("model", "layers", "fill"),
    arms=cuts("tiny", 4) | cuts("nano", 2),
    settings=Settings(),
    quick=Settings(stories=2, items=2),
    quick_arms=("tiny_whole", "tiny_mean_0"),
    primary="bits_per_byte",
    repeat=(("nano_whole", 0), ("nano_zero_0", 0), ("nano_mean_0", 1)),
)  # fmt: skip


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    torch.set_num_threads(1)
    folder = repo_root() / "models" / f"world-{arm['model']}"
    model, tokenizer = loaded(folder)
    layers = [int(n) for n in arm["layers"]]
    if arm["fill"] == "mean" and layers:
        average = means(model, tokenizer, stories(settings.stories, "validation", 0))
    for n in layers:
        fill = Constant(average[n]) if arm["fill"] == "mean" else Nothing()
        model.model.layers[n].mlp = fill
    told = stories(settings.stories, "test", seed)
    values = losses(model, tokenizer, told)
    judge = partial(by_likelihood, log_likelihood(model, tokenizer, text_begin(folder)))
    for score in exam(judge, settings.items, "test", seed, SECTIONS):
        values[f"exam_{score.section}"] = score.accuracy
    return Measurement(values)


@experiment.levels
def levels(settings: Settings) -> dict:
    """A blind choice of one of the options."""
    chance = {}
    for section in SECTIONS:
        items = list(exam_items(section, settings.items, "test", 0))
        chance[f"exam_{section}"] = sum(1 / len(item.options) for item in items) / len(items)
    told = "".join(stories(settings.stories, "test", 0))
    return {"chance": chance, "data": {"name": "the little world, generated", "bytes": len(told)}}


def rise(record, name: str, metric: str) -> list[float]:
    """By how much a cut changes a metric, seed by seed; a seed is the same stories for each arm."""
    whole = record.seeds(f"{name.partition('_')[0]}_whole", metric)
    return [a - b for a, b in zip(record.seeds(name, metric), whole, strict=True)]


@experiment.derived
def derived(record):
    """The rise of each number over the whole model's: mean over the seeds."""
    metrics = ("bits_per_byte", *(f"nats_{kind}" for kind in CLASSES))
    return {
        name: {f"rise_{m}": sum(rise(record, name, m)) / len(rise(record, name, m))
               for m in metrics}
        for name in record.arms
    }  # fmt: skip


def said(record, names, metric, spec="+.2f"):
    return ", ".join(f"{record.arms[n]['title']} {record.value(n, metric):{spec}}" for n in names)


@experiment.claim()
def first_layer_matters_most(record):
    """Of the layers of the larger model, the first's feed-forward is missed most, in both ways."""
    good = []
    for fill in ("zero", "mean"):
        first, *rest = (record.value(f"tiny_{fill}_{n}", "rise_bits_per_byte") for n in range(4))
        good.append(first > max(rest))
    names = [f"tiny_zero_{n}" for n in range(4)]
    return all(good), said(record, names, "rise_bits_per_byte")


@experiment.claim(quick=True)
def first_layer_is_needed(record):
    """Without the first layer's feed-forward, its average left, the larger model needs more than
    one bit a byte more."""
    cost = rise(record, "tiny_mean_0", "bits_per_byte")
    return min(cost) > 1, f"{min(cost):+.2f} bits a byte at least"


@experiment.claim()
def mean_is_kinder(record):
    """Leaving a layer's average in its place costs less than leaving nothing, at every layer."""
    pairs = [(record.value(f"tiny_zero_{n}", "rise_bits_per_byte"),
              record.value(f"tiny_mean_{n}", "rise_bits_per_byte")) for n in PLACES]  # fmt: skip
    evidence = ", ".join(f"{zero:.2f} against {mean:.2f}" for zero, mean in pairs)
    return all(mean < zero for zero, mean in pairs), evidence


@experiment.claim()
def copies_survive(record):
    """Without the first layer's feed-forward (its average left), a name or place that the story has
    told costs less more than any other word does."""
    costs = {kind: record.value("tiny_mean_0", f"rise_nats_{kind}") for kind in CLASSES}
    others = min(costs[kind] for kind in ("thing", "pronoun", "other"))
    return costs["again"] < others, ", ".join(f"{kind} {cost:+.2f}" for kind, cost in costs.items())


@experiment.claim()
def layers_keep_different_things(record):
    """For pronouns the second layer's feed-forward is missed and the last's is not, every seed."""
    second, last = (rise(record, f"tiny_mean_{n}", "nats_pronoun") for n in (1, 3))
    return min(second) > max(0.1, *last), f"{min(second):+.2f} at least, {max(last):+.2f} at most"


@experiment.claim()
def tools_go_before_grammar(record):
    """Without the last layer's feed-forward tool calls fall by more than 20 points and grammar by
    fewer than 10, with every seed."""
    tools, grammar = (rise(record, "tiny_mean_3", f"exam_{s}") for s in ("tools", "grammar"))
    said = f"tools {max(tools):+.0%} at most, grammar {min(grammar):+.0%} at worst"
    return max(tools) < -0.2 and min(grammar) > -0.1, said


def mid(cells):
    return [sum(cell) / len(cell) for cell in cells]


@experiment.figure()
def words(record):
    """How many nats more each class of words costs when one layer's feed-forward is cut out of the
    larger model and its average left: a panel for each layer, each with a scale of its own."""
    panels = []
    for n, role in enumerate("abcd"):
        if f"tiny_mean_{n}" in record.arms:
            cells = [rise(record, f"tiny_mean_{n}", f"nats_{kind}") for kind in CLASSES]
            bars = Bars(CLASSES.values(), mid(cells), role=role, lo=map(min, cells),
                        hi=map(max, cells))  # fmt: skip
            panels.append(Panel(Axis("more nats a word"), Axis("", "category"), bars=[bars],
                                title=f"without layer {n + 1}'s", legend="none"))  # fmt: skip
    return Figure(panels)


@experiment.figure()
def tasks(record):
    """Share of right answers in two sections of the world exam: the whole model, and the same after
    one layer's feed-forward is cut out and its average left. The titles say what chance is."""
    rows = {"whole": "tiny_whole", "layer 1 cut": "tiny_mean_0", "layer 2 cut": "tiny_mean_1",
            "layer 3 cut": "tiny_mean_2", "layer 4 cut": "tiny_mean_3"}  # fmt: skip
    rows = {title: name for title, name in rows.items() if name in record.arms}
    panels = []
    for section, role in (("grammar", "model"), ("tools", "a")):
        cells = [record.seeds(name, f"exam_{section}") for name in rows.values()]
        bars = Bars(rows, mid(cells), role=role, lo=map(min, cells), hi=map(max, cells))
        chance = record.level("chance", f"exam_{section}")
        panels.append(Panel(Axis("right answers", range=(0, 1.02)), Axis("", "category"),
                            bars=[bars], title=f"{section} (chance {chance:.0%})",
                            legend="none"))  # fmt: skip
    return Figure(panels)
