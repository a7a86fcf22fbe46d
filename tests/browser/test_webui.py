"""The chat page in Chromium, before a trained model: an answer comes, stops, tells its odds."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import torch
from conftest import DESK, Visit
from playwright.sync_api import Browser, Page, expect

from minimind_wiki.infer import load_model_folder, save_model_folder

pytest.importorskip("streamlit")
# One worker for all of them: each that has one starts a server with a model, and a page before it.
pytestmark = pytest.mark.xdist_group("webui")

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
def endless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained model to which no end is ever likely, in a long context: time to stop it."""
    model, tokenizer = load_model_folder(ROOT / "models" / "world-tiny")
    with torch.no_grad():
        model.lm_head.weight[tokenizer.encode("<|endoftext|><|im_end|>", specials=True)] = 0.0
    model.config = replace(model.config, max_position_embeddings=8192)
    return save_model_folder(tmp_path_factory.mktemp("model") / "endless", model, tokenizer)


@pytest.fixture(scope="module")
def server(endless: Path) -> Iterator[str]:
    process, url = started(["serve", str(endless), "--port", "0"])
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
    page.get_by_role("spinbutton", name="Most tokens").fill("4096")
    page.keyboard.press("Enter")
    page.wait_for_timeout(1500)  # nothing in the page tells that the server has the number
    evil = "<img src=x onerror=alert(1)> ![p](http://e.test/x.png)"
    say(page, evil)
    answer = page.get_by_label("Chat message from assistant")
    expect(answer).to_contain_text(re.compile(r"\w{3}.*▌", re.S), timeout=20_000)
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("Stopped.", exact=True)).to_be_visible()
    for _ in range(20):  # the server hears of it when the connection has ended
        if not at_work(server):
            break
        page.wait_for_timeout(100)
    assert at_work(server) == 0

    expect(page.get_by_label("Chat message from user")).to_contain_text(evil)
    piece = page.locator(".piece[tabindex]").nth(3)
    tip = page.get_by_role("tooltip")
    for _ in range(20):  # the page may draw the stopped answer anew under a pointer at rest
        page.mouse.move(0, 0)
        piece.hover()
        page.wait_for_timeout(200)
        if tip.is_visible():
            break
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


LONG = """() => {
  const tokens = (n) => [{ token: `w${n} `, p: 0.5, top: [[`w${n} `, 0.5], ["x", 0.5]] }];
  window.pieces = Array.from({ length: 4000 }, (_, n) => ({ text: `w${n} `, tokens: tokens(n) }));
  window.counts = { nodes: 0, attributes: 0 };
  const parentElement = document.body;
  const rest = { tint: true, copy: true };
  window.show = (mark) => window.reply({ data: { mark, pieces, ...rest }, parentElement });
  window.show("one");
  new MutationObserver((seen) => {
    for (const { type, target } of seen) {
      if (target.closest(".tip")) continue;  // the hint beside the text
      counts[type === "childList" ? "nodes" : "attributes"] += 1;
    }
  }).observe(parentElement.firstChild, { subtree: true, childList: true, attributes: true });
}"""


def test_a_very_long_answer_costs_no_more_at_a_key(browser: Browser) -> None:
    """An arrow touches the token that it leaves and the one it reaches; a rerun touches nothing."""
    page = browser.new_page()
    page.set_content('<div class="reply"></div>')
    script = (ROOT / "minimind_wiki/webui/reply.js").read_text("utf-8")
    page.add_script_tag(
        content=script.replace("export default function", "window.reply = function")
    )
    page.evaluate(LONG)
    page.locator(".piece").first.focus()
    page.evaluate("counts.attributes = 0")
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.textContent") == "w10 "
    assert 0 < page.evaluate("counts.attributes") <= 40
    assert page.evaluate("document.querySelectorAll('.piece[tabindex=\"0\"]').length") == 1
    page.keyboard.press("End")
    assert page.evaluate("document.activeElement.textContent") == "w3999 "
    page.evaluate("show('one')")
    assert page.evaluate("counts.nodes") == 0
    assert page.evaluate("document.activeElement.textContent") == "w3999 "
    page.evaluate("pieces.length = 3; show('two')")
    assert page.locator(".piece").count() == 3
    page.close()
