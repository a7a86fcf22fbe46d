"""Does reinforcement teach a model what it cannot do, or choose among what it can?

Two models solve about half of their word problems. One has half learned to work them out: its
answers have steps, and digits in them are wrong. The other has learned the steps well, and as often
learned to answer at once: it knows two habits. Both get the same reinforcement, equally many
answers judged by a program. The first is also reinforced on sixteen prompts over and over, which
shows whether the gradient is right; and it is also taught, by equally many worked answers of a
teacher in place of its own. Each way at its own best learning rate, chosen on other worlds than
those that are reported.
"""

import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory

from minimind_wiki.book.experiment import Experiment, Measurement, Sweep
from minimind_wiki.book.record import repo_root
from minimind_wiki.data.world.rows import make_rows
from minimind_wiki.infer import load_model_folder
from minimind_wiki.lite.plot import Axis, Bars, Figure, Line, Panel
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.examine import arithmetic
from minimind_wiki.train.grpo import GrpoSettings, grpo
from minimind_wiki.train.sft import SftSettings, sft
from minimind_wiki.train.sources import open_source

from ._stages import made, place

TEACHERS = "world/arithmetic=3,world/arithmetic_answers=3,world/instructions=6,world/replies=1"
TRIES = (1, 2, 4, 8)
LATER = 1000  # from the seed of a start to that of the rows that are read after it


@dataclass(frozen=True, slots=True)
class Starts:
    """What the models learn before, and what they are asked: problems of new worlds, greedily; how
    many of these and of the prompts that were trained on are sampled, and how often. No setting of
    what follows changes this."""

    half_steps: int = 800
    course_steps: int = 2000
    sft_steps: int = 900
    items: int = 200
    sampled: int = 100
    own: int = 16
    samples: int = 8


@dataclass(frozen=True, slots=True)
class Settings:
    """Steps of learning, answers in each, and the rate."""

    starts: Starts = Starts()
    steps: int = 16
    answers: int = 64
    learning_rate: float = 3e-4


def arm(title: str, role: str, start: str, prompts: str, method: str = "grpo") -> dict:
    return {"title": title, "role": role, "start": start, "prompts": prompts, "method": method}


experiment = Experiment(
    name="post-training/habits",
    factors=("start", "prompts", "method"),
    arms={
        "two_habits": arm("two habits", "model", "sft", "new"),
        "half_learned": arm("half learned", "a", "half", "new"),
        "few_prompts": arm("on 16 prompts", "b", "half", "16"),
        "taught": arm("taught", "c", "half", "new", "sft"),
    },
    settings=Settings(),
    quick=Settings(Starts(2, 2, 2, 4, 4, 4, 2), steps=1, answers=16),
    sweep=Sweep("learning_rate", (1e-4, 3e-4, 1e-3), "validation_wrong", quick=(3e-4,),
                beyond=(3e-3,)),
    primary="accuracy",
    budget=1800.0,
    repeat=(("few_prompts", 0), ("two_habits", 0), ("taught", 0)),
    noisy=("seconds",),
)  # fmt: skip


