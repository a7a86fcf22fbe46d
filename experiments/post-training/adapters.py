"""Do adapters learn as much as all weights, and do they forget less?

The same model follows instructions after equally many steps on the same rows, with all weights
trained, with LoRA of two ranks, or with LoRA beside weights of four bits (QLoRA). All arms use
AdamW, with which LoRA is trained in practice, each at its own best learning rate. What it costs is
the loss on the texts that the model had learned before. To compare it fairly, it is also read at
equal gain: where the held-out loss on instructions first falls to the lowest level that both reach
(Biderman et al. 2024, arXiv:2405.09673, set learning against forgetting in this way).
"""

from dataclasses import dataclass
from statistics import mean

from minimind_wiki.book.experiment import Experiment, Measurement, Sweep
from minimind_wiki.book.record import repo_root
from minimind_wiki.data.world.rows import make_rows
from minimind_wiki.lite.plot import Axis, Figure, Level, Line, Panel
from minimind_wiki.tokenizer import load_tokenizer
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.examine import blind, instruction_following, with_gold
from minimind_wiki.train.sources import open_source

from ._cost import at_levels, equal_gain, watched


@dataclass(frozen=True, slots=True)
class Settings:
    """Steps of batch_size rows and their rate; held-out rows and texts measured meanwhile,
    prompts at the end."""

    steps: int = 240
    batch_size: int = 16
    learning_rate: float = 3e-3
    windows: int = 64
    texts: int = 16
    items: int = 200


def arm(title: str, role: str, rank: int, quantize: str = "") -> dict:
    return {"title": title, "role": role, "rank": rank, "quantize": quantize}


