"""How quickly the engine answers, beside its rivals: `python bench/inference.py [ROUNDS]`.

The jobs and programs of the experiment `prefill-decode/engines` (its file says what they are), on
as many threads as are asked for: ours in float32 and in eight bits, transformers, and llama.cpp in
float32, float16 and eight bits. Programs take turns within a round; a ratio is of two times of the
same round, and its median is told. On one thread, as in the record of that experiment, the clock is
the process's own, which stands still while other programs run; else it is that of the wall, so let
none run. All are in one process, whose idle teams of OpenMP's threads slow down whoever works: on
more than one thread every program is slower than alone, so such numbers are kept nowhere.
"""

from __future__ import annotations

import argparse
import dataclasses

import torch

from minimind_wiki.book.experiment import load_experiment

JOBS = {"one": "one request", "many": "16 requests", "prefill": "a long prompt"}


def measured(rounds: int, threads: int, quick: bool) -> dict[str, dict[str, float]]:
    """Values by arm of the experiment, of one seed."""
    experiment = load_experiment("prefill-decode/engines")
    settings = experiment.quick if quick else experiment.settings
    settings = dataclasses.replace(settings, rounds=rounds, threads=threads)
    measure = experiment.measure_fn
    assert measure is not None
    return {arm: measure(experiment.arm_settings(arm), 0, settings).values
            for arm in experiment.arms}  # fmt: skip


def goals(found: dict[str, dict[str, float]]) -> dict[str, tuple[float, float]]:
    """What is wanted of the engine: the ratio or speed that was found, and its goal."""
    engine = found["engine"]
    return {
        "one request, times transformers": (1 / found["transformers"]["one_speed"], 3.0),
        "one request, times llama.cpp in float32": (1 / found["llama_f32"]["one_speed"], 0.8),
        "eight bits, tokens a second": (found["engine_int8"]["one_tokens_per_second"], 300.0),
        "16 requests, times the speed of one": (
            engine["many_tokens_per_second"] / engine["one_tokens_per_second"], 4.0),
        "a long prompt, times the speed of a bare pass": (
            1 / found["forward"]["prefill_speed"], 1 / 1.3),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("rounds", nargs="?", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="a tiny model, to see that it runs")
    words = parser.parse_args()
    found = measured(words.rounds, words.threads, words.quick)
    print(f"torch {torch.__version__}, {words.threads} threads, {words.rounds} rounds")
    print("Tokens a second, and in brackets the speed as a multiple of the engine's in float32:")
    print(f"| program | {' | '.join(JOBS.values())} |\n|---|---|---|---|")
    for arm, values in found.items():
        cells = [
            f"{values[f'{job}_tokens_per_second']:.0f} ({values[f'{job}_speed']:.2f})"
            if f"{job}_speed" in values
            else "–"
            for job in JOBS
        ]
        print(f"| {arm} | {' | '.join(cells)} |")
    for name, (value, goal) in goals(found).items():
        said = "reached" if value >= goal else "NOT reached"
        print(f"{name}: {value:.2f}, goal {goal:.2f}, {said}")


if __name__ == "__main__":
    main()
