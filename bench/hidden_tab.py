"""What a really hidden tab does: `xvfb-run -a python bench/hidden_tab.py`, after `make site`.

A headless Chromium hides no tab, and neither does one that Playwright drives, which tells every
page that it is looked at. So this starts one with a window, speaks to it by its own protocol, and
puts a second tab before the first: `document.visibilityState` is then "hidden" and no frame is
drawn, as for a reader who turned to another tab. It asks the playground for an answer and trains in
the page, in front and hidden by turns, and prints what went on. Needs a display; Xvfb is one.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from minimind_wiki.book import serve

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "browser"))
import chromium  # noqa: E402  (beside the tests that use it)

PATIENCE = 300.0
FRAME = """new Promise((done) => {
  const late = setTimeout(() => done(false), 1000);
  requestAnimationFrame(() => { clearTimeout(late); done(true); });
})"""
FACT = "document.querySelector('[data-pane=inspect] [data-part=fact]').textContent"
TEXT = "document.querySelector('[data-pane=inspect] [data-part=answer]').textContent"
STATUS = "document.querySelector('.mm-train__status').textContent"
COUNTER = "document.querySelector('.mm-train__counter').textContent"
MAIN = "document.querySelector('.mm-train__main').click()"


class Chromium:
    """A Chromium with a window, spoken to through its pipe (file descriptors 3 and 4)."""

    def __init__(self, profile: str) -> None:
        down, self._write = os.pipe()
        self._read, up = os.pipe()

        def wire() -> None:  # in the child: what it reads becomes 3, what it writes 4
            one, two = os.dup(down), os.dup(up)
            os.dup2(one, 3)
            os.dup2(two, 4)

        flags = [*chromium.FLAGS, "--remote-debugging-pipe", f"--user-data-dir={profile}"]
        self._process = subprocess.Popen(
            [chromium.executable(), *flags, "about:blank"], preexec_fn=wire, close_fds=False,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(down)
        os.close(up)
        self._serial, self._rest = 0, b""

    def send(self, method: str, session: str = "", **params: Any) -> dict[str, Any]:
        """Call a method of the protocol and wait for its answer."""
        self._serial += 1
        ask: dict[str, Any] = {"id": self._serial, "method": method, "params": params}
        if session:
            ask["sessionId"] = session
        os.write(self._write, json.dumps(ask).encode() + b"\0")
        while True:
            message, end, rest = self._rest.partition(b"\0")
            if not end:
                part = os.read(self._read, 1 << 16)
                if not part:
                    raise SystemExit("Chromium has ended: is there a display? (xvfb-run -a …)")
                self._rest += part
                continue
            self._rest = rest
            answer = json.loads(message)
            if answer.get("id") == self._serial:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return dict(answer["result"])

    def close(self) -> None:
        """End it."""
        self.send("Browser.close")
        self._process.wait(timeout=20)


class Tab:
    """One tab and what it evaluates."""

    def __init__(self, browser: Chromium, address: str) -> None:
        self.browser = browser
        self.target = browser.send("Target.createTarget", url=address)["targetId"]
        self.session = browser.send(
            "Target.attachToTarget", targetId=self.target, flatten=True
        )["sessionId"]  # fmt: skip

    def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression; promises are waited for."""
        done = self.browser.send(
            "Runtime.evaluate", self.session, expression=expression, returnByValue=True,
            awaitPromise=True,
        )  # fmt: skip
        if "exceptionDetails" in done:
            raise RuntimeError(f"{expression[:80]}: {done['exceptionDetails']['text']}")
        return done["result"].get("value")

    def until(self, expression: str) -> Any:
        """Wait for a value that is true, by our own clock, and return it."""
        deadline = time.monotonic() + PATIENCE
        while not (value := self.ask(f"(() => {{ try {{ return {expression} }} catch {{}} }})()")):
            if time.monotonic() > deadline:
                raise SystemExit(f"waited in vain for {expression}")
            time.sleep(0.2)
        return value

    def front(self) -> None:
        """Put this tab before the others."""
        self.browser.send("Target.activateTarget", targetId=self.target)
        self.until("document.visibilityState === 'visible'")

    def close(self) -> None:
        """Close it."""
        self.browser.send("Target.closeTarget", targetId=self.target)


