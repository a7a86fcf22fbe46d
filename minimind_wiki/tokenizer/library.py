"""The production path: Hugging Face's `tokenizers` (Rust), for training and for encoding.

Same calls as the tokenizers written here, and the same rule: unless `specials` is given, nothing in
a text becomes a control token. The library by itself only keeps *special* tokens from matching (not
`<think>`), so a second copy without any reserved token does the encoding of data.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from minimind_wiki.errors import MinimindError, WrongCall, unknown
from minimind_wiki.tokenizer.bpe import BYTES, CHARACTERS, Progress, first_entries
from minimind_wiki.tokenizer.bytes import SPECIALS
from minimind_wiki.tokenizer.folder import CONFIG, folder_config, save_folder
from minimind_wiki.tokenizer.layout import CHATML
from minimind_wiki.tokenizer.protocol import fingerprint_of

KINDS = ("bpe", "unigram", "wordpiece")
ROLES = dict(zip(("pad", "bos", "eos"), SPECIALS, strict=True))
# WordPiece's mark for the middle of a word: BERT's "##" would make the text "###" a middle "#".
MIDDLE = "\u2581"
SPACE = "\u2581"  # how SentencePiece writes a space
LONGEST = 500  # bytes of a word that WordPiece reads at once
JINJA = "chat_template.jinja"  # where newer transformers put it


def train_library(
    texts: Iterable[str],
    vocab_size: int,
    reserved: Mapping[str, bool] = CHATML,
    kind: str = "bpe",
    min_frequency: int = 0,
) -> Any:
    """A trained `tokenizers.Tokenizer`: byte-level BPE (the same as ours), Unigram (Kudo 2018) over
    the same bytes, or WordPiece (Schuster & Nakajima 2012) over the same bytes.

    Errors: WrongCall for too small a vocabulary or an unknown kind, MinimindError without text.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    if kind not in KINDS:
        raise unknown("kind of tokenizer", kind, KINDS)
    first_entries(tuple(reserved), vocab_size)
    if kind == "wordpiece" and vocab_size < len(reserved) + 512:
        raise WrongCall(
            f"a vocabulary of {vocab_size:,} is too small: WordPiece has each byte twice, once for "
            f"the middle of a word, so it needs at least {len(reserved) + 512}."
        )
    unknown_token = next(iter(reserved))
    common: dict[str, Any] = {
        "vocab_size": vocab_size,
        "special_tokens": list(reserved),
        "initial_alphabet": pre_tokenizers.ByteLevel.alphabet(),
        "show_progress": False,
    }
    if kind == "bpe":
        tokenizer = Tokenizer(models.BPE())
        trainer: Any = trainers.BpeTrainer(min_frequency=min_frequency, **common)
    elif kind == "unigram":
        tokenizer = Tokenizer(models.Unigram())
        trainer = trainers.UnigramTrainer(unk_token=unknown_token, **common)
    else:
        tokenizer = Tokenizer(
            models.WordPiece(unk_token=unknown_token, continuing_subword_prefix=MIDDLE)
        )
        trainer = trainers.WordPieceTrainer(
            min_frequency=min_frequency, continuing_subword_prefix=MIDDLE, **common
        )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    if kind == "wordpiece":
        # What is longer than a model's longest word would be unknown as a whole.
        short = pre_tokenizers.Split(Regex(rf"[\s\S]{{1,{LONGEST}}}"), "isolated")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([tokenizer.pre_tokenizer, short])
        middle = decoders.Replace(Regex(f"^{MIDDLE}"), "")
        tokenizer.decoder = decoders.Sequence([middle, decoders.ByteLevel()])
    some = False

    def watched() -> Iterator[str]:
        nonlocal some
        for text in texts:
            some = some or bool(text)
            yield text

    tokenizer.train_from_iterator(watched(), trainer)
    if not some:
        raise MinimindError("there is no text to learn a vocabulary from. Give data with text.")
    return _with_every_byte(tokenizer, vocab_size) if kind == "wordpiece" else tokenizer


