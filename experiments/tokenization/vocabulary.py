"""How many entries should a vocabulary have, judged by the bits per byte of the trained model?

BPE vocabularies of 259 (bytes alone) to 32,768 entries are learned from children's stories, and a
small decoder is trained on each. All read the same passages of text in the same order, so the bytes
seen are the same, and so is the context in bytes. In one group the body of the model is the same
and the table of embeddings grows with the vocabulary. In the other the parameters are those of the
6,400 arm, and what a smaller table saves goes into a wider body. The learning rate is swept for
each arm and chosen on passages of its own. Losses are per byte: a loss per token falls when tokens
get shorter, whatever the model has learned.
"""

import lzma
import math
import time
from dataclasses import dataclass

from minimind_wiki.book.experiment import Experiment, Measurement, Sweep
from minimind_wiki.lite.plot import Axis, Figure, Line, Panel

from ..attention._train import trained
from ._passages import (
    bits_per_byte,
    build,
    described,
    passages,
    rows,
    seen,
    summed,
    vocabulary,
    work,
)

SIZES = (259, 1024, 2048, 6400, 32768)
WIDER = {259: 136, 1024: 120}  # widths whose parameters come near those of 6,400
SAME_BODY = tuple(f"v{size}" for size in SIZES)


@dataclass(frozen=True, slots=True)
class Settings:
    """passage: bytes, a little more where a piece does not end there; chosen, held: passages that
    pick the learning rate, and that are reported; few: an entry met less often counts as rare."""

    width: int = 64
    layers: int = 2
    heads: int = 4
    passage: int = 256
    batch: int = 8
    steps: int = 500
    warmup: int = 40
    chosen: int = 100
    held: int = 300
    few: int = 10
    like: int = 6400
    learning_rate: float = 1e-2  # swept


experiment = Experiment(
    name="tokenization/vocabulary",
    factors=("entries", "width", "same"),
    arms={
        f"v{size}": {"title": f"{size:,}, same body", "role": "model", "entries": size, "width": 64,
                     "same": "body"}
        for size in SIZES
    } | {
        f"v{size}_wide": {"title": f"{size:,}, same parameters", "role": "b", "entries": size,
                          "width": width, "same": "parameters"}
        for size, width in WIDER.items()
    },
    settings=Settings(),
    quick=Settings(width=64, passage=96, steps=40, warmup=5, chosen=16, held=24),
    quick_arms=("v259", "v1024"),
    sweep=Sweep("learning_rate", (3e-3, 1e-2, 3e-2), "selection_bits", quick=(1e-2,),
                beyond=(1e-3, 1e-1)),
    primary="bits_per_byte",
    repeat=(("v1024", 0), ("v259_wide", 0)),
    noisy=("training_seconds",),
)  # fmt: skip


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    entries, s = arm["entries"], settings
    train, count = rows(entries, "train", s.passage), s.steps * s.batch
    free = len(train) - s.chosen  # the first are for choosing
    places = [s.chosen + (seed * count + number) % free for number in range(count)]

    def loss_at(step: int):
        nats, tokens = summed(model, [train[p] for p in places[step * s.batch :][: s.batch]])
        return nats / tokens

    model = build(entries, arm["width"], s, seed, s.like if arm["same"] == "parameters" else 0)
    began = time.process_time()
    curve, diverged_at = trained(model, loss_at, s, math.log(entries))
    took = time.process_time() - began
    texts, held = passages("val", s.passage, s.held), rows(entries, "val", s.passage, s.held)
    bits, nats = bits_per_byte(model, held, texts)
    chosen = bits_per_byte(model, train[: s.chosen], passages("train", s.passage)[: s.chosen])[0]
    times, total = seen(entries, s.passage, places), model.num_parameters()
    values = {
        "bits_per_byte": bits, "nats_per_token": nats, "selection_bits": chosen,
        "bytes_per_token": sum(len(t.encode()) for t in texts) / sum(len(r) - 1 for r in held),
        "parameters": total, "embedding_share": entries * arm["width"] / total,
        "flops_per_byte": work(model, texts, held), "training_seconds": took,
        "rare_share": sum(t < s.few for t in times) / len(times),
        "entries": vocabulary(entries).vocab_size,
    }  # fmt: skip
    return Measurement(values, {"training_loss": curve}, diverged_at)


@experiment.levels
def levels(settings: Settings) -> dict:
    texts = "".join(passages("val", settings.passage, settings.held)).encode()
    packed = lzma.compress(texts, preset=9)
    return {"chance": {"bits_per_byte": 8.0}, "data": described(),
            "baseline": {"xz": 8 * len(packed) / len(texts)}}  # fmt: skip


