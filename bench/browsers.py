"""The playground in each browser of this machine: `python bench/browsers.py [--site site]`.

Opens a page that opens the playground, and needs no driver: the page itself presses the button,
measures and reports. Told are, for a first and a second visit, seconds until the page lives, until
the first stage has answered and until all five have; then tokens per second of the engine alone in
a worker, the median and the best of five. Only a quiet machine says how fast a browser is; the
answers of all browsers must be the same on any.

Browsers that are not installed are skipped. WebKit needs a display; `xvfb-run` gives it one.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from minimind_wiki.book import serve

ROOT = Path(__file__).resolve().parents[1]
PAGE = Path(__file__).with_name("browsers_page.html")
WEBKIT = "/usr/lib/*/webkit2gtk-4.*/MiniBrowser"
sys.path.insert(0, str(ROOT / "tests" / "browser"))


def commands(profile: Path) -> dict[str, list[str] | None]:
    """How each browser is started with a fresh profile; None where it is not installed."""
    import chromium

    firefox = shutil.which("firefox-esr") or shutil.which("firefox")
    found = sorted(str(path) for path in Path("/").glob(WEBKIT.removeprefix("/")))
    display = ["xvfb-run", "-a"] if not os.environ.get("DISPLAY") else []
    webkit = found and (not display or shutil.which("xvfb-run"))
    chrome = [chromium.executable(), *chromium.FLAGS, "--headless", f"--user-data-dir={profile}"]
    return {
        "Chromium": chrome,
        "Firefox": [firefox, "--headless", "--no-remote", "--profile", str(profile)]
        if firefox
        else None,
        "WebKitGTK": [*display, found[-1], "--private"] if webkit else None,
    }


class Reports:
    """The site on localhost, with the bench page, and a place where it reports."""

    def __init__(self, site: Path) -> None:
        self.came = threading.Event()
        self.result: dict[str, Any] = {}
        reports = self

        class Handler(serve.Handler):
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, directory=str(site), **kwargs)

            def do_GET(self) -> None:
                """The bench page, or a file of the site."""
                if self.path != "/bench.html":
                    super().do_GET()
                    return
                body = PAGE.read_bytes()
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                """What the page measured."""
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(204)
                self.end_headers()
                reports.result = json.loads(body)
                reports.came.set()

        self.server = serve.Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"http://localhost:{self.server.server_address[1]}/bench.html"


def measure(name: str, reports: Reports, limit: float) -> dict[str, Any]:
    """Start the browser, wait for its report, end it."""
    reports.came.clear()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = commands(Path(profile))[name]
        if command is None:
            return {"errors": ["not installed"]}
        # a session of its own, so that ending it takes the browser's other processes along
        with tempfile.TemporaryFile() as log:
            process = subprocess.Popen(
                [*command, reports.address], stdout=log, stderr=log, start_new_session=True
            )
            try:
                if not reports.came.wait(limit):
                    return {"errors": [f"no report in {limit:.0f} s"]}
            finally:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait(timeout=20)
    return reports.result


def line(name: str, found: dict[str, Any]) -> str:
    """A row of the table, or what went wrong."""
    if found.get("errors") or "engine" not in found:
        return f"{name:10} {'; '.join(found.get('errors', ['nothing came']))}"
    visits = [found[key][part] for key in ("cold", "warm") for part in ("page", "first", "all")]
    rates = [found["engine"][key][part] for key in found["engine"] for part in ("median", "best")]
    times = " ".join(f"{seconds:6.2f}" for seconds in visits)
    return f"{name:10} {times}  " + " ".join(f"{rate:7.0f}" for rate in rates)


def main() -> None:
    """Measure all browsers, print a table and, on wish, write everything as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--site", type=Path, default=ROOT / "site", help="the built site (site/)")
    parser.add_argument("--browser", action="append", help="only this one; may be repeated")
    parser.add_argument("--limit", type=float, default=240, help="seconds for a browser (240)")
    parser.add_argument("--out", type=Path, help="a JSON file for everything that was measured")
    args = parser.parse_args()
    reports = Reports(args.site.resolve())
    names = args.browser or ["Chromium", "Firefox", "WebKitGTK"]
    print("seconds until page, first answer, all answers (first visit, second visit); tokens/s of")
    print("world-nano and world-tiny (median, best)")
    everything = {}
    for name in names:
        everything[name] = measure(name, reports, args.limit)
        print(line(name, everything[name]), flush=True)
    answers = {found["cold"]["answer"] for found in everything.values() if "cold" in found}
    print("answers: " + ("the same everywhere" if len(answers) == 1 else f"{len(answers)} kinds"))
    if args.out:
        args.out.write_text(json.dumps(everything, indent=1), encoding="utf-8")
    reports.server.shutdown()


if __name__ == "__main__":
    main()
