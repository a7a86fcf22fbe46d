"""A process of its own that opens a folder of shards, reads batches and says what memory it took.

Called as `python _reader.py FOLDER STEPS ROW BATCH SEED`; prints JSON. Own memory is what the
process has written (RssAnon, Linux): pages of the mapped shards are the system's to take back.
"""

import json
import re
import sys
import threading
import time
from pathlib import Path

from minimind_wiki.data.loader import Loader

READER = Path(__file__)


def memory() -> dict[str, float]:
    """Own and file-backed resident memory in MB."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    found = dict(re.findall(r"Rss(Anon|File):\s+(\d+)", status))
    return {"own": int(found["Anon"]) / 1e3, "file": int(found["File"]) / 1e3}


def main(folder: str, steps: int, row: int, batch: int, seed: int) -> None:
    before, highest = memory()["own"], {"own": 0.0, "file": 0.0}
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.005):
            now = memory()
            for kind in highest:
                highest[kind] = max(highest[kind], now[kind])

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.perf_counter()
    loader = Loader(sorted(Path(folder).glob("*.tokens")), row, batch, seed)
    opened = time.perf_counter() - began
    useful = sum(loader.at(step * 7919).useful for step in range(steps)) / steps
    ended.set()
    watcher.join()
    print(json.dumps({"own_mb": highest["own"], "file_mb": highest["file"], "useful": useful,
                      "before_mb": before, "open_seconds": opened}))  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
