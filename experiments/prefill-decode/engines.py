"""How quick is the engine beside transformers and llama.cpp, on the same weights?

A model of 26 million weights answers greedily in eight ways: with our engine in float32 and with
weights of eight bits, with our plain loop, with transformers' `generate`, and with llama.cpp on
GGUF files in float32, float16 and eight bits. Each does three jobs: one short prompt with a long
answer, sixteen of them at once, and a long prompt with an answer of one token, which a bare pass of
the model can be compared with. All have one thread, and the clock is that thread's own. The ways
take turns within a round; a speed is the median of the rounds' ratios to our engine in float32.
The weights are random, which costs the same time. Prompts differ by seed.
"""

import statistics
import time
from dataclasses import dataclass
from functools import cache

from minimind_wiki.book.experiment import Experiment, Measurement
from minimind_wiki.lite.plot import Axis, Bars, Figure, Level, Panel

from ._model import load, random_prompts


@dataclass(frozen=True, slots=True)
class Settings:
    """A prompt and its answer; how many at once; the long prompt; rounds that count."""

    model: str = "26m"
    prompt: int = 16
    answer: int = 64
    many: int = 16
    long: int = 960
    rounds: int = 4
    threads: int = 1


def arm(title: str, role: str, program: str, weights: str = "float32") -> dict:
    return {"title": title, "role": role, "program": program, "weights": weights}


experiment = Experiment(
    name="prefill-decode/engines",
    factors=("program", "weights"),
    arms={
        "engine": arm("engine", "model", "engine"),
        "engine_int8": arm("engine, 8 bits", "model", "engine", "int8"),
        "stream": arm("plain loop", "a", "stream"),
        "forward": arm("bare pass", "floor", "forward"),
        "transformers": arm("transformers", "b", "transformers"),
        "llama_f32": arm("llama.cpp", "c", "llama.cpp", "f32"),
        "llama_f16": arm("llama.cpp, f16", "c", "llama.cpp", "f16"),
        "llama_q8": arm("llama.cpp, q8_0", "c", "llama.cpp", "q8_0"),
    },
    settings=Settings(),
    quick=Settings("world-nano", 8, 8, 4, 96, 1),
    primary="one_speed",
    parallel=False,
    budget=360.0,
    noisy=("*_seconds", "*_speed", "*_tokens_per_second"),
)
JOBS = {"one": "one request", "many": "many requests", "prefill": "reading a long prompt"}


@cache
def programs(settings: Settings) -> dict:
    """The eight ways, by the names of their arms."""
    from . import _engines as ways

    ways.need_rivals()
    model, room = load(settings.model), settings.long + 64
    made = {"engine": ways.by_engine(model), "engine_int8": ways.by_int8(model),
            "stream": ways.by_stream(model), "forward": ways.by_forward(model),
            "transformers": ways.by_transformers(model)}  # fmt: skip
    for name, kind in (("llama_f32", "f32"), ("llama_f16", "f16"), ("llama_q8", "q8_0")):
        made[name] = ways.LlamaCpp(model, kind, settings.threads, settings.many, room)
    return made


def jobs(settings: Settings, seed: int) -> dict:
    """Prompts, new tokens of each, and the tokens that a speed counts."""
    model, many, new = load(settings.model), settings.many, settings.answer
    short = random_prompts(model, many, settings.prompt, seed)
    long = random_prompts(model, 1, settings.long, seed)
    return {"one": (short[:1], new, new), "many": (short, new, many * new),
            "prefill": (long, 1, settings.long)}  # fmt: skip


@cache
def compare(seed: int, settings: Settings) -> dict[str, Measurement]:
    """All ways through all jobs, in turn; the first round warms up."""
    import torch

    torch.set_num_threads(settings.threads)
    clock = time.process_time if settings.threads == 1 else time.perf_counter
    made, values = programs(settings), {}
    for job, (prompts, new, counted) in jobs(settings, seed).items():
        able = [name for name in made if name != "forward" or job == "prefill"]
        took, said = {name: [] for name in able}, {}
        for turn in range(settings.rounds + 1):
            for name in able:
                began = clock()
                said[name] = made[name](prompts, new)
                if turn:
                    took[name].append(clock() - began)
        for name in able:
            seconds = statistics.median(took[name])
            ratios = [ours / own for ours, own in zip(took["engine"], took[name], strict=True)]
            values.setdefault(name, {}).update({
                f"{job}_seconds": seconds, f"{job}_tokens_per_second": counted / seconds,
                f"{job}_speed": statistics.median(ratios),
                f"{job}_agrees": alike(said[name], said["engine"]),
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


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    """All ways are measured together, in turn."""
    name = next(name for name, a in experiment.arms.items() if arm.items() <= a.items())
    return compare(seed, settings)[name]


def least(record, arm, job):
    """How many times as quick as this arm the engine is, in the seed that is least."""
    return min(1 / speed for speed in record.seeds(arm, f"{job}_speed"))


@experiment.claim(quick=True)
def all_say_the_same(record):
    """In float32 every program answers with the same tokens."""
    same = [record.value(arm, f"{job}_agrees") for job in JOBS
            for arm in ("stream", "transformers", "llama_f32")]  # fmt: skip
    return min(same) == 1, f"at least {min(same):.1%} of the tokens"


@experiment.claim()
def three_times_transformers(record):
    """One request is answered at least 3 times as quickly as by transformers."""
    gain = least(record, "transformers", "one")
    return gain >= 3, f"at least {gain:.2f} times"


@experiment.claim()
def near_llama_cpp(record):
    """One request is answered at least 0.8 times as quickly as by llama.cpp, both in float32."""
    gain = least(record, "llama_f32", "one")
    return gain >= 0.8, f"at least {gain:.2f} times"


@experiment.claim()
def eight_bits_are_quick(record):
    """With weights of eight bits one request gets at least 300 tokens a second."""
    speed = min(record.seeds("engine_int8", "one_tokens_per_second"))
    return speed >= 300, f"at least {speed:.0f} on one thread"


@experiment.claim()
def many_at_once(record):
    """Sixteen requests at once get at least 4 times the tokens a second of one."""
    pairs = zip(record.seeds("engine", "many_tokens_per_second"),
                record.seeds("engine", "one_tokens_per_second"), strict=True)  # fmt: skip
    gain = min(many / one for many, one in pairs)
    return gain >= 4, f"at least {gain:.1f} times"


@experiment.claim()
def reading_costs_a_pass(record):
    """The engine reads a long prompt in at most 1.3 times the time of a bare pass of the model."""
    ratio = max(record.seeds("forward", "prefill_speed"))
    return ratio <= 1.3, f"at most {ratio:.2f} times"


@experiment.figure()
def speeds(record):
    """Bars of speed beside our engine in float32, which is one, for a single request, for many at
    once, and for reading a long prompt; whiskers are three seeds."""
    panels = []
    for job, title in JOBS.items():
        arms = [a for a in record.arms if f"{job}_speed" in record.data["values"][a]]
        seeds = [record.seeds(arm, f"{job}_speed") for arm in arms]
        bars = Bars([record.arms[arm]["title"] for arm in arms],
                    [record.value(arm, f"{job}_speed") for arm in arms], "", "model",
                    map(min, seeds), map(max, seeds))  # fmt: skip
        panels.append(Panel(Axis("times the engine's speed"), Axis("", "category"), bars=[bars],
                            levels=[Level(1.0, "", "floor")], title=title))  # fmt: skip
    return Figure(panels)
