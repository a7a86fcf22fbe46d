"""How much text does a token carry: by algorithm, by size of the vocabulary, by kind of text?

Byte-level BPE, Unigram and WordPiece learn vocabularies of growing size from one mixture of
English, the little world, Chinese, code and numbers, and are measured on text of each kind that
they did not see. One more BPE learns from the English parts alone. The other side of the scale is
the share of a small model's parameters that the vocabulary takes. Seeds hold out other text.
"""

from dataclasses import dataclass
from functools import lru_cache

from minimind_wiki.book.experiment import Experiment, Measurement
from minimind_wiki.lite.plot import Axis, Figure, Level, Line, Panel
from minimind_wiki.tokenizer import ByteTokenizer
from minimind_wiki.tokenizer.compare import compare, digits
from minimind_wiki.tokenizer.library import LibraryTokenizer, chunks, train_library

from ._kinds import SOURCES, described, split

ENGLISH = ("English", "village")


@dataclass(frozen=True, slots=True)
class Settings:
    """sizes: entries of the vocabularies; shown: the one whose values are kept; most: characters
    of each kind that are learned from; preset: whose embedding share is computed."""

    sizes: tuple[int, ...] = (512, 1024, 2048, 4096, 6400, 16384)
    shown: int = 6400
    most: int = 150_000
    preset: str = "26m"


experiment = Experiment(
    name="tokenization/compare",
    factors=("algorithm", "learned"),
    arms={
        "bytes": {"title": "bytes", "role": "none", "algorithm": "", "learned": "all"},
        "bpe": {"title": "BPE", "role": "model", "algorithm": "bpe", "learned": "all"},
        "unigram": {"title": "Unigram", "role": "b", "algorithm": "unigram", "learned": "all"},
        "wordpiece": {
            "title": "WordPiece", "role": "c", "algorithm": "wordpiece", "learned": "all",
        },
        "bpe_english": {
            "title": "BPE from English alone", "role": "d", "algorithm": "bpe",
            "learned": "english",
        },
    },
    settings=Settings(),
    quick=Settings(sizes=(1024, 2048), shown=2048, most=30_000),
    primary="Chinese_bytes_per_token",
    # WordPiece does not repeat: the library breaks ties in the order of a hash map
    # (github.com/huggingface/tokenizers/issues/1794).
    repeat=(("bytes", 0), ("bpe", 0), ("unigram", 0)),
)  # fmt: skip


@lru_cache(maxsize=1)
def body_of(name: str) -> tuple[int, int]:
    """Width of a preset, and its parameters without the table of embeddings (which is tied)."""
    import torch

    from minimind_wiki.model import Transformer, preset

    config = preset(name)
    with torch.device("meta"):
        model = Transformer(config)
    total = sum(p.numel() for p in model.parameters())
    return config.hidden_size, total - config.vocab_size * config.hidden_size


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    parts = {kind: split(kind, seed, settings.most) for kind in SOURCES}
    held = {kind: late for kind, (_, late) in parts.items()}
    kinds = ENGLISH if arm["learned"] == "english" else tuple(SOURCES)
    learned_from = [parts[kind][0] for kind in kinds]
    values: dict[str, float] = {"exact": 1.0, "learned_from": float(sum(map(len, learned_from)))}
    points: dict[str, list[float]] = {}
    xs = []
    for size in settings.sizes:
        if (arm["algorithm"] == "wordpiece" and size < 515) or (not arm["algorithm"] and xs):
            continue  # WordPiece needs each byte twice; bytes have one size
        tokenizer = ByteTokenizer()
        if arm["algorithm"]:
            model = train_library(chunks(learned_from), size, kind=arm["algorithm"])
            tokenizer = LibraryTokenizer(model.to_str())
        xs.append(size if arm["algorithm"] else tokenizer.vocab_size)
        rows = compare({"": tokenizer}, held, *body_of(settings.preset))
        found = {f"{row.text}_bytes_per_token": row.bytes_per_token for row in rows}
        found |= {f"{row.text}_fertility": row.fertility for row in rows}
        found |= {"embedding_share": rows[0].embedding_share, "entries": rows[0].vocab_size}
        values["exact"] = min(values["exact"], *(float(row.exact) for row in rows))
        for name, value in found.items():
            points.setdefault(name, []).append(float(value))
        if size == settings.shown or not arm["algorithm"]:
            values |= found
            cut = digits(tokenizer)
            values |= {"digits_per_token": cut.per_token, "digit_ways": float(len(cut.ways))}
    return Measurement(values, {name: (xs, ys) for name, ys in points.items()})


