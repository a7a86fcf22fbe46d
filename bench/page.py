"""What a page weighs and how soon Python answers in it: `python bench/page.py [PAGE] [ROUNDS]`.

Builds nothing: run `make site` first. Weight is gzip, as a server sends it; times are wall seconds
in a headless Chromium on localhost: *cold* is a fresh profile from the click on Run to the computed
text, *warm* a knob's change after that; the median of the rounds and their range.
"""

from __future__ import annotations

import gzip
import statistics
import sys
import threading
import time
from pathlib import Path

from playwright.sync_api import Browser, expect, sync_playwright

from minimind_wiki.book import serve

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "browser"))
import chromium  # noqa: E402  (beside the tests that use it)

SITE = ROOT / "site"


def weigh(browser: Browser, origin: str, page_path: str) -> dict[str, float]:
    """Kilobytes by kind before any click."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    seen: list[str] = []
    page.on("request", lambda request: seen.append(request.url))
    page.goto(origin + page_path, wait_until="load")
    page.wait_for_timeout(1500)
    kinds: dict[str, float] = {}
    for url in dict.fromkeys(u.split("?")[0] for u in seen if u.startswith(origin)):
        path = url.removeprefix(origin + "/")
        file = SITE / (path + "index.html" if path.endswith("/") else path)
        if file.is_file():
            size = len(gzip.compress(file.read_bytes(), 9)) / 1000
            kinds[file.suffix] = kinds.get(file.suffix, 0.0) + size
    context.close()
    return kinds


def lab(browser: Browser, origin: str, page_path: str) -> tuple[float, float]:
    """Seconds to the first result and to the next one."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(origin + page_path, wait_until="load")
    page.wait_for_selector(".mm-lab__run")
    status, text = page.locator(".mm-lab__status"), page.locator(".mm-lab__text")
    start = time.perf_counter()
    page.locator(".mm-lab__run").click()
    expect(status).to_contain_text("Computed in", timeout=120_000)
    cold = time.perf_counter() - start
    start = time.perf_counter()
    page.locator(".mm-lab input[type=range]").fill("64")
    expect(text).to_contain_text("64 layers", timeout=60_000)
    warm = time.perf_counter() - start
    context.close()
    return cold, warm


def main() -> None:
    """Measure and print."""
    page_path = sys.argv[1] if len(sys.argv) > 1 else "/en/modules/normalization/"
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    server, _ = serve.start(SITE, port=0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    origin = f"http://localhost:{server.server_address[1]}"
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium.executable(), args=chromium.FLAGS)
        kinds = weigh(browser, origin, page_path)
        print(f"{page_path} before any click, KB gzip")
        for kind, size in sorted(kinds.items(), key=lambda item: -item[1]):
            print(f"  {kind:8s}{size:8.1f}")
        code = sum(kinds.get(k, 0.0) for k in (".html", ".css", ".js", ".mjs", ".json"))
        print(f"  HTML + CSS + JS {code:.0f}, everything {sum(kinds.values()):.0f}")
        times = [lab(browser, origin, page_path) for _ in range(rounds)]
        for name, values in zip(("cold", "warm, 64 layers"), zip(*times, strict=True), strict=True):
            low, high = min(values), max(values)
            print(f"{name}: {statistics.median(values):.2f} s ({low:.2f} to {high:.2f})")
        browser.close()
    server.shutdown()


if __name__ == "__main__":
    main()
