"""What does padding change for a trained model: on the left and on the right, with a mask and
without?

Stories of the little world, cut to different lengths, go through the shipped world-nano model alone
and then padded to one length. What is compared is the prediction after the last token of each: its
distance from that of the story alone, and whether the likeliest next token is still the same.
"""

from dataclasses import dataclass
from functools import cache

import torch

from minimind_wiki.book.experiment import Experiment, Measurement
from minimind_wiki.book.record import repo_root
from minimind_wiki.data.world import make_document
from minimind_wiki.infer import load_model_folder
from minimind_wiki.lite.plot import Axis, Bars, Figure, Panel

SIDES, MASKS = ("left", "right"), {"masked": True, "bare": False}


@dataclass(frozen=True, slots=True)
class Settings:
    """shortest, longest: tokens of a story after the cut; longest is also the padded length."""

    stories: int = 64
    shortest: int = 8
    longest: int = 72


experiment = Experiment(
    name="attention/padding",
    factors=("side", "mask"),
    arms={
        f"{side}_{name}": {
            "title": f"padded {side}, {'with' if mask else 'no'} mask",
            "role": "model" if mask else "none", "side": side, "mask": mask,
        }
        for side in SIDES for name, mask in MASKS.items()
    },
    settings=Settings(),
    quick=Settings(stories=8),
    primary="changed",
)  # fmt: skip


@cache
def world_nano():
    """In float32: in half precision, other shapes round differently, and that is not padding."""
    model, tokenizer = load_model_folder(repo_root() / "models" / "world-nano")
    return model.float(), tokenizer


def stories(seed: int, settings: Settings) -> list[list[int]]:
    """Ids of beginnings of stories, with lengths spread evenly."""
    _, tokenizer = world_nano()
    out = []
    for number in range(settings.stories):
        text = make_document(f"padding.{seed}.{number}", "validation").text
        share = number / max(1, settings.stories - 1)
        length = round(settings.shortest + share * (settings.longest - settings.shortest))
        out.append([tokenizer.bos_id, *tokenizer.encode(text)][:length])
    return out


@experiment.measure
@torch.no_grad()
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    model, tokenizer = world_nano()
    rows = [ids for ids in stories(seed, settings) if len(ids) < settings.longest]
    alone = torch.stack([model(torch.tensor([ids]))[0, -1] for ids in rows]).log_softmax(-1)
    filled = torch.full((len(rows), settings.longest), tokenizer.pad_id)
    real = torch.zeros_like(filled)
    for row, ids in enumerate(rows):
        place = slice(-len(ids), None) if arm["side"] == "left" else slice(0, len(ids))
        filled[row, place], real[row, place] = torch.tensor(ids), 1
    # The padding is a document of its own, so no real token sees it.
    scores = model(filled, documents_BT=real if arm["mask"] else None)
    last = torch.tensor([settings.longest if arm["side"] == "left" else len(ids) for ids in rows])
    padded = scores[torch.arange(len(rows)), last - 1].log_softmax(-1)
    distance = (alone.exp() * (alone - padded)).sum(-1)
    changed = padded.argmax(-1) != alone.argmax(-1)
    return Measurement({
        "divergence": distance.mean().item(),
        "largest_difference": (padded - alone).abs().max().item(),
        "changed": changed.float().mean().item(),
    })  # fmt: skip


@experiment.claim(quick=True)
def masked_left_is_exact(record):
    """Padded on the left with a mask, the predictions are those of the story alone."""
    found = max(record.seeds("left_masked", "largest_difference"))
    return found < 1e-3, f"largest difference {found:.1e} nats"


@experiment.claim(quick=True)
def bare_left_changes(record):
    """Padded on the left without a mask, they are not."""
    found = record.seeds("left_bare", "changed")
    return min(found) > 0, f"{min(found):.2f} to {max(found):.2f} of the next tokens change"


@experiment.claim(quick=True)
def right_needs_no_mask(record):
    """Padded on the right, no mask is needed: a causal model cannot see what comes later."""
    found = max(record.seeds("right_bare", "largest_difference"))
    return found < 1e-3, f"largest difference {found:.1e} nats"


@experiment.figure()
def changes(record):
    """Share of stories whose likeliest next token changes when the story is padded. Only padding on
    the left without a mask changes any."""
    names = [record.arms[arm]["title"] for arm in record.arms]
    seeds = [record.seeds(arm, "changed") for arm in record.arms]
    mean = [record.value(arm, "changed") for arm in record.arms]
    bars = Bars(names, mean, "changed", "none", map(min, seeds), map(max, seeds))
    return Figure(Panel(Axis("share changed"), Axis("", "category"), bars=[bars], legend="none"))
