"""The engine against `generate`, one request at a time: the same tokens, whatever the company."""

from __future__ import annotations

import random
from functools import cache

import pytest
import torch
from stirred import GQA, SMALL, stirred

from minimind_wiki.errors import WrongCall
from minimind_wiki.infer import generate
from minimind_wiki.infer.engine import Engine
from minimind_wiki.infer.request import Request, Sampling
from minimind_wiki.model import ModelConfig, Transformer, preset
from minimind_wiki.tokenizer import ByteTokenizer

WINDOW = GQA | {"sliding_window": 7}
CONFIGS: dict[str, ModelConfig] = {
    "llama": preset("26m", **GQA),
    "llama untied": preset("26m", **GQA, tie_word_embeddings=False),
    "qwen3 wide heads": preset("64m", **GQA, head_dim=12),
    "moe top-1": preset("moe-198m", **GQA),
    "moe top-2 shared": preset("moe-145m", **GQA, shared_expert_gate=True, router_bias_rate=1e-3),
    "moe in every second layer": preset("moe-198m", **GQA, decoder_sparse_step=2),
    "gpt2": preset("gpt2-124m", **SMALL, bos_token_id=1, eos_token_id=2, pad_token_id=0),
    "window": preset("26m", **WINDOW),
    "window, one layer full": preset("64m", **WINDOW, full_layers="1"),
    "window and sinks": preset("26m", **WINDOW, attention_sinks=2),
    "alibi": preset("26m", **GQA, positions="alibi"),
    "alibi, window and sinks": preset("26m", **WINDOW, attention_sinks=2, positions="alibi"),
    "sinusoidal": preset("26m", **GQA, positions="sinusoidal"),
    "learned": preset("26m", **GQA, positions="learned"),
    "no positions": preset("26m", **GQA, positions="none"),
    "yarn": preset("26m", **GQA, rope_type="yarn", rope_factor=4.0),
    "dynamic": preset("26m", **GQA | {"max_position_embeddings": 384}, rope_type="dynamic",
                      rope_factor=4.0),
}  # fmt: skip


@cache
def model(name: str) -> Transformer:
    return stirred(CONFIGS[name])


def prompts(seed: int, count: int = 7) -> list[list[int]]:
    """Of many lengths, among them a whole block and one token; some begin alike."""
    draw = random.Random(seed)
    lengths = [1, 16, 17, 40, *(draw.randint(2, 60) for _ in range(count - 6))]
    made = [[draw.randrange(99) for _ in range(n)] for n in lengths]
    return [*made, [*made[3][:37], 5, 6, 7], list(made[3])]


def wanted(name: str, prompt: list[int], new: int) -> list[int]:
    out = generate(model(name), torch.tensor([prompt]), new, temperature=0)
    return out[0, len(prompt) :].tolist()


def greedy(prompt: list[int], new: int, **fields) -> Request:
    return Request(prompt, new, Sampling(temperature=0), **fields)


def collect(engine: Engine, out: dict[int, list[int]]) -> None:
    """One step, its tokens behind those of before."""
    for number, token in engine.step():
        out.setdefault(number, []).append(token.id)


def all_blocks_are_accounted_for(engine: Engine) -> None:
    """Each block is free or used, by as many texts as it says; each key is of one block."""
    blocks, texts = engine.blocks, engine.schedule.running
    used = [block for text in texts for block in text.blocks]
    for block, users in enumerate(blocks.users):
        assert users == used.count(block)
        assert (users == 0) == (block in blocks.free)
    assert {key: block for block, key in enumerate(blocks.keys) if key} == blocks.holder
    assert not any(text.blocks for text in engine.schedule.waiting)
    assert len(engine.works) == len(texts) + len(engine.schedule.waiting)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_tokens_are_those_of_generate(name):
    """Requests that arrive late, prompts in small chunks, preemption, a shared beginning."""
    asked = [(prompt, 4 + 7 * (i % 4)) for i, prompt in enumerate(prompts(seed=1))]
    asked += [([i, 3], 32) for i in range(4)]  # short, so admitted together, and then they grow
    engine = Engine(model(name), room=7 * 16, max_running=5, step_tokens=13)
    out: dict[int, list[int]] = {}
    preempted = count_preemptions(engine)
    for prompt, new in asked:
        engine.add(greedy(prompt, new))
        collect(engine, out)
    while engine.busy:
        collect(engine, out)
        all_blocks_are_accounted_for(engine)
    for number, (prompt, new) in enumerate(asked, start=1):
        assert out[number] == wanted(name, prompt, new), number
    assert preempted
    assert len(engine.blocks.free) == 7


def count_preemptions(engine: Engine) -> list[object]:
    seen: list[object] = []
    inner = engine.schedule.preempt
    engine.schedule.preempt = lambda text, wipe=False: (seen.append(text), inner(text, wipe))
    return seen


