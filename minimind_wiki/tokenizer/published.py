r"""Tokenizers that others published, opened from their files to be compared.

- a folder with tokenizer.json, or such a file (GPT-2, Llama, Qwen, DeepSeek …);
- tiktoken's ranks, a line for each token: its bytes in base64, and its rank, which is both its id
  and its place among the merges (OpenAI, Qwen, Llama 3);
- SentencePiece's .model, where the package `sentencepiece` is installed (Llama 2, Mistral).

A ranks file does not say how text is cut into pieces; that is known for the published sizes.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from pathlib import Path

from minimind_wiki.errors import MinimindError
from minimind_wiki.tokenizer.bpe import CHARACTERS
from minimind_wiki.tokenizer.compare import Compared
from minimind_wiki.tokenizer.library import LibraryTokenizer

_TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_WORD = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_END = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
GPT4 = _WORD + r"|\p{N}{1,3}" + _TAIL  # cl100k_base; Llama 3 took it over
GPT4O = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_END}|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_END}"
    + r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN = _WORD + r"|\p{N}" + _TAIL
# tokens in the file -> cut; anything else is taken to be cut as GPT-2 is
CUTS = {50_256: GPT2, 50_280: GPT2, 100_256: GPT4, 128_000: GPT4, 151_643: QWEN, 199_998: GPT4O}


def open_published(path: str | Path) -> Compared:
    """The tokenizer in a folder or file, by its content. MinimindError when it is of no kind."""
    path = Path(path)
    if path.is_dir() or path.suffix == ".json":
        return LibraryTokenizer.load(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise MinimindError(
            f"{path} cannot be read ({error.strerror}). Give a folder with a tokenizer.json, such "
            "a file, a .tiktoken file or a SentencePiece .model."
        ) from error
    ranks = _ranks(raw)
    if ranks is not None:
        return from_ranks(ranks, str(path))
    if path.suffix == ".model":
        return SentencePiece(raw, str(path))
    return LibraryTokenizer.load(path)


def _ranks(raw: bytes) -> dict[bytes, int] | None:
    """The ranks of a tiktoken file; None when it is something else."""
    ranks = {}
    try:
        for line in raw.splitlines():
            if line:
                token, rank = line.split()
                ranks[base64.b64decode(token, validate=True)] = int(rank)
    except (ValueError, binascii.Error):
        return None
    return ranks if all(bytes([byte]) in ranks for byte in range(256)) else None


def from_ranks(ranks: dict[bytes, int], name: str, cut: str | None = None) -> LibraryTokenizer:
    """tiktoken's ranks, run by Hugging Face's library.

    tiktoken merges the two neighbours that together have the lowest rank, and takes a piece that
    is itself a token whole. As merges: every cut of every token in two tokens, by the rank of the
    whole.
    """
    written = {token: "".join(CHARACTERS[b] for b in token) for token in ranks}
    merges = []
    for token in sorted(ranks, key=ranks.__getitem__):
        for at in range(1, len(token)):
            left, right = token[:at], token[at:]
            if left in ranks and right in ranks:
                merges.append([written[left], written[right]])
    split = {"type": "Split", "pattern": {"Regex": cut or CUTS.get(len(ranks), GPT2)},
             "behavior": "Isolated", "invert": False}  # fmt: skip
    level = {"add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    parts = {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": {"type": "Sequence",
                          "pretokenizers": [split, {"type": "ByteLevel", **level}]},
        "decoder": {"type": "ByteLevel", **level},
        "model": {"type": "BPE", "ignore_merges": True, "merges": merges,
                  "vocab": {written[token]: rank for token, rank in ranks.items()}},
    }  # fmt: skip
    return LibraryTokenizer(json.dumps(parts), name)


class SentencePiece:
    """A SentencePiece model, with the calls that a comparison needs."""

    def __init__(self, raw: bytes, name: str) -> None:
        """`raw`: the content of the file. MinimindError without the package or when it refuses."""
        try:
            import sentencepiece
        except ImportError as error:
            raise MinimindError(
                f"{name} needs the package sentencepiece. Install it with "
                "'pip install sentencepiece', or give the model's tokenizer.json."
            ) from error
        self.name = name
        try:
            self.whole = sentencepiece.SentencePieceProcessor(model_proto=raw)
        except Exception as error:  # the library raises no narrower class
            raise MinimindError(f"{name} is not a SentencePiece model ({error}).") from error
        self.vocab_size = int(self.whole.get_piece_size())

    def encode(self, text: str, specials: bool = False) -> list[int]:
        """The ids of `text`; control symbols in it are data in any case."""
        return list(self.whole.encode(text))

    def decode(self, ids: Sequence[int], specials: bool = False) -> str:
        """The text of `ids`."""
        return str(self.whole.decode(list(ids)))
