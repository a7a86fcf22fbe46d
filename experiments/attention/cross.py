"""What comes through cross-attention?

A row of six different letters is to be written again in a second alphabet. The package's smallest
encoder-decoder has one block that reads and one that writes, and cross-attention alone joins them.
The controls: the same model with every source hidden; the trained model with the source of another
row in place of its own; and one causal decoder of two blocks that reads source and translation as a
single row, with no cross-attention at all. Rows never come twice; each learning rate is swept. The
bar is the best reader of the translation alone.
"""

import math
from dataclasses import dataclass

import torch

from minimind_wiki.book.experiment import Experiment, Measurement, Sweep
from minimind_wiki.lite.plot import Axis, Bars, Figure, Panel

from ._train import trained
from ._translate import LETTERS, VOCABULARY, Reader, draw, looks, loss_of, right, unread

READS = {"cross": ("cross-attention", "model"), "nothing": ("source hidden", "none"),
         "joined": ("one row, causal", "a")}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Settings:
    """Letters of a source, rows of a batch, and rows for choosing the rate and for the report."""

    letters: int = 6
    width: int = 48
    heads: int = 4
    batch: int = 48
    steps: int = 800
    warmup: int = 20
    test_rows: int = 512
    learning_rate: float = 3e-3  # swept


experiment = Experiment(
    name="attention/cross",
    factors=("reads",),
    arms={name: {"title": title, "role": role, "reads": name}
          for name, (title, role) in READS.items()},
    settings=Settings(),
    quick=Settings(letters=4, width=32, steps=60, batch=16, test_rows=128),
    sweep=Sweep("learning_rate", (3e-3, 1e-2), "selection_loss", quick=(1e-2,),
                beyond=(1e-3, 3e-2, 1e-1)),
    primary="right",
    repeat=(("cross", 0), ("nothing", 0), ("joined", 0)),
)  # fmt: skip


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    model = Reader(arm["reads"], settings, seed)
    generator = torch.Generator().manual_seed(1000 + seed)
    curve, diverged_at = trained(
        model,
        lambda step: loss_of(model, *draw(settings.batch, settings.letters, generator)),
        settings,
        math.log(VOCABULARY),
    )
    select, report = (draw(settings.test_rows, settings.letters, torch.Generator().manual_seed(n))
                      for n in (10**6, 10**6 + 1))  # fmt: skip
    source, target = report
    with torch.no_grad():
        selection_loss = loss_of(model, *select).item()
    values = {
        "selection_loss": selection_loss,
        "right": right(model, source, target),
        "right_of_another": right(model, source.roll(1, 0), target),
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    if arm["reads"] == "cross":
        values["looks"] = looks(model, source, target)
    return Measurement(values, {"training_loss": curve}, diverged_at)


@experiment.levels
def levels(settings: Settings) -> dict:
    bar = unread(settings.letters)
    return {"chance": {"right": 1 / LETTERS, "selection_loss": math.log(LETTERS)},
            "baseline": {"right": bar["right"], "selection_loss": bar["loss"]}}  # fmt: skip


def span(record, arm: str, metric: str = "right") -> str:
    seeds = record.seeds(arm, metric)
    return f"{min(seeds):.1%} to {max(seeds):.1%}"


@experiment.claim(quick=True)
def nothing_without_the_source(record):
    """With the source hidden the decoder stays at the bar: within two hundredths, every seed."""
    bar = record.level("baseline", "right")
    far = max(abs(share - bar) for share in record.seeds("nothing", "right"))
    return far < 0.02, f"{span(record, 'nothing')}, the bar {bar:.1%}"


@experiment.claim()
def cross_attention_carries_it(record):
    """With cross-attention more than 90 % of the letters are right, with every seed; with another
    row's source in place of its own, fewer than one in ten."""
    own, other = (record.seeds("cross", m) for m in ("right", "right_of_another"))
    said = f"{span(record, 'cross')}; {span(record, 'cross', 'right_of_another')}"
    return min(own) > 0.9 and max(other) < 0.1, said


@experiment.claim()
def a_head_points(record):
    """One head of it puts more than half of its weight on the very letter that is to be translated,
    with every seed."""
    return min(record.seeds("cross", "looks")) > 0.5, span(record, "cross", "looks")


@experiment.claim()
def one_row_does_it_too(record):
    """One causal decoder that reads source and translation as one row is as good or better, with
    every seed."""
    pairs = zip(record.seeds("joined", "right"), record.seeds("cross", "right"), strict=True)
    said = f"{span(record, 'joined')}; cross {span(record, 'cross')}"
    return all(one >= two for one, two in pairs), said


@experiment.figure()
def shares(record):
    """Share of letters translated rightly, from their own source and from that of another row."""
    names = [record.arms[arm]["title"] for arm in record.arms]
    bars = []
    for metric, said, role in (("right", "its own source", "model"),
                               ("right_of_another", "another's", "none")):  # fmt: skip
        seeds = [record.seeds(arm, metric) for arm in record.arms]
        mean = [record.value(arm, metric) for arm in record.arms]
        bars.append(Bars(names, mean, said, role, map(min, seeds), map(max, seeds)))
    x = Axis("letters translated rightly", range=(0, 1.02))
    return Figure(Panel(x, Axis("", "category"), bars=bars, legend="top"))
