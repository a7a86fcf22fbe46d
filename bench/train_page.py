"""Train in Chromium as the page does, and record it: snippets/training/transformer.recorded.json.

Drives the page's own worker (docs/en/assets/build/pyworker.js) with the program and its knobs at
their defaults. The site shows this record before anyone presses Train; its build refuses a record
of another program. Run after `make web`:

    python bench/train_page.py            # two minutes
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "browser")]

import chromium  # noqa: E402

from minimind_wiki.book.fences.train import RECORD, load  # noqa: E402

NAME = "training/transformer"
DRIVE = """
async ([code, knobs, seconds]) => {
  const worker = new Worker("/pyworker.js", { type: "module" });
  const events = [];
  let about = null;
  const ended = new Promise((resolve, reject) => {
    worker.onerror = (e) => reject(new Error(e.message));
    worker.onmessage = ({ data }) => {
      if (data.type === "error") reject(new Error(data.message + data.traceback));
      if (data.type === "begun") about = data;
      if (data.type === "trained") resolve();
      if (data.type === "progress") {
        events.push(...data.events);
        if (events.at(-1).seconds > seconds) worker.postMessage({ id: 1, control: "finish" });
      }
    };
  });
  worker.postMessage({ id: 1, kind: "train", code, knobs });
  await ended;
  worker.terminate();
  return { about, events };
}
"""


class Files(SimpleHTTPRequestHandler):
    """The build folder, with an empty page at its root."""

    extensions_map = SimpleHTTPRequestHandler.extensions_map | {
        ".mjs": "text/javascript", ".js": "text/javascript", ".wasm": "application/wasm",
    }  # fmt: skip

    def do_GET(self) -> None:
        if self.path != "/":
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>bench</title>")
        return None

    def log_message(self, *_: Any) -> None:
        """Quiet."""


def drive(code: str, knobs: dict[str, Any], seconds: float) -> tuple[dict[str, Any], str]:
    """Run the program for so many seconds of computing; what it told, and the browser's version."""
    handler = partial(Files, directory=str(ROOT / "docs" / "en" / "assets" / "build"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as play:
        running = play.chromium.launch(executable_path=chromium.executable(), args=chromium.FLAGS)
        page = running.new_page()
        page.goto(f"http://127.0.0.1:{server.server_address[1]}/")
        told = page.evaluate(DRIVE, [code, knobs, seconds])
        version = running.version
        running.close()
    server.shutdown()
    return told, version


def processor() -> str:
    """The processor's name as the system tells it."""
    info = Path("/proc/cpuinfo")
    names = [
        line.partition(":")[2].strip()
        for line in (info.read_text().splitlines() if info.is_file() else [])
        if line.startswith("model name")
    ]
    return names[0] if names else platform.processor() or platform.machine()


def record(told: dict[str, Any], spec: dict[str, Any], browser: str) -> dict[str, Any]:
    """What the page shows of a run."""
    events = told["events"]
    losses = [e for e in events if "loss" in e]
    gaps = sorted(b["seconds"] - a["seconds"] for a, b in pairwise(losses))
    samples = {e["step"]: e for e in events if "sample" in e}
    return {
        "program": spec["hash"], "created": str(datetime.date.today()), "browser": browser,
        "processor": processor(), "knobs": spec["defaults"],
        "parameters": told["about"]["parameters"],
        "floor": told["about"]["floor"], "bigram": told["about"]["bigram"],
        "seconds_per_step": round(gaps[len(gaps) // 2], 3),
        "held_out": [[e["step"], round(e["seconds"], 2), round(e["held_out"], 4)]
                     for e in events if "held_out" in e],
        "samples": [{"step": e["step"], "seconds": round(e["seconds"], 1), "text": e["sample"]}
                    for e in samples.values()],
    }  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Record one run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=125.0, help="of computing")
    parser.add_argument("--out", type=Path, default=ROOT / "snippets" / f"{NAME}{RECORD}")
    arguments = parser.parse_args(argv)
    spec = load(NAME)
    told, version = drive(spec["code"], spec["defaults"], arguments.seconds)
    made = record(told, spec, f"Chromium {version}")
    arguments.out.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    for step, seconds, bits in made["held_out"]:
        print(f"step {step:4d} {seconds:6.1f} s {bits:.3f} bits/byte (floor {made['floor']})")
    print(f"{made['seconds_per_step']} s a step; last sample: {made['samples'][-1]['text']}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
