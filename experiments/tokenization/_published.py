"""Published tokenizers from the data folder, and BPE vocabularies that differ in the cut alone.

`scripts/published_tokenizers.py` puts the published files there, from packages that carry them.
"""

import gzip
import hashlib
import json
import random
from functools import cache
from pathlib import Path

from minimind_wiki.data.registry import data_folders
from minimind_wiki.errors import MinimindError
from minimind_wiki.tokenizer import ByteTokenizer
from minimind_wiki.tokenizer.layout import CHATML
from minimind_wiki.tokenizer.library import LibraryTokenizer
from minimind_wiki.tokenizer.published import GPT2, GPT4, QWEN, open_published
from minimind_wiki.tokenizer.samples import CHINESE, ENGLISH

# "lines" is no cut at all, but that of the lines that a text is read in.
CUTS = {"lines": "", "gpt2": GPT2, "gpt4": GPT4, "qwen": QWEN}


def file_of(name: str) -> Path:
    """A published tokenizer's file; MinimindError where it is not here."""
    for folder in data_folders():
        if (folder / "tokenizers" / name).exists():
            return folder / "tokenizers" / name
    raise MinimindError(
        f"the published tokenizer {name} is in no data folder. Run "
        "'python scripts/published_tokenizers.py', which needs npm, and try again."
    )


@cache
def published(name: str):
    return open_published(file_of(name))


def learned(texts: list[str], entries: int, cut: str) -> LibraryTokenizer:
    """Byte-level BPE from `texts`, which are cut by a pattern first, and into lines without one."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    pattern = Regex(CUTS[cut] or r"[^\n]*\n?")
    parts = [pre_tokenizers.Split(pattern, "isolated"), level]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(parts)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=entries, special_tokens=list(CHATML), show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))  # fmt: skip
    return LibraryTokenizer(tokenizer.to_str())


def tokenizer_of(arm: dict, texts: list[str]):
    """The tokenizer of an arm: published, learned here, or bytes."""
    if arm["file"]:
        return published(arm["file"])
    return learned(texts, arm["entries"], arm["cut"]) if arm["cut"] else ByteTokenizer()


@cache
def pairs() -> list[tuple[str, str]]:
    """The same sentences in English and Chinese, by people (Tatoeba), or two of our own."""
    for folder in data_folders():
        file = folder / "translation" / "tatoeba_en_zh.train.jsonl.gz"
        if file.exists():
            with gzip.open(file, "rt", encoding="utf-8") as lines:
                rows = [json.loads(line) for line in lines]
            return [(row["en"], row["zh"]) for row in rows]
    return list(zip(ENGLISH.splitlines(), CHINESE.splitlines(), strict=False))


def sentences(seed: int, count: int) -> tuple[str, str]:
    """`count` pairs, drawn by the seed, a sentence to a line: English, Chinese."""
    drawn = random.Random(seed).sample(pairs(), min(count, len(pairs())))
    return "\n".join(en for en, _ in drawn), "\n".join(zh for _, zh in drawn)


def hashes(names: list[str]) -> dict[str, str]:
    """sha256 of each published file that is here, and of the sentences."""
    found = {"sentences_sha256": hashlib.sha256(json.dumps(pairs()).encode()).hexdigest()}
    for name in names:
        try:
            found[name] = hashlib.sha256(file_of(name).read_bytes()).hexdigest()
        except MinimindError:
            continue  # a quick run does without
    return found
