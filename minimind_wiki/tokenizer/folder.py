"""The tokenizer's two files in a model folder, in Hugging Face's format."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minimind_wiki.errors import MinimindError
from minimind_wiki.tokenizer.template import TEMPLATE

CONFIG = "tokenizer_config.json"


def write_folder(folder: str | Path, model: Any, reserved: Mapping[str, bool], kind: str) -> None:
    """Write both files around a byte-level model of the `tokenizers` library."""
    from tokenizers import Tokenizer, decoders, pre_tokenizers

    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    save_folder(folder, tokenizer, reserved, kind)


def save_folder(
    folder: str | Path, tokenizer: Any, reserved: Mapping[str, bool], kind: str
) -> None:
    """Add the reserved tokens to a `tokenizers.Tokenizer` and write both files."""
    from tokenizers import AddedToken

    for token, special in reserved.items():
        added = AddedToken(token, special=special, normalized=False)
        (tokenizer.add_special_tokens if special else tokenizer.add_tokens)([added])
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MinimindError(
            f"{folder} cannot be made a folder ({error.strerror or error}). Give another --out."
        ) from error
    tokenizer.save(str(folder / "tokenizer.json"))
    text = json.dumps(folder_config(reserved, kind), indent=2, ensure_ascii=False) + "\n"
    (folder / CONFIG).write_text(text, encoding="utf-8")


def folder_config(reserved: Mapping[str, bool], kind: str) -> dict[str, Any]:
    """What tokenizer_config.json says; the first three reserved tokens are pad, bos and eos."""
    roles = dict(zip(("pad_token", "bos_token", "eos_token"), reserved, strict=False))
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **roles,
        "unk_token": roles.get("pad_token"),
        "add_bos_token": False,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
        "chat_template": TEMPLATE,
        "minimind_tokenizer": kind,
    }


def read_bpe(
    folder: str | Path,
) -> tuple[dict[str, int], list[tuple[str, str]], dict[str, bool]]:
    """Vocabulary, merges and reserved tokens of a byte-level BPE with GPT-2's cut.

    MinimindError when the folder has no tokenizer.json, or one that works otherwise.
    """
    path = Path(folder) / "tokenizer.json"
    try:
        parts = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MinimindError(
            f"{folder} has no tokenizer.json. Give a folder that 'minimind tokenizer train' wrote."
        ) from error
    except (OSError, ValueError) as error:
        raise MinimindError(f"{path} cannot be read as JSON ({error}).") from error
    model = parts.get("model") or {}
    cut = parts.get("pre_tokenizer") or {}
    plain = cut.get("type") == "ByteLevel" and cut.get("use_regex", True)
    if model.get("type") != "BPE" or parts.get("normalizer") or not plain:
        raise MinimindError(
            f"{path} is not a byte-level BPE with GPT-2's cut; read it with "
            "minimind_wiki.tokenizer.library.LibraryTokenizer instead."
        )
    if cut.get("add_prefix_space"):
        raise MinimindError(f"{path} puts a space before each text, which ours never does.")
    merges = [m.split(" ") if isinstance(m, str) else m for m in model["merges"]]
    reserved = {t["content"]: t["special"] for t in parts.get("added_tokens", [])}
    return model["vocab"], [(a, b) for a, b in merges], reserved