def _with_every_byte(tokenizer: Any, vocab_size: int) -> Any:
    """A WordPiece with every byte for the middle of a word, also those that no text had, in the
    place of what was learned last; otherwise a word with such a byte would be unknown as a whole.
    """
    from tokenizers import Tokenizer

    parts = json.loads(tokenizer.to_str())
    vocabulary = parts["model"]["vocab"]
    names = sorted(vocabulary, key=vocabulary.__getitem__)
    missing = [MIDDLE + c for c in sorted(CHARACTERS) if MIDDLE + c not in vocabulary]
    room = vocab_size - len(missing)
    single = [n for n in names[room:] if len(n.removeprefix(MIDDLE)) == 1]
    names = names[: room - len(single)] + single + missing
    parts["model"]["vocab"] = {name: index for index, name in enumerate(names)}
    parts["model"]["max_input_chars_per_word"] = LONGEST
    return Tokenizer.from_str(json.dumps(parts))


def chunks(
    documents: Sequence[str], progress: Progress | None = None, size: int = 1 << 20
) -> Iterator[str]:
    """Documents in turn, long ones cut before a line end so that progress can be told.

    A cut is only made where spaces begin, between another character and a line end: there the
    pattern of `pretokenize` cuts as well, so the counts are those of the whole.
    """
    total, done = sum(map(len, documents)), 0
    for document in documents:
        at = 0
        while at < len(document):
            end = min(at + size, len(document))
            while end < len(document) and not (
                document[end] == "\n" and not document[end - 1].isspace()
            ):
                end += 1
            yield document[at:end]
            done += end - at
            at = end
            if progress:
                progress(done, total)


