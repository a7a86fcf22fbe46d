"""The chat page in Chromium, before a trained model: an answer comes, stops, tells its odds."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from conftest import DESK, Visit
from playwright.sync_api import Browser, Page, expect

pytest.importorskip("streamlit")

ROOT = Path(__file__).resolve().parents[2]


def started(words: list[str]) -> tuple[subprocess.Popen[str], str]:
    """A verb of ours as a process, and the address that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-m", "minimind_wiki", *words], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(r"http://[\w.]+:\d+", line):
            return process, found[0]
    raise AssertionError(f"{words[0]} ended with status {process.wait()}")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    process, url = started(["serve", "models/world-nano", "--port", "0"])
    yield url
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def address(server: str) -> Iterator[str]:
    process, url = started(["webui", "--server", server, "--port", "0"])
    yield url
    process.kill()
    process.wait()


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Visit]:
    context = browser.new_context(viewport=DESK, reduced_motion="reduce")
    yield Visit(context, address)
    context.close()


def at_work(server: str) -> float:
    text = httpx.get(f"{server}/metrics").text
    return float(re.search(r"^minimind_at_work (\S+)", text, re.M)[1])  # type: ignore[index]


def say(page: Page, text: str) -> None:
    page.get_by_placeholder("Your message").fill(text)
    page.keyboard.press("Enter")


def test_an_answer_comes_is_stopped_and_tells_its_odds(visit: Visit, server: str) -> None:
    page = visit.page
    page.goto(visit.origin)
    page.get_by_label("Most tokens").fill("4096")
    page.get_by_label("Seed").fill("7")
    evil = "<img src=x onerror=alert(1)> ![p](http://e.test/x.png)"
    say(page, evil)
    answer = page.get_by_label("Chat message from assistant")
    expect(answer).to_contain_text(re.compile(r"\w{3}.*▌", re.S), timeout=20_000)
    before = len(answer.inner_text())
    page.wait_for_function(  # it grows
        "n => document.querySelector('[aria-label$=assistant]').innerText.length > n", arg=before
    )
    assert at_work(server) == 1
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("Stopped.", exact=True)).to_be_visible()
    assert at_work(server) == 0

    expect(page.get_by_label("Chat message from user")).to_contain_text(evil)
    piece = page.locator(".piece[tabindex]").nth(3)
    piece.hover()
    tip = page.get_by_role("tooltip")
    expect(tip).to_be_visible()
    expect(tip).to_contain_text(re.compile(r"\d%"))
    assert tip.locator(".row").count() >= 5 and tip.locator(".row.drawn").count() == 1
    page.mouse.move(2, 2)
    expect(tip).to_be_hidden()
    first = page.locator(".piece[tabindex='0']")
    first.focus()
    page.keyboard.press("ArrowRight")
    second = page.locator(".piece:focus")
    assert second.evaluate("e => [...e.parentNode.children].indexOf(e)") == 1
    expect(tip).to_be_visible()
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()

    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy", exact=True).click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == "".join(page.locator(".piece").all_text_contents()) != ""
    assert page.locator("img[src=x]").count() == 0
    visit.assert_clean()


def test_what_a_model_says_is_never_html(visit: Visit) -> None:
    """The component itself, given a token that would be a picture."""
    page = visit.page
    page.goto(visit.origin)
    source = (ROOT / "minimind_wiki/webui/reply.js").read_text(encoding="utf-8")
    evil = "<img src=x onerror=alert(1)>"
    token = {"token": evil, "p": 0.5, "top": [[evil, 0.5], ["a b\n", 0.25]]}
    page.evaluate(
        """async ([source, pieces]) => {
            const host = document.body.appendChild(document.createElement("div"));
            host.className = "host";
            host.appendChild(document.createElement("div")).className = "reply";
            const code = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
            const { default: draw } = await import(code);
            draw({ data: { pieces, tint: true, copy: true }, parentElement: host });
        }""",
        [source, [{"text": evil, "tokens": [token]}]],
    )
    host = page.locator(".host")
    host.locator(".piece").focus()
    assert host.locator(".text").inner_text() == evil
    assert host.locator(".token").all_text_contents() == [evil.replace(" ", "␣"), "a␣b↵"]
    assert page.locator("img[src=x]").count() == 0
    visit.assert_clean()
