"""A data folder that describes itself: `MANIFEST.json` names each file with hash and licence.

`{"files": [{"file", "name", "rows", "stored_bytes", "sha256", "licence", "fields", …}]}`, the hash
being that of the file as it lies. Each file is either readable as it lies (`USES` says with which
reader), or is named here as not for training, with the reason. Excerpts are sets of their own: what
part they are of stands in `split`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from minimind_wiki.data.download import file_sha256
from minimind_wiki.data.readers import READERS
from minimind_wiki.errors import MinimindError

_BENCH = "a benchmark; training on it would make its score worthless"
_LOOKUP = "questions for retrieval; held out as a benchmark"
# pattern -> reader ("" for none), why it is not for training ("" when it is). The first one counts.
USES: tuple[tuple[str, str, str], ...] = (
    ("lm/*.jsonl*", "text", ""),
    ("lm/*.txt", "plain", ""),
    ("sft/dolly_hhrlhf*", "prompted", ""),
    ("sft/self_instruct*", "instances", ""),
    ("sft/user_oriented*", "instances", ""),
    ("sft/oasst*", "oasst", ""),
    ("sft/moss*", "moss", ""),
    ("sft/topical_chat*", "topical", ""),
    ("sft/kdconv*", "kdconv", ""),
    ("sft/*", "alpaca", ""),
    ("preference/dpo_*", "pair", ""),
    ("preference/hh_*", "hh", ""),
    ("preference/kto_*", "kto", ""),
    ("preference/rasbt*", "alpaca_pair", ""),
    ("math/gsm8k_train*", "gsm8k_rl", ""),
    ("math/gsm8k_test*", "gsm8k_item", _BENCH),
    ("math/svamp*", "svamp", "a challenge set; " + _BENCH),
    ("tools/glaive*", "sharegpt", ""),
    ("tools/reason_tool_use*", "parts", ""),
    ("tools/moss*", "moss", ""),
    ("tools/bfcl*", "", "function calls with their own judge; for evaluating tool use"),
    ("translation/*", "translation", ""),
    ("bench/arc*", "arc", _BENCH),
    ("bench/boolq*", "boolq", _BENCH),
    ("bench/cmmlu*", "cmmlu", _BENCH),
    ("bench/commonsenseqa*", "commonsenseqa", _BENCH),
    ("bench/hellaswag*", "hellaswag", _BENCH),
    ("bench/humaneval*", "", "programs with tests, which must run in a sandbox; " + _BENCH),
    ("bench/lambada*", "lambada", _BENCH),
    ("bench/mmlu*", "mmlu", _BENCH),
    ("bench/mt_bench*", "", "questions without gold, for a judge; " + _BENCH),
    ("bench/openbookqa*", "openbookqa", _BENCH),
    ("bench/piqa*", "piqa", _BENCH),
    ("bench/triviaqa*", "triviaqa", _BENCH),
    ("bench/truthfulqa_mc*", "truthfulqa", _BENCH),
    ("bench/truthfulqa*", "truthfulqa_open", _BENCH),
    ("bench/winogrande*", "winogrande", _BENCH),
    ("retrieval/squad*", "squad", _LOOKUP),
    ("retrieval/cmrc*", "squad", _LOOKUP),
    ("retrieval/nq_open*", "nq_open", _LOOKUP),
    ("retrieval/pubmedqa*", "pubmedqa", _LOOKUP),
    ("retrieval/fairytaleqa_questions*", "fairytaleqa", _LOOKUP),
    ("retrieval/fairytaleqa_sections*", "text",
     "passages for retrieval; the same stories are in lm/en_stories"),
    ("images/*", "", "pictures, not rows"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stored:
    """One file of a manifest. `reader` "" : it holds no rows of ours, and `unfit` says why."""

    folder: Path
    file: str
    title: str
    rows: int
    bytes: int
    sha256: str
    licence: str
    split: str
    reader: str
    unfit: str  # why it is not for training, "" when it is

    @property
    def path(self) -> Path:
        """Where it lies."""
        return self.folder / self.file

    @property
    def name(self) -> str:
        """Its path without endings.

        >>> Stored(Path("."), "lm/a.train.jsonl.gz", "", 0, 0, "", "", "", "", "").name
        'lm/a.train'
        """
        name = self.file
        for ending in (".gz", ".jsonl", ".txt"):
            name = name.removesuffix(ending)
        return name

    @property
    def schema(self) -> str:
        """The schema of the rows that its reader makes, "text" for plain text, "" for no rows."""
        if self.reader == "plain":
            return "text"
        return READERS[self.reader][1] if self.reader else ""

    def verify(self) -> None:
        """Raise unless the file is there, whole and the one that the manifest means."""
        if not self.path.is_file():
            raise MinimindError(f"{self.path} is in MANIFEST.json and not in the folder.")
        size = self.path.stat().st_size
        if size != self.bytes:
            raise MinimindError(
                f"{self.path} has {size:,} bytes, MANIFEST.json says {self.bytes:,}."
            )
        if file_sha256(self.path) != self.sha256:
            raise MinimindError(f"{self.path} has another sha256 than MANIFEST.json says.")
        if not self.licence.strip():
            raise MinimindError(f"{self.path}: MANIFEST.json states no licence.")


def use_of(file: str) -> tuple[str, str]:
    """Reader and reason against training of a file by its path; for unknown paths neither."""
    for pattern, reader, unfit in USES:
        if fnmatchcase(file, pattern):
            return reader, unfit
    return "", "not known to this version; nothing says how its rows are to be read"


def read_manifest(folder: Path) -> list[Stored]:
    """The files that `folder/MANIFEST.json` lists; none where there is no such file."""
    path = folder / "MANIFEST.json"
    if not path.is_file():
        return []
    try:
        found = []
        for row in json.loads(path.read_text(encoding="utf-8"))["files"]:
            reader, unfit = use_of(row["file"])
            found.append(
                Stored(folder, row["file"], row["name"], int(row["rows"]),
                       int(row["stored_bytes"]), row["sha256"], row["licence"],
                       row.get("split") or "", reader, unfit)
            )  # fmt: skip
        return found
    except (ValueError, KeyError, TypeError) as error:
        raise MinimindError(f"{path} is damaged ({type(error).__name__}: {error}).") from error
