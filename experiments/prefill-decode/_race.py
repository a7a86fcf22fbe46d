"""The race of `engines`: all programs through all jobs, in turn."""

import statistics
import time
from functools import cache

from minimind_wiki.book.experiment import Measurement

from ._model import load, load_long, random_prompts

JOBS = {"one": "one request", "many": "many requests", "prefill": "reading a long prompt"}


@cache
def programs(settings) -> dict:
    """The ten ways, by the names of their arms."""
    import torch

    from . import _engines as ways

    ways.need_rivals()
    model, room = load(settings.model), settings.long + 64
    made = {"engine": ways.by_engine(model),
            "engine_long": ways.by_engine(load_long(settings.model)),
            "engine_int8": ways.by_int8(model), "stream": ways.by_stream(model),
            "forward": ways.by_forward(model), "transformers": ways.by_transformers(model),
            "transformers_bf16": ways.by_transformers(model, torch.bfloat16)}  # fmt: skip
    for name, kind in (("llama_f32", "f32"), ("llama_f16", "f16"), ("llama_q8", "q8_0")):
        made[name] = ways.LlamaCpp(model, kind, settings.threads, settings.many, room)
    return made


def job_of(name: str, settings, seed: int) -> tuple[list[list[int]], int, int]:
    """Prompts, new tokens of each, and the tokens that a speed counts."""
    count = settings.many if name == "many" else 1
    length, new = (settings.long, 1) if name == "prefill" else (settings.prompt, settings.answer)
    prompts = random_prompts(load(settings.model), count, length, seed)
    return prompts, new, settings.long if name == "prefill" else count * new


@cache
def compare(seed: int, settings) -> dict[str, Measurement]:
    """All ways through all jobs, in turn; the first round warms up."""
    import torch

    torch.set_num_threads(settings.threads)
    clock = time.process_time if settings.threads == 1 else time.perf_counter
    made, values = programs(settings), {}
    for job in JOBS:
        able = [name for name in made if name != "forward" or job == "prefill"]
        took, agrees = {name: [] for name in able}, {name: [] for name in able}
        for turn in range(settings.rounds + 1):
            prompts, new, counted = job_of(job, settings, 100 * seed + turn)
            for name in able:
                began = clock()
                said = made[name](prompts, new)
                seconds = clock() - began
                if name == "engine":
                    wanted = said
                if turn:
                    took[name].append(seconds)
                    agrees[name].append(alike(said, wanted))
        for name in able:
            seconds = statistics.median(took[name])
            ratios = [ours / own for ours, own in zip(took["engine"], took[name], strict=True)]
            values.setdefault(name, {}).update({
                f"{job}_seconds": seconds, f"{job}_tokens_per_second": counted / seconds,
                f"{job}_speed": statistics.median(ratios),
                f"{job}_agrees": statistics.mean(agrees[name]),
            })  # fmt: skip
    return {name: Measurement(found) for name, found in values.items()}


def alike(said: list[list[int]], wanted: list[list[int]]) -> float:
    """Part of the wanted tokens that was said before the first difference in each answer. Only up
    to an end of text (ids below 3): llama.cpp goes on behind it with the next likeliest token."""
    same = whole = 0
    for own, other in zip(said, wanted, strict=True):
        length = next((place for place, token in enumerate(other) if token < 3), len(other))
        pairs = [a == b for a, b in zip(own[:length], other[:length], strict=True)]
        same, whole = same + [*pairs, False].index(False), whole + length
    return same / whole if whole else 1.0
