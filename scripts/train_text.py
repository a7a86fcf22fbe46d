"""The text that a reader trains on in the page, as token ids, into docs/en/assets/build/train/.

Stories of the little world: of training worlds to learn from, of validation worlds (other people,
places and plots) to measure with. The generator does not run in the page. Files:

    text.json    what the numbers mean: sizes, the floor, the bigram bar, the bytes of each token
    text.bin     uint16: the training stream, then where each story begins (uint32), then the
                 held-out rows, 65535 where a story has ended
    tokenizer.json, tokenizer_config.json    for the model folder that the page gives back
"""

from __future__ import annotations

import json
import math
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from minimind_wiki.data.world import make_document  # noqa: E402
from minimind_wiki.tokenizer.fast_bpe import FastBPETokenizer  # noqa: E402

OUT = ROOT / "docs" / "en" / "assets" / "build" / "train"
TOKENIZER = ROOT / "models" / "world-nano"
STORIES, HELD_OUT, ROW = 1200, 32, 257  # a row: 256 tokens and the one after them
NOTHING = 65535


def training_part(tokenizer: FastBPETokenizer) -> tuple[np.ndarray, np.ndarray, int]:
    """The stream of all stories, each between bos and eos; where a row may begin; bytes of text."""
    texts = [make_document(f"page.{n}", "train").text for n in range(STORIES)]
    parts = [[tokenizer.bos_id, *tokenizer.encode(text), tokenizer.eos_id] for text in texts]
    starts = np.cumsum([0, *map(len, parts)])
    stream = np.concatenate(parts).astype(np.uint16)
    begins = starts[:-1][starts[:-1] + ROW <= len(stream)].astype(np.uint32)
    return stream, begins, sum(len(text.encode()) for text in texts)


def held_out_part(tokenizer: FastBPETokenizer) -> tuple[np.ndarray, int, float]:
    """Rows of one story each, the bytes of their text, and the floor in bits per byte: what a
    reader needs who knows every rule of the generator (see train/feeds.py)."""
    rows = np.full((HELD_OUT, ROW), NOTHING, np.uint16)
    filled = size = number = 0
    bits = 0.0
    while filled < HELD_OUT:
        document = make_document(f"held-out.{number}", "validation")
        ids = [tokenizer.bos_id, *tokenizer.encode(document.text), tokenizer.eos_id]
        number += 1
        if len(ids) <= ROW:
            rows[filled, : len(ids)] = ids
            filled, size = filled + 1, size + len(document.text.encode())
            bits -= document.logp_any / math.log(2)
    return rows, size, bits / size


def bigram_bits(stream: np.ndarray, rows: np.ndarray, size: int, vocabulary: int) -> float:
    """Bits per byte of the held-out rows under counted pairs of tokens."""
    from minimind_wiki.train.bigram import bigram_loss

    before, after = rows[:, :-1].ravel(), rows[:, 1:].ravel()
    there = after != NOTHING
    pairs = before[there].astype(np.int64), after[there].astype(np.int64)
    nats = bigram_loss(stream.astype(np.int64), *pairs, vocabulary)
    return nats * int(there.sum()) / math.log(2) / size


def build(out: Path) -> dict[str, Any]:
    """Write the files and return what text.json says."""
    tokenizer = FastBPETokenizer.load(TOKENIZER)
    stream, begins, train_bytes = training_part(tokenizer)
    rows, held_bytes, floor = held_out_part(tokenizer)
    vocabulary = tokenizer.vocab_size
    about = {
        "vocabulary": vocabulary, "begin": tokenizer.bos_id, "end": tokenizer.eos_id,
        "train": len(stream), "starts": len(begins), "held_out": list(rows.shape),
        "train_bytes": train_bytes, "held_out_bytes": held_bytes, "floor": round(floor, 4),
        "bigram": round(bigram_bits(stream, rows, held_bytes, vocabulary), 4),
        # As characters U+0000 to U+00FF, one a byte.
        "pieces": [tokenizer.token_bytes(i).decode("latin-1") for i in range(vocabulary)],
    }  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    (out / "text.bin").write_bytes(stream.tobytes() + begins.tobytes() + rows.tobytes())
    (out / "text.json").write_text(json.dumps(about, separators=(",", ":")), encoding="utf-8")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(TOKENIZER / name, out / name)
    return about


def main() -> int:
    """Build into the site's assets."""
    about = build(OUT)
    size = sum(file.stat().st_size for file in OUT.iterdir())
    print(
        f"train text: {about['train']:,} tokens of {about['train_bytes']:,} bytes, "
        f"{about['held_out'][0]} stories held out, floor {about['floor']} bits/byte, "
        f"bigram {about['bigram']}; {size / 1e6:.2f} MB"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
