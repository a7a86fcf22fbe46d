"""A tokenizer inside a GGUF file, so that llama.cpp makes the same ids of a text.

llama.cpp runs byte-level BPE itself ("gpt2" in its words). The file carries the tokens, their
types and the merges, but not the pattern that cuts a text into pieces before any merge: llama.cpp
has the patterns built in, and the file names one (`tokenizer.ggml.pre`). A wrong name gives other
ids and no error, so a tokenizer whose cut has no name there is refused.

Facts from llama.cpp: src/llama-vocab.cpp (patterns), conversion/base.py (_set_vocab_gpt2: types).
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from minimind_wiki.errors import MinimindError

NORMAL, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 3, 4, 5, 6  # llama.cpp's token types
NEVER = "\u4e00 \u4e00"  # a merge of characters that byte-level BPE never writes
_WORD = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
_TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CUTS = {_WORD + r"|\p{N}" + _TAIL: "qwen2"}
"""Patterns of tokenizer.json that llama.cpp knows, beside GPT-2's, and its names for them."""


class Vocabulary(NamedTuple):
    """What a GGUF file says of a tokenizer."""

    tokens: list[str]
    types: list[int]
    merges: list[str]
    pre: str


def vocabulary(tokenizer_json: str, size: int) -> Vocabulary:
    """The content of a tokenizer.json, filled up to the model's `size` with tokens nobody writes.

    MinimindError if llama.cpp would make other ids of some text, or the tokenizer is too large.
    """
    parts = json.loads(tokenizer_json)
    model = parts["model"]
    merges = [m if isinstance(m, str) else " ".join(m) for m in model.get("merges") or []]
    pre = pre_tokenizer(parts)
    names = {index: token for token, index in model["vocab"].items()}
    types = dict.fromkeys(names, NORMAL)
    for token in parts.get("added_tokens") or []:
        # Control tokens are not shown in an answer; <think> and <tool_call> must be.
        names[token["id"]] = token["content"]
        types[token["id"]] = CONTROL if token["special"] else USER_DEFINED
    if names and max(names) >= size:
        raise MinimindError(
            f"the tokenizer has ids up to {max(names):,}, but the model only {size:,} rows; this "
            "is not the tokenizer that the model was trained with."
        )
    return Vocabulary(
        [names.get(index, f"[PAD{index}]") for index in range(size)],
        [types.get(index, UNUSED) for index in range(size)],
        merges or [NEVER],  # llama.cpp refuses a file without merges: bytes alone need none
        pre,
    )


def pre_tokenizer(parts: dict[str, Any]) -> str:
    """llama.cpp's name for the cut of a tokenizer.json. MinimindError where it has none.

    >>> pre_tokenizer({"model": {"type": "BPE"}, "pre_tokenizer": {"type": "ByteLevel"}})
    'gpt-2'
    """
    model, cut = parts["model"], parts.get("pre_tokenizer") or {}
    steps = cut.get("pretokenizers", [cut])
    last, before = steps[-1], steps[:-1]
    plain = model["type"] == "BPE" and not parts.get("normalizer") and not model.get("dropout")
    plain = plain and last.get("type") == "ByteLevel" and not last.get("add_prefix_space")
    plain = plain and not model.get("ignore_merges")
    if plain and not before and (last.get("use_regex", True) or not model.get("merges")):
        return "gpt-2"  # without merges a cut changes nothing
    if plain and len(before) == 1 and not last.get("use_regex", True):
        split = before[0]
        known = CUTS.get((split.get("pattern") or {}).get("Regex", ""))
        if known and split.get("behavior") == "Isolated" and not split.get("invert"):
            return known
    raise MinimindError(
        "llama.cpp has no tokenizer that makes the ids of this one: it needs a byte-level BPE "
        f"without a normalizer, cut as GPT-2 or Qwen2 cut ({model['type']} here). Export with "
        "--to hf or --to onnx, or train with a tokenizer of 'minimind tokenizer train'."
    )
