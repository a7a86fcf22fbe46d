"""Does a teacher's distribution teach more where a text may go on in many ways?

In a worked sum each token is settled by what stands before it, so a good teacher says what the
data say (post-training/distillation). In a story it is not: many a person or place may come next.
A small model learns to tell the world's stories in a chat, each seen once, from their words alone
or from the distribution of a larger model that has learned to tell such stories. Each way at its
own best learning rate.
"""

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean

from minimind_wiki.book.experiment import Experiment, Measurement, Sweep
from minimind_wiki.book.record import repo_root
from minimind_wiki.data.world.rows import make_rows
from minimind_wiki.lite.plot import Axis, Figure, Level, Panel
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.pretrain import Outcome
from minimind_wiki.train.sft import SftSettings, sft
from minimind_wiki.train.teach import DistillSettings
from minimind_wiki.train.teach import distillation as distill

from ._stages import made, place


@dataclass(frozen=True, slots=True)
class Course:
    """The teacher's, which no setting of its students changes."""

    steps: int
    stories: int
    windows: int


@dataclass(frozen=True, slots=True)
class Settings:
    """Steps of the teacher's course and of the student's lessons, stories in each, the student's
    rate; held-out stories."""

    course_steps: int = 150
    steps: int = 150
    stories: int = 8
    learning_rate: float = 5e-3
    windows: int = 64


experiment = Experiment(
    name="post-training/soft_labels",
    factors=("divergence",),
    arms={
        "hard": {"title": "hard labels", "role": "none", "divergence": ""},
        "forward": {"title": "forward KL", "role": "model", "divergence": "forward_kl"},
    },
    settings=Settings(),
    quick=Settings(course_steps=2, steps=2, stories=2, windows=4),
    sweep=Sweep("learning_rate", (2.5e-3, 5e-3, 1e-2), "loss", quick=(5e-3,),
                beyond=(1.25e-3, 2e-2)),
    primary="loss",
    repeat=(("hard", 0), ("forward", 0)),
    noisy=("seconds",),
)  # fmt: skip


def told(rows: int, seed: int, split: str) -> list[dict]:
    """Stories as what an assistant says."""
    ask = {"role": "user", "content": "Tell me a story."}
    return [{"conversations": [ask, {"role": "assistant", "content": row["text"]}]}
            for row in make_rows("pretrain", rows, seed, split)]  # fmt: skip


def lessons_of(
    model: str,
    steps: int,
    stories: int,
    windows: int,
    rate: float,
    seed: int,
    learn: Callable[[TrainConfig], Outcome],
) -> Outcome:
    """A model after so many steps, of so many new stories each."""
    rows = told(steps * stories, seed, "train")
    held = told(windows, 0, "validation")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "stories.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in [*rows, *held]))
        return learn(TrainConfig(
            init=str(repo_root() / "models" / model), data=str(file), steps=steps, seed=seed,
            held_out=len(held) / (len(rows) + len(held)), batch_size=stories, learning_rate=rate,
            optimizer="muon", weight_decay=0.0, context_length=512, eval_every=max(1, steps // 4),
            eval_windows=windows, sample_tokens=0, device="cpu", dtype="bfloat16", threads=1,
        ))  # fmt: skip


def take(course: Course, out: Path, resume: bool) -> None:
    if resume:  # what was left half done is done anew: its rows are gone
        shutil.rmtree(out)
    hard = partial(sft, settings=SftSettings(gold_items=0), out=out)
    lessons_of("world-tiny", course.steps, course.stories, course.windows, 5e-3, 1000, hard)


def teacher(settings: Settings) -> Path:
    course = Course(settings.course_steps, settings.stories, settings.windows)
    return made(place(experiment.name, course), "course", 0, partial(take, course))


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    learn = partial(sft, settings=SftSettings(gold_items=0))
    if arm["divergence"]:
        lessons = DistillSettings(teacher=str(teacher(settings)), divergence=arm["divergence"])
        learn = partial(distill, settings=lessons)
    found = lessons_of("world-nano", settings.steps, settings.stories, settings.windows,
                       settings.learning_rate, seed, learn)  # fmt: skip
    curve = found.state.held_out
    values = {"loss": curve["loss"][-1], "seconds": found.state.seconds}
    return Measurement(values, {"loss": (curve["step"], curve["loss"])})


@experiment.levels
def levels(settings: Settings):
    """The teacher's own loss on the same stories."""
    held = json.loads((teacher(settings) / "run.json").read_text())["held_out"]
    return {"baseline": {"loss": held["last_loss"]},
            "data": {"name": "the little world, generated", "bytes": 0}}  # fmt: skip


@experiment.claim()
def a_distribution_teaches_more(record):
    """The teacher's distribution leaves less held-out loss than the stories' words, with every
    seed."""
    hard, soft = record.seeds("hard", "loss"), record.seeds("forward", "loss")
    return max(soft) < min(hard), f"{mean(soft):.3f} against {mean(hard):.3f} nats a token"


@experiment.claim()
def with_the_same_stories(record):
    """With the same stories in the same order, it leaves less in each seed's pair."""
    pairs = zip(record.seeds("hard", "loss"), record.seeds("forward", "loss"), strict=True)
    gains = [hard - soft for hard, soft in pairs]
    return min(gains) > 0, f"{min(gains):+.4f} to {max(gains):+.4f} nats a token"


@experiment.claim()
def it_is_ahead_at_first(record):
    """After a quarter of the lessons the distribution has left less held-out loss, with every seed.
    (Asked after the curves were seen.)"""
    hard, soft = record.curve("hard", "loss"), record.curve("forward", "loss")
    ahead = soft["hi"][1] < hard["lo"][1]
    return ahead, f"{soft['mean'][1]:.3f} against {hard['mean'][1]:.3f} nats a token"


@experiment.claim(quick=True)
def they_begin_alike(record):
    """Before the first step both students have the same loss."""
    first = {record.curve(arm, "loss")["mean"][0] for arm in record.arms}
    return max(first) - min(first) < 1e-6, f"{max(first):.3f} nats a token"


@experiment.figure()
def lessons(record):
    """Held-out loss of two students over their lessons in stories, from words and from a teacher's
    distribution, each at its best rate; a level shows the teacher's own loss."""
    lines = [record.line(arm, "loss") for arm in record.arms]
    teacher = Level(record.level("baseline", "loss"), "teacher", "baseline")
    return Figure(Panel("step", Axis("nats per token, held out", "log"), lines, levels=[teacher],
                        legend="top"))  # fmt: skip
