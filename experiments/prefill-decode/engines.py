"""How quick is the engine beside transformers and llama.cpp, on the same weights?

A model of 26 million weights, stored in bfloat16, answers greedily in ten ways: with our engine,
which computes in float32 and reads such weights as 16 bits, with the same engine on weights that
need 32, and on codes of eight, with our plain loop, with transformers' `generate` in float32 and in
bfloat16, and with llama.cpp on GGUF files in float32, float16 and eight bits. Each does three jobs:
one short prompt with a long answer, sixteen of them at once, and a long prompt with an answer of
one token, which a bare pass of the model can be compared with. All have one thread, and the clock
is that thread's own. The ways take turns within a round; a speed is the median of the rounds'
ratios to our engine. The weights are random, which costs the same time. Prompts differ by seed and
round, and all programs are ready before the clock runs.
"""

from dataclasses import dataclass

from minimind_wiki.book.experiment import Experiment, Measurement
from minimind_wiki.lite.plot import Axis, Bars, Figure, Level, Panel

from ._race import JOBS, compare


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
        "engine_long": arm("engine, 32 bits", "model", "engine", "long"),
        "engine_int8": arm("engine, 8 bits", "model", "engine", "int8"),
        "stream": arm("plain loop", "a", "stream"),
        "forward": arm("bare pass", "floor", "forward"),
        "transformers": arm("transformers", "b", "transformers"),
        "transformers_bf16": arm("transformers, bf16", "b", "transformers", "bfloat16"),
        "llama_f32": arm("llama.cpp", "c", "llama.cpp", "f32"),
        "llama_f16": arm("llama.cpp, f16", "c", "llama.cpp", "f16"),
        "llama_q8": arm("llama.cpp, q8_0", "c", "llama.cpp", "q8_0"),
    },
    settings=Settings(),
    quick=Settings("world-nano", 8, 8, 4, 96, 1),
    primary="one_speed",
    parallel=False,
    budget=480.0,
    noisy=("*_seconds", "*_speed", "*_tokens_per_second"),
)


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    """All ways are measured together, in turn."""
    name = next(name for name, a in experiment.arms.items() if arm.items() <= a.items())
    return compare(seed, settings)[name]


def least(record, arm, job):
    """How many times as quick as this arm the engine is, in the seed that is least."""
    return min(1 / speed for speed in record.seeds(arm, f"{job}_speed"))


def alike(record, arm):
    """Part of the engine's tokens that this arm says as well, in the job where it is least."""
    return min(record.value(arm, f"{job}_agrees") for job in JOBS)


@experiment.claim(quick=True)
def all_say_the_same(record):
    """The plain loop and transformers, which compute in float32 too, answer with the engine's
    tokens."""
    same = min(alike(record, arm) for arm in ("stream", "transformers"))
    return same == 1, f"at least {same:.1%} of the tokens"


@experiment.claim()
def llama_cpp_says_the_same(record):
    """So does llama.cpp on a file in float32, whose sums have another order."""
    same = alike(record, "llama_f32")
    return same == 1, f"{same:.1%} of the tokens before a first difference"


@experiment.claim()
def three_times_transformers(record):
    """One request is answered at least 3 times as quickly as by transformers in float32."""
    gain = least(record, "transformers", "one")
    return gain >= 3, f"at least {gain:.2f} times"


@experiment.claim()
def near_llama_cpp(record):
    """With weights read as 32 bits one request is answered at least 0.8 times as quickly as by
    llama.cpp on a file in float32."""
    pairs = zip(record.seeds("engine_long", "one_speed"), record.seeds("llama_f32", "one_speed"),
                strict=True)  # fmt: skip
    gain = min(ours / theirs for ours, theirs in pairs)
    return gain >= 0.8, f"at least {gain:.2f} times"


@experiment.claim()
def near_llama_cpp_in_half(record):
    """With weights read as 16 bits one request is answered at least 0.8 times as quickly as by
    llama.cpp on a file in float16."""
    gain = least(record, "llama_f16", "one")
    return gain >= 0.8, f"at least {gain:.2f} times"


@experiment.claim()
def half_the_bytes(record):
    """Weights read as 16 bits answer one request at least 1.5 times as quickly as with 32."""
    gain = least(record, "engine_long", "one")
    return gain >= 1.5, f"at least {gain:.2f} times"


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
