"""What does a trained model lose when a branch is cut, and what when the stream past it is?

The small model that ships with this project reads stories that it has never seen. Around each of
its eight branches, the attention and the feed-forward of four layers, one of two things is cut:
the branch, so that the stream passes unchanged, or the stream, so that only the branch's own
result goes on. Each seed is another draw of stories.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from minimind_wiki.book.experiment import Experiment, Measurement
from minimind_wiki.book.record import repo_root
from minimind_wiki.lite.plot import Axis, Figure, Level, Line, Panel
from minimind_wiki.model.block import Block

from ..feedforward._stories import loaded, losses, stories

PARTS = {"attention": "attention", "mlp": "feed-forward"}
WAYS = {"branch": ("the branch is cut", "a", "solid"), "stream": ("the stream is cut", "b", "dash")}
LAYERS = 4


@dataclass(frozen=True, slots=True)
class Settings:
    """Held-out stories of each seed."""

    stories: int = 12


def arm(title: str, role: str, way: str, part: str, layer: int) -> dict:
    return {"title": title, "role": role, "way": way, "part": part, "layer": layer}


experiment = Experiment(
    name="residual-connection/cut",
    factors=("way", "part", "layer"),
    arms={
        "whole": arm("whole", "model", "none", "none", 0),
        **{
            f"{way}_{part}_{n}": arm(f"{said} {n + 1}, {title}", role, way, part, n)
            for way, (title, role, _) in WAYS.items() for part, said in PARTS.items()
            for n in range(LAYERS)
        },
    },
    settings=Settings(),
    quick=Settings(stories=2),
    quick_arms=("whole", "branch_mlp_1", "stream_mlp_1"),
    primary="bits_per_byte",
    repeat=(("whole", 0), ("branch_attention_0", 0), ("stream_mlp_3", 1)),
)  # fmt: skip


class Cut(nn.Module):
    """A block with one of its sums cut open: the branch is left out, or the stream is."""

    def __init__(self, block: Block, way: str, part: str) -> None:
        super().__init__()
        self.block, self.way, self.part = block, way, part

    def joined(self, x: Tensor, branch: Tensor, part: str) -> Tensor:
        if part != self.part:
            return x + branch
        return x if self.way == "branch" else branch

    def forward(self, x: Tensor, rope=None, cache=None, view=None) -> Tensor:
        block = self.block
        branch = block.self_attn(block.input_layernorm(x), rope, cache, view)
        x = self.joined(x, branch, "attention")
        return self.joined(x, block.mlp(block.post_attention_layernorm(x)), "mlp")


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    torch.set_num_threads(1)
    model, tokenizer = loaded(repo_root() / "models" / "world-tiny")
    if arm["way"] != "none":
        layers = model.model.layers
        layers[arm["layer"]] = Cut(layers[arm["layer"]], arm["way"], arm["part"])
    found = losses(model, tokenizer, stories(settings.stories, "test", seed))
    return Measurement({"bits_per_byte": found["bits_per_byte"]})


@experiment.levels
def levels(settings: Settings) -> dict:
    """Guessing: eight bits for each byte."""
    told = "".join(stories(settings.stories, "test", 0))
    return {
        "chance": {"bits_per_byte": 8.0},
        "data": {"name": "the little world, generated", "bytes": len(told)},
    }


def rise(record, name: str) -> list[float]:
    """Bits per byte more than the whole model on the same stories, seed by seed."""
    pairs = zip(record.seeds(name, "bits_per_byte"), record.seeds("whole", "bits_per_byte"),
                strict=True)  # fmt: skip
    return [cut - whole for cut, whole in pairs]


@experiment.derived
def derived(record):
    return {n: {"rise_bits_per_byte": sum(rise(record, n)) / len(rise(record, n))}
            for n in record.arms}  # fmt: skip


@experiment.claim()
def the_stream_matters_more(record):
    """Around each of the eight branches, cutting the stream costs more than cutting the branch."""
    pairs = [[record.value(f"{way}_{part}_{n}", "rise_bits_per_byte") for way in WAYS]
             for part in PARTS for n in range(LAYERS)]  # fmt: skip
    said = "; ".join(f"{branch:.2f} and {stream:.2f}" for branch, stream in pairs)
    return all(stream > branch for branch, stream in pairs), f"branch and stream: {said}"


@experiment.claim(quick=True)
def second_needs_its_stream(record):
    """At the second layer's feed-forward, cutting the stream costs more than cutting the branch."""
    branch, stream = (record.value(f"{way}_mlp_1", "rise_bits_per_byte") for way in WAYS)
    return stream > branch, f"{branch:.2f} and {stream:.2f} bits a byte"


@experiment.claim()
def most_branches_can_go(record):
    """More than half of the branches can be cut, one at a time, for less than a tenth of what the
    model knows better than guessing."""
    known = 8 - record.value("whole", "bits_per_byte")
    cheap = [record.value(f"branch_{part}_{n}", "rise_bits_per_byte") < known / 10
             for part in PARTS for n in range(LAYERS)]  # fmt: skip
    return sum(cheap) > len(cheap) / 2, f"{sum(cheap)} of {len(cheap)}"


@experiment.figure()
def cuts(record):
    """Bits per byte on held-out stories after one cut, for each layer's attention and feed-forward:
    with the branch cut most places stay near the whole model; with the stream cut they do not."""
    panels = []
    for part, said in PARTS.items():
        lines = []
        for way, (title, role, dash) in WAYS.items():
            layers = [n for n in range(LAYERS) if f"{way}_{part}_{n}" in record.arms]
            seeds = [record.seeds(f"{way}_{part}_{n}", "bits_per_byte") for n in layers]
            lines.append(Line([n + 1 for n in layers], [sum(s) / len(s) for s in seeds], title,
                              role, map(min, seeds), map(max, seeds), dash, "circle"))  # fmt: skip
        whole = Level(record.value("whole", "bits_per_byte"), "whole", "floor")
        layer = Axis("layer", ticks=[n + 1 for n in range(LAYERS)])
        panels.append(Panel(layer, "bits per byte", lines, levels=[whole], title=said))
    return Figure(panels)