def told(record, metric, arms, shown=".3f"):
    """The range of the seeds of each arm, in words."""
    found = {arm: record.seeds(arm, metric) for arm in arms}
    return ", ".join(f"{record.arms[a]['title']} {min(s):{shown}} to {max(s):{shown}}"
                     for a, s in found.items())  # fmt: skip


def below(record, one, other, metric="bits_per_byte"):
    """Whether every seed of `one` is below every seed of `other`."""
    pair = max(record.seeds(one, metric)), min(record.seeds(other, metric))
    return pair[0] < pair[1], told(record, metric, (one, other))


@experiment.claim(quick=True)
def every_model_learns(record):
    """Every model ends below eight bits a byte, which is guessing."""
    worst = max(max(record.seeds(arm, "bits_per_byte")) for arm in record.arms)
    return worst < record.level("chance", "bits_per_byte"), f"the worst has {worst:.3f}"


@experiment.claim()
def bytes_are_beaten(record):
    """With the same body and the same bytes seen, 1,024 entries end below bytes."""
    return below(record, "v1024", "v259")


@experiment.claim()
def most_is_not_best(record):
    """With the same body, 32,768 entries end above 6,400, though that model is the largest."""
    return below(record, "v6400", "v32768")


@experiment.claim()
def the_middle_is_best(record):
    """With the same body, the lowest bits per byte are at neither end of the sizes."""
    means = {size: record.value(f"v{size}", "bits_per_byte") for size in SIZES}
    best = min(means, key=means.__getitem__)
    return best not in (SIZES[0], SIZES[-1]), told(record, "bits_per_byte", SAME_BODY)


@experiment.claim()
def parameters_are_better_in_the_body(record):
    """With the parameters of the 6,400 arm, 1,024 entries and a wider body end below it."""
    return below(record, "v1024_wide", "v6400")


@experiment.claim()
def bytes_catch_up_with_parameters(record):
    """With the parameters of the 6,400 arm all in the body, bytes end below it, too."""
    return below(record, "v259_wide", "v6400")


@experiment.claim()
def a_loss_per_token_misleads(record):
    """By loss per token, the bytes' model looks best of those with the same body, and each larger
    vocabulary worse."""
    means = [record.value(arm, "nats_per_token") for arm in SAME_BODY]
    return means == sorted(means), told(record, "nats_per_token", SAME_BODY, ".2f")


@experiment.claim()
def work_has_a_minimum(record):
    """Training a byte of text costs the same body least work at neither end: few entries make many
    steps, many entries a dear softmax."""
    found = [record.value(arm, "flops_per_byte") for arm in SAME_BODY]
    said = ", ".join(f"{size:,}: {flops / 1e6:.2f} MFLOP"
                     for size, flops in zip(SIZES, found, strict=True))  # fmt: skip
    return found[0] > min(found) < found[-1], said


@experiment.claim()
def large_tables_stay_empty(record):
    """Of 32,768 entries, most are met fewer than ten times in all of the training."""
    low = min(record.seeds("v32768", "rare_share"))
    return low > 0.5, told(record, "rare_share", ("v6400", "v32768"), ".0%")


@experiment.figure()
def by_size(record):
    """Held-out bits per byte over the size of the vocabulary, for the same body and for the
    parameters of the model with 6,400 entries; below, the share of the parameters in the table of
    embeddings, and the work of training on a byte."""
    panels = []
    wider = (*(f"v{size}_wide" for size in WIDER), "v6400")
    groups = (("same body", "model", SAME_BODY), ("same parameters", "b", wider))
    for metric, title, scale in (("bits_per_byte", "bits per byte", 1),
                                 ("embedding_share", "share of the parameters", 1),
                                 ("flops_per_byte", "MFLOP to train a byte", 1e6)):  # fmt: skip
        panel = Panel(Axis("entries of the vocabulary", "log"), Axis(title))
        panel.legend = "none" if panels else "top"
        for name, role, arms in groups:
            arms = [arm for arm in arms if arm in record.arms]  # a quick run has few
            seeds = [[v / scale for v in record.seeds(arm, metric)] for arm in arms]
            sizes = [record.value(arm, "entries") for arm in arms]
            mean = [sum(found) / len(found) for found in seeds]
            mark = "circle" if role == "model" else "diamond"
            panel.lines.append(Line(sizes, mean, name, role, map(min, seeds), map(max, seeds),
                                    marker=mark))  # fmt: skip
        panels.append(panel)
    return Figure(panels)
