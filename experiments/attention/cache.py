"""How large is the key-value cache with eight, two or one key-value heads, and what does the next
token cost?

The shapes are those of the package's 26m preset, whose eight query heads share two key-value heads.
Its cache is allocated and counted; so are the parameters of its projections, as the saving is often
told with the wrong whole. Then one layer's attention for one new token, over caches of growing
length, for a batch of requests. The three arms take turns, so that the ratios are fair on a busy
machine. It is a CPU: on a GPU, where reading memory is the larger part of the work, the ratios are
others.
"""

from dataclasses import dataclass

import torch

from minimind_wiki.book.experiment import Experiment, Measurement
from minimind_wiki.lite.plot import Axis, Bars, Figure, Line, Panel
from minimind_wiki.model import KVCache, Transformer, preset
from minimind_wiki.model.attention import single_attention

from ._timed import quickest

SHARED = {"mha": 8, "gqa": 2, "mqa": 1}
TITLES = {"mha": "8 key-value heads", "gqa": "2 key-value heads", "mqa": "1 key-value head"}
ROLES = {"mha": "a", "gqa": "model", "mqa": "b"}


@dataclass(frozen=True, slots=True)
class Settings:
    """lengths: tokens in the cache; batch: requests that are answered together."""

    lengths: tuple[int, ...] = (256, 512, 1024, 2048, 4096)
    batch: int = 8
    rounds: int = 30


experiment = Experiment(
    name="attention/cache",
    factors=("shared",),
    arms={name: {"title": TITLES[name], "role": ROLES[name], "shared": count}
          for name, count in SHARED.items()},
    settings=Settings(),
    quick=Settings(lengths=(64, 128), batch=2, rounds=3),
    primary="cache_bytes_per_token",
    parallel=False,
    noisy=("microseconds*", "time_ratio*"),
)  # fmt: skip


def config_of(shared: int):
    return preset("26m", num_key_value_heads=shared)


def job(shared: int, length: int, settings: Settings, seed: int):
    """One layer's attention for one new token of each request, as a function without arguments."""
    config, draw = config_of(shared), torch.Generator().manual_seed(seed)
    q = torch.randn(settings.batch, config.num_attention_heads, 1, config.head_dim, generator=draw)
    k, v = (torch.randn(settings.batch, shared, length, config.head_dim, generator=draw)
            for _ in range(2))  # fmt: skip
    return lambda: single_attention(q, k, v)


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    shared, config = arm["shared"], config_of(arm["shared"])
    cache = KVCache(config, 1, 16)
    with torch.device("meta"):  # shapes alone
        model = Transformer(config, seed=None)
    attention = model.model.layers[0].self_attn
    counts = {name: getattr(attention, f"{name}_proj").weight.numel() for name in "qkvo"}
    values = {
        "cache_bytes_per_token": sum(x.numel() * x.element_size()
                                     for x in (*cache.keys, *cache.values)) / 16,
        "kv_parameters": counts["k"] + counts["v"],
        "qkv_parameters": counts["q"] + counts["k"] + counts["v"],
        "attention_parameters": sum(counts.values()),
        "parameters": model.num_parameters(),
    }  # fmt: skip
    times, ratios = [], []
    for length in settings.lengths:
        jobs = {name: job(count, length, settings, seed)
                for name, count in (("this", shared), ("mha", SHARED["mha"]))}  # fmt: skip
        took = quickest(jobs, settings.rounds)
        times.append(took["this"] * 1e6)
        ratios.append(took["this"] / took["mha"])
        values[f"microseconds_{length}"] = times[-1]
        values[f"time_ratio_{length}"] = ratios[-1]
    return Measurement(values, {"microseconds": (settings.lengths, times),
                                "time_ratio": (settings.lengths, ratios)})  # fmt: skip


@experiment.derived
def derived(record):
    """The share that is saved of each whole that the saving is told of, and sizes at 4,096."""
    out = {}
    for arm in record.arms:
        out[arm] = {
            f"{name}_saving": 1 - record.value(arm, metric) / record.value("mha", metric)
            for name, metric in (
                ("cache", "cache_bytes_per_token"),
                ("kv", "kv_parameters"),
                ("qkv", "qkv_parameters"),
                ("attention", "attention_parameters"),
                ("model", "parameters"),
            )
        }
        out[arm]["cache_megabytes_4096"] = record.value(arm, "cache_bytes_per_token") * 4096 / 1e6
    return out


@experiment.claim(quick=True)
def gqa_saves_three_quarters(record):
    """With two key-value heads for eight, the cache is a quarter: three quarters are saved."""
    saving = record.value("gqa", "cache_saving")
    return saving == 0.75, f"{saving:.1%} of the cache"


@experiment.claim(quick=True)
def half_is_of_qkv(record):
    """The often-told half is another whole: the parameters of the Q, K and V projections."""
    saving = record.value("gqa", "qkv_saving")
    return (
        saving == 0.5,
        f"{saving:.1%} of Q, K and V, {record.value('gqa', 'model_saving'):.1%} of the model",
    )


@experiment.claim()
def fewer_heads_are_quicker(record):
    """At the longest cache, one new token takes less time with two heads than with eight."""
    longest = record.settings["lengths"][-1]
    ratio = record.seeds("gqa", f"time_ratio_{longest}")
    return max(ratio) < 1, f"{min(ratio):.2f} to {max(ratio):.2f} of the time at {longest}"


@experiment.claim()
def not_as_quick_as_small(record):
    """The time shrinks less than the cache: the scores of eight query heads stay to be computed."""
    longest = record.settings["lengths"][-1]
    found = {arm: record.value(arm, f"time_ratio_{longest}") for arm in ("gqa", "mqa")}
    said = ", ".join(f"{arm} {ratio:.2f} of the time" for arm, ratio in found.items())
    return found["gqa"] > 0.25 and found["mqa"] > 0.125, said


@experiment.figure()
def saved(record):
    """What two key-value heads for eight save, by the whole that it is told of: three quarters of
    the cache and of the K and V projections, half of the Q, K and V projections, less of all
    attention weights, a few percent of the model."""
    names = ["cache", "K and V weights", "Q, K, V weights", "attention weights", "whole model"]
    keys = ("cache", "kv", "qkv", "attention", "model")
    bars = [Bars(names, [100 * record.value(arm, f"{k}_saving") for k in keys], title, ROLES[arm])
            for arm, title in (("gqa", "2 for 8"), ("mqa", "1 for 8"))]  # fmt: skip
    return Figure(Panel(Axis("percent saved", range=(0, 100)), Axis("", "category"), bars=bars,
                        legend="top"))  # fmt: skip


@experiment.figure()
def next_token(record):
    """Time of one layer's attention for one new token, by the tokens in the cache. It grows in
    proportion to the cache, and fewer key-value heads take less."""
    lines = [Line(c["x"], c["mean"], TITLES[arm], ROLES[arm], c["lo"], c["hi"], marker="circle")
             for arm in record.arms for c in [record.curve(arm, "microseconds")]]  # fmt: skip
    x = Axis("tokens in the cache", "log", ticks=record.settings["lengths"])
    return Figure(Panel(x, Axis("microseconds", "log"), lines))