experiment = Experiment(
    name="post-training/adapters",
    factors=("rank", "quantize"),
    arms={
        "full": arm("all weights", "none", 0),
        "lora_32": arm("LoRA, rank 32", "a", 32),
        "lora_8": arm("LoRA, rank 8", "b", 8),
        "qlora_8": arm("QLoRA, rank 8", "model", 8, "nf4"),
    },
    settings=Settings(),
    quick=Settings(steps=2, windows=4, texts=2, items=4),
    quick_arms=("full", "qlora_8"),
    sweep=Sweep("learning_rate", (1e-3, 3e-3, 1e-2), "loss", quick=(3e-3,),
                beyond=(3e-4, 1e-4, 3e-2, 1e-1)),
    primary="loss",
    budget=1200.0,
    repeat=(("full", 0), ("qlora_8", 0)),
    noisy=("seconds",),
)  # fmt: skip


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    how = TrainConfig(
        init=str(repo_root() / "models" / "world-tiny"), data="world/instructions", seed=seed,
        steps=settings.steps, batch_size=settings.batch_size, context_length=512, weight_decay=0.0,
        learning_rate=settings.learning_rate, optimizer="adamw", lora_rank=arm["rank"],
        lora_alpha=2.0 * arm["rank"] or 16.0, quantize=arm["quantize"],
        eval_every=max(1, settings.steps // 10), eval_windows=settings.windows, sample_tokens=0,
        device="cpu", dtype="bfloat16", threads=1,
    )  # fmt: skip
    source = open_source(how.data, "sft", seed, how.held_out, how.eval_windows)
    found = watched(how, source, settings.texts)
    held = found.state.held_out
    rows = list(make_rows("instructions", settings.items, 0, "validation"))
    followed = instruction_following(found.model, load_tokenizer(how.init), rows,
                                     max_new_tokens=48)  # fmt: skip
    values = {
        "loss": held["loss"][-1], "instructions": followed.score.accuracy,
        "texts": held["texts"][-1], "lost": held["texts"][-1] - held["texts"][0],
        "start": held["texts"][0], "moved": held["moved"][-1],
        **at_levels(held),
        "seconds": found.state.seconds,
    }  # fmt: skip
    names = ("loss", "texts", "moved")
    return Measurement(values, {name: (held["step"], held[name]) for name in names})


@experiment.levels
def levels(settings: Settings):
    """What a guess gets that knows the form of the answer."""
    rows = list(make_rows("instructions", settings.items, 0, "validation"))
    return {
        "chance": {"instructions": mean([blind(with_gold(row)) for row in rows])},
        "data": {"name": "the little world, generated", "bytes": 0},
    }


@experiment.derived
def best_rates(record):
    return {arm: {"best_rate": record.sweep(arm)["best"]} for arm in record.arms}


def compare(record, better: str, worse: str, metric: str, unit: str = " nats") -> tuple[bool, str]:
    """Whether every seed of one arm is lower than every seed of another, and the means."""
    low, high = record.seeds(better, metric), record.seeds(worse, metric)
    return max(low) < min(high), f"{mean(low):.3f} against {mean(high):.3f}{unit}"


@experiment.claim()
def all_weights_learn_more(record):
    """All weights leave less held-out loss on instructions than LoRA of rank 8, with every seed."""
    return compare(record, "full", "lora_8", "loss")


@experiment.claim()
def rank_helps(record):
    """Rank 32 leaves less held-out loss than rank 8, with every seed."""
    return compare(record, "lora_32", "lora_8", "loss")


@experiment.claim()
def four_bits_cost_little(record):
    """QLoRA's held-out loss is within 5 % of LoRA's of the same rank, with every seed."""
    lora, qlora = record.seeds("lora_8", "loss"), record.seeds("qlora_8", "loss")
    worst = max(q / p for q, p in zip(qlora, lora, strict=True)) - 1
    return worst < 0.05, f"{mean(qlora):.3f} against {mean(lora):.3f} nats"


@experiment.claim()
def adapters_want_a_higher_rate(record):
    """The best learning rate of every adapter is above that of all weights."""
    best = {arm: record.sweep(arm)["best"] for arm in record.arms}
    lowest = min(rate for arm, rate in best.items() if arm != "full")
    return lowest > best["full"], ", ".join(f"{arm} {rate:.0e}" for arm, rate in best.items())


@experiment.claim()
def lora_forgets_less(record):
    """After the last step LoRA of rank 8 has lost less on the texts than all weights, with every
    seed."""
    return compare(record, "lora_8", "full", "lost")


@experiment.claim()
def lora_forgets_less_at_equal_gain(record):
    """The same at equal gain, where both have come to the same loss on instructions."""
    return equal_gain(record, "lora_8", "full")


@experiment.claim()
def rank_32_forgets_less_at_equal_gain(record):
    """Asked after the first answers: LoRA of rank 32, whose best rate is that of all weights, has
    lost less than they at equal gain, with every seed."""
    return equal_gain(record, "lora_32", "full")


@experiment.claim(quick=True)
def they_begin_alike(record):
    """Before the first step the arms without quantization have the same loss on the texts."""
    first = {record.value(arm, "start") for arm in record.arms if not arm.startswith("qlora")}
    return max(first) - min(first) < 1e-6, f"{max(first):.3f} nats"


def apart(points) -> list[float | None]:
    """The points with gaps between, so that no line joins them."""
    return [part for point in points for part in (point, None)]


@experiment.figure()
def gain_and_loss(record):
    """The way of each arm from its first steps to its last: held-out nats on instructions, against
    nats on the texts that the model had learned before; a second panel with the share of held-out
    instructions that are followed, one point a seed."""
    ways, ends = [], []
    for arm, about in record.arms.items():
        loss, texts = record.curve(arm, "loss"), record.curve(arm, "texts")
        role = {"lora_32": "c", "lora_8": "e"}.get(arm, about["role"])  # apart in every palette
        named = {"name": about["title"], "role": role}
        ways.append(Line(loss["mean"][1:], texts["mean"][1:], marker="circle", **named))
        points = (apart(record.seeds(arm, metric)) for metric in ("instructions", "texts"))
        ends.append(Line(*points, marker="circle", **named))
    before = [Level(record.value("full", "start"), "before", "floor")]
    side = Axis("nats on texts", "log", range=(0.9, 9), ticks=[1, 2, 4, 8])
    return Figure([
        Panel(Axis("nats on held-out instructions"), side, ways, levels=before, legend="top"),
        Panel(Axis("held-out instructions followed, at the end"), side, ends, levels=before,
              legend="none"),
    ])  # fmt: skip