@pytest.mark.parametrize("seed", range(4))
def test_any_order_of_add_step_and_cancel(seed):
    """Random numbers of everything; what is not cancelled gets its tokens, all blocks come back."""
    draw = random.Random(seed)
    room, running = draw.randint(5, 12), draw.randint(1, 6)
    engine = Engine(
        model("llama"), room=room * 16, max_running=running,
        step_tokens=running + draw.randint(1, 40),
    )  # fmt: skip
    waiting = [(p, draw.randint(1, 20)) for p in prompts(seed)]
    asked: dict[int, tuple[list[int], int]] = {}
    out: dict[int, list[int]] = {}
    cancelled = set()
    while waiting or engine.busy:
        if waiting and draw.random() < 0.4:
            prompt, new = waiting.pop()
            asked[engine.add(greedy(prompt, new))] = (prompt, new)
        if engine.works and draw.random() < 0.05:
            number = draw.choice(list(engine.works))
            assert engine.cancel(number)
            cancelled.add(number)
        collect(engine, out)
        all_blocks_are_accounted_for(engine)
    assert sorted(engine.blocks.free) == list(range(room))
    for number, (prompt, new) in asked.items():
        tokens = wanted("llama", prompt, new)
        assert out.get(number, []) == tokens[: len(out.get(number, []))]
        assert number in cancelled or len(out[number]) == new


def test_a_common_beginning_is_computed_once():
    prompt = list(range(40))
    engine = Engine(model("llama"), step_tokens=256)
    rows = count_rows(engine)
    for _ in range(4):  # together: shared within the step that computes it
        engine.add(greedy(prompt, 2))
    engine.step()
    assert rows == [40 + 3 * (40 - 32)]
    while engine.busy:
        engine.step()
    rows.clear()
    engine.add(greedy([*prompt[:33], 90], 1))  # later: found in the blocks that are free
    engine.add(greedy([90, *prompt[1:]], 1))  # its first token differs: nothing is shared
    engine.step()
    assert rows == [2 + 40]


def test_a_block_is_found_only_behind_the_same_text():
    """And a prompt of whole blocks that are all known still computes its last token."""
    x, y, z, w = (list(range(start, start + 16)) for start in (3, 20, 40, 60))
    engine = Engine(model("llama"), step_tokens=256)
    out: dict[int, list[int]] = {}
    asked = [x + y, z + w, [*x, *w, 9], x + y, x + y]
    for prompt in asked:
        engine.add(greedy(prompt, 5))
        for _ in range(20):
            collect(engine, out)
    assert [out[number] for number in range(1, 6)] == [wanted("llama", p, 5) for p in asked]
    assert not engine.busy


def count_rows(engine: Engine) -> list[int]:
    rows: list[int] = []
    inner = engine.cache.lay
    engine.cache.lay = lambda steps: (rows.append(sum(len(s.ids) for s in steps)), inner(steps))[1]
    return rows


def test_answers_go_on_while_a_long_prompt_is_read():
    engine = Engine(model("llama"), max_running=4, step_tokens=8)
    first = engine.add(greedy([1, 2, 3], 30))
    engine.step()
    engine.add(greedy(list(range(60)), 2))
    third = engine.add(greedy([4, 5], 2))
    order = [[number for number, _ in engine.step()] for _ in range(12)]
    assert all(first in numbers for numbers in order)
    assert order[:8] == [[first]] * 8  # 7 tokens a step for the prompt, then the next in turn
    assert third in order[9]


def test_draws_depend_on_the_seed_and_not_on_the_company():
    def draw(company: int) -> list[int]:
        engine = Engine(model("llama"), step_tokens=70)
        for other in range(company):
            engine.add(Request([other + 1] * 5, 12, Sampling(seed=other)))
        mine = engine.add(Request([7, 8, 9], 12, Sampling(temperature=0.9, top_k=40, seed=11)))
        out: dict[int, list[int]] = {}
        while engine.busy:
            collect(engine, out)
        return out[mine]

    generator = torch.Generator().manual_seed(11)
    alone = generate(model("llama"), torch.tensor([[7, 8, 9]]), 12, 0.9, 40, generator=generator)
    assert draw(0) == draw(6) == alone[0, 3:].tolist()


def test_a_stop_id_and_a_full_context_end_a_request():
    prompt = list(range(10, 20))
    tokens = wanted("llama", prompt, 86)
    stop = tokens[5]
    engine = Engine(model("llama"))
    stopped = engine.add(greedy(prompt, 60, stop_ids=[stop]))
    full = engine.add(greedy(prompt, 1000))
    ends = {}
    out: dict[int, list[int]] = {}
    while engine.busy:
        for number, token in engine.step():
            out.setdefault(number, []).append(token.id)
            if token.finish:
                ends[number] = token.finish
    assert out[stopped] == tokens[: tokens.index(stop) + 1]
    assert out[full] == tokens and len(tokens) == 96 - len(prompt)
    assert ends == {stopped: "stop", full: "length"}


