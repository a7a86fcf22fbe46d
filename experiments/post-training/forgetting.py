"""Where does what a model had read go when it takes a course, and what keeps it?

A model that continues the texts of the little world takes a course in word problems, for equally
many steps of equally many rows. Arms differ in the optimizer and its learning rate, in what moves
(all weights, all but the embeddings, or adapters beside them), and in what else stands among the
rows: nothing, other chats, or the world's texts as answers of a chat. Gain is the held-out loss on
word problems, the price is the loss on the texts; it is also read at equal gain. Three explanations
are measured beside: how far the weights have moved, how far the answers to word problems have moved
(KL; Shenfeld et al. 2025, arXiv:2509.04259), and whether the texts are only missed outside of a
chat.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

from minimind_wiki.book.experiment import Experiment, Measurement
from minimind_wiki.book.record import repo_root
from minimind_wiki.data.world.rows import make_rows
from minimind_wiki.infer import load_model_folder
from minimind_wiki.lite.plot import Axis, Figure, Level, Line, Panel
from minimind_wiki.train.compare import kl_to
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.examine import arithmetic
from minimind_wiki.train.sources import Row, Source, open_source

from ._cost import at_levels, equal_gain, in_chat, watched

MIXTURES = {"problems": "world/arithmetic", "texts": "world/arithmetic",
            "chats": "world/arithmetic=3,world/sft=1"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Settings:
    """Steps of batch_size rows; held-out rows and texts measured meanwhile, problems at the end."""

    steps: int = 160
    batch_size: int = 16
    windows: int = 64
    texts: int = 16
    items: int = 200


def arm(title, role, optimizer="muon", rate=5e-3, rank=0, freeze="", rows="problems") -> dict:
    return {"title": title, "role": role, "optimizer": optimizer, "rate": rate, "rank": rank,
            "freeze": freeze, "rows": rows}  # fmt: skip


experiment = Experiment(
    name="post-training/forgetting",
    factors=("optimizer", "rate", "rank", "freeze", "rows"),
    arms={
        "muon": arm("Muon, 5e-3, as in the chain", "none"),
        "adamw": arm("AdamW, 3e-3", "b", "adamw", 3e-3),
        "low": arm("Muon, 1.25e-3", "c", rate=1.25e-3),
        "frozen": arm("AdamW, 3e-3, embeddings frozen", "he", "adamw", 3e-3, freeze="embed_tokens"),
        "lora": arm("LoRA of rank 32, AdamW, 3e-3", "e", "adamw", 3e-3, 32),
        "chats": arm("Muon, 5e-3, a quarter other chats", "f", rows="chats"),
        "texts": arm("Muon, 5e-3, a quarter texts", "model", rows="texts"),
    },
    settings=Settings(),
    quick=Settings(steps=2, windows=4, texts=2, items=4),
    quick_arms=("muon", "texts"),
    primary="texts",
    budget=1200.0,
    repeat=(("lora", 0), ("chats", 0), ("texts", 0)),
    noisy=("seconds",),
)  # fmt: skip


def rows_of(rows: str, seed: int, windows: int) -> Source:
    """The rows to learn. Held out are word problems alone, whatever they were mixed with."""
    source = open_source(MIXTURES[rows], "sft", seed, 0.1, windows)
    only = open_source(MIXTURES["problems"], "sft", seed, 0.1, windows)

    def row(number: int) -> Row:
        """With texts, every fourth row is a text of the world, as the answer of a chat."""
        if rows == "texts" and number % 4 == 3:
            return in_chat(next(make_rows("pretrain", 1, 1_000_000 * (seed + 1) + number)))
        return source.row(number)

    return replace(source, row=row, held_out=only.held_out)


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    how = TrainConfig(
        init=str(repo_root() / "models" / "world-tiny"), data=MIXTURES[arm["rows"]], seed=seed,
        steps=settings.steps, batch_size=settings.batch_size, context_length=512, weight_decay=0.0,
        learning_rate=arm["rate"], optimizer=arm["optimizer"], lora_rank=arm["rank"],
        freeze=arm["freeze"],
        lora_alpha=2.0 * arm["rank"] or 16.0, eval_every=max(1, settings.steps // 10),
        eval_windows=settings.windows, sample_tokens=0, device="cpu", dtype="bfloat16", threads=1,
    )  # fmt: skip
    found = watched(how, rows_of(arm["rows"], seed, settings.windows), settings.texts)
    held = found.state.held_out
    problems = list(make_rows("arithmetic", settings.items, 0, "validation"))
    base, tokenizer = load_model_folder(Path(how.init), "cpu")
    solved = arithmetic(found.model, tokenizer, problems, max_new_tokens=64)
    names = ("loss", "texts", "texts_in_chat", "moved")
    values = {name: held[name][-1] for name in names} | {
        "accuracy": solved.score.accuracy,
        "kl": mean(kl_to(base, found.model, tokenizer, problems[: settings.items // 4])),
        "start": held["texts"][0],
        "start_in_chat": held["texts_in_chat"][0], "lost": held["texts"][-1] - held["texts"][0],
        "lost_in_chat": held["texts_in_chat"][-1] - held["texts_in_chat"][0],
        **at_levels(held),
        "seconds": found.state.seconds,
    }  # fmt: skip
    return Measurement(values, {name: (held["step"], held[name]) for name in names})


@experiment.derived
def rates(record):
    return {arm: {"rate": about["factors"]["rate"]} for arm, about in record.arms.items()}


@experiment.claim()
def a_course_costs_the_texts(record):
    """The course as the chain has it costs more than one nat a token on the texts, with every
    seed."""
    lost = record.seeds("muon", "lost")
    return min(lost) > 1, f"{min(lost):.2f} to {max(lost):.2f} nats"


@experiment.claim()
def it_is_not_the_form(record):
    """It is no matter of form: inside a chat the texts lose at least half as much, with every
    seed."""
    pairs = zip(record.seeds("muon", "lost"), record.seeds("muon", "lost_in_chat"), strict=True)
    share = min(inside / outside for outside, inside in pairs)
    return share > 0.5, f"at least {share:.0%} of it"


@experiment.claim()
def small_steps_forget_less(record):
    """At equal gain a quarter of the learning rate has lost less, with every seed."""
    return equal_gain(record, "low", "muon")


@experiment.claim()
def adamw_forgets_less(record):
    """At equal gain AdamW, at about its best rate, has lost less than Muon, with every seed."""
    return equal_gain(record, "adamw", "muon")


@experiment.claim()
def adapters_forget_less(record):
    """At equal gain LoRA has lost less than all weights with its optimizer and rate, with every
    seed."""
    return equal_gain(record, "lora", "adamw")


@experiment.claim()
def it_is_the_embeddings(record):
    """At equal gain all weights but the embeddings have lost less than all weights with the same
    optimizer and rate, with every seed."""
    return equal_gain(record, "frozen", "adamw")


def same_order(record, measure: str) -> tuple[bool, str]:
    """Whether what is lost has the order of a measure, with every seed, in the five arms that see
    word problems alone."""
    arms = ("muon", "adamw", "low", "frozen", "lora")
    good = all(
        sorted(arms, key=lambda arm: record.seeds(arm, measure)[seed])
        == sorted(arms, key=lambda arm: record.seeds(arm, "lost")[seed])
        for seed in range(len(record.seeds("muon", "lost")))
    )
    return good, "; ".join(f"{arm} {record.value(arm, measure):.2f}, "
                           f"lost {record.value(arm, 'lost'):.2f}" for arm in arms)  # fmt: skip


@experiment.claim()
def distance_is_the_price(record):
    """In the five arms that see word problems alone, the further the weights have moved, the more
    is lost, with every seed."""
    return same_order(record, "moved")


@experiment.claim()
def change_of_answers_is_the_price(record):
    """In the same five arms, the further the answers to word problems have moved (KL), the more is
    lost, with every seed."""
    return same_order(record, "kl")


@experiment.claim()
def other_chats_keep_little(record):
    """A quarter of other chats leaves more than half of the loss, with every seed."""
    share = min(record.seeds("chats", "lost")) / mean(record.seeds("muon", "lost"))
    return share > 0.5, f"at least {share:.0%} of it"


@experiment.claim()
def texts_keep_the_texts(record):
    """A quarter of texts keeps the loss below half a nat, with every seed, and at the same rate."""
    lost = record.seeds("texts", "lost")
    return max(lost) < 0.5, f"{min(lost):.2f} to {max(lost):.2f} nats"


@experiment.claim()
def and_cost_no_gain(record):
    """And it learns the word problems as well, with a quarter fewer of them: at most a tenth more
    held-out loss than without, with every seed."""
    texts, alone = record.seeds("texts", "loss"), record.seeds("muon", "loss")
    good = max(texts) < 1.1 * min(alone)
    return good, f"{mean(texts):.3f} against {mean(alone):.3f} nats"


@experiment.claim(quick=True)
def they_begin_alike(record):
    """Before the first step all arms have the same loss on the texts."""
    first = {record.value(arm, "start") for arm in record.arms}
    return max(first) - min(first) < 1e-6, f"{max(first):.3f} nats"


def side() -> Axis:
    return Axis("nats on texts", "log", range=(0.9, 14), ticks=[1, 2, 4, 8])


def named(arm: str) -> dict:
    """A short name for the legend and a role of which the site's palette has one each."""
    short = {"muon": ("Muon", "none"), "adamw": ("AdamW", "e"), "low": ("Muon, low rate", "c"),
             "frozen": ("embeddings frozen", "d"), "lora": ("LoRA", "a"),
             "chats": ("with other chats", "f"), "texts": ("with texts", "model")}  # fmt: skip
    return dict(zip(("name", "role"), short[arm], strict=True))


