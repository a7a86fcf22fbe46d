"""Runs of the command line in processes of their own, which end at a chosen moment by SIGKILL.

A server process imports torch once and forks for each run, so that a run starts in milliseconds.
The killed process is a real one: no handler, no `finally`, no flush.
"""

import dataclasses
import hashlib
import json
import multiprocessing
import os
import random
import resource
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from minimind_wiki.train.checkpoint import list_checkpoints

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["pytest", "torch._dynamo", "minimind_wiki.verbs.pretrain", "minimind_wiki.train.pretrain"]
)  # the first optimizer imports _dynamo, which takes longer than a run
DISK = ("open", "os.mkdir", "os.rename", "os.rmdir", "os.remove", "os.truncate")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def child(words: list[str], out: Path, moment: tuple | None) -> None:
    """`minimind WORDS`; leaves its output in OUT.log and the batches it read in OUT.order."""
    import numpy as np
    import torch

    from minimind_wiki import cli
    from minimind_wiki.train import pretrain

    torch.set_num_threads(1)
    log = os.open(f"{out}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (1, 2):
        os.dup2(log, number)
    touched, passes = Counter(), [0]
    kind, number = moment or ("", 0)

    def on_disk(event: str, args: tuple) -> None:
        if event in DISK and str(args[0]).startswith(f"{out}/"):
            parts = str(args[0])[len(str(out)) :].split("/")
            hidden = [part for part in parts if part.startswith(".")]
            for name in ("disk", *hidden):
                touched[name] += 1
                if kind == name and touched[name] == number:
                    die()

    real_backward, real_feed = torch.Tensor.backward, pretrain.make_feed

    def backward(self, *args, **kwargs):
        torch.rand(1), np.random.rand(), random.random()  # as dropout would draw
        passes[0] += 1
        if passes[0] == number and kind in ("SIGTERM", "SIGINT", "SIGINT twice"):
            os.kill(os.getpid(), getattr(signal, kind.split()[0]))
        real_backward(self, *args, **kwargs)
        if passes[0] == number:
            if kind == "SIGINT twice":
                os.kill(os.getpid(), signal.SIGINT)
            if kind == "backward":
                die()
            if kind == "full disk":  # the kernel then refuses every larger file
                resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))

    def noted_feed(*args):
        feed = real_feed(*args)

        def at(step):
            batch = feed.at(step)
            digest = hashlib.sha256(batch.ids_BT.numpy().tobytes()).hexdigest()
            with open(f"{out}.order", "a") as order:
                order.write(f"{step} {digest}\n")
            return batch

        return dataclasses.replace(feed, at=at)

    def after_seconds():
        while time.process_time() < number:
            time.sleep(0.0005)
        die()

    torch.Tensor.backward, pretrain.make_feed = backward, noted_feed
    sys.addaudithook(on_disk)
    if kind == "seconds":
        threading.Thread(target=after_seconds, daemon=True).start()
    status = cli.main(words)
    count = touched | {"backward": passes[0], "seconds": time.process_time()}
    Path(f"{out}.count").write_text(json.dumps(count))
    sys.stdout.flush()
    os._exit(status)


def go(words: list[str], out: Path, moment: tuple | None = None) -> int:
    """Start the run, or go on with it; its exit status, -9 if it was killed.

    `moment`: ("disk", n) dies before the n-th time that it opens, makes, renames or deletes
    something in `out`, (".new-000014", n) in that folder of it; ("backward", n) after the n-th
    backward pass; ("seconds", s) after so much CPU time; ("watch", s) is killed from outside, s
    seconds after a checkpoint began to be written.
    """
    words = ["pretrain", *words, "--out", str(out)]
    if list_checkpoints(out):
        words = ["pretrain", "--out", str(out), "--resume"]
    process = CONTEXT.Process(target=child, args=(words, out, moment))
    process.start()
    if moment and moment[0] == "watch":
        while process.is_alive() and not any((out / "checkpoints").glob(".new-*")):
            time.sleep(0.0002)
        time.sleep(moment[1])
        process.kill()
    process.join(120)
    assert process.exitcode is not None, "it hangs"
    return process.exitcode


def result(out: Path) -> dict[str, object]:
    """All of a finished run that may not depend on interruptions, to the bit."""
    step, last = list_checkpoints(out)[-1]
    run = json.loads((out / "run.json").read_text())
    state = json.loads((last / "state.json").read_text())
    state["state"].pop("seconds")
    tensors = ("model.safetensors", "optimizer.safetensors", "rng.safetensors")
    order = {}
    for line in Path(f"{out}.order").read_text().splitlines():
        number, digest = line.split()
        order.setdefault(int(number), set()).add(digest)
    return {
        "step": step,
        "tensors": {name: (last / name).read_bytes() for name in tensors},
        "state": state,
        "published": (out / "model.safetensors").read_bytes(),
        "curves": [run[name] for name in ("curve", "held_out", "exams", "samples")],
        "order": order,  # of each step, all the batches that were ever read for it
        "checkpoints": [number for number, _ in list_checkpoints(out)],
        "files": sorted(str(path.relative_to(out)) for path in out.rglob("*")),
    }
