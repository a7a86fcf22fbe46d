"""How much of a row is text when documents are padded, joined and cut, or packed by best fit?

The same documents in three ways: a row for each (pad), one stream cut wherever a row ends (concat),
and best fit decreasing with a document mask (pack). Three corpora: texts and chats of the little
world and Alpaca's instructions (where the data folder has them), as ids of a 6400-entry BPE learned
from them. Chats longer than a row lose their oldest exchanges or their end in every arm. Measured:
the share of places that hold a token, and the share of documents that do not stand whole in a row.
"""

import gzip
import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from minimind_wiki.book.experiment import Experiment, Measurement
from minimind_wiki.data.packing import cut_documents, pack
from minimind_wiki.data.sft_rows import SftReport, examples
from minimind_wiki.data.world.rows import make_rows
from minimind_wiki.lite.plot import Axis, Bars, Figure, Level, Panel
from minimind_wiki.tokenizer.protocol import text_ids

from ._bpe import bpe

CORPORA = {"world_pretrain": "world, texts", "world_sft": "world, chats", "alpaca": "Alpaca"}


@dataclass(frozen=True, slots=True)
class Settings:
    """documents of each corpus and seed; their BPE's entries; the rows' lengths."""

    documents: int = 3000
    vocab_size: int = 6400
    lengths: tuple[int, ...] = (256, 512, 1024)
    alpaca: bool = True


experiment = Experiment(
    name="data-loading/packing",
    factors=("packing",),
    arms={
        "pad": {"title": "pad", "role": "baseline", "packing": "pad"},
        "concat": {"title": "join and cut", "role": "a", "packing": "concat"},
        "pack": {"title": "best fit", "role": "model", "packing": "pack"},
    },
    settings=Settings(),
    quick=Settings(documents=600, vocab_size=1000, alpaca=False),
    primary="world_sft_512_useful",
    repeat=(("pad", 0), ("concat", 0), ("pack", 0)),
)


def chat(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def alpaca(seed: int, count: int) -> list[dict]:
    """Rows drawn from Alpaca as chats; none where the data folder does not have it."""
    path = Path(os.environ.get("MINIMIND_DATA", "-")) / "sft" / "alpaca_en_12k.jsonl.gz"
    if not path.is_file():
        return []
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    drawn = np.random.default_rng(seed).permutation(len(rows))[:count]
    pairs = [(f"{r['instruction']}\n{r['input']}".strip(), r["output"])
             for r in (rows[i] for i in drawn) if r["output"].strip()]  # fmt: skip
    return [{"conversations": [chat("user", ask), chat("assistant", say)]} for ask, say in pairs]


@cache
def corpora(seed: int, settings: Settings) -> dict[tuple[str, int], tuple[np.ndarray, SftReport]]:
    """Tokens of each document, for each corpus and row length; what became of long chats."""
    count = settings.documents
    rows = {kind: list(make_rows(kind, count, seed)) for kind in ("pretrain", "sft")}
    chats = {"world_sft": rows["sft"]}
    if settings.alpaca and (found := alpaca(seed, count)):
        chats["alpaca"] = found
    texts = [row["text"] for row in rows["pretrain"]]
    said = [m["content"] for some in chats.values() for r in some for m in r["conversations"]]
    tokenizer = bpe([*texts, *said], settings.vocab_size)
    plain = np.array([len(text_ids(tokenizer, text)) for text in texts])
    out = {}
    for length in settings.lengths:
        out["world_pretrain", length] = plain, SftReport()
    for name, some in chats.items():
        whole = [len(one.ids) for one in examples(some, tokenizer)]
        for length in settings.lengths:
            report = SftReport()  # of the long ones; the others are as they are
            long = [row for row, size in zip(some, whole, strict=True) if size > length]
            sizes = [size for size in whole if size <= length]
            sizes += [len(one.ids) for one in examples(long, tokenizer, length, "drop", report)]
            order = np.random.default_rng(seed).permutation(len(sizes))
            out[name, length] = np.array(sizes)[order], report
    return out


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    values = {}
    for (name, length), (sizes, report) in corpora(seed, settings).items():
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        key, packing = f"{name}_{length}", pack(offsets, length, arm["packing"])
        values[f"{key}_useful"] = packing.useful
        values[f"{key}_cut"] = float(cut_documents(offsets, length, arm["packing"]).mean())
        values[f"{name}_mean_tokens"] = float(sizes.mean())
        total = len(sizes) + report.rejected
        values[f"{key}_shortened"] = report.rows / total
        values[f"{key}_rejected"] = report.rejected / total
    return Measurement(values)


def shares(record, arm, what="useful", length=512):
    known = record.data["values"][arm]
    return {name: record.value(arm, f"{name}_{length}_{what}")
            for name in CORPORA if f"{name}_{length}_{what}" in known}  # fmt: skip


def said(found):
    return ", ".join(f"{CORPORA[name]} {share:.1%}" for name, share in found.items())


@experiment.claim(quick=True)
def packed_chats_are_full(record):
    """Best fit fills at least 97 % of the places with the world's chats in rows of 512."""
    share = record.value("pack", "world_sft_512_useful")
    return share >= 0.97, f"{share:.2%}"


@experiment.claim()
def packed_instructions_are_full(record):
    """Best fit fills at least 97 % of the places with Alpaca's instructions in rows of 512."""
    found = shares(record, "pack")
    return found["alpaca"] >= 0.97 if "alpaca" in found else None, said(found)


@experiment.claim(quick=True)
def padding_wastes_most(record):
    """Padded rows of 512 hold less than half text with the world's chats."""
    found = shares(record, "pad")
    return found["world_sft"] < 0.5, said(found)


@experiment.claim(quick=True)
def joining_cuts_what_would_fit(record):
    """Joining and cutting cuts more than one in ten of the world's chats in rows of 512, best fit
    none."""
    joined, packed = (record.value(a, "world_sft_512_cut") for a in ("concat", "pack"))
    return joined > 0.1 and packed == 0, f"joined {joined:.1%}, best fit {packed:.1%}"


@experiment.claim()
def best_fit_is_nearly_free(record):
    """In no corpus and no row length does best fit waste more than 5 % of the places."""
    lengths = record.settings["lengths"]
    worst = {f"{CORPORA[n]} at {t}": s for t in lengths
             for n, s in shares(record, "pack", length=t).items()}  # fmt: skip
    least = min(worst, key=worst.get)
    return worst[least] >= 0.95, f"least: {least}, {worst[least]:.2%}"


def bars(record, what):
    return [Bars([CORPORA[n] for n in found], found.values(), record.arms[arm]["title"],
                 record.arms[arm]["role"])
            for arm in record.arms for found in [shares(record, arm, what)]]  # fmt: skip


@experiment.figure()
def rows_of_512(record):
    """Rows of 512 tokens, for each corpus: above, the share of places that hold a token, lowest
    with padding and near one with joining and best fit; below, the share of documents that do not
    stand whole in one row, high with joining."""
    return Figure([
        Panel(Axis("", "category"), Axis("share of places with a token", range=(0, 1)),
              bars=bars(record, "useful"), levels=[Level(0.97, "97 %", "floor")], legend="top"),
        Panel(Axis("", "category"), "share of documents cut", bars=bars(record, "cut"),
              legend="top"),
    ])  # fmt: skip
