"""How large is the stream of a decoder after its blocks, before any training, by depth and width?

The package's GPT-2-like decoder, 64 or 768 wide and 6, 12 or 24 blocks deep, as it is drawn: all
weights with a spread of 0.02, as GPT-2 had it. The matrices that write to the stream are drawn
smaller by the root of their number, or not. One forward pass on random tokens: nothing is trained.
"""

from dataclasses import dataclass

import torch

from minimind_wiki.book.experiment import Experiment, Measurement
from minimind_wiki.lite.plot import Axis, Figure, Panel
from minimind_wiki.model import ModelConfig, Transformer

WIDTHS, DEPTHS = (64, 768), (6, 12, 24)
SCALED = {"scaled": ("÷ √(2L)", "model", "solid"), "unscaled": ("as drawn", "none", "dot")}


@dataclass(frozen=True, slots=True)
class Settings:
    """The decoder reads so many random tokens of a small vocabulary."""

    tokens: int = 24
    vocabulary: int = 256


experiment = Experiment(
    name="residual-connection/initialisation",
    factors=("width", "layers", "scaled"),
    arms={
        f"{name}_{width}_{layers}": {
            "title": f"{width} wide, {layers} blocks, {said}", "role": role, "width": width,
            "layers": layers, "scaled": name == "scaled",
        }
        for width in WIDTHS for layers in DEPTHS for name, (said, role, _) in SCALED.items()
    },
    settings=Settings(),
    quick=Settings(tokens=16),
    quick_arms=tuple(f"{name}_64_{layers}" for layers in DEPTHS for name in SCALED),
    primary="size_at_the_end",
    repeat=(("scaled_64_6", 0), ("unscaled_64_12", 1)),
)  # fmt: skip


@experiment.measure
@torch.inference_mode()
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    config = ModelConfig(
        vocab_size=settings.vocabulary, hidden_size=arm["width"],
        num_hidden_layers=arm["layers"], num_attention_heads=arm["width"] // 64,
        num_key_value_heads=arm["width"] // 64, intermediate_size=4 * arm["width"],
        family="gpt2", positions="learned", scale_residual_init=arm["scaled"],
        max_position_embeddings=settings.tokens,
    )  # fmt: skip
    model = Transformer(config, seed=seed)
    sizes: list[float] = []

    def keep(_, args: tuple) -> None:
        sizes.append(args[0].pow(2).mean().sqrt().item())

    hooks = [layer.register_forward_pre_hook(keep) for layer in model.model.layers]
    hooks.append(model.model.norm.register_forward_pre_hook(keep))
    generator = torch.Generator().manual_seed(seed)
    model(torch.randint(settings.vocabulary, (1, settings.tokens), generator=generator))
    for hook in hooks:
        hook.remove()
    blocks = range(len(sizes))
    values = {"stream_growth": sizes[-1] / sizes[0], "size_at_the_end": sizes[-1]}
    return Measurement(values, {"stream": (blocks, sizes)})


def ends(record, name: str, width: int) -> list[float]:
    """The stream's size after the last block, by depth."""
    return [record.value(f"{name}_{width}_{layers}", "size_at_the_end") for layers in DEPTHS]


def said(sizes: list[float]) -> str:
    return ", ".join(f"{size:.3f}" for size in sizes)


@experiment.claim(quick=True)
def divided_forgets_depth(record):
    """Divided, the stream ends as large after 24 blocks as after 6, within a fifth, at both
    widths."""
    found = [ends(record, "scaled", width) for width in WIDTHS
             if f"scaled_{width}_6" in record.arms]  # fmt: skip
    return all(max(s) < 1.2 * min(s) for s in found), "; ".join(map(said, found))


@experiment.claim()
def undivided_grows_as_a_root(record):
    """Undivided, four times the blocks double the size that the stream ends with at 768, within a
    fifth."""
    found = ends(record, "unscaled", 768)
    return 1.6 < found[-1] / found[0] < 2.4, said(found)


@experiment.claim()
def width_decides(record):
    """One spread of 0.02 is a larger branch in a wider model: undivided, the stream of 24 blocks
    grows more than three times as much at 768 as at 64."""
    narrow, wide = (record.value(f"unscaled_{w}_24", "stream_growth") for w in WIDTHS)
    return wide > 3 * narrow, f"× {narrow:.2f} and × {wide:.1f}"


@experiment.claim()
def embeddings_drown(record):
    """Even divided, the branches of 24 blocks at 768 write more than three times the size of the
    embedding into the stream."""
    growth = record.value("scaled_768_24", "stream_growth")
    return growth > 10**0.5, f"× {growth:.2f}"


@experiment.figure()
def stream(record):
    """Root mean square of the stream before each of 24 blocks and after the last, before training,
    on a log scale, for two widths, with and without the division."""
    panels = []
    for width in WIDTHS:
        lines = [record.line(f"{name}_{width}_24", "stream", title, dash)
                 for name, (title, _, dash) in SCALED.items()
                 if f"{name}_{width}_24" in record.arms]  # fmt: skip
        size = Axis("size of the stream", "log", ticks=[0.03, 0.05, 0.1, 0.2, 0.5, 1, 2])
        if lines:
            panels.append(Panel("block", size, lines, title=f"{width} wide"))
    return Figure(panels)
