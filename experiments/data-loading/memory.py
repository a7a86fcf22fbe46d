"""Does the loader's memory grow with the corpus?

Shards of random tokens (log-normal documents, about 800 tokens), a hundredfold from the smallest
corpus to the largest, are read by a fresh process in a random order; its own memory (what it wrote
itself, not the mapped pages of the shards) is watched from opening to the last batch. One factor is
the corpus' size, the other how many tokens stand in one shard: the packings of two shards are held
in memory, so this is what should count.
"""

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minimind_wiki.book.experiment import Experiment, Measurement
from minimind_wiki.data.shards import ShardWriter
from minimind_wiki.lite.plot import Axis, Figure, Line, Panel

from ._reader import READER


@dataclass(frozen=True, slots=True)
class Settings:
    """`scale` divides all sizes (a quick run's); batches read, and their shape."""

    scale: int = 1
    steps: int = 400
    row_length: int = 512
    batch_size: int = 32


def arm(megabytes: int, shard: int) -> dict:
    title = f"{megabytes} MB in shards of {shard} MB"
    return {"title": title, "role": "model", "megabytes": megabytes, "shard_megabytes": shard}


experiment = Experiment(
    name="data-loading/memory",
    factors=("megabytes", "shard_megabytes"),
    arms={
        "mb10": arm(10, 10),
        "mb100": arm(100, 10),
        "mb1000": arm(1000, 10),
        "mb300_hundreds": arm(300, 100),
        "mb1000_hundreds": arm(1000, 100),
    },
    settings=Settings(),
    quick=Settings(scale=50, steps=40),
    primary="own_mb",
    parallel=False,
    noisy=("*_mb", "open_seconds"),
)
GROWING = ("mb10", "mb100", "mb1000")
SEVERAL = ("mb100", "mb1000", "mb300_hundreds", "mb1000_hundreds")  # more shards than are kept


def write(folder: Path, megabytes: float, shard_megabytes: float, seed: int) -> int:
    """Shards of random documents; returns the documents of the largest."""
    rng, most = np.random.default_rng(seed), 0
    size = int(shard_megabytes * 5e5)  # tokens of two bytes
    for number in range(round(megabytes / shard_megabytes)):
        with ShardWriter(folder / f"{number:05d}.tokens", "random", 1 << 16) as shard:
            while shard.tokens < size:
                lengths = np.minimum(rng.lognormal(6.4, 0.8, 256).astype(int) + 1, 20_000)
                for ids in np.split(rng.integers(0, 1 << 16, lengths.sum()), lengths.cumsum()[:-1]):
                    shard.add(ids)
                    if shard.tokens >= size:
                        break
        most = max(most, shard.documents)
    return most


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    sizes = arm["megabytes"] / settings.scale, arm["shard_megabytes"] / settings.scale
    with tempfile.TemporaryDirectory() as folder:
        documents = write(Path(folder), *sizes, seed)
        shape = [settings.steps, settings.row_length, settings.batch_size, seed]
        command = [sys.executable, str(READER), folder, *map(str, shape)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    values = {**found, "loader_mb": found["own_mb"] - found["before_mb"], "megabytes": sizes[0],
              "documents_per_shard": documents}  # fmt: skip
    return Measurement(values)


def fitted(record, arms, x, y):
    """Slope and value at zero of the line through the runs of these arms."""
    xs, ys = (np.concatenate([record.seeds(arm, name) for arm in arms]) for name in (x, y))
    slope, start = np.polyfit(xs, ys, 1)
    return float(slope), float(start)


@experiment.derived
def law(record):
    """MB for each MB of corpus, what 10 GB would take, and bytes for each document of a shard."""
    slope, start = fitted(record, GROWING, "megabytes", "own_mb")
    each, _ = fitted(record, SEVERAL, "documents_per_shard", "loader_mb")
    return {"mb1000": {"slope": slope, "at_10_gb_mb": start + slope * 1e4,
                       "bytes_per_document": each * 1e6}}  # fmt: skip


@experiment.claim(quick=True)
def flat_in_the_corpus(record):
    """A hundred times the corpus, in shards of one size, takes less than 10 MB more."""
    small, large = (record.value(arm, "own_mb") for arm in ("mb10", "mb1000"))
    slope, start = fitted(record, GROWING, "megabytes", "own_mb")
    return large - small < 10, (
        f"{small:.1f} and {large:.1f} MB; {start:.1f} MB + {slope:.4f} MB for each MB, which is "
        f"{start + slope * 1e4:.0f} MB at 10 GB")  # fmt: skip


@experiment.claim()
def follows_the_shard(record):
    """What it takes is set by the documents of a shard, not by the number of shards: ten times the
    documents in each take more, three times as many shards do not."""
    one = {arm: record.value(arm, "loader_mb") for arm in SEVERAL}
    grown = one["mb1000_hundreds"] - one["mb1000"]
    more = one["mb1000_hundreds"] - one["mb300_hundreds"]
    each, _ = fitted(record, SEVERAL, "documents_per_shard", "loader_mb")
    return grown > 5 and abs(more) < grown / 4, (
        f"shards ten times as large {grown:+.1f} MB, three times as many {more:+.1f} MB; "
        f"{each * 1e6:.0f} bytes for each document of a shard")  # fmt: skip


@experiment.figure()
def own_memory(record):
    """Own memory of the reading process over the size of the corpus, on a log axis: a flat line
    from 10 MB to 1 GB in shards of 10 MB, a higher flat one in shards of 100 MB."""
    lines = []
    large = ("mb300_hundreds", "mb1000_hundreds")
    for arms, name, dash in ((GROWING, "shards of 10 MB", "solid"),
                             (large, "shards of 100 MB", "dash")):  # fmt: skip
        y = [record.seeds(arm, "own_mb") for arm in arms]
        xs = [record.value(arm, "megabytes") for arm in arms]
        role = "model" if dash == "solid" else "a"
        lines.append(Line(xs, [record.value(arm, "own_mb") for arm in arms], name, role,
                          map(min, y), map(max, y), dash, "circle"))  # fmt: skip
    return Figure(Panel(Axis("size of the corpus, MB", "log"),
                        Axis("own memory, MB", range=(0, 1.2 * max(max(v.y) for v in lines))),
                        lines=lines, legend="top"))  # fmt: skip
