"""How fast the packed loader is, and what it keeps in memory: `python bench/loader.py [MB …]`.

Useful tokens a second (padding not counted) of three loaders on the same rows, in one process:
*packed shards*, *padded shards*, and the plain loader that parses and tokenizes each row when it is
asked for it and pads, with the byte tokenizer and with a BPE from `tokenizers` (at most 6400 ids);
of joined shards; and of the little world, generated while it is needed.
Then what the `mini` preset eats on this machine (forward, backward, AdamW), on one thread as the
loaders: on a shared machine two threads wait for each other and are several times slower, which
would flatter the loader. Then memory: for each corpus size a fresh process writes the shards from a
stream and reads 2,000 batches; `own` is anonymous memory at its highest, `file` are pages of the
mapped shards, which the system takes back at will.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import numpy as np

from minimind_wiki.data.embedded import embedded_text
from minimind_wiki.data.loader import Loader
from minimind_wiki.data.packing import ARMS
from minimind_wiki.data.shards import write_shards
from minimind_wiki.data.stream import WorldStream
from minimind_wiki.tokenizer import ByteTokenizer, Tokenizer
from minimind_wiki.tokenizer.library import LibraryTokenizer, train_library

ROW, BATCH, SHARD = 512, 32, 10_000_000


def documents(megabytes: float, seed: int = 0) -> Iterator[str]:
    """Texts of conversation length (log-normal, about 360 bytes) until there are so many MB."""
    text, rng = embedded_text(), np.random.default_rng(seed)
    left = megabytes * 1e6
    while left > 0:
        size = int(rng.lognormal(5.6, 0.8)) + 20
        at = int(rng.integers(0, max(1, len(text) - size)))
        left -= size
        yield text[at : at + size]


def bpe_tokenizer() -> Tokenizer:
    """A BPE of at most 6400 ids, trained on the embedded corpus by the library."""
    return LibraryTokenizer(train_library([embedded_text()], 6400).to_str())


def per_row(path: Path, tokenizer: Tokenizer) -> Iterator[int]:
    """The plain loader; yields the useful tokens of each batch of padded rows."""
    lines = path.read_text(encoding="utf-8").splitlines()
    rng = np.random.default_rng(0)
    while True:
        ids = np.full((BATCH, ROW), 0, np.int64)
        useful = 0
        for row, line in enumerate(rng.integers(0, len(lines), BATCH)):
            tokens = tokenizer.encode(json.loads(lines[line])["text"])[: ROW - 1]
            tokens.append(tokenizer.eos_id)
            ids[row, : len(tokens)] = tokens
            useful += len(tokens)
        yield useful


def rate(batch: Callable[[int], int], seconds: float = 2.0) -> float:
    """Useful tokens a second; the best of three runs."""
    best = 0.0
    for _ in range(3):
        tokens, began = 0, time.perf_counter()
        for step in count():
            tokens += batch(step)
            if time.perf_counter() - began > seconds / 3:
                break
        best = max(best, tokens / (time.perf_counter() - began))
    return best


def eaten() -> float:
    """Tokens a second that training `mini` takes on one thread, useful or not."""
    import torch

    from minimind_wiki.model.presets import preset
    from minimind_wiki.model.transformer import Transformer

    torch.set_num_threads(1)
    model = Transformer(preset("mini", vocab_size=ByteTokenizer.vocab_size))
    optimizer = torch.optim.AdamW(model.parameters())
    ids = torch.randint(0, 256, (8, 256))

    def step(_: int) -> int:
        logits = model(ids)
        loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return ids.numel()

    step(0)
    return rate(step, 9.0)


def memory() -> dict[str, float]:
    """Own and file-backed resident memory in MB (Linux)."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    found = dict(re.findall(r"Rss(Anon|File):\s+(\d+)", status))
    return {"own": int(found["Anon"]) / 1e3, "file": int(found["File"]) / 1e3}


def measure_memory(megabytes: float, folder: Path) -> dict[str, float]:
    """Write and read a corpus in this process; the highest memory of each kind."""
    highest: dict[str, float] = {"own": 0.0, "file": 0.0}

    def watched() -> Iterator[str]:
        for number, text in enumerate(documents(megabytes)):
            if number % 5000 == 0:
                highest["own"] = max(highest["own"], memory()["own"])
            yield text

    began = time.perf_counter()
    paths = write_shards(watched(), folder, ByteTokenizer(), shard_tokens=SHARD)
    wrote = time.perf_counter() - began
    loader = Loader(paths, ROW, BATCH)
    for step in range(2000):
        loader.at(step * 37)
        if step % 50 == 0:
            now = memory()
            highest = {kind: max(highest[kind], now[kind]) for kind in highest}
    return highest | {"MB": megabytes, "shards": len(paths), "write MB/s": megabytes / wrote}


def main(sizes: list[float]) -> None:
    """Print both tables."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = folder / "rows.jsonl"
        texts = list(documents(10))
        rows.write_text("".join(json.dumps({"text": t}) + "\n" for t in texts), encoding="utf-8")
        speeds: dict[str, float] = {}
        bpe = bpe_tokenizer()
        print(f"bpe: {bpe.vocab_size} ids")
        for label, tokenizer in (("bytes", ByteTokenizer()), ("bpe", bpe)):
            paths = write_shards(texts, folder / label, tokenizer)
            for arm in ARMS:
                loader = Loader(paths, ROW, BATCH, arm=arm)
                print(f"{label}, {arm}: {loader.useful:.2%} useful")
                speeds[f"{label}, {arm}"] = rate(
                    lambda step, loader=loader: int((loader.at(step).documents > 0).sum())
                )
            world = WorldStream(tokenizer, ROW, BATCH)
            world.at(0)
            speeds[f"{label}, world"] = rate(
                lambda step, world=world: int((world.at(step + 10_000).documents > 0).sum())
            )
            plain = per_row(rows, tokenizer)
            speeds[f"{label}, per row"] = rate(lambda step, plain=plain: next(plain))
        speeds["mini trains"] = eaten()
        for label, speed in speeds.items():
            print(
                f"{label:<18}{speed:>14,.0f} tokens/s {speed / speeds['mini trains']:>9.1f} × mini"
            )
        for size in sizes:
            command = [sys.executable, __file__, "--memory", str(size), str(folder / f"m{size}")]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found = json.loads(done.stdout)
            print("  ".join(f"{key} {value:,.0f}" for key, value in found.items()), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--memory"]:
        print(json.dumps(measure_memory(float(sys.argv[2]), Path(sys.argv[3]))))
    else:
        main([float(size) for size in sys.argv[1:]] or [10, 50, 200])
