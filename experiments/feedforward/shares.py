"""How large a share of the parameters is the feed-forward?

Counted, not trained: every preset is built without memory and its weights are sorted into token
embedding, attention, feed-forward and norms. Of a model with experts all count, also those that a
token does not visit. No number depends on the seed.
"""

from dataclasses import dataclass

import torch

from minimind_wiki.book.experiment import Experiment, Measurement
from minimind_wiki.lite.plot import Axis, Bars, Figure, Panel
from minimind_wiki.model import Transformer
from minimind_wiki.model.presets import preset

PARTS = {"feedforward": ".mlp.", "attention": ".self_attn.", "embedding": "embed_"}
NAMES = ("nano", "tiny", "mini", "26m", "64m", "104m", "gpt2-124m", "moe-145m", "moe-198m")


@dataclass(frozen=True, slots=True)
class Settings:
    """Nothing can be set: a preset has one size."""


experiment = Experiment(
    name="feedforward/shares",
    factors=("preset",),
    arms={
        name.replace("-", "_"): {"title": name, "role": "model", "preset": name} for name in NAMES
    },
    settings=Settings(),
    quick=Settings(),
    primary="feedforward_share",
)


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    config = preset(arm["preset"])
    with torch.device("meta"):
        model = Transformer(config, seed=None)
    sizes = {name: weight.numel() for name, weight in model.named_parameters()}
    total = sum(sizes.values())
    values = {"parameters": total, "ratio": config.intermediate_size / config.hidden_size}
    for part, key in PARTS.items():
        values[part] = sum(size for name, size in sizes.items() if key in name)
        values[f"{part}_share"] = values[part] / total
    values["over_attention"] = values["feedforward"] / values["attention"]
    values["of_block_share"] = values["feedforward"] / (total - values["embedding"])
    return Measurement(values)


@experiment.claim(quick=True)
def most_of_every_block(record):
    """In every preset the feed-forwards hold more than half of what is not embedding."""
    shares = {a["title"]: record.value(n, "of_block_share") for n, a in record.arms.items()}
    return min(shares.values()) > 0.5, ", ".join(f"{n} {s:.0%}" for n, s in shares.items())


@experiment.claim(quick=True)
def two_thirds_exactly(record):
    """GPT-2's blocks are two thirds feed-forward: 8 D² beside the 4 D² of attention."""
    share = record.value("gpt2_124m", "of_block_share")
    return abs(share - 2 / 3) < 0.005, f"{share:.1%}"


@experiment.figure()
def parts(record):
    """Share of feed-forward, attention and embedding in the parameters of each preset."""
    titles = [arm["title"] for arm in record.arms.values()]
    roles = {"feedforward": "model", "attention": "a", "embedding": "none"}
    bars = [Bars(titles, [record.value(n, f"{part}_share") for n in record.arms], title, role)
            for (part, role), title in zip(roles.items(), ("feed-forward", "attention",
                                                           "embedding"), strict=True)]  # fmt: skip
    x = Axis("share of all parameters", range=(0, 1))
    return Figure(Panel(x, Axis("", "category"), bars=bars, legend="top"))
