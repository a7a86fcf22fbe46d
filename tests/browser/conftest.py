"""The built site on localhost, and pages that refuse every other origin."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import chromium
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from minimind_wiki.book import serve

ROOT = Path(__file__).resolve().parents[2]
SITE = Path(os.environ.get("MINIMIND_SITE", ROOT / "site"))
PATIENCE = 30_000
"""Milliseconds a busy machine gets for what takes a moment; no test waits longer than it must."""
expect.set_options(timeout=PATIENCE)
PHONE, DESK = {"width": 360, "height": 740}, {"width": 1280, "height": 900}


def pytest_sessionstart(session: pytest.Session) -> None:
    """Once, before any worker begins: there is a site, and a Chromium is found or installed."""
    if hasattr(session.config, "workerinput"):
        return
    if not (SITE / "en" / "index.html").exists():
        pytest.exit("the site is not built: run 'make site' first", returncode=2)
    try:
        chromium.executable()
    except RuntimeError as error:
        pytest.exit(str(error), returncode=2)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long walks first, so that no worker begins one when the others are done."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="session")
def origin() -> Iterator[str]:
    """Address of the served site."""
    server, _ = serve.start(SITE, port=0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_address[1]}"
    server.shutdown()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One headless Chromium for all tests."""
    with sync_playwright() as play:
        running = play.chromium.launch(executable_path=chromium.executable(), args=chromium.FLAGS)
        yield running
        running.close()


class Visit:
    """A page with what went wrong on it: console errors and requests to other origins."""

    def __init__(self, context: BrowserContext, origin: str) -> None:
        self.origin = origin
        self.errors: list[str] = []
        self.foreign: list[str] = []
        context.route("**/*", self._guard)
        self.page: Page = context.new_page()
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda e: self.errors.append(str(e)))

    def _guard(self, route) -> None:  # type: ignore[no-untyped-def]
        url = route.request.url
        if url.startswith((self.origin + "/", "data:", "blob:")):
            route.continue_()
        else:
            self.foreign.append(url)
            route.abort()

    def open(self, path: str) -> Page:
        """Go to a page of the site, e.g. `/en/modules/normalization/`, and wait for its scripts."""
        self.page.goto(self.origin + path, wait_until="load")
        self.page.wait_for_selector("html.mm-js", state="attached", timeout=PATIENCE)
        return self.page

    def assert_clean(self) -> None:
        """No console error, no request to another origin."""
        assert not self.errors, self.errors
        assert not self.foreign, self.foreign


@pytest.fixture
def visit(request: pytest.FixtureRequest, browser: Browser, origin: str) -> Iterator[Visit]:
    """A fresh visitor; parametrize indirectly with dict(width=…, dark=…) for other readers."""
    wish = getattr(request, "param", {})
    context = browser.new_context(
        viewport=PHONE if wish.get("phone") else DESK,
        color_scheme="dark" if wish.get("dark") else "light",
        reduced_motion=wish.get("motion", "reduce"),
        has_touch=bool(wish.get("phone")),
    )
    visitor = Visit(context, origin)
    yield visitor
    context.close()