def apart(points) -> list[float | None]:
    """The points with gaps between, so that no line joins them."""
    return [part for point in points for part in (point, None)]


def ends(record, x: str) -> list[Line]:
    """One point an arm and seed, with no line between: a metric, against nats on the texts."""
    return [Line(apart(record.seeds(arm, x)), apart(record.seeds(arm, "texts")), marker="circle",
                 **named(arm)) for arm in record.arms]  # fmt: skip


@experiment.figure()
def gain_against_loss(record):
    """What each arm has learned, as held-out nats on word problems, against what it has lost, as
    nats on the texts of the world; one point an arm and seed. Below, the same price against how far
    the weights have moved."""
    before = [Level(record.value("muon", "start"), "before", "floor")]
    return Figure([
        Panel(Axis("nats on held-out word problems"), side(), ends(record, "loss"), levels=before,
              legend="top"),
        Panel(Axis("change of the weights, as a share of their length"), side(),
              ends(record, "moved"), levels=before, legend="none"),
    ])  # fmt: skip


@experiment.figure()
def on_the_way(record):
    """Nats on the texts over the steps of the course, by arm."""
    lines = [record.line(arm, "texts", **named(arm)) for arm in record.arms]
    before = [Level(record.value("muon", "start"), "before", "floor")]
    return Figure(Panel("step", side(), lines, levels=before, legend="top"))