def test_text_is_shown_up_to_a_stop_string():
    tokenizer = ByteTokenizer()
    prompt = tokenizer.encode("a")
    bytes_model = Transformer(preset("nano", initializer_range=0.3), seed=2)

    def run(**fields) -> tuple[list[int], str, str | None]:
        engine, ids, text, finish = Engine(bytes_model, tokenizer), [], "", None
        engine.add(greedy(prompt, 30, **fields))
        while engine.busy:
            for _, token in engine.step():
                ids, text, finish = [*ids, token.id], text + token.text, token.finish
        return ids, text, finish

    ids, text, finish = run()
    assert (text, finish) == (tokenizer.decode(ids), "length")
    assert len(set(text)) > 5
    stop = text[7:10]
    cut = text.index(stop)
    assert run(stop=[stop])[1:] == (text[:cut], "stop")
    with pytest.raises(WrongCall, match="need a tokenizer"):
        Engine(bytes_model).add(greedy(prompt, 3, stop=["x"]))


def test_log_probabilities_come_with_the_tokens():
    engine = Engine(model("llama"))
    engine.add(Request([1, 2, 3], 1, Sampling(seed=1), logprobs=3))
    ((_, token),) = engine.step()
    logp = torch.log_softmax(model("llama")(torch.tensor([[1, 2, 3]]))[0, -1].detach(), dim=-1)
    assert token.logprob == pytest.approx(float(logp[token.id]), abs=1e-4)
    assert [i for i, _ in token.top] == logp.topk(3).indices.tolist()


def test_broken_scores_end_one_request_and_leave_no_trace():
    """NaN in a freed block would reach whoever gets it next, through a weight of zero."""
    broken = Transformer(CONFIGS["llama untied"], seed=3).eval()
    with torch.no_grad():
        broken.model.embed_tokens.weight[50] = float("nan")
    engine = Engine(broken, room=4 * 16, max_running=4, step_tokens=40)
    careful = Sampling(temperature=0, logit_bias={50: -100})  # never draws the broken token
    good = engine.add(Request([1, 2, 3], 20, careful))
    bad = engine.add(greedy([50] * 20, 20))
    engine.step()
    assert engine.cancel(bad) is False
    again = engine.add(Request([4, 5], 30, careful))  # takes the blocks that were broken
    ends = {}
    while engine.busy:
        ends |= {number: token for number, token in engine.step() if token.finish}
    assert ends[good].finish == ends[again].finish == "length"
    assert all(k.isfinite().all() for k in (*engine.cache.keys, *engine.cache.values))
    bad = engine.add(greedy([50] * 20, 20))
    ((number, token),) = engine.step()
    assert (number, token.finish, token.id) == (bad, "error", -1)
    assert "not finite" in token.error
    assert not engine.busy


def test_a_step_that_fails_can_be_repeated():
    engine = Engine(model("llama"), room=20 * 16, step_tokens=70)
    asked = [list(range(20)), list(range(18)), [3]]
    for prompt in asked:
        engine.add(greedy(prompt, 6))
    inner, calls = engine.model.lm_head.forward, []

    def fail(x):
        calls.append(1)
        if len(calls) in (1, 4):
            raise MemoryError
        return inner(x)

    engine.model.lm_head.forward = fail
    out: dict[int, list[int]] = {}
    try:
        while engine.busy:
            try:
                collect(engine, out)
            except MemoryError:
                all_blocks_are_accounted_for(engine)
                assert not engine.blocks.holder or len(calls) > 1
    finally:
        del engine.model.lm_head.forward
    assert [out[n] for n in (1, 2, 3)] == [wanted("llama", p, 6) for p in asked]


@pytest.mark.parametrize(
    "request_, message",
    [
        (greedy([], 3), "prompt is empty"),
        (greedy([1, 99], 3), "outside 0..98"),
        (greedy([1, -1], 3), "outside 0..98"),
        (greedy([1], 0), "max_new_tokens is 0"),
        (greedy([1] * 96, 1), "context 96"),
        (greedy([1] * 40, 30), "may take 69 tokens, and the cache has room for 64"),
        (Request([1], 3, Sampling(temperature=-1)), "temperature is -1"),
    ],
)
def test_what_can_never_run_is_refused(request_, message):
    engine = Engine(model("llama"), room=64)
    with pytest.raises(WrongCall, match=message):
        engine.add(request_)
    assert not engine.busy
    engine.add(greedy([1] * 40, 25))
    while engine.busy:
        engine.step()


def test_an_engine_that_would_starve_is_refused():
    with pytest.raises(WrongCall, match="more tokens than requests"):
        Engine(model("llama"), max_running=8, step_tokens=8)
    with pytest.raises(WrongCall, match="at least a block"):
        Engine(model("llama"), room=8)
