"""The byte tokenizer: every byte is a token, so nothing can be unknown and nothing must be trained.

Ids 0–255 are the bytes themselves; the special tokens follow. `save` writes the same tokenizer in
Hugging Face's format (a byte-level BPE without a single merge), so that transformers, vLLM and
llama.cpp's converter read it. The price is length: English needs about four times as many tokens
as with a trained vocabulary.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from minimind_wiki.tokenizer.protocol import fingerprint_of
from minimind_wiki.tokenizer.template import TEMPLATE

SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")  # pad, bos, eos: MiniMind's own roles
_SPECIAL = re.compile("|".join(re.escape(token) for token in SPECIALS))


class ByteTokenizer:
    """Text to UTF-8 bytes and back, plus three special tokens."""

    name = "bytes"
    vocab_size = 256 + len(SPECIALS)
    pad_id, bos_id, eos_id = 256, 257, 258

    def encode(self, text: str, specials: bool = False) -> list[int]:
        """The ids of `text`.

        With `specials`, `<|im_end|>` and its like in the text become control tokens, as they do in
        transformers by default. Off by default: text from a corpus or a user must not be able to
        end a turn. ValueError for a lone surrogate, which is no text.
        """
        if not specials:
            return list(text.encode())
        ids: list[int] = []
        at = 0
        for match in _SPECIAL.finditer(text):
            ids += text[at : match.start()].encode()
            ids.append(256 + SPECIALS.index(match.group()))
            at = match.end()
        return ids + list(text[at:].encode())

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` for each text."""
        return [self.encode(text) for text in texts]

    def decode(self, ids: Sequence[int], specials: bool = False) -> str:
        """The text of `ids`; bytes that are not UTF-8 become U+FFFD.

        Special tokens are left out, or written as their names with `specials`. ValueError for an
        id outside the vocabulary.
        """
        raw = bytearray()
        for token in ids:
            if not 0 <= token < self.vocab_size:
                raise ValueError(f"id {token} is not in 0..{self.vocab_size - 1}")
            if token < 256:
                raw.append(token)
            elif specials:
                raw += SPECIALS[token - 256].encode()
        return raw.decode("utf-8", errors="replace")

    def byte_length(self, token: int) -> int:
        """How many bytes of text the token stands for: one, or none for a special token."""
        return 1 if token < 256 else 0

    def token_bytes(self, token: int) -> bytes:
        """The byte that the token stands for; none for a special token. ValueError for no id."""
        if not 0 <= token < self.vocab_size:
            raise ValueError(f"id {token} is not in 0..{self.vocab_size - 1}")
        return bytes([token][: self.byte_length(token)])

    @cached_property
    def fingerprint(self) -> str:
        """See `fingerprint_of`."""
        return fingerprint_of(self)

    def save(self, folder: str | Path) -> None:
        """Write tokenizer.json and tokenizer_config.json, as `AutoTokenizer` reads them."""
        from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

        vocabulary = {char: byte for byte, char in enumerate(_byte_characters())}
        tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.add_special_tokens(
            [AddedToken(token, special=True, normalized=False) for token in SPECIALS]
        )
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer.save(str(folder / "tokenizer.json"))
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "pad_token": SPECIALS[0],
            "bos_token": SPECIALS[1],
            "eos_token": SPECIALS[2],
            "add_bos_token": False,
            "add_eos_token": False,
            "clean_up_tokenization_spaces": False,
            "chat_template": TEMPLATE,
            "minimind_tokenizer": "bytes",
        }
        text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
        (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")


def _byte_characters() -> list[str]:
    """The printable character that byte-level BPE writes for each byte, in byte order.

    GPT-2's table: printable Latin-1 stands for itself, each other byte for the next free character
    from U+0100. Derived here rather than taken from a library, and tested against `tokenizers`.
    """
    own = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(256))
    return [chr(byte) if byte in own else chr(256 + next(others)) for byte in range(256)]
