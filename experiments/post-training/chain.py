"""What does each stage of post-training move, and what does it cost?

One base model, which has read the little world and answers nobody, first takes a course in word
problems with worked steps. Then it goes through fine-tuning (SFT), learning from pairs (DPO) and
reinforcement with a program as judge (PPO and GRPO, from the same model). After each stage the same
is asked: word problems, instructions, the rubric of good answers, the world exam; and what it cost
is told beside: nats on the world's own texts, the distance to the stage before, the length of
answers. The teachers of SFT solve half of their word problems without a step, and half of their
replies to questions fail a point of the rubric. SFT imitates that, and the stages after it choose
among what it has learned.
"""

import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import mean

from minimind_wiki.book.experiment import Experiment, Measurement
from minimind_wiki.book.record import repo_root
from minimind_wiki.data.world.rows import make_rows
from minimind_wiki.evaluate.chat_exam import chat_examiner
from minimind_wiki.evaluate.likelihood import log_likelihood
from minimind_wiki.evaluate.world_exam import by_likelihood, exam
from minimind_wiki.infer import load_model_folder
from minimind_wiki.lite.plot import Axis, Bars, Figure, Level, Panel
from minimind_wiki.train.compare import (
    kl_to,
    loss_on,
    preference_prompts,
    rubric_points,
    win_rate,
)
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.dpo import DpoSettings, dpo
from minimind_wiki.train.examine import (
    answers,
    arithmetic,
    blind,
    instruction_following,
    with_gold,
)
from minimind_wiki.train.grpo import GrpoSettings, grpo
from minimind_wiki.train.ppo import PpoSettings, ppo
from minimind_wiki.train.sft import SftSettings, sft

from ._stages import made, place

TEACHERS = "world/arithmetic=3,world/arithmetic_answers=3,world/instructions=6,world/replies=1"


@dataclass(frozen=True, slots=True)
class Settings:
    """Steps of each stage, with its rate; answers in a step; rows measured meanwhile and items at
    the end."""

    course_steps: int = 2000
    course_rate: float = 5e-3
    sft_steps: int = 900
    sft_rate: float = 2.5e-3
    dpo_steps: int = 60
    dpo_rate: float = 3e-5
    grpo_steps: int = 64
    grpo_rate: float = 5e-4
    ppo_steps: int = 128
    ppo_rate: float = 2e-4
    answers: int = 128
    windows: int = 64
    items: int = 200
    exam_items: int = 30


experiment = Experiment(
    name="post-training/chain",
    factors=("stage",),
    arms={
        "base": {"title": "base", "role": "none", "stage": "base"},
        "course": {"title": "course", "role": "none", "stage": "course"},
        "sft": {"title": "SFT", "role": "a", "stage": "sft"},
        "dpo": {"title": "SFT, DPO", "role": "b", "stage": "dpo"},
        "ppo": {"title": "SFT, DPO, PPO", "role": "c", "stage": "ppo"},
        "grpo": {"title": "SFT, DPO, GRPO", "role": "model", "stage": "grpo"},
    },
    settings=Settings(),
    quick=Settings(course_steps=2, sft_steps=2, dpo_steps=1, grpo_steps=1, ppo_steps=8, answers=8,
                   windows=4,                   items=4, exam_items=1),
    quick_arms=("base", "grpo"),
    primary="arithmetic",
    budget=5400.0,
    repeat=(("ppo", 0), ("grpo", 0)),
    noisy=("seconds",),
)  # fmt: skip
BEFORE = {"course": "base", "sft": "course", "dpo": "sft", "ppo": "dpo", "grpo": "dpo"}


