"""Does the loader feed a training run, or does the run wait for it?

Tokens a second of five ways to make batches, each in turn with steps of training the `mini` preset
(forward, backward, AdamW; one thread each) in the same process and by its own clock, which stands
still while other programs run: packed, padded and joined rows from shards, the little world
generated while it is needed (as bytes and as ids of a BPE), and rows of JSON parsed, tokenized and
padded when they are asked for. All but the stream of bytes have ids of the same BPE. Only useful
tokens count, padding does not; of the training all places count.
"""

import json
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path

import numpy as np

from minimind_wiki.book.experiment import Experiment, Measurement
from minimind_wiki.data.embedded import embedded_text
from minimind_wiki.data.loader import Loader
from minimind_wiki.data.shards import write_shards
from minimind_wiki.data.stream import WorldStream
from minimind_wiki.lite.plot import Axis, Bars, Figure, Level, Panel
from minimind_wiki.tokenizer import ByteTokenizer

from ._bpe import bpe

ENOUGH = 20.0


@dataclass(frozen=True, slots=True)
class Settings:
    """Row and batch; rounds of `seconds` of loading and one training step; bytes of shards."""

    row_length: int = 512
    batch_size: int = 16
    rounds: int = 2
    seconds: float = 0.4
    corpus_bytes: int = 4_000_000
    train_rows: int = 8
    train_length: int = 256


def arm(title: str, source: str, role: str = "a") -> dict:
    return {"title": title, "role": role, "source": source}


experiment = Experiment(
    name="data-loading/throughput",
    factors=("source",),
    arms={
        "pack": arm("best fit", "pack", "model"),
        "pad": arm("padded", "pad", "baseline"),
        "concat": arm("joined", "concat"),
        "stream": arm("world, bytes", "stream", "b"),
        "stream_bpe": arm("world, BPE", "stream_bpe", "c"),
        "rows_bpe": arm("JSON rows", "rows_bpe", "none"),
    },
    settings=Settings(),
    quick=Settings(rounds=1, seconds=0.1, corpus_bytes=300_000, train_rows=2, train_length=128),
    quick_arms=("pack", "stream"),
    primary="ratio",
    parallel=False,
    noisy=("*",),  # speeds, all of them: a change of the loader asks for a new run
)


@cache
def texts(size: int) -> list[str]:
    """Stretches of the embedded text, log-normal around 330 bytes, as instructions are."""
    whole, rng, out = embedded_text(), np.random.default_rng(0), []
    while size > 0:
        length = int(rng.lognormal(5.6, 0.8)) + 20
        at = int(rng.integers(0, max(1, len(whole) - length)))
        out.append(whole[at : at + length])
        size -= length
    return out


@cache
def tokenizer():
    return bpe([embedded_text()], 6400)


def source(name: str, seed: int, settings: Settings, folder: Path):
    """A function from a step to the useful tokens of its batch."""
    length, batch = settings.row_length, settings.batch_size
    if name == "rows_bpe":
        lines, rng = [json.dumps({"text": t}) for t in texts(settings.corpus_bytes)], {}

        def read(step: int) -> int:
            ids = np.zeros((batch, length), dtype=np.int64)
            useful, order = 0, rng.setdefault("r", np.random.default_rng(seed))
            for row, line in enumerate(order.integers(0, len(lines), batch)):
                tokens = tokenizer().encode(json.loads(lines[line])["text"])[: length - 1]
                ids[row, : len(tokens) + 1] = [*tokens, tokenizer().eos_id]
                useful += len(tokens) + 1
            return useful

        return read
    if name.startswith("stream"):
        ids = tokenizer() if name == "stream_bpe" else ByteTokenizer()
        batches = WorldStream(ids, length, batch, seed)
    else:
        paths = write_shards(texts(settings.corpus_bytes), folder, tokenizer())
        batches = Loader(paths, length, batch, seed, name)
    return lambda step: int((batches.at(step).documents > 0).sum())


def trainer(settings: Settings):
    """A function that trains `mini` one step and returns the places that it read."""
    import torch

    from minimind_wiki.model import Transformer, preset

    model = Transformer(preset("mini"))
    optimizer = torch.optim.AdamW(model.parameters())
    ids = torch.randint(0, 256, (settings.train_rows, settings.train_length))

    def step() -> int:
        logits = model(ids)[:, :-1].flatten(0, 1)
        torch.nn.functional.cross_entropy(logits, ids[:, 1:].flatten()).backward()
        optimizer.step()
        optimizer.zero_grad()
        return ids.numel()

    return step


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    with tempfile.TemporaryDirectory() as folder:
        read, train = source(arm["source"], seed, settings, Path(folder)), trainer(settings)
        read(0), train()
        loaded, trained, loading, training = 0, 0, 0.0, 0.0
        steps = count(10_000)  # behind the block that the stream has generated
        for _ in range(settings.rounds):
            began = time.process_time()
            while (spent := time.process_time() - began) < settings.seconds:
                loaded += read(next(steps))
            loading += spent
            began = time.process_time()
            trained += train()
            training += time.process_time() - began
    speeds = loaded / loading, trained / training
    return Measurement({"tokens_per_second": speeds[0], "mini_tokens_per_second": speeds[1],
                        "ratio": speeds[0] / speeds[1]})  # fmt: skip


def ratios(record):
    return {arm: record.value(arm, "ratio") for arm in record.arms}


@experiment.claim(quick=True)
def shards_feed_training(record):
    """Packed rows come from shards at least 20 times as fast as `mini` trains."""
    least = min(record.seeds("pack", "ratio"))
    return least >= ENOUGH, f"slowest run {least:,.0f} times"


@experiment.claim(quick=True)
def the_world_needs_no_disk(record):
    """Generated while it is needed, the world comes at least 20 times as fast as `mini` trains."""
    least = {arm: min(record.seeds(arm, "ratio"))
             for arm in ("stream", "stream_bpe") if arm in record.arms}  # fmt: skip
    return min(least.values()) >= ENOUGH, ", ".join(f"{a} {x:,.0f} times" for a, x in least.items())


@experiment.claim()
def tokenizing_first_pays(record):
    """Packed shards are at least 5 times as fast as tokenizing each row when it is asked for."""
    gain = ratios(record)["pack"] / ratios(record)["rows_bpe"]
    return gain >= 5, f"{gain:.1f} times"


@experiment.figure()
def ratio(record):
    """Useful tokens a second of each way, as a multiple of the tokens a second that `mini` trains,
    on a log scale; whiskers are three runs, the line is 20 times."""
    found = ratios(record)
    runs = [record.seeds(arm, "ratio") for arm in found]
    names = [record.arms[arm]["title"] for arm in found]
    bars = Bars(names, found.values(), "", "model", map(min, runs), map(max, runs))
    return Figure(Panel(Axis("", "category"), Axis("times the speed of training", "log"),
                        bars=[bars], levels=[Level(ENOUGH, "20 times", "floor")]))  # fmt: skip
