"""Where do a model's parameters stand, and which short formula gives their number?

Counted, not trained: every preset is built without memory, its weights are sorted by part, and the
counts are compared with a formula of five sizes. For the presets with tied embeddings, also what a
table of their own for the head would add. Experts count in full, also those a token does not visit.
"""

from dataclasses import dataclass

import torch

from minimind_wiki.book.experiment import Experiment, Measurement
from minimind_wiki.lite.plot import Axis, Bars, Figure, Panel
from minimind_wiki.model import Transformer
from minimind_wiki.model.presets import preset

NAMES = ("nano", "tiny", "mini", "26m", "64m", "104m", "gpt2-124m", "moe-145m", "moe-198m")
SHOWN = {"embedding": ("embeddings", "none"), "attention": ("attention", "a"),
         "feedforward": ("feed-forward", "model"), "norms": ("norms", "c")}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Settings:
    """Nothing can be set: a preset has one size."""


experiment = Experiment(
    name="transformer-block/parts",
    factors=("preset",),
    arms={
        name.replace("-", "_"): {"title": name, "role": "model", "preset": name} for name in NAMES
    },
    settings=Settings(),
    quick=Settings(),
    primary="parameters",
)


def part_of(name: str) -> str:
    """The part that a weight belongs to, by its name."""
    if "norm" in name:
        return "norms"
    if "embed_" in name:
        return "embedding"
    return "attention" if ".self_attn." in name else "feedforward"


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    config = preset(arm["preset"])
    with torch.device("meta"):
        model = Transformer(config, seed=None)
    values = dict.fromkeys(SHOWN, 0.0)
    for name, weight in model.named_parameters():
        values[part_of(name)] += weight.numel()
    total = sum(values.values())
    V, D, L = config.vocab_size, config.hidden_size, config.num_hidden_layers
    F, share = config.intermediate_size, config.num_key_value_heads / config.num_attention_heads
    matrices = 2 if config.family == "gpt2" else 3
    experts = max(1, config.num_experts + config.num_shared_experts)
    formula = V * D + L * ((2 + 2 * share) * D * D + experts * matrices * D * F)
    values |= {f"{part}_share": values[part] / total for part in SHOWN}
    values |= {"parameters": total, "formula": formula, "formula_error": formula / total - 1,
               "second_table": V * D, "second_table_share": V * D / total,
               "one_block": (total - values["embedding"]) / L}  # fmt: skip
    return Measurement(values)


@experiment.claim(quick=True)
def the_formula_holds(record):
    """The formula gives every preset's parameters to one in a hundred."""
    off = {a["title"]: record.value(n, "formula_error") for n, a in record.arms.items()}
    return max(map(abs, off.values())) < 0.01, ", ".join(f"{n} {x:+.2%}" for n, x in off.items())


@experiment.claim(quick=True)
def norms_are_nothing(record):
    """Norms hold less than one parameter in two hundred of every preset."""
    shares = {a["title"]: record.value(n, "norms_share") for n, a in record.arms.items()}
    return max(shares.values()) < 0.005, ", ".join(f"{n} {x:.2%}" for n, x in shares.items())


@experiment.claim(quick=True)
def gpt2_has_the_largest_table(record):
    """GPT-2's table is a larger share of it than that of any other preset, though tied."""
    shares = {n: record.value(n, "embedding_share") for n in record.arms}
    most = max(shares, key=shares.__getitem__)
    return most == "gpt2_124m", ", ".join(f"{n} {x:.0%}" for n, x in shares.items())


@experiment.figure()
def shares(record):
    """Share of embeddings, attention and feed-forward in the parameters of each preset; norms are
    too small to be drawn."""
    titles = [arm["title"] for arm in record.arms.values()]
    bars = [Bars(titles, [record.value(n, f"{part}_share") for n in record.arms], title, role)
            for part, (title, role) in SHOWN.items() if part != "norms"]  # fmt: skip
    x = Axis("share of all parameters", range=(0, 1))
    return Figure(Panel(x, Axis("", "category"), bars=bars, legend="top"))
