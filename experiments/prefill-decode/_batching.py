"""The three tests of `batching`: passes by batch, ways through a queue, prompts that begin alike.

Each measures all its arms together, so that what is compared takes turns, and keeps what it found:
the arms ask one after the other. `settings` are those of the experiment.
"""

import statistics
import time
from functools import cache
from typing import Any

from minimind_wiki.book.experiment import Measurement
from minimind_wiki.infer.engine import Engine
from minimind_wiki.infer.request import Request, Sampling

from ._model import load, random_prompts


def greedy(prompt: list[int], new: int) -> Request:
    return Request(prompt, new, Sampling(temperature=0))


def timed_step(engine: Engine) -> float:
    began = time.process_time()
    engine.step()
    return time.process_time() - began


@cache
def phases(seed: int, settings: Any) -> dict[str, Measurement]:
    """Seconds of the first step, which reads all prompts, and of those that follow."""
    model, best = load(settings.model), {}
    for turn in range(settings.rounds + 1):  # the first warms up
        for batch in settings.batches:
            prompts = random_prompts(model, batch, settings.prompt, seed)
            rows = batch * settings.prompt
            engine = Engine(model, room=2 * rows, max_running=batch, step_tokens=rows + 1)
            for prompt in prompts:
                engine.add(greedy(prompt, 1 + settings.steps))
            read = timed_step(engine)
            took = read, statistics.median(timed_step(engine) for _ in range(settings.steps))
            if turn:
                best[batch] = [min(pair) for pair in zip(took, best.get(batch, took), strict=True)]
    out = {}
    for place, (name, each) in enumerate((("prefill", settings.prompt), ("decode", 1))):
        seconds = {batch: pair[place] for batch, pair in best.items()}
        speeds = {batch: batch * each / s for batch, s in seconds.items()}
        out[name] = Measurement(
            {f"tokens_per_second_{batch}": speed for batch, speed in speeds.items()}
            | {f"pass_seconds_{batch}": s for batch, s in seconds.items()},
            {"tokens_per_second": (list(speeds), list(speeds.values())),
             "pass_seconds": (list(seconds), list(seconds.values()))},
        )  # fmt: skip
    return out


def answers(settings: Any, seed: int) -> list[int]:
    """Lengths of the answers: most are short, some long, as an exponential law has it."""
    import torch

    draw = torch.Generator().manual_seed(seed)
    lengths = torch.empty(settings.requests).exponential_(1 / settings.answer, generator=draw)
    return [1 + min(int(length), 5 * settings.answer) for length in lengths]


def serve(way: str, prompts: list[list[int]], lengths: list[int], settings: Any):
    """The requests through the engine; values that were counted, and the seconds it took."""
    slots, waiting = settings.slots, list(zip(prompts, lengths, strict=True))
    room = slots * (settings.prompt + 6 * settings.answer)
    engine = Engine(load(settings.model), room=room, max_running=slots)
    passes = drawn = ended = 0
    began = time.process_time()
    while waiting or engine.busy:
        if not engine.busy:
            group = waiting if way == "continuous" else waiting[:slots]
            waiting = waiting[len(group) :]
            longest = max(length for _, length in group)
            for prompt, length in group:
                engine.add(greedy(prompt, longest if way == "static" else length))
        out = engine.step()
        passes += 1
        drawn += len(out)
        ended += passes * sum(token.finish is not None for _, token in out)
    seconds, useful = time.process_time() - began, sum(lengths)
    return {"passes": passes, "padded_tokens": drawn - useful, "answer_tokens": useful,
            "slots_used": useful / (passes * slots), "mean_passes_to_end": ended / len(lengths),
            "seconds": seconds, "tokens_per_second": useful / seconds}  # fmt: skip


@cache
def queue(seed: int, settings: Any) -> dict[str, Measurement]:
    """The three ways take turns, and each one's quickest round is told."""
    prompts = random_prompts(load(settings.model), settings.requests, settings.prompt, seed)
    lengths, told = answers(settings, seed), {}
    for _ in range(settings.rounds):
        for way in ("static", "drain", "continuous"):
            found = serve(way, prompts, lengths, settings)
            told[way] = min(found, told.get(way, found), key=lambda values: values["seconds"])
    base = told["static"]["seconds"]
    return {way: Measurement({**v, "time_ratio": v["seconds"] / base}) for way, v in told.items()}


@cache
def prefix(seed: int, settings: Any) -> dict[str, Measurement]:
    """A prompt is answered; then another, which begins with a part of it, waits for its token."""
    model, size = load(settings.model), settings.long
    drawn = iter(
        random_prompts(model, 1 + (1 + settings.rounds) * len(settings.shares), size, seed)
    )
    first, found, best = next(drawn), {}, {}
    for turn in range(settings.rounds + 1):
        for share in settings.shares:
            engine = Engine(model, room=4 * size, step_tokens=size + 1, max_running=1)
            engine.add(greedy(first, 1))
            engine.step()
            same = round(share * size)
            engine.add(greedy(first[:same] + next(drawn)[same:], 1))
            took = timed_step(engine)
            found[share] = 1 - engine.cache.place_T.numel() / size
            if turn:
                best[share] = min(took, best.get(share, took))
    times = [best[share] / best[settings.shares[0]] for share in settings.shares]
    values = {}
    for share, ratio in zip(settings.shares, times, strict=True):
        name = round(100 * share)
        values |= {f"found_{name}": found[share], f"time_{name}": ratio,
                   f"first_token_seconds_{name}": best[share]}  # fmt: skip
    curves = {"found": (settings.shares, list(found.values())), "time": (settings.shares, times)}
    return {"prefix": Measurement(values, curves)}
