"""One model of short windows, stretched in many ways, as it is or trained a little further."""

import dataclasses
from dataclasses import dataclass
from functools import cache

from minimind_wiki.model import Transformer

from ._text import Reading, changed, shape, trained, tuned


@dataclass(frozen=True, slots=True)
class Settings(Reading):
    """Besides: the rate of the short windows, how much longer the long ones are, further steps."""

    base_rate: float = 1e-2
    factor: int = 4
    more_steps: int = 30
    learning_rate: float = 3e-3  # of the further steps, swept


@cache
def base(start: str, seed: int, settings: Settings) -> Transformer:
    """The model before anything is stretched; `settings` without the swept rate."""
    long = {"context_length": settings.factor * settings.context,
            "batch_size": settings.batch // settings.factor} if start == "long" else {}  # fmt: skip
    return trained(shape(settings), seed, settings, learning_rate=settings.base_rate, **long)


def fields(kind: str, settings: Settings, length: int = 0) -> dict:
    """What a model's configuration says for each kind of stretching, "fitted" for one length."""
    if kind == "fitted":
        return {"rope_type": "ntk", "rope_factor": max(1.0, length / settings.context)}
    if kind in ("default", "window"):
        return {"sliding_window": settings.context} if kind == "window" else {}
    if kind == "dynamic":  # its factor also says how long a text may be
        return {"rope_type": kind, "rope_factor": settings.longest / settings.context,
                "rope_original_positions": settings.context}  # fmt: skip
    trained_at = {"rope_original_positions": settings.context} if kind == "yarn" else {}
    return {"rope_type": kind, "rope_factor": float(settings.factor), **trained_at}


def model_of(arm: dict, seed: int, settings: Settings, length: int = 0) -> Transformer:
    """The arm's model: kind of stretching, start ("short" or "long" windows), further steps."""
    fixed = dataclasses.replace(settings, learning_rate=0.0)
    model = changed(base(arm["start"], seed, fixed), **fields(arm["kind"], settings, length))
    if not arm["further"]:
        return model
    return tuned(
        model, seed, settings, steps=settings.more_steps, eval_every=settings.more_steps,
        context_length=settings.factor * settings.context,
        batch_size=settings.batch // settings.factor,
    ).eval()  # fmt: skip
