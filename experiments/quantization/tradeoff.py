"""What do fewer bits cost? Size, speed and skill of one model stored in nine ways.

Two trained models of the little world are rounded to bfloat16, to eight bits and to four: a scale a
row, a scale for 32 weights, and those groups by GPTQ and AWQ, which read stories of training worlds
first. One arm keeps the weights and rounds the key-value cache instead. All read stories of
validation worlds, whose floor is known, and sit the world exam. Speed is that of one token after
the other, as a multiple of float32's, both measured in turn in one process: on a model of two
million weights it says what a layer costs to unpack, not what memory traffic a large model saves.
A seed decides the calibration stories and the exam's items.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from minimind_wiki.book.experiment import Experiment, Measurement
from minimind_wiki.book.record import repo_root
from minimind_wiki.data.world import make_document
from minimind_wiki.data.world.rows import make_rows
from minimind_wiki.evaluate.manner import text_begin
from minimind_wiki.evaluate.world_exam import by_likelihood, exam
from minimind_wiki.infer import load_model_folder
from minimind_wiki.infer.quantize import Int8Cache, quantize_model, quicken, stored_bytes
from minimind_wiki.infer.quantize.calibrate import batches_of
from minimind_wiki.lite.plot import Axis, Bars, Figure, Level, Panel
from minimind_wiki.model import KVCache


@dataclass(frozen=True, slots=True)
class Settings:
    """Stories held out; items of each section of the exam; calibration rows of 256 tokens; rounds
    of tokens that each of the two models in a comparison of speed generates."""

    stories: int = 100
    items: int = 50
    rows: int = 32
    rounds: int = 20
    tokens: int = 16


def arm(title: str, role: str, bits: int = 0, group: int = 0, method: str = "", model="world-tiny"):
    return {"title": title, "role": role, "bits": bits, "group": group, "method": method,
            "model": model}  # fmt: skip


experiment = Experiment(
    name="quantization/tradeoff",
    factors=("bits", "group", "method", "model"),
    arms={
        "f32": arm("float32", "baseline", 32),
        "bf16": arm("bfloat16", "a", 16),
        "int8": arm("8 bits", "b", 8, 0, "round"),
        "int8_quick": arm("8 bits, torch's kernel", "b", 8, 0, "quick"),
        "int4_row": arm("4 bits, a scale a row", "c", 4, 0, "round"),
        "int4": arm("4 bits, groups of 32", "d", 4, 32, "round"),
        "gptq": arm("4 bits, groups, GPTQ", "model", 4, 32, "gptq"),
        "awq": arm("4 bits, groups, AWQ", "e", 4, 32, "awq"),
        "kv8": arm("float32, cache of 8 bits", "f", 32, 0, "kv8"),
        "nano_f32": arm("nano, float32", "baseline", 32, model="world-nano"),
        "nano_int4": arm("nano, 4 bits, groups of 32", "d", 4, 32, "round", "world-nano"),
        "nano_gptq": arm("nano, 4 bits, groups, GPTQ", "model", 4, 32, "gptq", "world-nano"),
    },
    settings=Settings(),
    quick=Settings(stories=4, items=1, rows=4, rounds=1, tokens=4),
    quick_arms=("nano_f32", "nano_int4", "nano_gptq"),
    primary="bits_per_byte",
    parallel=False,
    repeat=(("gptq", 0), ("awq", 1), ("kv8", 2)),
    noisy=("speed", "tokens_per_second"),
)


@cache
def loaded(name: str):
    import torch

    folder = repo_root() / "models" / name
    model, tokenizer = load_model_folder(folder, dtype=torch.float32)
    return model, tokenizer, text_begin(folder)


def stored(arm: dict, seed: int, settings: Settings):
    """The arm's model and the cache that it fills."""
    import torch

    model, tokenizer, begin = loaded(arm["model"])
    if arm["bits"] == 16:
        model = load_model_folder(repo_root() / "models" / arm["model"], dtype=torch.bfloat16)[0]
    elif arm["bits"] < 16:
        texts = (row["text"] for row in make_rows("pretrain", None, 1000 + seed))
        batches = batches_of(texts, tokenizer.encode, begin, settings.rows)
        method = {"quick": "round"}.get(arm["method"], arm["method"])
        model = quantize_model(model, arm["bits"], arm["group"], method, batches)
        if arm["method"] == "quick":
            quicken(model)
    return model, Int8Cache if arm["method"] == "kv8" else KVCache


def reader(model, kind, tokenizer, begin) -> Callable[[str, str], float]:
    """(prompt, continuation) -> nats, through the arm's cache."""
    import torch

    dtype = next(model.parameters()).dtype

    @torch.inference_mode()
    def score(before: str, after: str) -> float:
        first, last = [*begin, *tokenizer.encode(before)], tokenizer.encode(after)
        first = first[len(last) - model.config.max_position_embeddings :]
        ids = torch.tensor([[*first, *last]])
        store = kind(model.config, 1, ids.shape[1], dtype=dtype)
        logits = model(ids[:, :-1], store)[0, len(first) - 1 :].float()
        return float(logits.log_softmax(-1).gather(1, ids[0, len(first) :, None]).sum())

    return score


