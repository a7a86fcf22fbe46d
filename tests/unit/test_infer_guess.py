"""Guessing ahead inside the engine changes no answer: not greedy ones, and no distribution."""

from __future__ import annotations

import re
from functools import cache

import pytest
import torch
from stirred import GQA, drawn_logp, stirred
from test_infer_engine import (
    CONFIGS,
    all_blocks_are_accounted_for,
    collect,
    count_preemptions,
    greedy,
    prompts,
    wanted,
)
from test_infer_speculative import CLOSE, LARGE, OTHER, draw_from_p, take_all

from minimind_wiki.errors import WrongCall
from minimind_wiki.infer import guess
from minimind_wiki.infer.engine import Engine
from minimind_wiki.infer.grammar import from_regex, from_schema
from minimind_wiki.infer.request import Request, Sampling
from minimind_wiki.infer.speculative import judge
from minimind_wiki.model import Transformer, preset
from minimind_wiki.tokenizer import ByteTokenizer

SMALLER = GQA | {"num_hidden_layers": 1}


@cache
def draft(name: str, of: str = "llama"):
    """What guesses: well, badly, only up to a shorter context, or not by a model."""
    from test_infer_engine import model

    if name == "ngram":
        return name
    if name == "itself":
        return model(of)
    short = {"max_position_embeddings": 48} if name == "short" else {}
    return stirred(preset("26m", **SMALLER | short))


def run(engine: Engine) -> dict[int, list[int]]:
    out: dict[int, list[int]] = {}
    while engine.busy:
        collect(engine, out)
    return out


@pytest.mark.parametrize(
    "name, by",
    [("llama", "itself"), ("llama", "short"), ("llama", "ngram"), ("window and sinks", "other"),
     ("alibi", "itself"), ("moe top-1", "ngram"), ("gpt2", "itself"), ("learned", "other")],
)  # fmt: skip
def test_greedy_tokens_are_those_of_generate(name, by):
    """Requests that arrive late, prompts in small chunks, preemption, a shared beginning."""
    from test_infer_engine import model

    asked = [(prompt, 4 + 7 * (i % 4)) for i, prompt in enumerate(prompts(seed=1))]
    asked += [([5, 6, 7] * 6, 30)]  # where a lookup finds something
    together = [([i, 3], 40) for i in range(5)]  # admitted at once, and then they grow
    engine = Engine(model(name), room=7 * 16, max_running=5, step_tokens=13, draft=draft(by, name))
    everybody, out = [*asked, *together[::-1]], dict[int, list[int]]()
    preempted, proposed, accepted = count_preemptions(engine), 0, 0
    while asked or together or engine.busy:
        if asked:
            engine.add(greedy(*asked.pop(0)))
        elif not engine.busy:
            while together:
                engine.add(greedy(*together.pop()))
        collect(engine, out)
        proposed, accepted = proposed + engine.proposed, accepted + engine.accepted
        all_blocks_are_accounted_for(engine)
    for number, (prompt, new) in enumerate(everybody, start=1):
        assert out[number] == wanted(name, prompt, new), number
    assert preempted and proposed
    assert accepted == proposed if by == "itself" else accepted < proposed
    assert len(engine.blocks.free) == 7


def test_a_model_that_guesses_for_itself_saves_the_passes():
    engine, steps = Engine(LARGE, draft=LARGE, ahead=3), 0
    engine.add(greedy([3, 4, 5], 21))
    while engine.busy:
        engine.step()
        steps += 1
    assert steps == 1 + 20 // 4  # the first token ends the reading of the prompt


SETTINGS = Sampling(0.8, top_k=3)


def statistic(rounds: int = 1400) -> tuple[float, int]:
    """Chi-square of an answer's three tokens over many seeds, and the cells that it has."""
    engine, asked = Engine(LARGE, draft=OTHER, ahead=2), [3, 4, 5]
    for seed in range(rounds):
        engine.add(Request(asked, 4, Sampling(0.8, top_k=3, seed=seed)))
    counts: dict[tuple[int, ...], int] = {}
    for tokens in run(engine).values():
        counts[tuple(tokens[:3])] = counts.get(tuple(tokens[:3]), 0) + 1
    total, cells = 0.0, 0

    def walk(text: list[int], chance: float) -> None:
        nonlocal total, cells
        if len(text) == 3:
            expected = rounds * chance
            total += (counts.get(tuple(text), 0) - expected) ** 2 / expected
            cells += 1
            return
        with torch.no_grad():
            scores_1V = LARGE(torch.tensor([asked + text]))[:, -1]
        p_V = drawn_logp(scores_1V, 0.8, 3)[0].exp()
        for token in p_V.nonzero()[:, 0].tolist():
            walk([*text, token], chance * float(p_V[token]))

    walk([], 1.0)
    return total, cells


