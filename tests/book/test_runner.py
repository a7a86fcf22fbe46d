"""A run of an experiment that is killed takes its workers with it."""

import os
import signal
import subprocess
import sys
import time

import pytest

SLOW = '''"""Does it end?"""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from minimind_wiki.book.experiment import Experiment, Measurement


@dataclass(frozen=True, slots=True)
class Settings:
    folder: str = {folder!r}


experiment = Experiment(
    name="slow/slow", factors=("kind",), arms={{"a": {{"kind": 1}}, "b": {{"kind": 2}}}},
    settings=Settings(), quick=Settings(), primary="x",
)


@experiment.measure
def measure(arm, seed, settings):
    (Path(settings.folder) / f"worker-{{os.getpid()}}").touch()
    time.sleep(120)
    return Measurement({{"x": 1.0}})


@experiment.claim(quick=True)
def one(record):
    """It is one."""
    return True, "1"
'''


def until(found, what):
    for _ in range(600):
        if result := found():
            return result
        time.sleep(0.1)
    pytest.fail(f"{what} did not happen within a minute")


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.skipif(os.name != "posix", reason="kills a process as POSIX systems do")
def test_workers_end_with_a_killed_run(tmp_path):
    (tmp_path / "experiments" / "slow").mkdir(parents=True)
    file = tmp_path / "experiments" / "slow" / "slow.py"
    file.write_text(SLOW.format(folder=str(tmp_path)))
    run = subprocess.Popen(
        [sys.executable, "-m", "minimind_wiki", "experiment", "run", "slow/slow"],
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    try:
        until(lambda: len(list(tmp_path.glob("worker-*"))) == 2, "two workers at work")
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait()
    workers = [int(path.name.partition("-")[2]) for path in tmp_path.glob("worker-*")]
    until(lambda: not any(map(alive, workers)), "the end of the workers")
