"""Which neuron fires on which word?

Each neuron of a shipped model is watched over stories that it has not read, and its strongest
positions are kept. Do they share one word? Does the value that the neuron writes there raise the
word that comes next? Early layers are said to hold shallow patterns and late ones to speak (Geva et
al. 2021). The control is the same model before training, with weights as they were drawn: whatever
it shows too, training has not made.
"""

from dataclasses import dataclass
from pathlib import Path

import torch

from minimind_wiki.book.experiment import Experiment, Measurement
from minimind_wiki.book.record import repo_root
from minimind_wiki.lite.plot import Axis, Bars, Figure, Line, Panel

from ._neurons import commonest, firings, raised, strongest
from ._stories import loaded, stories

LAYERS = range(4)


@dataclass(frozen=True, slots=True)
class Settings:
    """Stories read; strongest positions of each neuron that are looked at; neurons shown."""

    model: str = "world-tiny"
    stories: int = 120
    strongest: int = 40
    shown: int = 3


experiment = Experiment(
    name="feedforward/neurons",
    factors=("weights",),
    arms={
        "trained": {"title": "trained", "role": "model", "weights": "trained"},
        "drawn": {"title": "as drawn, untrained", "role": "none", "weights": "drawn"},
    },
    settings=Settings(),
    quick=Settings(stories=2, strongest=4),
    primary="same_word_0",
    repeat=(("trained", 0), ("drawn", 1)),
)  # fmt: skip


def folder(settings: Settings) -> Path:
    return repo_root() / "models" / settings.model


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    torch.set_num_threads(1)
    model, tokenizer = loaded(folder(settings))
    if arm["weights"] == "drawn":
        model.reset_parameters(seed)
    fired, here, following = firings(model, tokenizer, stories(settings.stories, "test", seed))
    values = {}
    for n in LAYERS:
        top_FK = strongest(fired[n], settings.strongest)
        words = commonest(here[top_FK])
        signs_FK = fired[n].gather(0, top_FK.T).T
        right_FK = raised(model, n, signs_FK) == following[top_FK]
        values[f"same_word_{n}"] = sum(share for _, share in words) / len(words)
        values[f"one_word_neurons_{n}"] = sum(share > 0.9 for _, share in words) / len(words)
        values[f"next_word_{n}"] = right_FK.float().mean().item()
    drawn = torch.randint(len(here), (512, settings.strongest),
                          generator=torch.Generator().manual_seed(seed))  # fmt: skip
    by_chance = commonest(here[drawn])
    values["same_word_by_chance"] = sum(share for _, share in by_chance) / len(by_chance)
    return Measurement(values)


@experiment.levels
def levels(settings: Settings) -> dict:
    """Besides the text: some neurons of each layer by name, those most faithful to a whole word."""
    model, tokenizer = loaded(folder(settings))
    texts = stories(settings.stories, "test", 0)
    fired, here, _ = firings(model, tokenizer, texts)
    named = []
    for n in LAYERS:
        found = commonest(here[strongest(fired[n], settings.strongest)])
        seen: set[str] = set()
        for f in sorted(range(len(found)), key=lambda f: -found[f][1]):
            word = tokenizer.decode([found[f][0]])
            if len(word.strip()) > 3 and word.startswith(" ") and word not in seen:
                seen.add(word)
                named.append({"layer": n, "neuron": f, "word": word.strip(), "share": found[f][1]})
            if len(seen) == settings.shown:
                break
    size = sum(len(text.encode()) for text in texts)
    return {"data": {"name": "the little world, generated", "bytes": size, "neurons": named}}


def by_layer(record, arm, metric, spec=".0%"):
    return ", ".join(f"{record.value(arm, f'{metric}_{n}'):{spec}}" for n in LAYERS)


@experiment.claim()
def neurons_share_a_word(record):
    """In the trained first layer a neuron's strongest positions share one word at least three times
    as often as positions drawn at random do."""
    first, blind = (record.value("trained", m) for m in ("same_word_0", "same_word_by_chance"))
    return first > 3 * blind, f"{first:.0%}, at random {blind:.0%}"


@experiment.claim()
def training_made_it(record):
    """They do so more than in the untrained model, with every seed."""
    good = min(record.seeds("trained", "same_word_0")) > max(record.seeds("drawn", "same_word_0"))
    return (
        good,
        f"{by_layer(record, 'trained', 'same_word')}; {by_layer(record, 'drawn', 'same_word')}",
    )


@experiment.claim()
def shallow_first(record):
    """From each layer to the next the neurons of the trained model share one word less."""
    shares = [record.value("trained", f"same_word_{n}") for n in LAYERS]
    return shares == sorted(shares, reverse=True), by_layer(record, "trained", "same_word")


@experiment.claim(quick=True)
def training_made_the_values(record):
    """In the last layer the trained values raise the word that comes next at least five times as
    often as those of the untrained model."""
    trained, drawn = (record.value(arm, "next_word_3") for arm in record.arms)
    return trained > 5 * drawn and trained > 0.01, f"{trained:.1%} and {drawn:.1%}"


@experiment.claim()
def late_values_speak(record):
    """In the last layer the values raise the very word that comes next more often than in any layer
    before, and more often than those of the untrained model."""
    *before, last = (record.value("trained", f"next_word_{n}") for n in LAYERS)
    good = last > max(before) and last > record.value("drawn", "next_word_3")
    return good, by_layer(record, "trained", "next_word", ".1%")


@experiment.figure()
def named(record):
    """Some neurons of each layer with the word on which they fire most, and the share of their
    strongest positions that stand on that word."""
    rows = record.data["data"]["neurons"]
    names = [f"layer {r['layer'] + 1}, neuron {r['neuron']}: {r['word']}" for r in rows]
    x = Axis("share on this word", range=(0, 1.02))
    bars = [Bars(names, [r["share"] for r in rows], role="model")]
    return Figure(Panel(x, Axis("", "category"), bars=bars, legend="none"))


@experiment.figure()
def layers(record):
    """By layer, for the trained and the untrained model: how far a neuron's strongest positions
    share one word, and how often its value raises the word that comes next."""
    panels, dashes = [], {"trained": "solid", "drawn": "dash"}
    for metric, title in (("same_word", "share one word"), ("next_word", "raise the next word")):
        lines = []
        for name, arm in record.arms.items():
            seeds = [record.seeds(name, f"{metric}_{n}") for n in LAYERS]
            middle = [sum(s) / len(s) for s in seeds]
            lines.append(Line([n + 1 for n in LAYERS], middle, arm["title"], arm["role"],
                              lo=map(min, seeds), hi=map(max, seeds), dash=dashes[name],
                              marker="circle"))  # fmt: skip
        x, legend = Axis("layer", ticks=[1, 2, 3, 4]), "none" if panels else "top"
        panels.append(Panel(x, Axis("share of positions"), lines, title=title, legend=legend))
    return Figure(panels)
