"""What does a client of the server wait for when others ask as well, and is anything lost?

Clients in a process of their own stream greedy answers, 1, 4, 16 or 64 at a time, from the server
that `minimind serve` starts; all answer the same prompts, the beginnings of stories. Each answer is
compared with what the model says to the prompt alone. In a last arm there are more clients than the
server takes: those too many are told to come back, and do. A CPU result, server and clients on the
same machine: the proportions hold, the times are this machine's.
"""

import math
from dataclasses import dataclass
from functools import cache

from minimind_wiki.book.experiment import Experiment, Measurement
from minimind_wiki.book.record import repo_root
from minimind_wiki.data.world import make_document
from minimind_wiki.infer import load_model_folder
from minimind_wiki.lite.plot import Axis, Figure, Line, Panel
from minimind_wiki.serve.load import load_apart, told


@dataclass(frozen=True, slots=True)
class Settings:
    """answers: requests of an arm. tokens: most of an answer. prompt: most tokens of a prompt, the
    shortest has half. room: tokens in the server's cache. ties: how close two scores may come.
    price: of an hour of such a machine, in the example of a cost."""

    model: str = "world-tiny"
    answers: int = 128
    tokens: int = 40
    prompt: int = 48
    room: int = 8192
    ties: float = 1e-3
    price: float = 0.1


def arm(title: str, role: str, clients: int, at_once: int = 128) -> dict:
    return {"title": title, "role": role, "clients": clients, "at_once": at_once}


experiment = Experiment(
    name="production-inference/load",
    factors=("clients", "at_once"),
    arms={
        "one": arm("1 client", "none", 1),
        "four": arm("4 clients", "a", 4),
        "sixteen": arm("16 clients", "b", 16),
        "all": arm("64 clients", "model", 64),
        "beyond": arm("64 clients, 16 places", "c", 64, at_once=16),
    },
    settings=Settings(),
    quick=Settings(model="world-nano", answers=48, tokens=24, prompt=16, room=4096),
    quick_arms=("one", "all", "beyond"),
    primary="tokens_per_second",
    parallel=False,
    repeat=(("all", 0), ("beyond", 0)),
    noisy=("*_ms_*", "tokens_per_second", "refusals", "retry_after_*", "*_per_million"),
)
STEPS = ("one", "four", "sixteen", "all")


@cache
def loaded(name: str):
    import torch

    return load_model_folder(repo_root() / "models" / name, "cpu", torch.float32)


