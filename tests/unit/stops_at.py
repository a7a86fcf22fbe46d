"""A run that is asked to stop in the middle of a step, as a terminal or a scheduler would ask."""

from __future__ import annotations

import os
import signal

from minimind_wiki.train.report import Quiet


class StopAt(Quiet):
    """Sends this process a signal when the step is reached."""

    def __init__(self, step: int, number: int = signal.SIGINT) -> None:
        self.at, self.number = step, number

    def step(self, step: int, loss: float, speed: float, left: float) -> None:
        if step == self.at:
            os.kill(os.getpid(), self.number)
