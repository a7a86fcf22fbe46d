"""What does answering many at once change: for a pass of the model, for a queue, for a prompt?

The engine in three tests. *Phases*: a pass that reads whole prompts, and one that adds a token to
each answer, by the number of requests. *Queue*: the same requests, whose answers have unlike
lengths, in groups that wait for their slowest, with its padding or without, and with continuous
batching, where the next request takes the place of one that ended. *Prefix*: a prompt that begins
like an earlier one, by how much they share. Passes and tokens are counted and exact. Times are of
one thread's own clock, each the shortest of some rounds, in which what is compared takes turns.
Weights are random: they do not change the time, and answers end when they were told to.
"""

from dataclasses import dataclass

from minimind_wiki.book.experiment import Experiment, Measurement
from minimind_wiki.lite.plot import Axis, Bars, Figure, Line, Panel

from ._batching import phases, prefix, queue


@dataclass(frozen=True, slots=True)
class Settings:
    """batches: requests of a pass, prompts of `prompt` tokens, `steps` tokens each. requests:
    through `slots` places, answers of `answer` tokens in the mean. long: the prompt of *prefix*,
    which shares these parts of it with an earlier one."""

    model: str = "26m"
    batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    prompt: int = 64
    steps: int = 16
    requests: int = 32
    slots: int = 8
    answer: int = 48
    long: int = 512
    shares: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)
    rounds: int = 3


def arm(title: str, role: str, test: str, way: str) -> dict:
    return {"title": title, "role": role, "test": test, "way": way}


experiment = Experiment(
    name="prefill-decode/batching",
    factors=("test", "way"),
    arms={
        "prefill": arm("reading prompts", "a", "phases", "prefill"),
        "decode": arm("answering", "model", "phases", "decode"),
        "static": arm("groups, padded", "baseline", "queue", "static"),
        "drain": arm("groups, rows leave", "b", "queue", "drain"),
        "continuous": arm("continuous", "model", "queue", "continuous"),
        "prefix": arm("a shared beginning", "model", "prefix", "prefix"),
    },
    settings=Settings(),
    quick=Settings("world-nano", (1, 4), 32, 4, 8, 4, 12, 64, (0.0, 0.5, 1.0), 1),
    primary="passes",
    parallel=False,
    budget=300.0,
    noisy=("*seconds*", "*tokens_per_second*", "*time*"),
    repeat=(("static", 0), ("drain", 0), ("continuous", 0), ("prefix", 0)),
)


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    tests = {"phases": phases, "queue": queue, "prefix": prefix}
    return tests[arm["test"]](seed, settings)[arm["way"]]


def speed(record, arm, batch):
    return record.value(arm, f"tokens_per_second_{batch}")


@experiment.claim()
def a_prompt_is_read_quicker_than_written(record):
    """One request reads its prompt at least 5 times as many tokens a second as it answers."""
    gain = speed(record, "prefill", 1) / speed(record, "decode", 1)
    return gain >= 5, f"{gain:.1f} times"


@experiment.claim()
def a_batch_lifts_answering(record):
    """16 answers at once are at least 4 times as many tokens a second as one."""
    gain = speed(record, "decode", 16) / speed(record, "decode", 1)
    return gain >= 4, f"{gain:.1f} times"


@experiment.claim()
def a_batch_does_not_lift_reading(record):
    """16 prompts at once are read at most twice as quickly as one."""
    gain = speed(record, "prefill", 16) / speed(record, "prefill", 1)
    return gain <= 2, f"{gain:.2f} times"


@experiment.claim(quick=True)
def no_pass_for_nothing(record):
    """With continuous batching no padding is computed, and fewer passes than in groups."""
    ours, groups = (record.seeds(way, "passes") for way in ("continuous", "drain"))
    fewer = [a / b for a, b in zip(ours, groups, strict=True)]
    padded = max(record.seeds("continuous", "padded_tokens"))
    return max(fewer) < 1 and padded == 0, f"{min(fewer):.2f} to {max(fewer):.2f} of the passes"


@experiment.claim()
def continuous_is_quicker(record):
    """Continuous batching takes at most two thirds of the time of padded groups."""
    ratio = max(record.seeds("continuous", "time_ratio"))
    return ratio <= 2 / 3, f"at most {ratio:.2f} of the time"


@experiment.claim()
def the_queue_gains_more_than_the_padding(record):
    """Filling free places saves more time than leaving out the padding does."""
    drain, ours = (record.value(way, "time_ratio") for way in ("drain", "continuous"))
    return drain - ours > 1 - drain, f"padding {1 - drain:.2f}, places {drain - ours:.2f}"


@experiment.claim(quick=True)
def whole_blocks_are_found(record):
    """What two prompts share is found in whole blocks of 16 tokens, and the last is computed."""
    size, found = record.settings["long"], record.curve("prefix", "found")
    for share, mean in zip(found["x"], found["mean"], strict=True):
        whole = min(round(share * size), size - 1) // 16 * 16
        if abs(mean - whole / size) > 1e-6:
            return False, f"{mean:.3f} where {share:.3f} is shared"
    return True, f"{found['mean'][-1]:.3f} of a prompt that was there before"


@experiment.claim()
def a_known_beginning_saves_its_time(record):
    """With three quarters of the prompt known the first token takes at most 0.4 of the time."""
    ratio = max(record.seeds("prefix", "time_75"))
    return ratio <= 0.4, f"at most {ratio:.2f}"


@experiment.figure()
def by_batch(record):
    """Tokens a second of reading and of answering, and milliseconds of a pass, by the number of
    requests in it, on log scales: reading is level, answering rises."""
    panels = []
    for curve, name, scale in (("tokens_per_second", "tokens a second", 1.0),
                               ("pass_seconds", "milliseconds a pass", 1e3)):  # fmt: skip
        lines = []
        for way in ("prefill", "decode"):
            c, about = record.curve(way, curve), record.arms[way]
            y, lo, hi = ([v * scale for v in c[key]] for key in ("mean", "lo", "hi"))
            lines.append(Line(c["x"], y, about["title"], about["role"], lo, hi, marker="circle"))
        x = Axis("requests at once", "log", ticks=list(record.settings["batches"]))
        panels.append(Panel(x, Axis(name, "log"), lines, legend="none" if panels else "top"))
    return Figure(panels)


@experiment.figure()
def ways(record):
    """Bars of passes, of padded tokens and of time, for groups with padding, groups whose ended
    rows leave, and continuous batching."""
    panels, arms = [], ("static", "drain", "continuous")
    for metric, name in (("passes", "passes of the model"), ("padded_tokens", "padded tokens"),
                         ("time_ratio", "time, of that of padded groups")):  # fmt: skip
        seeds = [record.seeds(way, metric) for way in arms]
        bars = Bars([record.arms[way]["title"] for way in arms],
                    [record.value(way, metric) for way in arms], "", "model",
                    map(min, seeds), map(max, seeds))  # fmt: skip
        panels.append(Panel(Axis("", "category"), Axis(name), bars=[bars]))
    return Figure(panels)


@experiment.figure()
def shared_beginning(record):
    """Share of the prompt that is found, and time to the first token as a part of that without
    anything found, over the share that the prompts have in common: one rises, one falls."""
    lines = [record.line("prefix", "found", "found", marker="circle", role="a"),
             record.line("prefix", "time", "time", marker="circle")]  # fmt: skip
    x, y = Axis("share of the prompt that was there before"), Axis("part of the whole")
    return Figure(Panel(x, y, lines))
