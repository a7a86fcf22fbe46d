"""Runs that are killed again and again end like one that was left alone: to the bit.

What is killed is `minimind pretrain` in a process of its own; see `killing.py`.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("it kills and forks as POSIX systems do", allow_module_level=True)

from killing import go, result

from minimind_wiki.data import embedded_text
from minimind_wiki.train.checkpoint import list_checkpoints

SMALL = [
    "--preset", "nano", "--steps", "14", "--batch-size", "4", "--micro-batch-size", "2",
    "--context-length", "32", "--eval-every", "3", "--eval-windows", "8", "--sample-tokens", "4",
    "--device", "cpu", "--dtype", "float32", "--threads", "1",
]  # fmt: skip
ARMS = {"adamw, one text": [], "muon, packed documents": ["--optimizer", "muon"]}


@pytest.fixture(scope="module", params=ARMS)
def whole(request, tmp_path_factory):
    """The flags of a run, and the folder of one that was left alone."""
    place = tmp_path_factory.mktemp("whole")
    name = "text.jsonl" if "packed" in request.param else "text.txt"
    texts = embedded_text(60).strip().split("\n\n")
    rows = [json.dumps({"text": text}) for text in texts] if "packed" in request.param else texts
    (place / name).write_text("\n".join(rows) + "\n", encoding="utf-8")
    words = [*SMALL, *ARMS[request.param], "--data", str(place / name)]
    assert go(words, place / "run") == 0, Path(f"{place}/run.log").read_text()
    return words, place / "run"


def assert_equal(one, other):
    """As `==`, but an answer that can be read."""
    for name, value in result(other).items():
        assert (result(one)[name] == value) is True, name


def kills(seed, count):
    """Random moments of each kind, in a random order; `count` is what an unkilled run has.

    Most lie in the first half of a run: each resumed run is shorter than the one before.
    """
    dice = random.Random(seed)
    moments = [("disk", dice.randint(1, count["disk"] // 2)) for _ in range(4)]
    moments += [("backward", 2 * dice.randint(1, 3) - 1), ("backward", 2 * dice.randint(1, 3))]
    moments += [("seconds", dice.uniform(0, count["seconds"] / 4)) for _ in range(2)]
    moments += [("watch", dice.uniform(0, 0.01)) for _ in range(2)]
    dice.shuffle(moments)
    return moments


@pytest.mark.parametrize("seed", [0, 1])
def test_killed_at_random_moments_it_ends_as_if_left_alone(whole, tmp_path, seed):
    words, alone = whole
    out, killed = tmp_path / "run", 0
    for moment in kills(seed, json.loads(Path(f"{alone}.count").read_text())):
        status = go(words, out, moment)
        killed += status == -signal.SIGKILL
        left = [p.name for p in out.glob("checkpoints/.*")]
        assert len(left) <= 2, left  # what one kill can leave; nothing piles up
        if (out / "run.json").exists():
            break
        assert status == -signal.SIGKILL, (moment, Path(f"{out}.log").read_text())
    else:
        assert go(words, out) == 0, Path(f"{out}.log").read_text()
    assert killed >= 4
    assert_equal(out, alone)


def test_killed_again_and_again_while_it_writes_it_ends_as_if_left_alone(whole, tmp_path):
    """At every fourth file, fsync, rename and deletion of the last checkpoint and of the model."""
    words, alone = whole
    if "muon" in words:
        pytest.skip("the disk does not know the optimizer")
    out, count = tmp_path / "run", json.loads(Path(f"{alone}.count").read_text())
    assert go(words, out, ("backward", 27)) == -signal.SIGKILL  # in step 14, the last
    for place in (".new-000014", ".old-000009", ".new-model"):
        assert count[place] >= 2
        for number in range(2, count[place] + 1, 4):
            assert go(words, out, (place, number)) == -signal.SIGKILL
            left = {path.name for path in out.glob("**/.*")}
            assert place in left and len(left) <= 2  # nothing piles up
    assert go(words, out) == 0
    assert_equal(out, alone)


def test_a_signal_lets_the_step_finish_and_a_second_ctrl_c_does_not_wait(whole, tmp_path):
    words, alone = whole
    for kind, stopped, kept in (
        ("SIGTERM", "Stopped at step 5 of 14", [3, 5]),
        ("SIGINT", "Stopped at step 5 of 14", [3, 5]),
        ("SIGINT twice", "minimind pretrain: stopped.", [3]),
    ):
        out = tmp_path / kind
        assert go(words, out, (kind, 9)) == 1  # in the middle of step 5: of its two passes, one
        told = Path(f"{out}.log").read_text()
        assert "Stopping after this step" in told and stopped in told and "Traceback" not in told
        assert [step for step, _ in list_checkpoints(out)] == kept
        assert go(words, out) == 0
        assert (
            f"Resuming from {out}/checkpoints/step-{kept[-1]:06d}" in Path(f"{out}.log").read_text()
        )
        both = result(alone), result(out)
        for name in ("tensors", "published", "curves", "order"):
            assert (both[0][name] == both[1][name]) is True, name


def test_the_command_itself_is_killed_while_it_writes(whole, tmp_path):
    """`python -m minimind_wiki pretrain`, started and killed as from a shell."""
    words, alone = whole
    if "muon" in words:
        pytest.skip("one start of Python is enough")
    out = tmp_path / "run"
    command = [sys.executable, "-m", "minimind_wiki", "pretrain", *words, "--out", str(out)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=env) as process:
        while process.poll() is None and not any((out / "checkpoints").glob(".new-000006")):
            time.sleep(0.0002)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert [step for step, _ in list_checkpoints(out)] in ([3], [3, 6])
    assert go(words, out) == 0
    both = result(alone), result(out)
    for found in both:
        del found["tensors"]["rng.safetensors"]  # the command did not draw as `child` does
    for name in ("tensors", "state", "published", "curves", "checkpoints"):
        assert (both[0][name] == both[1][name]) is True, name