def behind(page: Tab, other: Tab) -> None:
    """Hide a page behind another tab, and look that no frame is drawn."""
    other.front()
    page.until("document.visibilityState === 'hidden'")
    if page.ask(FRAME):
        raise SystemExit("the tab is hidden, and a frame was drawn all the same")


def answer(page: Tab) -> tuple[str, int]:
    """Ask for an answer; its text, and the tokens a second that the page counts."""
    page.ask(f"{FACT.replace('.textContent', '')}.textContent = ''")
    page.ask("document.querySelector('[data-pane=inspect] [data-action=run]').click()")
    fact = page.until(rf"/tokens\/s/.test({FACT}) && {FACT}")
    return page.ask(TEXT), int(re.findall(r"(\d+) tokens/s", fact)[0])


def playground(page: Tab, other: Tab) -> None:
    """The same answer in front and hidden."""
    page.until("!!document.querySelector('.mm-playground[data-live]')")
    answer(page)  # loads the model
    rates: dict[str, list[int]] = {"in front": [], "hidden": []}
    texts = set()
    for _ in range(3):
        for name, turn in (("in front", page.front), ("hidden", lambda: behind(page, other))):
            turn()
            text, rate = answer(page)
            texts.add(text)
            rates[name].append(rate)
    page.front()
    texts.add(page.ask(TEXT))
    told = ", ".join(f"{sorted(all_)[1]} tokens/s {name}" for name, all_ in rates.items())
    print(f"answer: {told}; {'the same text' if len(texts) == 1 else 'DIFFERENT TEXTS'}")


def paused(page: Tab) -> int:
    """Pause; the step at which it stands."""
    page.ask(MAIN)
    said = page.until(f"/Paused at step/.test({STATUS}) && {STATUS}")
    return int(re.findall(r"step (\d+)", said)[0])


def training(page: Tab, other: Tab, seconds: float) -> None:
    """Steps a second in front and hidden, and the seconds of computing that the page counts."""
    page.until("!!document.querySelector('.mm-train__main')")
    page.ask(MAIN)
    page.until(f"Number({COUNTER}.split(' ')[1]) >= 3")
    passed, rates = 0.0, []
    paused(page)
    before = int(page.until(rf"(/· (\d+) s/.exec({COUNTER}) ?? [])[1]"))
    for name, turn in (("in front", page.front), ("hidden", lambda: behind(page, other))) * 2:
        turn()
        first = int(re.findall(r"step (\d+)", page.ask(STATUS))[0])
        page.ask(MAIN)
        began = time.monotonic()
        time.sleep(seconds)
        last = paused(page)
        passed += time.monotonic() - began
        rates.append(f"{(last - first) / (time.monotonic() - began):.2f} steps/s {name}")
    page.front()
    time.sleep(2)
    shown = page.ask(COUNTER)
    counted = int(re.findall(r"· (\d+) s", shown)[0]) - before
    print(f"training: {', '.join(rates)}")
    print(f"  {counted} s of computing counted while {passed:.0f} s passed; then: {shown}")


def main(argv: list[str] | None = None) -> int:
    """Print what a hidden tab does."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--site", type=Path, default=ROOT / "site")
    parser.add_argument("--seconds", type=float, default=20.0, help="of training in each place")
    arguments = parser.parse_args(argv)
    server, _ = serve.start(arguments.site, port=0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    origin = f"http://localhost:{server.server_address[1]}/en/playground/"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Chromium(profile)
        print(browser.send("Browser.getVersion")["product"])
        page = Tab(browser, f"{origin}?tab=inspect&model=world-tiny&len=200")
        other = Tab(browser, "about:blank")
        page.front()
        playground(page, other)
        page.close()
        page = Tab(browser, f"{origin}train/")
        page.front()
        training(page, other, arguments.seconds)
        browser.close()
    server.shutdown()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
