"""A process of its own that fine-tunes for a few steps and says what memory and time they took.

Called as `python _watched.py JSON`, the fields of a TrainConfig; prints JSON. Memory is what the
process itself has written (RssAnon, Linux), watched while it trains, less what it had before the
model was made.
"""

import json
import re
import sys
import threading
import time
from pathlib import Path

STATUS = Path("/proc/self/status")


def own_mb() -> float:
    found = re.search(r"RssAnon:\s+(\d+) kB", STATUS.read_text())
    return int(found[1]) / 1024


class Watch:
    """A run's report that prints nothing and looks at the memory from the first step on."""

    def __init__(self):
        self.most, self.steps, self.done, self.last = 0.0, [], threading.Event(), 0.0
        self.thread = threading.Thread(target=self.look, daemon=True)

    def look(self):
        while not self.done.wait(0.003):
            self.most = max(self.most, own_mb())

    def start(self, steps, step):
        self.last = time.perf_counter()
        self.thread.start()

    def step(self, step, loss, speed, left):
        now = time.perf_counter()
        self.steps.append(now - self.last)
        self.last = now

    def stop(self):
        self.done.set()
        self.thread.join()

    def line(self, text):
        pass


def main() -> None:
    from minimind_wiki.train.config import TrainConfig
    from minimind_wiki.train.sft import SftSettings, sft

    config = TrainConfig(**json.loads(sys.argv[1]))
    if "8bit" in config.optimizer:
        import bitsandbytes  # noqa: F401 - its own code is no memory of training
    before, watch = own_mb(), Watch()
    outcome = sft(config, SftSettings(gold_items=0), report=watch)
    parameters = [p for p in outcome.model.parameters() if p.requires_grad]
    kept = [*outcome.model.parameters(), *outcome.model.buffers()]
    tokens = outcome.state.tokens / config.steps
    later = sorted(watch.steps[1:])  # the first step warms caches up
    print(json.dumps({
        "training_mb": watch.most - before,
        "weights_mb": sum(t.numel() * t.element_size() for t in kept) / 2**20,
        "trained": sum(p.numel() for p in parameters),
        "tokens_per_second": tokens / later[len(later) // 2],
    }))  # fmt: skip


if __name__ == "__main__":
    main()