def config(init: Path, data: str, steps: int, rate: float, seed: int) -> TrainConfig:
    return TrainConfig(
        init=str(init), data=data, steps=steps, learning_rate=rate, seed=seed, batch_size=16,
        optimizer="muon", weight_decay=0.0, context_length=512, eval_every=max(steps // 4, 1),
        eval_windows=64, sample_tokens=0, device="cpu", dtype="bfloat16", threads=1,
    )  # fmt: skip


def start_of(stage: str, seed: int, starts: Starts) -> Path:
    """The model folder that a run begins with. As there is one base, there is one course and one
    half-learned model."""
    seed = seed if stage == "sft" else 0
    init, data = repo_root() / "models" / "world-tiny", "world/arithmetic"
    steps, rate = {"half": (starts.half_steps, 5e-3), "course": (starts.course_steps, 5e-3),
                   "sft": (starts.sft_steps, 2.5e-3)}[stage]  # fmt: skip
    if stage == "sft":
        init, data = start_of("course", 0, starts), TEACHERS

    def train(out: Path, resume: bool) -> None:
        sft(config(init, data, steps, rate, seed), SftSettings(gold_items=0), out, resume)

    return made(place(experiment.name, starts), stage, seed, train)


def solved(model, tokenizer, rows, samples: int):
    """Marks of each row: of its greedy answer, or of `samples` drawn ones; and the replies."""
    how = {"temperature": 1.0 if samples else 0.0, "rows_at_once": 64}
    found = arithmetic(model, tokenizer, [row for row in rows for _ in range(samples or 1)],
                       max_new_tokens=64, **how)  # fmt: skip
    return found.marks, found.replies


def asked(model, tokenizer, starts: Starts) -> dict[str, float]:
    """Problems of new worlds, each answered greedily, and some of them several times."""
    rows, many = list(make_rows("arithmetic", starts.items, 0, "test")), starts.samples
    greedy, replies = solved(model, tokenizer, rows, 0)
    marks, drawn = solved(model, tokenizer, rows[: starts.sampled], many)
    groups = [marks[i : i + many] for i in range(0, len(marks), many)]
    at_once = [reply.answer.startswith("The answer") for reply in drawn]
    told = {"accuracy": mean(greedy), "accuracy_sampled": mean(greedy[: starts.sampled]),
            "tokens": mean(reply.tokens for reply in replies),
            "at_once": mean(at_once)}  # fmt: skip
    for name, which in (("at_once", True), ("worked", False)):
        some = [mark for mark, now in zip(marks, at_once, strict=True) if now is which]
        told[f"{name}_right"] = mean(some) if some else 0.0
    for k in TRIES:
        told[f"pass_{k}"] = mean(passed(sum(group), many, min(k, many)) for group in groups)
    return told


def passed(right: int, many: int, k: int) -> float:
    """How likely one of k answers is right, of `many` of which so many are (Chen et al. 2021)."""
    missed = 1.0
    for i in range(k):
        missed *= max(many - right - i, 0) / (many - i)
    return 1 - missed


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    starts, later = settings.starts, seed + LATER
    init = start_of(arm["start"], seed, starts)
    few, taught = arm["prompts"] == "16", arm["method"] == "sft"
    data, schema = ("world/arithmetic", "sft") if taught else ("world/rl/sum", "agent")
    how = replace(config(init, data, settings.steps, settings.learning_rate, later),
                  optimizer="adamw", batch_size=settings.answers, eval_windows=1)  # fmt: skip
    source = open_source(data, schema, later, 0.1, 1)
    own = list(source.rows(0, starts.own))
    model, tokenizer = load_model_folder(init, "cpu")
    kept = made(place(experiment.name, starts), f"asked-{init.name}", 0,
                partial(ask, model, tokenizer, starts))  # fmt: skip
    before = json.loads((kept / "run.json").read_text())
    before["own"] = mean(solved(model, tokenizer, own, starts.samples)[0])
    with TemporaryDirectory() as folder:
        if few:  # the second half is held out, and measures nothing here
            file = Path(folder) / "few.jsonl"
            file.write_text("".join(json.dumps(row) + "\n" for row in source.rows(0, 32)))
            how = replace(how, data=str(file), held_out=0.5)
        if taught:
            found = sft(how, SftSettings(gold_items=0))
        else:
            found = grpo(how, GrpoSettings(max_new_tokens=64, resample=1))
    values = {**asked(found.model, tokenizer, starts), "seconds": found.state.seconds,
              "own": mean(solved(found.model, tokenizer, own, starts.samples)[0]),
              **{f"before_{name}": value for name, value in before.items()}}  # fmt: skip
    others = list(make_rows("arithmetic", starts.items, 0, "validation"))
    values["validation_wrong"] = 1 - mean(solved(found.model, tokenizer, others, 0)[0])
    curve, curves = found.state.train, {}
    if "right" in curve:
        curves = {name: (curve["step"], curve[name]) for name in ("right", "groups_without_signal")}
        values["without_signal"] = mean(curve["groups_without_signal"])
    return Measurement(values, curves)


def ask(model, tokenizer, starts: Starts, out: Path, resume: bool) -> None:
    """The same questions to the model that a run begins with, once for all runs."""
    out.mkdir(exist_ok=True)
    (out / "run.json").write_text(json.dumps(asked(model, tokenizer, starts)))


def gains(record, arm: str, metric: str = "accuracy") -> list[float]:
    """What each seed has won over the model that it began with."""
    pairs = zip(record.seeds(arm, metric), record.seeds(arm, f"before_{metric}"), strict=True)
    return [after - before for after, before in pairs]


def spread(values: list[float]) -> str:
    return ", ".join(f"{100 * value:+.1f}" for value in values) + " points"


@experiment.derived
def told(record):
    """Mean gains in points; the rate that was best on the validation worlds, and what the first
    seed solves there at the best and at the largest rate."""
    found = {}
    for arm in record.arms:
        sweep = record.sweep(arm)
        found[arm] = {"gain": 100 * mean(gains(record, arm)),
                      "own_gain": 100 * mean(gains(record, arm, "own")),
                      "best_rate": sweep["best"], "largest_rate": max(sweep["values"]),
                      "at_best": 1 - min(sweep["scores"]),
                      "at_largest": 1 - sweep["scores"][-1]}  # fmt: skip
    return found


@experiment.claim()
def it_chooses(record):
    """Reinforcement makes a model with two habits right more often: every seed after it is above
    every seed before."""
    before, after = (record.seeds("two_habits", name) for name in ("before_accuracy", "accuracy"))
    return min(after) > max(before), f"{mean(before):.1%} before, {mean(after):.1%} after"


@experiment.claim()
def it_does_not_teach(record):
    """The half-learned model gains less than five points on new problems, with every seed."""
    found = gains(record, "half_learned")
    return max(found) < 0.05, spread(found)


@experiment.claim()
def the_gradient_is_right(record):
    """On sixteen prompts over and over it gains more than ten points on these, with every seed."""
    found = gains(record, "few_prompts", "own")
    return min(found) > 0.1, spread(found)


@experiment.claim()
def but_not_beyond_its_prompts(record):
    """What it has learned on sixteen prompts gains less than five points on new ones."""
    found = gains(record, "few_prompts")
    return max(found) < 0.05, spread(found)


@experiment.claim()
def eight_tries_are_the_bound(record):
    """After reinforcement the one greedy answer is right less often than one of eight drawn from
    the model before it, with every seed of every arm."""
    over = [after - bound for arm in ("two_habits", "half_learned", "few_prompts")
            for after, bound in zip(record.seeds(arm, "accuracy_sampled"),
                                    record.seeds(arm, "before_pass_8"), strict=True)]  # fmt: skip
    return max(over) < 0, f"between {-100 * max(over):.1f} and {-100 * min(over):.1f} points below"


@experiment.claim()
def a_teacher_teaches(record):
    """Equally many worked answers of a teacher gain the half-learned model more than its own do:
    the least gain of its seeds is above the largest with reinforcement."""
    taught, own = gains(record, "taught"), gains(record, "half_learned")
    return min(taught) > max(own), f"{spread(taught)} against {spread(own)}"


@experiment.claim(quick=True)
def they_begin_alike(record):
    """Before the first step the taught and the reinforced model are the same."""
    pair = [record.seeds(arm, "before_accuracy") for arm in ("half_learned", "taught")]
    return pair[0] == pair[1], f"{mean(pair[0]):.1%} of new problems"


def bars(record, metric: str, name: str, role: str) -> Bars:
    seeds = [record.seeds(arm, metric) for arm in record.arms]
    return Bars([record.arms[arm]["title"] for arm in record.arms], map(mean, seeds), name, role,
                map(min, seeds), map(max, seeds))  # fmt: skip


def standing(bars: list[Bars], label: str) -> Figure:
    return Figure(Panel("", Axis(label, range=(0, 1)), bars=bars, legend="top"))


@experiment.figure()
def before_and_after(record):
    """Share of new word problems solved before and after, greedily, and by any of eight answers
    drawn before; means and ranges of the seeds."""
    drawn = [bars(record, "before_accuracy", "before", "none"),
             bars(record, "accuracy", "after", "model"),
             bars(record, "before_pass_8", "before, any of 8", "chance")]  # fmt: skip
    return standing(drawn, "new problems solved")


@experiment.figure()
def own_prompts(record):
    """Share of right answers to prompts that were trained on, before and after; means and ranges
    of the seeds."""
    drawn = [bars(record, "before_own", "before", "none"), bars(record, "own", "after", "model")]
    return standing(drawn, "right answers to its own prompts")


@experiment.figure()
def tries(record):
    """Share of new problems that one of k drawn answers solves, before and after reinforcement, of
    the model with two habits and of the half-learned one."""
    panels = []
    for arm in ("two_habits", "half_learned"):
        lines = []
        for before, name, role in (("before_", "before", "none"), ("", "after", "model")):
            seeds = [record.seeds(arm, f"{before}pass_{k}") for k in TRIES]
            lines.append(Line(TRIES, map(mean, seeds), name, role, map(min, seeds),
                              map(max, seeds), marker="circle"))  # fmt: skip
        panels.append(Panel(Axis("answers drawn", "log", ticks=list(TRIES)),
                            Axis("one of them right", range=(0, 1)), lines,
                            title=record.arms[arm]["title"]))  # fmt: skip
    return Figure(panels)