def test_the_distribution_is_the_models_own(monkeypatch):
    """27 cells, 26 degrees of freedom: above 62 once in ten thousand. Two wrong rules are seen."""
    right, cells = statistic()
    assert cells == 27 and right < 62
    for rule in (take_all, draw_from_p):
        monkeypatch.setattr(guess, "judge", rule)
        assert statistic()[0] > 120, rule.__name__


@pytest.mark.parametrize("by", ["ngram", "close"])
def test_draws_depend_on_the_seed_and_not_on_the_company(by):
    """Nor on being preempted: the same places are guessed, whatever else is at work."""
    helper = "ngram" if by == "ngram" else CLOSE

    def answer(company: int, room: int) -> tuple[list[int], int]:
        engine = Engine(LARGE, room=room, step_tokens=70, draft=helper)
        for other in range(company):
            engine.add(Request([other + 1] * 5, 50, Sampling(seed=other)))
        mine = engine.add(Request([7, 8, 7, 8], 50, Sampling(0.9, top_k=9, seed=11)))
        lost = count_preemptions(engine)
        return run(engine)[mine], sum(text.number == mine for text in lost)

    alone, _ = answer(0, 1024)
    crowded, lost = answer(1, 5 * 16)
    assert alone == answer(3, 1024)[0] == crowded
    assert lost


def said(model, draft, tokenizer=None, **fields):
    """The tokens of one answer and its text. At temperature 0 if not told otherwise."""
    engine, told, text = Engine(model, tokenizer, draft=draft), [], ""
    engine.add(Request(**{"prompt": [97], "sampling": Sampling(temperature=0)} | fields))
    while engine.busy:
        for _, token in engine.step():
            told, text = [*told, token], text + token.text
    return told, text


def test_ends_and_log_probabilities_are_those_without_guesses():
    model = Transformer(preset("nano", initializer_range=0.3), seed=2)

    def answer(draft, **fields):
        return said(model, draft, ByteTokenizer(), max_new_tokens=30, **fields)

    plain, text = answer(None, logprobs=2)
    for helper in ("ngram", model):
        told, same = answer(helper, logprobs=2)
        assert same == text and [t.id for t in told] == [t.id for t in plain]
        for token, other in zip(told, plain, strict=True):
            assert token.logprob == pytest.approx(other.logprob, abs=1e-4)
            assert [i for i, _ in token.top] == [i for i, _ in other.top]
        assert told[-1].finish == "length"
        cut = text[7:10]
        told, shorter = answer(helper, stop=[cut])
        assert shorter == text[: text.index(cut)] and told[-1].finish == "stop"
        stop = plain[6].id
        told, _ = answer(helper, stop_ids=[stop])
        assert [t.id for t in told][-1] == stop and told[-1].finish == "stop"
        assert len(told) == 1 + [t.id for t in plain].index(stop)


@pytest.mark.parametrize("by", ["ngram", "close"])
def test_processed_log_probabilities_are_those_of_the_draws(by):
    """Guesses that stand have those of the model's distribution, and not of the guesser's."""
    how, asked = Sampling(0.8, top_k=5, seed=3), [3, 4, 3, 4]
    told, _ = said(LARGE, "ngram" if by == "ngram" else CLOSE, prompt=asked, max_new_tokens=30,
                   sampling=how, logprobs=2, logprobs_mode="processed")  # fmt: skip
    ids = [*asked, *(token.id for token in told)]
    with torch.no_grad():
        logp_TV = drawn_logp(LARGE(torch.tensor([ids[:-1]]))[0, 3:], 0.8, 5)
    for token, logp_V in zip(told, logp_TV, strict=True):
        assert token.logprob == pytest.approx(float(logp_V[token.id]), abs=1e-4)
        assert token.top[0][1] == pytest.approx(float(logp_V.max()), abs=1e-4)


@pytest.mark.parametrize(
    "sampling",
    [Sampling(seed=3, repetition_penalty=1.4), Sampling(seed=3, frequency_penalty=0.5),
     Sampling(seed=3, no_repeat_ngram_size=2), Sampling(seed=3, logit_bias={4: 2.0})],
)  # fmt: skip
def test_what_depends_on_its_own_tokens_goes_on_by_one(sampling):
    def answer(helper) -> tuple[list[int], int]:
        engine, proposed = Engine(LARGE, draft=helper), 0
        number, out = engine.add(Request([3, 4, 5], 20, sampling)), {}
        while engine.busy:
            collect(engine, out)
            proposed += engine.proposed
        return out[number], proposed

    assert answer(LARGE) == answer(None) == (answer(None)[0], 0)