class LibraryTokenizer:
    """Any tokenizer.json, with the calls of `protocol.Tokenizer`."""

    def __init__(
        self, text: str, name: str = "tokenizer.json", config: Mapping[str, Any] | None = None
    ) -> None:
        """`text`, `config`: the contents of tokenizer.json and tokenizer_config.json.

        MinimindError when the library refuses it.
        """
        from tokenizers import Tokenizer

        try:
            self.parts = json.loads(text)
            self.whole = Tokenizer.from_str(text)
            added = self.parts.get("added_tokens") or []
            self._data = Tokenizer.from_str(
                json.dumps({**self.parts, "added_tokens": [], "post_processor": None})
            )
        except Exception as error:  # the library raises no narrower class
            raise MinimindError(f"{name} is not a tokenizer that can be read ({error}).") from error
        self.name, self.text, self.config = name, text, dict(config or {})
        self.kind = str(self.parts["model"].get("type", ""))
        self.special_ids: dict[str, int] = {token["content"]: token["id"] for token in added}
        self.vocab_size = 1 + max(self.whole.get_vocab(with_added_tokens=True).values())
        self.roles = {role: self._role(role) for role in ROLES}

    def _role(self, role: str) -> int | None:
        """The id of a role's token: as the config says, or, without a config, as our layouts do."""
        named = self.config.get(f"{role}_token", None if self.config else ROLES[role])
        content = named.get("content") if isinstance(named, dict) else named
        found = self.whole.token_to_id(content) if isinstance(content, str) else None
        return None if found is None else int(found)

    @classmethod
    def load(cls, path: str | Path) -> LibraryTokenizer:
        """From a folder with tokenizer.json (and tokenizer_config.json), or such a file itself."""
        path = Path(path)
        file = path / "tokenizer.json" if path.is_dir() else path
        config = {}
        try:
            text = file.read_text(encoding="utf-8")
            if path.is_dir() and (path / CONFIG).exists():
                config = json.loads((path / CONFIG).read_text(encoding="utf-8"))
            if path.is_dir() and (path / JINJA).exists() and "chat_template" not in config:
                config["chat_template"] = (path / JINJA).read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise MinimindError(
                f"{file} does not exist. Give a folder with a tokenizer.json; "
                "'minimind tokenizer train' writes one."
            ) from error
        except (OSError, ValueError) as error:
            raise MinimindError(f"{path} cannot be read ({error}).") from error
        return cls(text, str(path), config)

    @property
    def eos_id(self) -> int:
        """The id that ends a text. MinimindError when the files name none."""
        if (found := self.roles["eos"]) is None:
            raise MinimindError(
                f"{self.name} does not say which token ends a text. Give a folder whose {CONFIG} "
                "names an eos_token."
            )
        return found

    @property
    def bos_id(self) -> int:
        """The id that begins a text; the one that ends it, where the files name none (Qwen)."""
        return self.eos_id if self.roles["bos"] is None else self.roles["bos"]

    @property
    def pad_id(self) -> int:
        """The id that fills up; the one that ends a text, where the files name none (Llama)."""
        return self.eos_id if self.roles["pad"] is None else self.roles["pad"]

    @cached_property
    def fingerprint(self) -> str:
        """See `fingerprint_of`."""
        return fingerprint_of(self)

    def encode(self, text: str, specials: bool = False) -> list[int]:
        """The ids of `text`; reserved tokens in it are data unless `specials` is given."""
        tokenizer = self.whole if specials else self._data
        return list(tokenizer.encode(text, add_special_tokens=False).ids)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` for many texts, on as many cores as RAYON_NUM_THREADS allows."""
        found = self._data.encode_batch_fast(list(texts), add_special_tokens=False)
        return [one.ids for one in found]

    def decode(self, ids: Sequence[int], specials: bool = False) -> str:
        """The text of `ids`; special tokens are left out, or written as names with `specials`.

        ValueError for an id outside the vocabulary.
        """
        for token in ids:
            if not 0 <= token < self.vocab_size:
                raise ValueError(f"id {token} is not in 0..{self.vocab_size - 1}")
        return str(self.whole.decode(list(ids), skip_special_tokens=not specials))

    def byte_length(self, token: int) -> int:
        """How many bytes of text the token stands for; 0 for an added one.

        MinimindError when the tokenizer is not byte-level: then tokens are not bytes of the text.
        """
        return self._lengths[token]

    @cached_property
    def _lengths(self) -> list[int]:
        if "ByteLevel" not in self._decoding:
            raise MinimindError(
                f"{self.name} is not byte-level, so its tokens have no length in bytes, and a loss "
                "per byte cannot be computed. Take a byte-level tokenizer."
            )
        return [len(spelled) for spelled in self._bytes]

    def token_bytes(self, token: int) -> bytes:
        """The bytes of text that the token stands for; none for an added one.

        MinimindError for a tokenizer whose tokens are pieces of neither bytes nor text (BERT's).
        """
        if not 0 <= token < self.vocab_size:
            raise ValueError(f"id {token} is not in 0..{self.vocab_size - 1}")
        return self._bytes[token]

    @cached_property
    def _decoding(self) -> set[str]:
        """The kinds of steps that turn tokens into text."""
        decoder = self.parts.get("decoder") or {}
        return {step.get("type", "") for step in decoder.get("decoders", [decoder])}

    @cached_property
    def _bytes(self) -> list[bytes]:
        """What each id stands for: by GPT-2's table of bytes, or as SentencePiece writes it."""
        byte_level = "ByteLevel" in self._decoding
        if not byte_level and not {"Metaspace", "ByteFallback"} & self._decoding:
            raise MinimindError(
                f"{self.name} is neither byte-level nor SentencePiece's, so a text cannot be put "
                "together from its tokens one by one. Take another tokenizer."
            )
        added = set(self.special_ids.values())
        spelled = [b""] * self.vocab_size
        for name, token in self.whole.get_vocab(with_added_tokens=True).items():
            if token in added:
                continue
            if byte_level:
                name = name.removeprefix(MIDDLE)
                known = all(c in BYTES for c in name)  # if not, the library takes it as it is
                spelled[token] = bytes(BYTES[c] for c in name) if known else name.encode()
            elif raw := re.fullmatch("<0x([0-9A-F]{2})>", name):
                spelled[token] = bytes.fromhex(raw[1])
            else:
                spelled[token] = name.replace(SPACE, " ").encode()
        return spelled

    def save(self, folder: str | Path) -> None:
        """Write both files again as they were read; without a config, one that names the roles."""
        if not self.config:
            specials = {t["content"]: t["special"] for t in self.parts.get("added_tokens") or []}
            config = folder_config(specials, "library")
        else:
            config = self.config
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tokenizer.json").write_text(self.text, encoding="utf-8")
        written = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
        (folder / CONFIG).write_text(written, encoding="utf-8")


def save_library(
    tokenizer: Any, folder: str | Path, reserved: Mapping[str, bool], kind: str = "bpe"
) -> None:
    """Write a tokenizer of `train_library` as tokenizer.json and tokenizer_config.json."""
    save_folder(folder, tokenizer, reserved, kind)
