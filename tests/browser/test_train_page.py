"""Train one yourself: it learns, obeys between two steps, and what it saves is a model."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import SITE, Visit
from playwright.sync_api import Page, expect

PAGE = "/en/playground/train/"
COLD, WARM = 180_000, 60_000

pytestmark = pytest.mark.skipif(
    not list((SITE / "en/assets/build/py").glob("numpy-*.whl")),
    reason="the bundle was built without numpy (none could be found), so nothing trains",
)


def step(page: Page) -> int:
    """The step that the page shows."""
    text = page.locator(".mm-train__counter").text_content() or "Step 0"
    return int(text.split()[1])


def reaches(page: Page, number: int, timeout: int = WARM) -> None:
    """Wait until so many steps are done."""
    page.wait_for_function(
        "n => Number(document.querySelector('.mm-train__counter').textContent.split(' ')[1]) >= n",
        arg=number,
        timeout=timeout,
    )


def settles(page: Page, looks: int = 5) -> int:
    """Wait until the step under way has ended and none follows; return the step that stays."""
    last, same = step(page), 0
    for _ in range(WARM // 500):
        page.wait_for_timeout(500)
        now = step(page)
        same = same + 1 if now == last else 0
        last = now
        if same == looks:
            return now
    pytest.fail(f"it trains although it is paused: step {last}")


def button(page: Page, name: str):  # type: ignore[no-untyped-def]
    return page.locator(".mm-train").get_by_role("button", name=name, exact=True)


def test_a_reader_trains_pauses_turns_and_takes_the_model_home(
    visit: Visit, tmp_path: Path
) -> None:
    page = visit.open(PAGE)
    box = page.locator(".mm-train")
    assert box.locator(".mm-train__static svg").is_visible(), "the recorded run stands first"
    expect(button(page, "Save the model")).to_be_disabled()
    button(page, "Train").click()
    expect(box).to_have_attribute("data-state", "running", timeout=COLD)
    reaches(page, 2)

    button(page, "Pause").click()
    expect(box.locator(".mm-train__status")).to_contain_text("Paused")
    held = settles(page)

    box.get_by_text("0.003", exact=True).click()
    expect(box.locator(".mm-train__status")).to_contain_text(f"0.003 from step {held + 1} on")
    expect(box.locator(".mm-chart__turn")).to_have_count(1)
    button(page, "Continue").click()
    reaches(page, held + 3)

    with page.expect_download(timeout=WARM) as waiting:
        button(page, "Save the model").click()
    archive = tmp_path / "my-model.zip"
    waiting.value.save_as(archive)
    with zipfile.ZipFile(archive) as files:
        files.extractall(tmp_path)

    box.get_by_text("The curve as a table").click()
    assert box.locator(".mm-figure__table tbody tr").count() >= 1
    assert len(box.locator(".mm-train__sample blockquote").first.text_content() or "") > 20
    button(page, "Stop").click()
    expect(box.locator(".mm-train__status")).to_contain_text("Stopped")
    visit.assert_clean()
    check_folder(tmp_path / "my-model")


def check_folder(folder: Path) -> None:
    """The package reads the folder; its weights have moved from where they began."""
    torch = pytest.importorskip("torch")
    from minimind_wiki.infer import load_model_folder

    config = json.loads((folder / "config.json").read_text())
    model, tokenizer = load_model_folder(folder)
    assert sum(p.numel() for p in model.parameters()) > 200_000
    ids = torch.tensor([[tokenizer.bos_id, *tokenizer.encode("It was a rainy day")]])
    with torch.no_grad():
        logits = model(ids)
    logits = getattr(logits, "logits", logits)
    assert logits.shape[-1] == config["vocab_size"] and bool(torch.isfinite(logits).all())
    gains = model.state_dict()["model.norm.weight"].numpy()
    assert np.abs(gains - 1).max() > 1e-4, "the gains are still all one: nothing was learned"


def test_an_error_in_the_readers_program_is_shown(visit: Visit) -> None:
    page = visit.open(PAGE)
    button(page, "Show the program").click()
    page.wait_for_selector(".mm-train .cm-content")
    page.locator(".mm-train .cm-content").click()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.insert_text("import torch\n\ndef Llama(vocabulary):\n    return 1 / 0\n")
    button(page, "Train").click()
    expect(page.locator(".mm-train .mm-error")).to_contain_text("must define config", timeout=COLD)
    expect(button(page, "Train anew")).to_be_enabled()
