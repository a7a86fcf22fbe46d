"""Training samples with `rollout`, exams ask by it, servers answer with `Engine`: one behaviour.

The two share the model and little else: rows that go through time together over a common cache
here, texts in blocks, prompts in chunks and lean kernels there. So each is held to the other:
greedy tokens, the distribution that every token was drawn from, the answers of an exam.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from stirred import stirred
from test_infer_engine import CONFIGS, model, prompts

from minimind_wiki.data.world.rows import make_rows
from minimind_wiki.infer.draw import Drawer, filtered
from minimind_wiki.infer.engine import Engine
from minimind_wiki.infer.open import open_model
from minimind_wiki.infer.request import Request, Sampling
from minimind_wiki.infer.rollout import Rollout, rollout
from minimind_wiki.model import Transformer
from minimind_wiki.tokenizer.chat import control_ids, render
from minimind_wiki.train.examine import NO_ROOM, answers
from minimind_wiki.train.reasoning import END, read_ids
from minimind_wiki.train.trajectory import prompt_of

MODELS = Path(__file__).resolve().parents[2] / "models"
STOPS = (3, 40, 41, 77)
NEW = 14


ASKED = prompts(seed=4, count=10)


def crowded(net: Transformer) -> Engine:
    """Prompts in small chunks, and too little room for all at once: texts give up their blocks."""
    return Engine(net, room=9 * 16, max_running=6, step_tokens=19)


def lone(net: Transformer) -> Engine:
    """One at a time."""
    return Engine(net, max_running=1)


def run(engine: Engine) -> dict[int, list]:
    out: dict[int, list] = {}
    while engine.busy:
        for number, token in engine.step():
            assert not token.error
            out.setdefault(number, []).append(token)
    return out


@pytest.mark.parametrize("make", [crowded, lone])
@pytest.mark.parametrize("name", CONFIGS)
def test_greedy_tokens_are_equal(name, make):
    net, asked = model(name), ASKED
    rows = rollout(net, asked, 1, NEW, 0, stop_ids=STOPS)
    engine = make(net)
    for prompt in asked:
        engine.add(Request(prompt, NEW, Sampling(temperature=0), stop_ids=STOPS))
    found = run(engine)
    for row in range(len(asked)):
        told = found[row + 1]
        assert [token.id for token in told] == rows.sampled(row)[0], row
        assert (told[-1].finish == "stop") == bool(rows.ended_B[row])


@dataclass
class Said:
    """In a form's place: allows one text, token by token, as a teacher that dictates it."""

    ids: list[int]
    size: int
    at: int = 0
    ended: bool = False
    error: str = ""

    def copy(self) -> Said:
        return Said(self.ids, self.size, self.at)

    def mask(self) -> torch.Tensor:
        return torch.arange(self.size) == self.ids[self.at]

    def accept(self, token: int) -> None:
        self.at += 1


SETTINGS = [(1.0, None, None), (0.7, None, None), (1.3, 9, None), (1.0, None, 0.8), (0.8, 20, 0.9)]


def dictated(engine: Engine, asked: list[list[int]], rows: Rollout, how: Sampling) -> torch.Tensor:
    """The log-probability with which the engine draws each token of the rows, (B, T), 0 elsewhere.

    It decodes as ever, a token a step, and tells all of the model's scores; its own filters make
    of them the distribution that it draws from.
    """
    size, logp_BT = engine.model.config.vocab_size, torch.zeros_like(rows.logp_BT)
    for row in range(len(logp_BT)):
        ids, _ = rows.sampled(row)
        prompt = asked[row * len(asked) // len(logp_BT)]
        engine.add(Request(prompt, len(ids), logprobs=size, constraint=Said(ids, size)))
    drawer = Drawer(Request([0], 1, how), size)
    for number, told in run(engine).items():
        scores_TV = torch.empty(len(told), size)
        for score_V, token in zip(scores_TV, told, strict=True):
            for other, logp in token.top:
                score_V[other] = logp
        logp_TV = torch.log_softmax(filtered(scores_TV, [drawer] * len(told)), dim=-1)
        ids_T1 = torch.tensor([[token.id] for token in told])
        logp_BT[number - 1, rows.mask_BT[number - 1]] = logp_TV.gather(1, ids_T1)[:, 0]
    return logp_BT


@pytest.mark.parametrize("name", CONFIGS)
def test_the_distributions_of_sampled_tokens_are_equal(name):
    net, asked = stirred(replace(CONFIGS[name], initializer_range=0.2)), ASKED
    for number, how in enumerate(SETTINGS):
        generator = torch.Generator().manual_seed(number)
        # six rows at once: those of longer prompts begin behind a part that is read only once
        rows = rollout(net, asked, 2, NEW, *how, generator, STOPS, rows_at_once=6 * (number % 2))
        make = crowded if number % 2 else lone
        found_BT = dictated(make(net), asked, rows, Sampling(*how))
        torch.testing.assert_close(found_BT, rows.logp_BT, atol=1e-5, rtol=0)
        assert float(rows.logp_BT[rows.mask_BT].min()) < -1  # not all of them are certain


@pytest.mark.parametrize("shipped", ["world-tiny-chat", "world-tiny-grpo", "world-nano"])
def test_an_exam_hears_the_same_answers_from_the_engine(shipped):
    """Greedy answers of shipped models to rows of an exam, with thoughts and tools in prompts."""
    net, tokenizer = open_model(MODELS / shipped, dtype=torch.float32)
    rows = [row for kind in ("arithmetic", "instructions", "tools")
            for row in make_rows(kind, 6, seed=2, split="test")]  # fmt: skip
    rows.append({"conversations": [{"role": "user", "content": "word " * 3000}]})
    wanted = answers(net, tokenizer, rows, 48)
    assert wanted[-1] is NO_ROOM and len({reply.answer for reply in wanted}) > 6
    engine, asked = Engine(net, tokenizer, step_tokens=100), {}
    for reply, row in zip(wanted, rows, strict=True):
        if reply is not NO_ROOM:
            messages, tools = prompt_of(row)
            prompt = render(messages, tokenizer, tools, True).ids
            how = Sampling(temperature=0)
            number = engine.add(Request(prompt, 48, how, [control_ids(tokenizer)[END]]))
            asked[number] = reply
    for number, told in run(engine).items():
        assert read_ids([token.id for token in told], tokenizer) == asked[number]
