"""What do fewer key-value heads cost in loss: as many as query heads, two, one?

Decoders of the package read the characters of Shakespeare's plays. All have eight query heads and
differ in the key-value heads that these share: eight (MHA), two (GQA), one (MQA). Fewer make the
model smaller as well, so MQA is there twice: the smaller model as it is, and one whose feed-forward
got the saved parameters back. The last arm has a single query head, as wide as the eight together,
with the parameters of MHA. The learning rate is swept for each arm and chosen on text of its own.
"""

import math
from dataclasses import dataclass

import torch.nn.functional as F

from minimind_wiki.book.experiment import Experiment, Measurement, Sweep
from minimind_wiki.book.text import real_text
from minimind_wiki.lite.plot import Axis, Bars, Figure, Panel
from minimind_wiki.model import KVCache, Transformer, preset

from ..normalization._decoder import characters, evaluate
from ._train import trained, windows

ARMS = {  # query heads, key-value heads, whether the feed-forward gets back what they save
    "mha": ("MHA: 8 of 8", "a", 8, 8, False),
    "gqa": ("GQA: 2 for 8", "model", 8, 2, False),
    "mqa": ("MQA: 1 for 8", "b", 8, 1, False),
    "mqa_refilled": ("MQA, refilled", "b", 8, 1, True),
    "one_head": ("one wide head", "c", 1, 1, False),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """width: of the stream; context: characters of a row; inner: of the feed-forward of MHA."""

    width: int = 96
    layers: int = 2
    inner: int = 256
    context: int = 96
    batch: int = 10
    steps: int = 350
    warmup: int = 20
    eval_windows: int = 256
    learning_rate: float = 1e-2  # swept


experiment = Experiment(
    name="attention/grouped",
    factors=("heads", "shared", "refilled"),
    arms={name: {"title": title, "role": role, "heads": heads, "shared": shared, "refilled": refill}
          for name, (title, role, heads, shared, refill) in ARMS.items()},
    settings=Settings(),
    quick=Settings(width=32, inner=64, context=32, batch=8, steps=40, warmup=4, eval_windows=32),
    quick_arms=("mha", "mqa", "mqa_refilled"),
    sweep=Sweep("learning_rate", (3e-3, 1e-2), "selection_loss", quick=(1e-2,),
                beyond=(1e-3, 3e-2)),
    primary="held_out_loss",
    repeat=(("mqa_refilled", 0), ("one_head", 0)),
)  # fmt: skip


def config_of(arm: dict, settings: Settings):
    """The decoder of an arm. A refilled feed-forward has three matrices to share what is saved."""
    head = settings.width // arm["heads"]
    own = arm["shared"] if arm["heads"] > 1 else 1
    saved = 2 * settings.width * (settings.width - own * head) if arm["refilled"] else 0
    return preset(
        "nano", vocab_size=characters().vocab_size, hidden_size=settings.width,
        num_hidden_layers=settings.layers, num_attention_heads=arm["heads"],
        num_key_value_heads=own, intermediate_size=settings.inner + saved // (3 * settings.width),
        pad_token_id=0, bos_token_id=0, eos_token_id=0,  # characters have no such marks
    )  # fmt: skip


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    data, config = characters(), config_of(arm, settings)
    model = Transformer(config, seed=seed)

    def loss_at(step: int):
        inputs, targets = windows(step, seed, settings)
        return F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())

    curve, diverged_at = trained(model, loss_at, settings, data.chance)
    cache = KVCache(config, 1, settings.context)
    size = sum(x.numel() * x.element_size() for x in (*cache.keys, *cache.values))
    values = {
        "held_out_loss": math.nan,
        "selection_loss": math.nan,
        "parameters": model.num_parameters(),
        "cache_bytes_per_token": size / settings.context,
    }
    if diverged_at is None:
        values["held_out_loss"] = evaluate(model, data.held_out, settings)
        values["selection_loss"] = evaluate(model, data.select, settings)
    return Measurement(values, {"training_loss": curve}, diverged_at)


@experiment.levels
def levels(settings: Settings) -> dict:
    data = characters()
    return {
        "chance": {"held_out_loss": data.chance},
        "baseline": {"held_out_loss": data.bigram},
        "data": real_text().described(),
    }


