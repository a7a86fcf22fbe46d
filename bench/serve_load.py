"""A server under load, on this machine alone: `python bench/serve_load.py MODEL [--streams 64]`.

The server runs in this process, its clients are tasks of another thread. At each concurrency of
1, 4, 16 … `--streams`, that many clients stream greedy answers to prompts of their own at the same
time, `--rounds` times each. Told as JSON, by concurrency: seconds to the first token and between
two tokens (p50, p95, p99), tokens a second of all together, and how many answers differ from those
that `generate` gives to the same prompt alone. A token that is lost or comes in another's stream
makes an answer differ, and the exit status 1. So would a near tie that another order of sums
decides otherwise: `--ties` says below which distance of the two best scores an answer is compared
only up to there.

Clients and model share the machine's cores, so the times hold for this arrangement alone; between
concurrencies of one run they compare.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import torch

from minimind_wiki.infer import generate, load_model_folder
from minimind_wiki.infer.engine import Engine
from minimind_wiki.serve.app import create_app
from minimind_wiki.serve.desk import Served
from minimind_wiki.serve.run import Server, listen
from minimind_wiki.serve.security import Limits

PROMPT = "Story number {number}. Once upon a time"


@dataclass
class Stream:
    """What a client saw: the text, and when each piece of it came."""

    text: str = ""
    asked: float = 0.0
    times: list[float] = field(default_factory=list)
    ended: bool = False


def alone(model: Any, tokenizer: Any, prompt: str, tokens: int, ties: float) -> tuple[str, bool]:
    """The greedy answer of one prompt by itself; and whether it is whole, or ends at a near tie."""
    ids = tokenizer.encode(prompt)
    ids_1T = generate(model, torch.tensor([ids]), tokens, 0.0, stop_ids=(tokenizer.eos_id,))
    with torch.inference_mode():
        best_T2 = model(ids_1T)[0, len(ids) - 1 : -1].topk(2).values
    new = ids_1T[0, len(ids) :].tolist()
    close = (best_T2[:, 0] - best_T2[:, 1] < ties).nonzero().flatten().tolist()
    whole = not close
    new = new[: close[0]] if close else new
    return tokenizer.decode(new), whole


async def client(http: httpx.AsyncClient, url: str, prompt: str, tokens: int) -> Stream:
    """Stream one answer."""
    body = {"model": "m", "prompt": prompt, "max_tokens": tokens, "temperature": 0, "stream": True}
    seen = Stream(asked=time.perf_counter())
    async with http.stream("POST", f"{url}/v1/completions", json=body) as response:
        if response.status_code != 200:
            raise RuntimeError(f"the server answered {response.status_code}")
        async for line in response.aiter_lines():
            if line == "data: [DONE]":
                seen.ended = True
            elif line:
                piece = json.loads(line.removeprefix("data: "))["choices"][0]["text"]
                if piece:
                    seen.times.append(time.perf_counter())
                    seen.text += piece
    return seen


async def together(url: str, prompts: list[str], tokens: int) -> tuple[list[Stream], float]:
    """All prompts at the same time; what was seen, and the seconds of it all."""
    limits = httpx.Limits(max_connections=len(prompts))
    async with httpx.AsyncClient(timeout=600, limits=limits, verify=False) as http:
        began = time.perf_counter()
        seen = await asyncio.gather(*(client(http, url, prompt, tokens) for prompt in prompts))
        return list(seen), time.perf_counter() - began


def shares(seconds: list[float]) -> dict[str, float]:
    """p50, p95 and p99 in milliseconds: the smallest value that so many are not above.

    >>> shares([0.001 * n for n in range(1, 101)])
    {'p50': 50.0, 'p95': 95.0, 'p99': 99.0}
    """
    ordered = sorted(seconds)
    return {f"p{p}": round(1000 * ordered[max(0, -(-p * len(ordered) // 100) - 1)], 2)
            for p in (50, 95, 99)} if ordered else {}  # fmt: skip


def measure(url: str, many: int, rounds: int, tokens: int, wanted: dict[str, tuple[str, bool]],
            new: Any) -> dict[str, Any]:  # fmt: skip
    """One concurrency."""
    seen: list[Stream] = []
    seconds, differ = 0.0, 0
    prompts = list(wanted)[:many]
    for _ in range(rounds):
        some, took = asyncio.run(together(url, prompts, tokens))
        seconds += took
        seen += some
        for prompt, stream in zip(prompts, some, strict=True):
            text, whole = wanted[prompt]
            same = stream.text == text if whole else stream.text.startswith(text)
            differ += not (same and stream.ended)
    gaps = [b - a for s in seen for a, b in zip(s.times, s.times[1:], strict=False)]
    return {
        "streams": many,
        "answers": len(seen),
        "differ": differ,
        "first_token_ms": shares([s.times[0] - s.asked for s in seen if s.times]),
        "next_token_ms": shares(gaps),
        "tokens_per_second": round(sum(new(s.text) for s in seen) / seconds, 1),
    }


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
    context = model.config.max_position_embeddings
    prompts = [PROMPT.format(number=number) for number in range(words.streams)]
    wanted = {p: alone(model, tokenizer, p, words.tokens, words.ties) for p in prompts}
    engine = lambda: Engine(model, tokenizer, room=64 * 1024, max_running=words.streams)  # noqa: E731
    app = create_app({"m": Served(engine, tokenizer, context)}, limits=Limits(at_once=1024))
    ready, opened = threading.Event(), listen("127.0.0.1", 0)
    server = Server(app, ready.set)
    server.config.access_log = False
    thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]}, daemon=True)
    thread.start()
    ready.wait(60)
    url = f"http://127.0.0.1:{opened.getsockname()[1]}"
    steps = sorted({n for n in (1, 4, 16) if n < words.streams} | {words.streams})
    measure(url, 1, 1, words.tokens, wanted, len)  # the first of all pays for what is lazy
    rows = [measure(url, n, words.rounds, words.tokens, wanted,
                    lambda text: len(tokenizer.encode(text))) for n in steps]  # fmt: skip
    server.should_exit = True
    thread.join(30)
    found = {
        "model": words.model.name, "parameters": model.num_parameters(), "tokens": words.tokens,
        "device": platform.processor() or platform.machine(), "cores": os.cpu_count(),
        "threads": torch.get_num_threads(), "torch": torch.__version__,
        "cut_at_ties": sum(not whole for _, whole in wanted.values()), "by_streams": rows,
    }  # fmt: skip
    print(json.dumps(found, indent=2))
    return 1 if any(row["differ"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
