"""What does DPO cost when it is pressed harder?

One model after SFT learns from the same pairs for the same steps at four learning rates. After each
a judge that knows the rubric compares its replies with those before, and the same is asked that DPO
says nothing about: word problems, the distance to the model before, the world's own texts.
"""

from dataclasses import dataclass
from itertools import pairwise
from statistics import mean

from minimind_wiki.book.experiment import Experiment, Measurement
from minimind_wiki.data.world.rows import make_rows
from minimind_wiki.infer import load_model_folder
from minimind_wiki.lite.plot import Axis, Figure, Level, Line, Panel
from minimind_wiki.train.compare import (
    kl_to,
    loss_on,
    preference_prompts,
    rubric_points,
    win_rate,
)
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.dpo import DpoSettings, dpo
from minimind_wiki.train.examine import answers, arithmetic

from .chain import Settings as Chain
from .chain import folder_of


@dataclass(frozen=True, slots=True)
class Settings:
    """Steps of the stages before, as the chain makes them, and rows measured in these; steps of
    DPO, and pairs in each; items that are asked."""

    course_steps: int = 2000
    sft_steps: int = 900
    windows: int = 64
    steps: int = 60
    pairs: int = 8
    items: int = 200


def arm(rate: float, role: str) -> dict:
    return {"title": f"rate {rate:.0e}", "role": role, "rate": rate}


experiment = Experiment(
    name="post-training/dpo_price",
    factors=("rate",),
    arms={
        "rate_1": arm(1e-5, "a"),
        "rate_3": arm(3e-5, "b"),
        "rate_10": arm(1e-4, "model"),
        "rate_30": arm(3e-4, "c"),
    },
    settings=Settings(),
    quick=Settings(course_steps=2, sft_steps=2, windows=4, steps=2, pairs=2, items=4),
    quick_arms=("rate_3", "rate_10"),
    primary="wins",
    budget=1800.0,
    repeat=(("rate_3", 0), ("rate_10", 0)),
    noisy=("seconds",),
)


def replies_of(model, tokenizer, rows, seed: int = 0):
    """As a user draws them."""
    return answers(model, tokenizer, rows, 64, temperature=1.0, seed=seed)


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    before_it = Chain(
        course_steps=settings.course_steps, sft_steps=settings.sft_steps, windows=settings.windows
    )
    init = folder_of("sft", seed, before_it)
    how = TrainConfig(
        init=str(init), data="world/preference", steps=settings.steps, learning_rate=arm["rate"],
        seed=seed, batch_size=settings.pairs, weight_decay=0.0, context_length=512,
        eval_every=settings.steps, eval_windows=8, sample_tokens=0, device="cpu",
        dtype="bfloat16", threads=1,
    )  # fmt: skip
    found = dpo(how, DpoSettings())
    before, tokenizer = load_model_folder(init, "cpu")
    rows, asked = preference_prompts(settings.items)
    mine, theirs = (replies_of(model, tokenizer, rows) for model in (found.model, before))
    sums = list(make_rows("arithmetic", settings.items, 0, "test"))
    texts = list(make_rows("pretrain", settings.items // 4, 0, "test"))
    values = {"wins": win_rate(mine, theirs, asked)[0].value, "seconds": found.state.seconds}
    for name, model, said in (("", found.model, mine), ("before_", before, theirs)):
        values[f"{name}arithmetic"] = arithmetic(
            model, tokenizer, sums, max_new_tokens=64
        ).score.accuracy
        values[f"{name}polite"] = mean(met["polite"] for met in rubric_points(said, asked))
        values[f"{name}text_loss"] = mean(loss_on(model, tokenizer, texts))
    values["kl"] = mean(kl_to(before, found.model, tokenizer, sums))
    return Measurement(values)


def changes(record, arm: str, metric: str) -> list[float]:
    pairs = zip(record.seeds(arm, metric), record.seeds(arm, f"before_{metric}"), strict=True)
    return [after - before for after, before in pairs]


@experiment.derived
def told(record):
    """What word problems have lost or won, in points, and texts in nats."""
    return {arm: {"change": 100 * mean(changes(record, arm, "arithmetic")),
                  "nats": mean(changes(record, arm, "text_loss"))}
            for arm in record.arms}  # fmt: skip


@experiment.claim()
def a_small_rate_is_free(record):
    """At 3e-5 word problems change by less than five points, with every seed."""
    found = changes(record, "rate_3", "arithmetic")
    return max(map(abs, found)) < 0.05, ", ".join(f"{100 * x:+.1f}" for x in found)


@experiment.claim()
def a_large_one_is_not(record):
    """At 1e-4 word problems lose more than ten points, with every seed."""
    found = changes(record, "rate_10", "arithmetic")
    return max(found) < -0.1, ", ".join(f"{100 * x:+.1f}" for x in found)


@experiment.claim()
def and_is_liked_better(record):
    """At 1e-4 the judge prefers the replies more often than at 3e-5, every seed above every
    seed."""
    small, large = record.seeds("rate_3", "wins"), record.seeds("rate_10", "wins")
    return min(large) > max(small), f"{mean(large):.1%} against {mean(small):.1%}"


@experiment.claim()
def the_distance_grows(record):
    """Each larger rate goes further from the model before, every seed beyond every seed."""
    seeds = [record.seeds(arm, "kl") for arm in record.arms]
    apart = all(min(b) > max(a) for a, b in pairwise(seeds))
    return apart, ", ".join(f"{mean(kl):.1e}" for kl in seeds)


@experiment.claim(quick=True)
def they_begin_alike(record):
    """Before the first step the models are the same at every rate."""
    found = {tuple(record.seeds(arm, "before_arithmetic")) for arm in record.arms}
    return len(found) == 1, f"{mean(found.pop()):.1%} of the word problems"


@experiment.figure()
def price(record):
    """Over the learning rate: how often a judge prefers the replies, and word problems solved."""
    rates = [record.arms[arm]["factors"]["rate"] for arm in record.arms]
    panels = []
    for metric, label, level in (("wins", "preferred to before", Level(0.5, "a coin")),
                                 ("arithmetic", "word problems", None)):  # fmt: skip
        seeds = [record.seeds(arm, metric) for arm in record.arms]
        line = Line(rates, map(mean, seeds), "after DPO", "model", map(min, seeds),
                    map(max, seeds), marker="circle")  # fmt: skip
        first = mean(record.seeds("rate_3", "before_arithmetic"))
        panels.append(Panel(Axis("learning rate", "log"), Axis(label, range=(0, 1)),
                            [line], levels=[level or Level(first, "before", "floor")]))  # fmt: skip
    return Figure(panels)
