"""A student on the loop comes nearer to its teacher, on the data's answers and on its own."""

import dataclasses

import pytest
import torch

from minimind_wiki.data.packing import IGNORE
from minimind_wiki.errors import WrongCall
from minimind_wiki.infer import load_model_folder, save_model_folder
from minimind_wiki.model import Transformer, preset
from minimind_wiki.tokenizer import ByteTokenizer
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.teach import DIVERGENCES, DistillSettings, Lesson, distillation

TOKENIZER = ByteTokenizer()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A student, and a teacher with experts whose head makes it sure of what it says."""
    root = tmp_path_factory.mktemp("models")
    teacher = Transformer(preset("nano", num_experts=2, num_experts_per_tok=1), seed=1)
    with torch.no_grad():
        teacher.lm_head.weight.mul_(20)
    save_model_folder(root / "student", Transformer(preset("nano"), seed=0), TOKENIZER)
    save_model_folder(root / "teacher", teacher, TOKENIZER)
    return root


@pytest.fixture
def config(folders):
    return TrainConfig(
        init=str(folders / "student"), data="world/instructions", steps=6, batch_size=4,
        context_length=256, eval_every=6, eval_windows=4, sample_tokens=0, device="cpu",
        threads=1, learning_rate=3e-3,
    )  # fmt: skip


@pytest.fixture
def settings(folders):
    return DistillSettings(str(folders / "teacher"), max_new_tokens=8)


@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize("on_policy", [0.0, 1.0])
def test_the_student_comes_nearer(config, settings, divergence, on_policy):
    settings = dataclasses.replace(settings, divergence=divergence, on_policy=on_policy)
    measured = distillation(config, settings).state.held_out["divergence"]
    assert measured[-1] < measured[0]


def test_the_teacher_is_not_moved(config, settings, folders, monkeypatch):
    lessons, init = [], Lesson.__init__

    def keep(self, *args):
        init(self, *args)
        lessons.append(self)

    monkeypatch.setattr(Lesson, "__init__", keep)
    distillation(config, settings)
    before = load_model_folder(folders / "teacher")[0].state_dict()
    after = lessons[0].loss.kept[0].state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_the_share_of_steps_with_own_answers_is_kept_and_is_a_function_of_the_step(
    config, settings, monkeypatch
):
    lessons, init = [], Lesson.__init__

    def keep(self, *args):
        init(self, *args)
        lessons.append(self)

    monkeypatch.setattr(Lesson, "__init__", keep)
    settings = dataclasses.replace(settings, on_policy=0.5)
    distillation(dataclasses.replace(config, steps=1), settings)
    lesson = lessons[0]
    monkeypatch.setattr(lesson, "answered", lambda step: "own")
    own = [lesson.at(step) == "own" for step in range(40)]
    assert own == [lesson.at(step) == "own" for step in range(40)]
    assert 10 < sum(own) < 30


def test_own_answers_are_learned_and_prompts_are_not(config, settings, monkeypatch):
    seen, answered = [], Lesson.answered

    def keep(self, step):
        seen.append(answered(self, step))
        return seen[-1]

    monkeypatch.setattr(Lesson, "answered", keep)
    settings = dataclasses.replace(settings, on_policy=1.0)
    distillation(dataclasses.replace(config, steps=1), settings)
    counts = (seen[0].labels_BT != IGNORE).sum(1)
    assert (counts >= 1).all() and (counts <= 8).all()


def test_settings_that_cannot_work_are_refused(config, settings, tmp_path):
    for changes, words in (({"teacher": ""}, "needs a teacher"),
                           ({"divergence": "kl"}, "unknown divergence 'kl'"),
                           ({"temperature": 0.0}, "temperature is 0.0"),
                           ({"on_policy": 1.5}, "on_policy is 1.5")):  # fmt: skip
        with pytest.raises(WrongCall, match=words):
            distillation(config, dataclasses.replace(settings, **changes))