def decode(model, kind, tokens: int) -> float:
    """Seconds for so many single tokens behind a prompt of 64."""
    import torch

    dtype = next(model.parameters()).dtype
    with torch.inference_mode():
        store = kind(model.config, 1, 64 + tokens, dtype=dtype)
        model(torch.arange(64)[None] + 10, store)
        began = time.perf_counter()
        for step in range(tokens):
            model(torch.tensor([[10 + step]]), store)
        return time.perf_counter() - began


def cache_bytes(model, kind) -> float:
    """Bytes that the cache keeps of a token."""
    store = kind(model.config, 1, 1, dtype=next(model.parameters()).dtype)
    kept = [*store.codes, *store.scales] if kind is Int8Cache else [*store.keys, *store.values]
    return sum(t.numel() * t.element_size() for t in kept)


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    plain, tokenizer, begin = loaded(arm["model"])
    model, kind = stored(arm, seed, settings)
    score = reader(model, kind, tokenizer, begin)
    texts = [make_document(f"held-out.{n}", "validation").text for n in range(settings.stories)]
    nats = -sum(score("", text) for text in texts)
    scores = exam(lambda item: by_likelihood(score, item), settings.items, "test", seed)
    decode(plain, KVCache, 4), decode(model, kind, 4)
    times = [(decode(plain, KVCache, settings.tokens), decode(model, kind, settings.tokens))
             for _ in range(settings.rounds)]  # fmt: skip
    own = min(own for _, own in times)
    return Measurement({
        "bits_per_byte": nats / math.log(2) / sum(len(text.encode()) for text in texts),
        "exam": sum(s.accuracy for s in scores) / len(scores),
        "megabytes": stored_bytes(model) / 1e6,
        "cache_bytes": cache_bytes(model, kind),
        "tokens_per_second": settings.tokens / own,
        "speed": min(base for base, _ in times) / own,
    })  # fmt: skip


@experiment.levels
def levels(settings: Settings):
    documents = [make_document(f"held-out.{n}", "validation") for n in range(settings.stories)]
    size = sum(len(document.text.encode()) for document in documents)
    floor = -sum(document.logp_any for document in documents) / math.log(2) / size
    return {"floor": {"bits_per_byte": floor},
            "data": {"name": "the little world, generated", "bytes": size}}  # fmt: skip


@experiment.derived
def against_float32(record):
    """What an arm's rounding costs in bits per byte, and its share of float32's bytes."""
    base = {name: "nano_f32" if name.startswith("nano") else "f32" for name in record.arms}
    return {
        name: {"cost": record.value(name, "bits_per_byte") - record.value(b, "bits_per_byte"),
               "share": record.value(name, "megabytes") / record.value(b, "megabytes")}
        for name, b in base.items()
    }  # fmt: skip


@experiment.claim()
def eight_bits_cost_nothing(record):
    """Eight bits, of weights or of the cache, cost less than 0.002 bits per byte."""
    worst = max(max(record.seeds(arm, "bits_per_byte")) - record.value("f32", "bits_per_byte")
                for arm in ("int8", "int8_quick", "kv8"))  # fmt: skip
    return worst < 0.002, f"at most {worst:.4f} bits/byte"


@experiment.claim()
def groups_help_four_bits(record):
    """With four bits, a scale for 32 weights costs less than half of what a scale a row costs."""
    row, group = record.value("int4_row", "cost"), record.value("int4", "cost")
    return group < row / 2, f"{group:.4f} against {row:.4f} bits/byte"


def against_rounding(record, arm):
    found = [x - record.value("int4", "bits_per_byte") for x in record.seeds(arm, "bits_per_byte")]
    return max(found) < 0, f"{min(found):+.4f} to {max(found):+.4f} bits/byte"


@experiment.claim()
def gptq_helps(record):
    """GPTQ costs less than rounding with scales for groups of 32, with every calibration text."""
    return against_rounding(record, "gptq")


@experiment.claim()
def awq_helps(record):
    """AWQ costs less than rounding with scales for groups of 32, with every calibration text."""
    return against_rounding(record, "awq")


@experiment.claim(quick=True)
def gptq_helps_nano(record):
    """In the smaller model, too, GPTQ reads held-out stories better than rounding does."""
    plain, found = (record.value(arm, "bits_per_byte") for arm in ("nano_int4", "nano_gptq"))
    return found < plain, f"{found:.4f} against {plain:.4f} bits/byte"


@experiment.figure()
def cost(record):
    """Bars of held-out bits per byte with the floor of the world; of megabytes; and of speed as a
    multiple of float32's, for each way to store the model."""
    arms = [name for name in record.arms if not name.startswith("nano")] or list(record.arms)
    titles, floor = [record.arms[a]["title"] for a in arms], record.level("floor", "bits_per_byte")
    panels = []
    for metric, name in (("bits_per_byte", "held-out bits per byte"), ("megabytes", "MB"),
                         ("speed", "times float32's speed")):  # fmt: skip
        seeds = [record.seeds(a, metric) for a in arms]
        bars = Bars(titles, [record.value(a, metric) for a in arms], "", "model",
                    map(min, seeds), map(max, seeds))  # fmt: skip
        levels = [Level(floor, "floor", "floor")] if metric == "bits_per_byte" else []
        panels.append(Panel(Axis("", "category"), Axis(name), bars=[bars], levels=levels))
    return Figure(panels)