@cache
def questions(settings: Settings, seed: int):
    """Prompts of unlike length as ids, and what the model alone answers."""
    from minimind_wiki.serve.trial import wanted

    model, tokenizer = loaded(settings.model)
    prompts = []
    for number in range(settings.answers):
        story = make_document(f"load/{seed}/{number}", "validation").text
        ids = [tokenizer.bos_id, *tokenizer.encode(story)]
        prompts.append(ids[: settings.prompt // 2 + number % (settings.prompt // 2 + 1)])
    how = (settings.tokens, settings.ties)
    return prompts, [wanted(model, tokenizer, prompt, *how) for prompt in prompts]


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    from minimind_wiki.infer.engine import Engine
    from minimind_wiki.serve.desk import Served
    from minimind_wiki.serve.security import Limits
    from minimind_wiki.serve.trial import at_work

    model, tokenizer = loaded(settings.model)
    prompts, want = questions(settings, seed)
    common = {"model": "m", "max_tokens": settings.tokens, "temperature": 0}
    bodies = [{**common, "prompt": prompt} for prompt in prompts]
    served = Served(lambda: Engine(model, tokenizer, room=settings.room), tokenizer,
                    model.config.max_position_embeddings)  # fmt: skip
    with at_work(served, Limits(at_once=arm["at_once"])) as host:
        load_apart(host, bodies[:1], 1)  # the first of all pays for what is lazy
        seen = load_apart(host, bodies, arm["clients"])
    waits = [seconds for one in seen for seconds in one.told_to_wait]
    values = {**told(seen), "answers": float(len(seen)), "refusals": float(len(waits)),
              "differ": float(sum(not w.fits(s) for w, s in zip(want, seen, strict=True))),
              "cut_at_ties": float(sum(not w.whole for w in want))}  # fmt: skip
    if waits:
        values["retry_after_least"] = float(min(waits))
    return Measurement(values)


@experiment.derived
def cost(record):
    """Hours of the machine for a million tokens that it writes, and their price."""
    out = {}
    for arm in record.arms:
        hours = 1e6 / record.value(arm, "tokens_per_second") / 3600
        price = hours * record.settings["price"]
        out[arm] = {"hours_per_million": hours, "price_per_million": price}
    return out


def ratios(record, one, other, metric):
    pairs = zip(record.seeds(one, metric), record.seeds(other, metric), strict=True)
    return [a / b for a, b in pairs]


@experiment.claim(quick=True)
def nothing_lost_or_mixed(record):
    """Every answer is the one that the model gives to that prompt alone, whoever asks beside."""
    differ = [record.value(arm, "differ") for arm in record.arms]
    runs = sum(len(record.seeds(arm, "answers")) for arm in record.arms)
    answers = runs * record.value("one", "answers")
    cut = record.value("one", "cut_at_ties")
    return not any(differ), (
        f"{sum(differ):.0f} of {answers:.0f} answers differ; {cut:.0f} of "
        f"{record.value('one', 'answers'):.0f} are compared up to a near tie only")  # fmt: skip


@experiment.claim(quick=True)
def a_full_server_says_when(record):
    """Who comes when all places are taken is told how many seconds to wait, and then answered."""
    refusals = min(record.seeds("beyond", "refusals"))
    lost = record.value("beyond", "differ")
    said = refusals >= 1 and min(record.seeds("beyond", "retry_after_least")) >= 1
    return said and not lost, f"at least {refusals:.0f} refusals a run, {lost:.0f} lost answers"


@experiment.claim()
def sixteen_pay(record):
    """16 clients together get at least four times the tokens per second of one."""
    times = ratios(record, "sixteen", "one", "tokens_per_second")
    return min(times) >= 4, f"× {min(times):.1f} to × {max(times):.1f}"


@experiment.claim()
def each_waits_longer(record):
    """Among 64, a client waits longer for each token than alone, by less than 64 times."""
    times = ratios(record, "all", "one", "next_token_ms_p50")
    return 1 < min(times) <= max(times) < 64, f"× {min(times):.1f} to × {max(times):.1f} (median)"


@experiment.claim()
def gaps_stay_even(record):
    """With 64 clients, at most one gap in a hundred is longer than four times the median gap."""
    metric = "next_token_ms_p"
    pairs = zip(*(record.seeds("all", f"{metric}{p}") for p in (99, 50)), strict=True)
    times = [high / middle for high, middle in pairs]
    return max(times) <= 4, f"p99 is {min(times):.1f} to {max(times):.1f} times the median"


@experiment.figure()
def waiting(record):
    """Milliseconds to the first token and between two tokens, by the number of clients: the median
    and the slowest twentieth and hundredth; and the tokens a second of all clients together."""
    arms = [name for name in STEPS if name in record.arms]
    clients = [record.arms[name]["factors"]["clients"] for name in arms]

    def line(metric: str, name: str, role: str) -> Line:
        seeds = [[s for s in record.seeds(a, metric) if math.isfinite(s)] for a in arms]
        mean = [record.value(a, metric) for a in arms]
        return Line(clients, mean, name, role, map(min, seeds), map(max, seeds), marker="circle")

    panels = []
    for metric, title in (("first", "to the first token"), ("next", "between two tokens")):
        lines = [line(f"{metric}_token_ms_p{p}", f"p{p}", role)
                 for p, role in ((50, "a"), (95, "b"), (99, "c"))]  # fmt: skip
        panel = Panel(Axis("clients", "log", ticks=clients), Axis("milliseconds", "log"), lines)
        panel.title, panel.legend = title, "none" if panels else "top"
        panels.append(panel)
    speed = line("tokens_per_second", "", "model")
    panels.append(Panel(Axis("clients", "log", ticks=clients), Axis("tokens a second", "log"),
                        [speed], title="of all together", legend="none"))  # fmt: skip
    return Figure(panels)
