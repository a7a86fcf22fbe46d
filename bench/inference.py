"""How quickly the engine answers, as ratios of one run: `python bench/inference.py [ROUNDS]`.

The `26m` preset with random weights in float32, greedy, prompts of 64 tokens. The ways take turns
within a round, and each ratio is of two times of the same round: median of the rounds and range.

| line | ratio |
|---|---|
| transformers | its `generate`, with the same weights, over the engine, one request |
| llama.cpp | the same with a float32 GGUF of them, where llama-cpp-python is installed |
| stream | `infer.stream`, without paged cache and batching, over the engine |
| concurrent | tokens a second of 16 requests at once over those of one |
| prefill | the engine on a prompt of 1,024 tokens over one bare forward of the model |

`--threads` (all by default) are given to torch and to llama.cpp alike. On one thread the clock is
the process's own, which stands still while other programs run; else it is that of the wall.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from minimind_wiki.infer import save_model_folder, stream
from minimind_wiki.infer.engine import Engine
from minimind_wiki.infer.request import Request, Sampling
from minimind_wiki.model import Transformer, preset

PROMPT, NEW, LONG, MANY = 64, 64, 1024, 16


def answer(model: Transformer, prompts: list[list[int]], new: int) -> None:
    """All prompts through a fresh engine, so that no prompt is found in its cache."""
    engine = Engine(model, room=16_384)
    for prompt in prompts:
        engine.add(Request(prompt, new, Sampling(temperature=0)))
    while engine.busy:
        engine.step()


def by_transformers(folder: Path, prompt: list[int]) -> Callable[[], None]:
    """transformers' generate on the same weights."""
    import transformers

    transformers.logging.set_verbosity_error()
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    ids = torch.tensor([prompt])

    def run() -> None:
        out = theirs.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=NEW,
            min_new_tokens=NEW,
        )  # fmt: skip
        assert out.shape[1] == PROMPT + NEW

    return run


def by_llama_cpp(file: Path, prompt: list[int], threads: int) -> Callable[[], None]:
    """llama.cpp on a GGUF file of the same weights."""
    import llama_cpp

    theirs = llama_cpp.Llama(
        str(file), n_ctx=PROMPT + NEW, n_threads=threads, n_threads_batch=threads, verbose=False
    )

    def run() -> None:
        theirs.reset()
        for count, _ in enumerate(theirs.generate(prompt, temp=0.0), start=1):
            if count == NEW:
                return

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("rounds", nargs="?", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--gguf", type=Path, help="a float32 GGUF of `26m`, for llama.cpp")
    parser.add_argument("--no-transformers", action="store_true")
    words = parser.parse_args()
    torch.set_num_threads(words.threads)
    clock = time.process_time if words.threads == 1 else time.perf_counter

    def seconds(run: Callable[[], None]) -> float:
        began = clock()
        run()
        return clock() - began

    model = Transformer(preset("26m")).eval()
    draw = torch.Generator().manual_seed(0)
    prompts = torch.randint(3, 6400, (MANY, PROMPT), generator=draw).tolist()
    long = torch.randint(3, 6400, (1, LONG), generator=draw)

    @torch.inference_mode()
    def bare() -> None:
        model.lm_head(model.model(long)[:, -1])

    ways: dict[str, Callable[[], None]] = {
        "one": lambda: answer(model, prompts[:1], NEW),
        "many": lambda: answer(model, prompts, NEW),
        "stream": lambda: [*stream(model, torch.tensor(prompts[:1]), NEW, 0.0)] and None,
        "prefill": lambda: answer(model, long.tolist(), 1),
        "bare": bare,
    }
    if not words.no_transformers:
        with tempfile.TemporaryDirectory() as folder:
            save_model_folder(Path(folder) / "m", model)
            ways["transformers"] = by_transformers(Path(folder) / "m", prompts[0])
    if words.gguf is not None and importlib.util.find_spec("llama_cpp"):
        ways["llama.cpp"] = by_llama_cpp(words.gguf, prompts[0], words.threads)
    rounds = []
    for number in range(words.rounds + 1):
        told = {name: seconds(run) for name, run in ways.items()}
        if number:  # the first warms up
            rounds.append(told)
    print(f"torch {torch.__version__}, {words.threads} threads, {words.rounds} rounds")
    ratios = {
        "stream": [t["stream"] / t["one"] for t in rounds],
        f"concurrent ({MANY})": [MANY * t["one"] / t["many"] for t in rounds],
        "prefill": [t["prefill"] / t["bare"] for t in rounds],
    }
    for name in ("transformers", "llama.cpp"):
        if name in ways:
            ratios[name] = [t[name] / t["one"] for t in rounds]
    print("| line | ratio, median (range) |\n|---|---|")
    for name, values in ratios.items():
        print(f"| {name} | {statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f}) |")
    one = statistics.median(t["one"] for t in rounds)
    print(f"One request: {NEW / one:.0f} tokens a second, its prompt included.")
    print(json.dumps({name: [round(v, 3) for v in values] for name, values in ratios.items()}))


if __name__ == "__main__":
    main()
