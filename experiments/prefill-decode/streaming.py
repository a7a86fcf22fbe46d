"""Can a model go on past the text it was trained on, with a cache that does not grow?

A trained model reads a stream of stories, four times as long as the rows of its training, through a
cache for a sixteenth of the stream. When it is full, something has to go. The plain window forgets
the oldest token. Attention sinks keep the first tokens and forget the oldest behind them: large
models put much weight on the first token and break without it (Xiao et al. 2023, arXiv:2309.17453).
So it is also measured how much weight that token has here. The control reads the last tokens anew
for each token: no key in it knows of what was forgotten. All count positions within what they hold.
"""

import math
from dataclasses import dataclass
from itertools import count

from minimind_wiki.book.experiment import Experiment, Measurement
from minimind_wiki.book.record import repo_root
from minimind_wiki.data.world import make_document
from minimind_wiki.infer import load_model_folder
from minimind_wiki.infer.caches import SinkCache
from minimind_wiki.lite.plot import Axis, Figure, Line, Panel


@dataclass(frozen=True, slots=True)
class Settings:
    """Streams of so many tokens each, room tokens in the cache, tokens to a point of the curve."""

    model: str = "world-tiny"
    streams: int = 4
    tokens: int = 2048
    room: int = 128
    point: int = 32


def arm(title: str, role: str, sinks: int, anew: bool = False) -> dict:
    return {"title": title, "role": role, "sinks": sinks, "anew": anew}


experiment = Experiment(
    name="prefill-decode/streaming",
    factors=("sinks", "anew"),
    arms={
        "window": arm("plain window", "none", 0),
        "sink": arm("1 sink and a window", "a", 1),
        "sinks": arm("4 sinks and a window", "model", 4),
        "anew": arm("window, read anew", "b", 0, anew=True),
    },
    settings=Settings(),
    quick=Settings(model="world-nano", streams=2, tokens=96, room=24, point=12),
    primary="loss_after",
    repeat=(("sinks", 0), ("anew", 0)),
)


def streams(tokenizer, settings: Settings, seed: int):
    """Stories of validation worlds one after the other, each begun as in training; (B, T) ids."""
    import torch

    rows, stories = [], count()
    for _ in range(settings.streams):
        ids: list[int] = []
        while len(ids) < settings.tokens:
            story = make_document(f"stream/{seed}/{next(stories)}", "validation")
            ids += [tokenizer.bos_id, *tokenizer.encode(story.text)]
        rows.append(ids[: settings.tokens])
    return torch.tensor(rows)


def first_share(model, ids_BT) -> float:
    """The attention of the last token on the first, in the layer that gives it most."""
    import torch

    from minimind_wiki.model.rope import apply_rope

    shares = []

    def look(own, inputs):
        x_BTD, rope = inputs[:2]
        q_BHTD = apply_rope(own._heads(own.q_proj(x_BTD), own.q_norm), *rope)
        k_BKTD = apply_rope(own._heads(own.k_proj(x_BTD), own.k_norm), *rope)
        k_BHTD = k_BKTD.repeat_interleave(q_BHTD.shape[1] // k_BKTD.shape[1], dim=1)
        score_BHT = (q_BHTD[:, :, -1:] @ k_BHTD.mT)[:, :, 0] / math.sqrt(own.head_dim)
        shares.append(float(torch.softmax(score_BHT, dim=-1)[..., 0].mean()))

    hooks = [layer.self_attn.register_forward_pre_hook(look) for layer in model.model.layers]
    model(ids_BT)
    for hook in hooks:
        hook.remove()
    return max(shares)


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    import torch
    import torch.nn.functional as F

    model, tokenizer = load_model_folder(
        repo_root() / "models" / settings.model, "cpu", torch.float32
    )
    ids_BT = streams(tokenizer, settings, seed)
    room, each, losses, held = settings.room, settings.point, [], 0
    cache = SinkCache(model.eval().config, len(ids_BT), room, arm["sinks"])
    with torch.inference_mode():
        for place in range(settings.tokens - 1):
            if arm["anew"]:
                logits_BV = model(ids_BT[:, max(0, place + 1 - room) : place + 1])[:, -1]
            else:
                logits_BV = model(ids_BT[:, place : place + 1], cache)[:, -1]
            losses.append(float(F.cross_entropy(logits_BV, ids_BT[:, place + 1])))
            held = max(held, sum(t.numel() for t in (*cache.keys, *cache.values)))
        share = first_share(model, ids_BT[:, :room])
    after = losses[2 * room :]  # all in the cache was read when it was full already
    loss = sum(after) / len(after)
    values = {"loss_before": sum(losses[:room]) / room, "loss_after": loss,
              "perplexity_after": math.exp(loss), "first_share": share,
              "cache_kb_a_stream": held * 4 / 1e3 / settings.streams,
              "times_the_cache": settings.tokens / room}  # fmt: skip
    starts = range(0, len(losses) - each + 1, each)
    means = [sum(losses[start : start + each]) / each for start in starts]
    return Measurement(values, {"loss": ([start + each / 2 for start in starts], means)})


def worse(record, one, other):
    """Loss of `one` minus loss of `other` past the cache, seed by seed."""
    pairs = zip(record.seeds(one, "loss_after"), record.seeds(other, "loss_after"), strict=True)
    return [float(a - b) for a, b in pairs]


@experiment.claim(quick=True)
def finite_at_constant_memory(record):
    """No loss breaks, and the cache with sinks holds no more than the plain window does."""
    losses = [record.value(arm, "loss_after") for arm in record.arms]
    sizes = [record.value(arm, "cache_kb_a_stream") for arm in ("window", "sinks")]
    return all(map(math.isfinite, losses)) and sizes[0] == sizes[1], (
        f"{sizes[1]:.0f} kB for a stream of {record.value('sinks', 'times_the_cache'):.0f} times "
        "what fits the cache")  # fmt: skip


@experiment.claim()
def the_window_breaks(record):
    """Without the first tokens the loss is higher than with four of them, with every seed."""
    more = worse(record, "window", "sinks")
    return min(more) > 0, f"{min(more):+.3f} to {max(more):+.3f} nats a token"


@experiment.claim()
def nothing_rests_on_the_first_token(record):
    """A full cache's first token has less than a twentieth of the attention in every layer: there
    is no sink that a window could lose."""
    share = max(record.seeds("window", "first_share"))
    return share < 0.05, f"{share:.1%} at most"


@experiment.claim()
def as_good_as_reading_anew(record):
    """With four sinks the loss is at most 0.05 nats a token above that of reading anew."""
    more = worse(record, "sinks", "anew")
    return max(more) <= 0.05, f"{min(more):+.3f} to {max(more):+.3f} nats a token"


@experiment.figure()
def along_the_stream(record):
    """Loss over the place in the stream: one line while the text fits the cache, and then what each
    arm makes of it when the first tokens would have to go."""
    lines = []
    for arm, about in record.arms.items():
        c = record.curve(arm, "loss")
        lines.append(Line(c["x"], c["mean"], about["title"], about["role"], c["lo"], c["hi"]))
    full = record.settings["room"]
    panel = Panel(Axis("place in the stream, tokens"), Axis("loss, nats a token"), lines,
                  legend="top")  # fmt: skip
    panel.title = f"a cache of {full} tokens"
    return Figure([panel])
