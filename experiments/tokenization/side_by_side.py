"""The same text through our tokenizers and published ones: what does each need for it?

Sentences that people translated, in English and in Chinese; Python's own standard library; numbers.
Beside bytes and a BPE of 6,400 entries stand those of GPT-2, GPT-4, GPT-4o, Llama 2, Llama 3 and
Qwen3, read from the published files. Ours was learned from other text of these kinds, but not from
these sentences; the others from the web. Three more of ours differ in the cut before the merges
alone. A seed draws the sentences, and what ours learn from.
"""

from dataclasses import dataclass

from minimind_wiki.book.experiment import Experiment, Measurement
from minimind_wiki.lite.plot import Axis, Bars, Figure, Panel
from minimind_wiki.tokenizer.compare import count_words, digits
from minimind_wiki.tokenizer.pretokenize import split as cut_up

from ._kinds import SOURCES, split
from ._published import hashes, sentences, tokenizer_of

OURS = {"ours": ("ours, 6,400", "gpt2"), "uncut": ("ours, not cut", "lines"),
        "threes": ("ours, digits by threes", "gpt4"),
        "singles": ("ours, single digits", "qwen")}  # fmt: skip
PUBLISHED = {
    "gpt2": ("GPT-2", "gpt2.tiktoken"),
    "llama2": ("Llama 2", "llama2.json"),
    "gpt4": ("GPT-4", "cl100k_base.tiktoken"),
    "llama3": ("Llama 3", "llama3.json"),
    "qwen3": ("Qwen3", "qwen3.json"),
    "gpt4o": ("GPT-4o", "o200k_base.tiktoken"),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """most: characters of each kind that ours learn from; sentences: pairs that all are given."""

    entries: int = 6400
    most: int = 150_000
    sentences: int = 2000


def arm(title: str, role: str, file: str = "", cut: str = "") -> dict:
    entries = Settings().entries if cut else 0
    return {"title": title, "role": role, "file": file, "cut": cut, "entries": entries}


experiment = Experiment(
    name="tokenization/side_by_side",
    factors=("file", "cut", "entries"),
    arms={
        "bytes": arm("bytes", "none"),
        **{name: arm(title, "model" if name == "ours" else "c", cut=cut)
           for name, (title, cut) in OURS.items()},
        **{name: arm(title, "b", file) for name, (title, file) in PUBLISHED.items()},
    },
    settings=Settings(),
    quick=Settings(most=20_000, sentences=50),
    quick_arms=("bytes", "ours", "singles"),
    primary="chinese_premium",
    repeat=(("bytes", 0), ("ours", 0), ("uncut", 0)),
)  # fmt: skip


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    parts = {kind: split(kind, seed, settings.most) for kind in SOURCES}
    tokenizer = tokenizer_of(arm, [early for early, _ in parts.values()])
    english, chinese = sentences(seed, settings.sentences)
    texts = {"English": english, "Chinese": chinese, "code": parts["code"][1],
             "numbers": parts["numbers"][1]}  # fmt: skip
    values: dict[str, float] = {"exact": 1.0, "entries": float(tokenizer.vocab_size)}
    counts = {}
    for kind, text in texts.items():
        ids = list(tokenizer.encode(text))
        counts[kind] = len(ids)
        values[f"{kind}_bytes_per_token"] = len(text.encode()) / len(ids)
        values[f"{kind}_per_character"] = len(ids) / len(text)
        values[f"{kind}_fertility"] = len(ids) / count_words(text)
        values["exact"] = min(values["exact"], float(tokenizer.decode(ids) == text))
    values["chinese_premium"] = counts["Chinese"] / counts["English"]
    cut = digits(tokenizer)
    values |= {"digits_per_token": cut.per_token, "digit_ways": float(len(cut.ways))}
    names = [tokenizer.decode([token]) for token in range(3, tokenizer.vocab_size)]
    values["mixed_share"] = sum(len(cut_up(name)) > 1 for name in names) / len(names)
    return Measurement(values)


@experiment.levels
def levels(settings: Settings) -> dict:
    return {"data": hashes([file for _, file in PUBLISHED.values()])}


def told(record, metric, arms, shown=".2f"):
    """The mean of each arm, in words."""
    return ", ".join(f"{record.arms[a]['title']} {record.value(a, metric):{shown}}" for a in arms)


@experiment.claim(quick=True)
def ours_lose_nothing(record):
    """Ours and bytes give every text back, to the byte."""
    arms = [name for name in ("bytes", *OURS) if name in record.arms]
    return all(record.value(a, "exact") == 1 for a in arms), told(record, "exact", arms, ".0f")


@experiment.claim()
def the_published_lose_nothing(record):
    """So do all the published ones."""
    exact = [record.value(a, "exact") for a in PUBLISHED]
    return min(exact) == 1, told(record, "exact", PUBLISHED, ".0f")


@experiment.claim()
def more_entries_fewer_tokens_in_english(record):
    """Every published vocabulary, of 32,000 entries or more, needs fewer tokens for the English
    sentences than our 6,400."""
    metric = "English_bytes_per_token"
    worst = min(min(record.seeds(a, metric)) for a in PUBLISHED)
    return worst > max(record.seeds("ours", metric)), told(record, metric, ("ours", *PUBLISHED))


@experiment.claim()
def six_thousand_beat_fifty_in_chinese(record):
    """For the Chinese sentences, our 6,400 entries need fewer tokens than GPT-2's 50,256."""
    metric, ours = "Chinese_bytes_per_token", ("ours", "gpt2", "llama2", "gpt4")
    best = max(record.seeds("gpt2", metric))
    return min(record.seeds("ours", metric)) > best, told(record, metric, ours)


@experiment.claim()
def gpt2_charges_twice(record):
    """GPT-2 needs at least twice as many tokens for the Chinese sentences as for the same ones in
    English."""
    low = min(record.seeds("gpt2", "chinese_premium"))
    return low >= 2, told(record, "chinese_premium", ("bytes", "ours", *PUBLISHED))


@experiment.claim()
def the_newest_charge_nearly_the_same(record):
    """With Qwen3 and GPT-4o, the Chinese sentences take at most a quarter more tokens."""
    most = max(max(record.seeds(a, "chinese_premium")) for a in ("qwen3", "gpt4o"))
    return most <= 1.25, told(record, "chinese_premium", ("qwen3", "gpt4o"))


@experiment.claim()
def code_is_a_matter_of_spaces(record):
    """GPT-2 needs at least one and a half times GPT-4's tokens for code."""
    pair = [record.seeds(a, "code_bytes_per_token") for a in ("gpt2", "gpt4")]
    ratios = [b / a for a, b in zip(*pair, strict=True)]
    return min(ratios) >= 1.5, f"{min(ratios):.2f} to {max(ratios):.2f} times the tokens"


@experiment.claim()
def the_cut_decides_on_digits(record):
    """Cut singly or by threes, all numbers of four digits are cut in one way; with GPT-2's cut,
    whether GPT-2's own or ours, in several."""
    ways = {a: record.seeds(a, "digit_ways") for a in
            ("ours", "gpt2", "singles", "threes", "qwen3", "gpt4")}  # fmt: skip
    same = all(max(ways[a]) == 1 for a in ("singles", "threes", "qwen3", "gpt4"))
    several = min(*ways["ours"], *ways["gpt2"]) > 1
    return same and several, told(record, "digit_ways", ways, ".0f")


@experiment.claim()
def without_a_cut_entries_mix(record):
    """Without a cut, at least a quarter of the entries join what the cut keeps apart, as a word and
    its full stop."""
    low = min(record.seeds("uncut", "mixed_share"))
    return low >= 0.25, told(record, "mixed_share", ("uncut", "ours"), ".0%")


@experiment.claim()
def without_a_cut_tokens_are_fewer_at_home(record):
    """On code, which it has learned, the vocabulary without a cut needs fewer tokens."""
    metric = "code_bytes_per_token"
    uncut, ours = record.seeds("uncut", metric), record.seeds("ours", metric)
    better = all(a > b for a, b in zip(uncut, ours, strict=True))
    return better, told(record, metric, ("uncut", "ours"))


@experiment.figure()
def by_kind(record):
    """Bytes of text for each token, by tokenizer, on four kinds of text. Published ones with many
    entries carry more English in a token than our 6,400; in Chinese the order is another."""
    panels = []
    arms = [a for a in record.arms if a not in ("uncut", "threes", "singles")]
    names = [record.arms[a]["title"] for a in arms]
    for kind in ("English", "Chinese", "code", "numbers"):
        seeds = [record.seeds(a, f"{kind}_bytes_per_token") for a in arms]
        bars = Bars(names, [sum(s) / len(s) for s in seeds], kind, "model",
                    map(min, seeds), map(max, seeds))  # fmt: skip
        panels.append(Panel(Axis("bytes per token"), Axis("", "category"), bars=[bars],
                            title=kind, legend="none"))  # fmt: skip
    return Figure(panels)