BYTES, FEW = ByteTokenizer(), {"initializer_range": 0.3, "max_position_embeddings": 64}
WITH_A_FORM = [
    {"constraint": from_schema(BYTES, {"type": "array", "items": {"type": "boolean"}})},
    {"constraint": from_regex(BYTES, r"(ab)+c[0-9]{3,}")},
]
WITH_MEMORY = [{"repetition_penalty": 1.4}, {"presence_penalty": 1.0}, {"logit_bias": {97: 4.0}}]


@pytest.mark.parametrize("by", ["ngram", "model"])
def test_forms_penalties_and_biases_go_on_by_one_beside_others_that_guess(by):
    """And get what they get in an engine without a draft, whether something is drawn or not."""
    net = Transformer(preset("nano", **FEW), seed=2)
    helper = "ngram" if by == "ngram" else Transformer(preset("nano", **FEW), seed=4)
    asked = []
    for how in ({"temperature": 0}, {"temperature": 0.9, "seed": 7}):
        asked += [Request([97, 98], 24, Sampling(**how), **form) for form in WITH_A_FORM]
        asked += [Request([97, 98], 24, Sampling(**how, **memory)) for memory in WITH_MEMORY]
    free = [greedy([97, 98] * 4, 24), greedy([99] * 6, 24)]

    def answers(draft) -> tuple[dict[int, list[int]], set[int]]:
        """The tokens of each, and who ever had guesses."""
        engine, out, guessed = Engine(net, BYTES, draft=draft, ahead=3), {}, set()
        for request in [*asked, *free]:
            engine.add(request)
        while engine.busy:
            collect(engine, out)
            guessed |= {number for number, work in engine.works.items() if work.guesses}
        return out, guessed

    plain, nobody = answers(None)
    same, guessed = answers(helper)
    assert same == plain and not nobody
    assert guessed and guessed <= {len(asked) + 1, len(asked) + 2}  # the free ones
    half = len(asked) // 2
    assert all(plain[at] != plain[at + half] for at in (2, 3, 4, 5))  # the draws are draws
    assert re.fullmatch(r"(ab)+c?[0-9]*", BYTES.decode(plain[2]))


class Always:
    """Guesses one token for ever."""

    def __init__(self, token: int, vocabulary: int) -> None:
        self.token, self.q_V = token, torch.eye(vocabulary)[token]

    def guess(self, plan) -> None:
        for work, _ in plan:
            work.guesses = [self.token] * work.ahead
            work.q_kV = self.q_V.expand(work.ahead, -1)

    def wipe(self, blocks) -> None:
        pass


def test_a_guess_that_breaks_the_numbers_breaks_nothing():
    """A token whose embedding is NaN, guessed beside good texts, and never drawn."""
    broken = Transformer(CONFIGS["llama untied"], seed=3).eval()
    with torch.no_grad():
        broken.model.embed_tokens.weight[50] = float("nan")
        broken.lm_head.weight[50] = 0
    asked = [[1, 2, 3], [4] * 20, [5, 6]]

    def answers(guesser) -> dict[int, list[int]]:
        engine = Engine(broken, room=20 * 16)
        for prompt in asked:
            engine.add(greedy(prompt, 20))
        engine.guesser, engine.ahead = guesser, 4
        for work in engine.works.values():
            work.reach = 4 if guesser else 0
        out = run(engine)
        assert all(k.isfinite().all() for k in (*engine.cache.keys, *engine.cache.values))
        return out

    plain = answers(None)
    assert answers(Always(50, 99)) == plain
    assert not any(50 in tokens for tokens in plain.values())


def test_a_draft_with_broken_weights_guesses_nothing():
    broken = Transformer(CLOSE.config, seed=1).eval()
    with torch.no_grad():
        broken.model.norm.weight[0] = float("nan")
    engine = Engine(LARGE, draft=broken)
    engine.add(greedy([3, 4, 5], 12))
    plain = Engine(LARGE)
    plain.add(greedy([3, 4, 5], 12))
    assert run(engine) == run(plain) and engine.proposed == 0


def test_a_draft_that_does_not_fit_is_refused():
    with pytest.raises(WrongCall, match="the draft knows 99 tokens and the model 20"):
        Engine(LARGE, draft=stirred(preset("26m", **SMALLER)))
    with pytest.raises(WrongCall, match="give a model, or 'ngram'"):
        Engine(LARGE, draft="bigram")
    with pytest.raises(WrongCall, match="ahead is 0"):
        Engine(LARGE, draft="ngram", ahead=0)


def test_equal_distributions_that_differ_by_rounding_leave_something_to_draw():
    p_TV = torch.tensor([[0.25, 0.75], [0.0, 1.0]])
    q_kV = torch.tensor([[1.0, 0.75]])  # more than p nowhere less: nothing is missing
    assert all(judge([0], p_TV, q_kV, torch.Generator().manual_seed(n)) for n in range(20))