@experiment.derived
def derived(record):
    """How much of MHA's cache and of its parameters an arm has, and how far behind it ends."""
    out = {}
    for arm in record.arms:
        share = {f"{name}_share": record.value(arm, metric) / record.value("mha", metric)
                 for name, metric in (("cache", "cache_bytes_per_token"),
                                      ("parameters", "parameters"))}  # fmt: skip
        pairs = zip(*(record.seeds(a, "held_out_loss") for a in (arm, "mha")), strict=True)
        gaps = [one - other for one, other in pairs]
        out[arm] = share | {
            "behind_mha": sum(gaps) / len(gaps),
            "cache_saving": 1 - share["cache_share"],
        }
    return out


def spans(record, arms=tuple(ARMS)) -> str:
    """The seeds' range of each arm's held-out loss, in words."""
    found = {arm: record.seeds(arm, "held_out_loss") for arm in arms}
    return ", ".join(f"{arm} {min(s):.3f} to {max(s):.3f}" for arm, s in found.items())


@experiment.claim()
def sharing_costs_little(record):
    """GQA with two key-value heads for eight ends within 0.03 nats of MHA, smaller as it is."""
    gap = record.value("gqa", "behind_mha")
    return abs(gap) < 0.03, f"{gap:+.3f}; {spans(record, ('mha', 'gqa'))}"


@experiment.claim()
def one_shared_head_is_worse(record):
    """Every seed of MQA ends above every seed of MHA."""
    one, many = (record.seeds(arm, "held_out_loss") for arm in ("mqa", "mha"))
    return min(one) > max(many), spans(record, ("mha", "mqa"))


@experiment.claim()
def refilling_makes_up(record):
    """With the saved parameters in the feed-forward, MQA ends no higher than MHA on average."""
    gap = record.value("mqa_refilled", "behind_mha")
    return gap <= 0, f"{gap:+.3f}; {spans(record, ('mha', 'mqa_refilled'))}"


@experiment.claim()
def one_wide_head_is_worse(record):
    """On text, too, every seed of one wide head ends above every seed of eight heads."""
    one, many = (record.seeds(arm, "held_out_loss") for arm in ("one_head", "mha"))
    return min(one) > max(many), spans(record, ("mha", "one_head"))


@experiment.claim()
def cache_by_heads(record):
    """The cache shrinks as the key-value heads: GQA keeps 2/8 of MHA's, MQA 1/8."""
    shares = [record.value(arm, "cache_share") for arm in ("gqa", "mqa")]
    return shares == [0.25, 0.125], f"{shares[0]:g} and {shares[1]:g}"


@experiment.claim(quick=True)
def refilled_is_as_large(record):
    """The refilled model has MHA's parameters, within one percent."""
    share = record.value("mqa_refilled", "parameters_share")
    return abs(share - 1) < 0.01, f"{share:.4f}"


@experiment.claim()
def seeds_differ_more(record):
    """The three seeds of MHA lie further apart than the means of any two arms with eight heads."""
    means = [record.value(a, "held_out_loss") for a in ("mha", "gqa", "mqa", "mqa_refilled")]
    seeds = record.seeds("mha", "held_out_loss")
    apart, between = max(seeds) - min(seeds), max(means) - min(means)
    return apart > between, f"seeds {apart:.3f} apart, arms {between:.3f}"


@experiment.figure()
def loss(record):
    """Held-out loss of each arm with the range of three seeds, then each arm's cache. The ranges of
    the losses overlap; the caches differ by up to eight times."""
    names = [record.arms[arm]["title"] for arm in record.arms]
    seeds = [record.seeds(arm, "held_out_loss") for arm in record.arms]
    mean = [record.value(arm, "held_out_loss") for arm in record.arms]
    bars = Bars(names, mean, "held-out loss", "a", map(min, seeds), map(max, seeds))
    x = Axis("held-out loss, nats a character", range=(0, 2.6))
    first = Panel(x, Axis("", "category"), bars=[bars], legend="none")
    sizes = Bars(names, [record.value(arm, "cache_bytes_per_token") for arm in record.arms],
                 "cache", "b")  # fmt: skip
    second = Panel(Axis("cache, bytes a token"), Axis("", "category"), bars=[sizes], legend="none")
    return Figure([first, second])
