"""How does the cost of attention grow with the length of the text?

One attention layer, 256 wide with four heads, in three parts that are timed alone: the four
projections, which treat each token on its own; scores, softmax and mixing as the formula is
written, which have a number for each pair of tokens; and the same as one kernel that never writes
these numbers down. All lengths take turns. On a CPU with one thread.
"""

from dataclasses import dataclass

import torch

from minimind_wiki.book.experiment import Experiment, Measurement
from minimind_wiki.lite.plot import Axis, Figure, Panel
from minimind_wiki.model.attention import causal_attention, fused_causal_attention

from ._timed import quickest

TITLES = {"projections": "the four projections", "formula": "the formula", "kernel": "the kernel"}
ROLES = {"projections": "a", "formula": "none", "kernel": "model"}


@dataclass(frozen=True, slots=True)
class Settings:
    """lengths: tokens of the text, each twice the one before."""

    lengths: tuple[int, ...] = (64, 128, 256, 512, 1024, 2048)
    width: int = 256
    heads: int = 4
    rounds: int = 12


experiment = Experiment(
    name="attention/length",
    factors=("part",),
    arms={name: {"title": title, "role": ROLES[name], "part": name}
          for name, title in TITLES.items()},
    settings=Settings(),
    quick=Settings(lengths=(64, 128), rounds=3),
    primary="milliseconds_2048",
    parallel=False,
    noisy=("milliseconds*", "growth*"),
)  # fmt: skip


def job(part: str, length: int, settings: Settings, seed: int):
    """The work of one part on one text, as a function without arguments."""
    draw, dim = torch.Generator().manual_seed(seed), settings.width // settings.heads
    if part == "projections":
        x = torch.randn(length, settings.width, generator=draw)
        weights = [torch.randn(settings.width, settings.width, generator=draw) for _ in range(4)]
        return lambda: [x @ weight for weight in weights]
    q, k, v = (torch.randn(1, settings.heads, length, dim, generator=draw) for _ in range(3))
    attention = causal_attention if part == "formula" else fused_causal_attention
    return lambda: attention(q, k, v)


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    jobs = {n: job(arm["part"], n, settings, seed) for n in settings.lengths}
    took = {n: 1e3 * seconds for n, seconds in quickest(jobs, settings.rounds).items()}
    values = {f"milliseconds_{n}": took[n] for n in settings.lengths}
    for short, long in zip(settings.lengths, settings.lengths[1:], strict=False):
        values[f"growth_{long}"] = took[long] / took[short]
    scores = 0 if arm["part"] == "projections" else settings.heads
    values["pairs_per_token"] = scores * settings.lengths[-1]
    return Measurement(values, {"milliseconds": (settings.lengths, list(took.values()))})


def growths(record, arm: str) -> list[float]:
    """How many times longer the longest text takes than one of half its length, each seed."""
    return record.seeds(arm, f"growth_{record.settings['lengths'][-1]}")


@experiment.claim()
def pairs_grow_by_four(record):
    """Twice the text takes the formula more than three times as long, at the longest."""
    found = growths(record, "formula")
    return min(found) > 3, f"{min(found):.2f} to {max(found):.2f} times"


@experiment.claim()
def projections_grow_by_two(record):
    """Twice the text takes the projections less than two and a half times as long."""
    found = growths(record, "projections")
    return max(found) < 2.5, f"{min(found):.2f} to {max(found):.2f} times"


@experiment.claim()
def kernel_is_square_too(record):
    """The kernel is quicker at the longest text, and still takes three times as long or more for
    twice the text: it saves memory and traffic, not pairs."""
    longest = record.settings["lengths"][-1]
    plain, fused = (record.value(p, f"milliseconds_{longest}") for p in ("formula", "kernel"))
    found = growths(record, "kernel")
    said = f"{plain / fused:.1f} times quicker; {min(found):.2f} to {max(found):.2f} times"
    return fused < plain and min(found) >= 3, said


@experiment.claim()
def short_texts_are_linear(record):
    """At the shortest text the projections take longer than the kernel; at the longest, less."""
    ends = record.settings["lengths"][0], record.settings["lengths"][-1]
    share = [record.value("projections", f"milliseconds_{n}")
             / record.value("kernel", f"milliseconds_{n}") for n in ends]  # fmt: skip
    return share[0] > 1 > share[1], f"{share[0]:.1f} and {share[1]:.2f} times the kernel's time"


@experiment.claim(quick=True)
def longer_takes_longer(record):
    """Every part takes longer for a longer text."""
    longest = record.settings["lengths"][-1]
    found = [record.value(arm, f"growth_{longest}") for arm in record.arms]
    return min(found) > 1, ", ".join(f"{g:.2f}" for g in found)


@experiment.figure()
def by_length(record):
    """Time of the three parts by the length of the text, both on logarithmic axes. The projections
    rise by two for every doubling. The kernel begins below; it and the formula rise by four."""
    lines = [record.line(arm, "milliseconds", dash=dash, marker="circle")
             for arm, dash in zip(record.arms, ("solid", "dash", "dot"), strict=True)]  # fmt: skip
    x = Axis("tokens", "log", ticks=record.settings["lengths"])
    return Figure(Panel(x, Axis("milliseconds", "log"), lines))