def train(stage: str, seed: int, settings: Settings, init: Path, out: Path, resume: bool):
    """One stage, from the model folder of the stage before."""
    steps = getattr(settings, f"{stage}_steps")
    how = TrainConfig(
        init=str(init), steps=steps, learning_rate=getattr(settings, f"{stage}_rate"), seed=seed,
        context_length=512, eval_every=max(steps // 4, 1), eval_windows=settings.windows,
        sample_tokens=0, batch_size=settings.answers, weight_decay=0.0, device="cpu",
        dtype="bfloat16", threads=1,
        data={"course": "world/arithmetic", "sft": TEACHERS,
              "dpo": "world/preference"}.get(stage, "world/rl/sum"),
    )  # fmt: skip
    if stage in ("course", "sft"):
        how = replace(how, batch_size=16, optimizer="muon")
        sft(how, SftSettings(gold_items=0), out, resume)
    elif stage == "dpo":
        dpo(replace(how, batch_size=8), DpoSettings(), out, resume)
    elif stage == "grpo":
        grpo(how, GrpoSettings(max_new_tokens=64, resample=1), out, resume)
    else:
        how = replace(how, batch_size=settings.answers // 4, eval_every=max(steps // 4, 8))
        ppo(how, PpoSettings(max_new_tokens=64), out, resume)


def folder_of(stage: str, seed: int, settings: Settings) -> Path:
    if stage == "base":
        return repo_root() / "models" / "world-tiny"
    seed = 0 if stage == "course" else seed  # one course, as there is one base
    init = folder_of(BEFORE[stage], seed, settings)
    return made(place(experiment.name, settings), stage, seed,
                partial(train, stage, seed, settings, init))  # fmt: skip


def judged(model, tokenizer, settings: Settings):
    """Replies to questions about texts, drawn as a user draws them, and the points each meets."""
    rows, asked = preference_prompts(settings.items // 2)
    replies = answers(model, tokenizer, rows, 64, temperature=1.0)
    return replies, rubric_points(replies, asked)


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    stage = arm["stage"]
    folder = folder_of(stage, seed, settings)
    model, tokenizer = load_model_folder(folder, "cpu")
    run = json.loads((folder / "run.json").read_text())
    how = {"max_new_tokens": 64}
    sums = list(make_rows("arithmetic", settings.items, 0, "test"))
    tasks = list(make_rows("instructions", settings.items, 0, "test"))
    solved = arithmetic(model, tokenizer, sums, **how)
    followed = instruction_following(model, tokenizer, tasks, **how)
    replies, points = judged(model, tokenizer, settings)
    texts = list(make_rows("pretrain", settings.items // 4, 0, "test"))
    judge = partial(by_likelihood, log_likelihood(model, tokenizer, run["document_begin"]))
    if stage != "base":
        judge = chat_examiner(model, tokenizer, run["document_begin"])
    scores = exam(judge, settings.exam_items, "test")
    nats = loss_on(model, tokenizer, texts)
    values = {
        "arithmetic": solved.score.accuracy, "instructions": followed.score.accuracy,
        **{name: mean(met[name] for met in points) for name in points[0]},
        "tokens": solved.tokens, "text_loss": mean(nats),
        "exam": mean([score.accuracy for score in scores]),
        **{f"exam_{score.section}": score.accuracy for score in scores},
    }  # fmt: skip
    curves = {}
    if stage != "base":
        before = load_model_folder(folder_of(BEFORE[stage], seed, settings), "cpu")[0]
        values["kl"] = mean(kl_to(before, model, tokenizer, sums[: settings.items // 2]))
        others, _ = judged(before, tokenizer, settings)
        values["wins"] = win_rate(replies, others, preference_prompts(settings.items // 2)[1])[
            0
        ].value
        values["seconds"] = run["seconds"]
        held, curve = run["curve"]["held_out"], run["curve"]["train"]
        curves["held_out"] = (held["step"], held["loss"])
        if "right" in curve:
            curves["right"] = (curve["step"], curve["right"])
            curves["length"] = (curve["step"], curve["tokens"])
    return Measurement(values, curves)


@experiment.levels
def levels(settings: Settings):
    """What a guess gets that knows the form of the answer."""
    sums = list(make_rows("arithmetic", settings.items, 0, "test"))
    tasks = list(make_rows("instructions", settings.items, 0, "test"))
    return {
        "chance": {
            "arithmetic": mean([blind(with_gold(row)) for row in sums]),
            "instructions": mean([blind(with_gold(row)) for row in tasks]),
        },
        "data": {"name": "the little world, generated", "bytes": 0},
    }


def gain(record, arm: str, before: str, metric: str) -> tuple[bool, str]:
    """Whether every seed after a stage is better than every seed before it, and the means."""
    after, first = record.seeds(arm, metric), record.seeds(before, metric)
    return min(after) > max(first), f"{mean(first):.1%} before, {mean(after):.1%} after"


@experiment.claim()
def sft_makes_it_follow(record):
    """SFT makes the model follow instructions, with every seed."""
    return gain(record, "sft", "base", "instructions")


@experiment.claim()
def dpo_makes_it_better_liked(record):
    """A judge that knows the rubric prefers more than 55 % of DPO's replies to those before, with
    every seed."""
    wins = record.seeds("dpo", "wins")
    return min(wins) > 0.55, f"{min(wins):.1%} to {max(wins):.1%}, a tie counting one half"


@experiment.claim()
def dpo_is_liked_on_the_whole(record):
    """Over all seeds that judge prefers DPO's replies, by more than a coin's 95 % interval."""
    wins = record.seeds("dpo", "wins")
    replies = len(wins) * record.settings["items"] // 2
    return mean(wins) > 0.5 + 1.96 * 0.5 / replies**0.5, f"{mean(wins):.1%} of {replies} replies"


@experiment.claim()
def dpo_makes_it_polite(record):
    """DPO raises the share of polite replies, with every seed."""
    return gain(record, "dpo", "sft", "polite")


@experiment.claim()
def grpo_makes_it_right(record):
    """GRPO takes word problems from between 20 and 60 % to at least 85 %, with every seed."""
    first, last = record.seeds("dpo", "arithmetic"), record.seeds("grpo", "arithmetic")
    good = min(first) >= 0.2 and max(first) <= 0.6 and min(last) >= 0.85
    return good, f"from {mean(first):.1%} to {mean(last):.1%}"


@experiment.claim()
def ppo_makes_it_right(record):
    """PPO, from the same models and with as many answers, gains too, with every seed."""
    return gain(record, "ppo", "dpo", "arithmetic")


@experiment.claim()
def it_learns_to_show_its_work(record):
    """Nothing rewards steps, and yet GRPO's answers grow longer: steps make them right."""
    before, after = record.seeds("dpo", "tokens"), record.seeds("grpo", "tokens")
    return min(after) > max(before), f"{mean(before):.0f} tokens before, {mean(after):.0f} after"


@experiment.claim()
def the_world_is_not_forgotten(record):
    """Each stage after SFT costs less than a tenth of a nat a token on the world's own texts."""
    loss = {arm: record.value(arm, "text_loss") for arm in record.arms}
    most = max(loss[arm] - loss["sft"] for arm in ("dpo", "ppo", "grpo"))
    return most < 0.1, ", ".join(f"{arm} {value:.3f}" for arm, value in loss.items())


@experiment.claim(quick=True)
def the_base_answers_nobody(record):
    """The base model follows fewer than one instruction in twenty: it has never seen a chat."""
    share = max(record.seeds("base", "instructions"))
    return share < 0.05, f"{share:.1%}"


@experiment.figure()
def scores(record):
    """Shares of held-out word problems solved, instructions followed and replies that are polite,
    after each stage; with the range of the seeds."""
    titles = [record.arms[arm]["title"] for arm in record.arms]
    panels = []
    for metric, name in (("arithmetic", "word problems"), ("instructions", "instructions"),
                         ("polite", "polite replies")):  # fmt: skip
        seeds = [record.seeds(arm, metric) for arm in record.arms]
        bars = Bars(titles, [record.value(arm, metric) for arm in record.arms], name, "model",
                    map(min, seeds), map(max, seeds))  # fmt: skip
        marks = []
        if metric in record.data["chance"]:
            marks = [Level(record.level("chance", metric), "chance", "chance")]
        panels.append(Panel("", Axis(name, range=(0, 1)), bars=[bars], levels=marks))
    return Figure(panels)


@experiment.figure()
def learning_by_reward(record):
    """Share of sampled answers that are right, and their length, over the steps of GRPO."""
    return Figure([
        Panel("step of GRPO", Axis("right", range=(0, 1)), [record.line("grpo", "right")]),
        Panel("step of GRPO", Axis("tokens in an answer"), [record.line("grpo", "length")]),
    ])  # fmt: skip
