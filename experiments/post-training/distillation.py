"""Does a teacher's whole distribution teach more than the right answers?

A student of a tenth of the size learns word problems from the same chats in four ways, for equally
many steps: from the answers alone (hard labels), or from the distribution of a teacher that has
taken a course in them, token by token: the teacher's divergence from the student (forward), the
student's from the teacher (reverse), or half of the steps on answers of its own that the teacher
corrects (on-policy). Each way at its own best learning rate.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean

from minimind_wiki.book.experiment import Experiment, Measurement, Sweep
from minimind_wiki.book.record import repo_root
from minimind_wiki.data.world.rows import make_rows
from minimind_wiki.lite.plot import Axis, Figure, Panel
from minimind_wiki.tokenizer import load_tokenizer
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.examine import arithmetic
from minimind_wiki.train.sft import SftSettings, sft
from minimind_wiki.train.teach import DistillSettings
from minimind_wiki.train.teach import distillation as distill

from ._stages import made, place


@dataclass(frozen=True, slots=True)
class Course:
    """The teacher's, which no setting of its students changes."""

    steps: int
    windows: int


@dataclass(frozen=True, slots=True)
class Settings:
    """Steps of the teacher's course, of the student's lessons, their rate; held-out problems."""

    course_steps: int = 2000
    steps: int = 300
    learning_rate: float = 5e-3
    windows: int = 64
    items: int = 200


def arm(title: str, role: str, divergence: str, on_policy: float = 0.0) -> dict:
    return {"title": title, "role": role, "divergence": divergence, "on_policy": on_policy}


experiment = Experiment(
    name="post-training/distillation",
    factors=("divergence", "on_policy"),
    arms={
        "hard": arm("hard labels", "none", ""),
        "forward": arm("forward KL", "model", "forward_kl"),
        "reverse": arm("reverse KL", "a", "reverse_kl"),
        "on_policy": arm("forward KL, half on-policy", "b", "forward_kl", 0.5),
    },
    settings=Settings(),
    quick=Settings(course_steps=2, steps=2, windows=4, items=4),
    quick_arms=("hard", "forward"),
    sweep=Sweep("learning_rate", (2.5e-3, 5e-3, 1e-2), "loss", quick=(5e-3,),
                beyond=(1.25e-3, 2e-2)),
    primary="loss",
    repeat=(("forward", 0), ("on_policy", 0)),
    noisy=("seconds",),
)  # fmt: skip


def config(model: str, steps: int, rate: float, windows: int, seed: int) -> TrainConfig:
    return TrainConfig(
        init=str(repo_root() / "models" / model), data="world/arithmetic", steps=steps,
        batch_size=16, learning_rate=rate, optimizer="muon", weight_decay=0.0, context_length=512,
        eval_every=max(1, steps // 4), eval_windows=windows, sample_tokens=0, seed=seed,
        device="cpu", dtype="bfloat16", threads=1,
    )  # fmt: skip


def take(course: Course, out: Path, resume: bool) -> None:
    how = config("world-tiny", course.steps, 5e-3, course.windows, 0)
    sft(how, SftSettings(gold_items=0), out, resume)


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    course = Course(settings.course_steps, settings.windows)
    teacher = made(place(experiment.name, course), "course", 0, partial(take, course))
    how = config("world-nano", settings.steps, settings.learning_rate, settings.windows, seed)
    if arm["divergence"]:
        lessons = DistillSettings(teacher=str(teacher), divergence=arm["divergence"],
                                  on_policy=arm["on_policy"], max_new_tokens=64)  # fmt: skip
        found = distill(how, lessons)
    else:
        found = sft(how, SftSettings(gold_items=0))
    held = found.state.held_out
    rows = list(make_rows("arithmetic", settings.items, 0, "validation"))
    solved = arithmetic(found.model, load_tokenizer(how.init), rows, max_new_tokens=64)
    values = {"loss": held["loss"][-1], "accuracy": solved.score.accuracy,
              "seconds": found.state.seconds}  # fmt: skip
    return Measurement(values, {"loss": (held["step"], held["loss"])})


@experiment.claim()
def a_distribution_teaches_more(record):
    """The teacher's distribution leaves less held-out loss than hard labels, with every seed."""
    hard, soft = record.seeds("hard", "loss"), record.seeds("forward", "loss")
    return max(soft) < min(hard), f"{mean(soft):.3f} against {mean(hard):.3f} nats a token"


@experiment.claim()
def and_makes_it_right(record):
    """The student that saw distributions solves more word problems, with every seed."""
    hard, soft = record.seeds("hard", "accuracy"), record.seeds("forward", "accuracy")
    return min(soft) > max(hard), f"{mean(soft):.1%} against {mean(hard):.1%}"


@experiment.claim()
def own_answers_help(record):
    """Half of the steps on its own answers make the student solve more, with every seed."""
    given, own = record.seeds("forward", "accuracy"), record.seeds("on_policy", "accuracy")
    return min(own) > max(given), f"{mean(own):.1%} against {mean(given):.1%}"


@experiment.claim(quick=True)
def they_all_begin_alike(record):
    """Before the first step all students have the same loss."""
    first = {record.curve(arm, "loss")["mean"][0] for arm in record.arms}
    return max(first) - min(first) < 1e-6, f"{max(first):.3f} nats a token"


@experiment.figure()
def lessons(record):
    """Held-out loss of the students over the steps of their lessons, each way at its best rate."""
    roles = {"hard": "none", "forward": "model", "reverse": "a", "on_policy": "c"}
    lines = [record.line(arm, "loss", role=role) for arm, role in roles.items()
             if arm in record.arms]  # fmt: skip
    return Figure(Panel("step", Axis("nats per token, held out", "log"), lines, legend="top"))
