"""A server under load, on this machine alone: `python bench/serve_load.py MODEL [--streams 64]`.

At each concurrency of 1, 4, 16 … `--streams`, that many clients stream greedy answers to prompts of
their own at the same time, `--rounds` times each. Told as JSON, by concurrency: milliseconds to the
first token and between two (p50, p95, p99), tokens a second of all together, and how many answers
differ from those that the model gives to the same prompt alone; if one does, the exit status is 1.
`--ties` says below which distance of the two best scores an answer is compared only up to there.

Server and clients are two processes on one machine, so the times hold for this arrangement alone;
between concurrencies of one run they compare. `production-inference/load` is the same as a record.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from pathlib import Path

import torch

from minimind_wiki.infer import load_model_folder
from minimind_wiki.infer.engine import Engine
from minimind_wiki.serve.desk import Served
from minimind_wiki.serve.load import load_apart, told
from minimind_wiki.serve.security import Limits
from minimind_wiki.serve.trial import at_work, wanted

PROMPT = "Story number {number}. Once upon a time"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--ties", type=float, default=1e-3)
    words = parser.parse_args()
    # not bfloat16, which a model may be stored in: its best two scores are often equal
    model, tokenizer = load_model_folder(words.model, dtype=torch.float32)
    prompts = [tokenizer.encode(PROMPT.format(number=n)) for n in range(words.streams)]
    want = [wanted(model, tokenizer, p, words.tokens, words.ties) for p in prompts]
    bodies = [{"model": "m", "prompt": p, "max_tokens": words.tokens, "temperature": 0}
              for p in prompts]  # fmt: skip
    served = Served(
        lambda: Engine(model, tokenizer, room=64 * 1024, max_running=words.streams),
        tokenizer, model.config.max_position_embeddings,
    )  # fmt: skip
    rows = []
    with at_work(served, Limits(at_once=1024)) as host:
        load_apart(host, bodies[:1], 1)  # the first of all pays for what is lazy
        for many in sorted({n for n in (1, 4, 16) if n < words.streams} | {words.streams}):
            seen = load_apart(host, bodies[:many] * words.rounds, many)
            pairs = zip(want[:many] * words.rounds, seen, strict=True)
            differ = sum(not one.fits(other) for one, other in pairs)
            rows.append({"streams": many, "answers": len(seen), "differ": differ, **told(seen)})
    found = {
        "model": words.model.name, "parameters": model.num_parameters(), "tokens": words.tokens,
        "device": platform.processor() or platform.machine(), "cores": os.cpu_count(),
        "threads": torch.get_num_threads(), "torch": torch.__version__,
        "cut_at_ties": sum(not one.whole for one in want), "by_streams": rows,
    }  # fmt: skip
    print(json.dumps(found, indent=2))
    return 1 if any(row["differ"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