@experiment.levels
def levels(settings: Settings):
    return {"data": described()}


def shorter(record, one, other, kind):
    """Tokens of `one` over tokens of `other` on a kind of text, seed by seed."""
    metric = f"{kind}_bytes_per_token"
    pairs = zip(record.seeds(one, metric), record.seeds(other, metric), strict=True)
    return [b / a for a, b in pairs]


def fewer(record, one, other):
    """Whether `one` needs fewer tokens than `other` on every kind of text and with every seed."""
    found = {kind: shorter(record, one, other, kind) for kind in SOURCES}
    said = ", ".join(f"{kind} × {sum(rs) / len(rs):.3f}" for kind, rs in found.items())
    return all(max(rs) < 1 for rs in found.values()), f"tokens at the size shown: {said}"


@experiment.claim(quick=True)
def nothing_is_lost(record):
    """Every tokenizer gives every text back, to the byte."""
    exact = {arm: record.value(arm, "exact") for arm in record.arms}
    return set(exact.values()) == {1.0}, f"{sum(exact.values()):.0f} of {len(exact)} arms"


@experiment.claim()
def unigram_fewer(record):
    """Unigram needs fewer tokens than BPE at the same size, on every kind of text."""
    return fewer(record, "unigram", "bpe")


@experiment.claim()
def wordpiece_more(record):
    """BPE needs fewer tokens than WordPiece at the same size, on every kind of text."""
    return fewer(record, "bpe", "wordpiece")


@experiment.claim()
def english_costs_chinese(record):
    """A vocabulary learned from English costs Chinese at least three times the tokens."""
    ratios = shorter(record, "bpe_english", "bpe", "Chinese")
    return min(ratios) >= 3, f"{min(ratios):.2f} to {max(ratios):.2f} times the tokens"


@experiment.claim()
def size_pays_less_and_less(record):
    """From 6,400 entries to 16,384 no text gets a quarter shorter, and their share doubles."""
    sizes = record.settings["sizes"]
    at, end = sizes.index(record.settings["shown"]), len(sizes) - 1
    curves = {kind: record.curve("bpe", f"{kind}_bytes_per_token")["mean"] for kind in SOURCES}
    left = {kind: c[at] / c[end] for kind, c in curves.items()}
    share = record.curve("bpe", "embedding_share")["mean"]
    said = ", ".join(f"{kind} × {value:.2f}" for kind, value in left.items())
    said += f"; share {share[at]:.0%} to {share[end]:.0%}"
    return min(left.values()) > 3 / 4 and share[end] > 2 * share[at], said


@experiment.claim()
def digits_are_cut_at_random(record):
    """A learned vocabulary cuts numbers of four digits in several ways."""
    ways = {arm: record.value(arm, "digit_ways") for arm in ("bpe", "unigram", "wordpiece")}
    return min(ways.values()) > 1, ", ".join(f"{arm} {n:.1f} ways" for arm, n in ways.items())


@experiment.figure()
def by_size(record):
    """Bytes per token over the size of the vocabulary, on held-out text of each kind; one is the
    byte tokenizer. All rise ever more slowly. The vocabulary learned from English alone does as
    well on English and stays near one on Chinese. Last, the share of the model's parameters that
    the vocabulary takes, which rises faster and faster."""
    marks = dict(zip(record.arms, ("x", "circle", "diamond", "square", "cross"), strict=True))
    panels = []
    titles = {f"{kind}_bytes_per_token": kind for kind in SOURCES}
    titles["embedding_share"] = f"the model {record.settings['preset']}"
    for name, title in titles.items():
        lines = []
        for arm, about in record.arms.items():
            share = name == "embedding_share"
            if arm == "bytes" or (share and arm != "bpe"):
                continue
            c, entries = record.curve(arm, name), record.curve(arm, "entries")["mean"]
            # A text may have too few pairs for the largest vocabularies.
            n = sum(had == x for had, x in zip(entries, c["x"], strict=True))
            x, mean, low, high = (c[key][:n] for key in ("x", "mean", "lo", "hi"))
            lines.append(Line(x, mean, about["title"], about["role"], low, high,
                              marker=marks[arm]))  # fmt: skip
        axis = Axis("share of the parameters" if share else "bytes per token")
        panel = Panel(Axis("entries of the vocabulary", "log"), axis, lines, title=title)
        panel.legend = "none" if panels else "top"
        panel.levels = [] if share else [Level(1.0, "bytes", "floor")]
        panels.append(panel)
    return Figure(panels)
