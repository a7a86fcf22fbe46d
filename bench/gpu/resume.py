"""Is a run on a GPU that was killed and resumed the run that was not, to the bit?

`bench/gpu/resume.sh` calls it. Three processes train one small model with torch's deterministic
kernels: one to the end; one that is killed (SIGKILL) while it works; one that goes on from what
that one left. The record says whether the last weights and curves are equal, and whether a second
whole run is equal to the first: if it is not, the kernels are not deterministic and nothing follows
for resuming.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from jobs import write_json

STEPS, EVERY = 60, 10


def train(out: Path, device: str, dtype: str, resume: bool) -> None:
    """One process: the run, or the rest of it."""
    import torch

    from minimind_wiki.train.config import TrainConfig
    from minimind_wiki.train.pretrain import pretrain

    torch.use_deterministic_algorithms(True)
    config = TrainConfig(
        preset="tiny", data="embedded", steps=STEPS, batch_size=8, micro_batch_size=4,
        context_length=128, eval_every=EVERY, save_every=EVERY, sample_tokens=0, device=device,
        dtype=dtype,
    )  # fmt: skip
    pretrain(config, {}, out, resume)


def process(args: argparse.Namespace, out: Path, *more: str) -> list[str]:
    """The call of `train` in a process of its own."""
    return [sys.executable, __file__, "--one", str(out), "--device", args.device,
            "--dtype", args.dtype, *more]  # fmt: skip


def kill_at(command: list[str], sign: Path) -> int:
    """Start, wait until `sign` is there and a little longer, kill; the exit status."""
    child = subprocess.Popen(command)
    while not sign.exists() and child.poll() is None:
        time.sleep(0.01)
    time.sleep(0.05)
    child.kill()
    return child.wait()


def fingerprint(run: Path) -> dict[str, str]:
    """Hashes of the published weights and of the curves."""
    curve = json.loads((run / "run.json").read_text(encoding="utf-8"))["curve"]
    weights = (run / "model.safetensors").read_bytes()
    return {"weights": hashlib.sha256(weights).hexdigest(),
            "curve": hashlib.sha256(json.dumps(curve).encode()).hexdigest()}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--out", type=Path, help="the record")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--resume", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    # cuBLAS is deterministic with a workspace of fixed size only; read when CUDA begins
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if args.one:
        train(args.one, args.device, args.dtype, args.resume)
        return
    runs = {name: args.work / name for name in ("whole", "again", "killed")}
    for name in ("whole", "again"):
        subprocess.run(process(args, runs[name]), check=True)
    sign = runs["killed"] / "checkpoints" / f"step-{STEPS // 2:06d}"
    status = kill_at(process(args, runs["killed"]), sign)
    if (runs["killed"] / "run.json").exists():
        raise SystemExit("the run was over before it could be killed; give it more steps.")
    subprocess.run(process(args, runs["killed"], "--resume"), check=True)
    found = {name: fingerprint(run) for name, run in runs.items()}
    write_json(args.out, {
        "device": args.device, "dtype": args.dtype, "steps": STEPS, "exit_of_the_killed": status,
        "runs": found, "deterministic": found["whole"] == found["again"],
        "resumed_equal": found["whole"] == found["killed"],
    })  # fmt: skip


if __name__ == "__main__":
    main()
