"""Opening the tokenizer of a folder by what its files say."""

from __future__ import annotations

import json
from pathlib import Path

from minimind_wiki.errors import MinimindError
from minimind_wiki.tokenizer.bytes import ByteTokenizer
from minimind_wiki.tokenizer.protocol import Tokenizer


def load_tokenizer(folder: str | Path) -> Tokenizer:
    """The tokenizer of a model folder or a tokenizer's own.

    The byte tokenizer is opened as such. Every other tokenizer.json is run by Hugging Face's
    library: of merges learned here it makes the same ids (tests/parity/test_tokenizer_hub.py), on
    all cores. `bpe.BPETokenizer.load` opens the same folder in the form to read.
    Errors: MinimindError when a file is missing or cannot be read, or names no token that ends a
    text.
    """
    path = Path(folder) / "tokenizer_config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MinimindError(
            f"{folder} has no tokenizer_config.json, so it is not a whole model folder. Give a "
            "folder that 'minimind pretrain' or 'minimind tokenizer train' wrote."
        ) from error
    except (OSError, ValueError) as error:
        raise MinimindError(f"{path} cannot be read as JSON ({error}).") from error
    if not isinstance(config, dict):
        raise MinimindError(f"{path} holds no settings (an object in JSON). Copy it again.")
    if config.get("minimind_tokenizer") == "bytes":
        return ByteTokenizer()
    from minimind_wiki.tokenizer.library import LibraryTokenizer

    tokenizer = LibraryTokenizer.load(folder)
    if tokenizer.roles["eos"] is None:
        raise MinimindError(
            f"{path} names no eos_token of its tokenizer.json, so the end of a text has no id. Add "
            'one, such as "eos_token": "<|im_end|>".'
        )
    return tokenizer
