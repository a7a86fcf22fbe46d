"""Views into models: the fence, what is recorded, and that it is of today's models."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from pymdownx.superfences import SuperFencesException

from minimind_wiki.book import pages
from minimind_wiki.book.macros import MACROS
from minimind_wiki.book.views import SHOWS, cache, draw, make, measures, recorded
from minimind_wiki.book.views.scale import step
from minimind_wiki.errors import MinimindError
from minimind_wiki.model import preset

ROOT = Path(__file__).resolve().parents[2]
Page = Callable[[str], str]
LOOKS = [json.loads(f.read_text("utf-8")) for f in ROOT.glob("snippets/views/world*.json")]
PATCHED = next(look for look in LOOKS if look["other"])


@pytest.fixture
def looks(book: Path) -> Path:
    """The small book with the shipped model and the recorded looks in it."""
    shutil.copytree(ROOT / "snippets" / "views", book / "snippets" / "views", dirs_exist_ok=True)
    shutil.copytree(ROOT / "models" / "world-tiny", book / "models" / "world-tiny")
    return book


def body(show: str, **more: object) -> str:
    fields: dict[str, object] = {"show": show, "model": "world-tiny"}
    if show != "cache":
        fields["prompt"] = PATCHED["prompt"]
    if show == "patch":
        fields["other"] = PATCHED["other"]
    return "\n".join(f"{key}: {value}" for key, value in (fields | more).items())


def fenced(text: str) -> str:
    return f"Text.\n\n```view\n{text}\n```\n"


def data(html: str) -> dict[str, object]:
    found = re.search(r'<script type="application/json"[^>]*>(.*?)</script>', html, re.DOTALL)
    assert found
    return json.loads(found.group(1))


@pytest.mark.parametrize("show", SHOWS)
def test_every_view_is_whole_without_scripts(looks: Path, page: Page, show: str) -> None:
    html = page(fenced(body(show)))
    assert f'data-view="{show}"' in html and "```" not in html
    static = html[html.index("mm-view__static") :]
    assert "<table" in static or show == "tokens"
    assert not re.search(r"<th[^>]*></th>", static), "no empty head of a column"
    assert data(html)["bytes"] == PATCHED["bytes"]
    if show not in ("cache", "tokens"):
        assert "Meadow" in static
    if show == "attention":
        assert static.count("<svg") == 4 * 6 + 1
        assert "layer 3, head 5" in static


def test_a_prompt_is_text_and_no_markup(looks: Path, page: Page) -> None:
    prompt = "<img src=x onerror=alert(1)> & </script>"
    look = json.loads(json.dumps(PATCHED)) | {"prompt": prompt, "other": ""}
    look["texts"][0] = "<b>"
    recorded.path("world-tiny", prompt).write_text(json.dumps(look), encoding="utf-8")
    html = page(fenced(body("lens", prompt=json.dumps(prompt))))
    assert "<img" not in html.split("mm-view__spec")[1].split("</script>", 1)[1]
    assert html.count("</script>") == 1 and "<b>&lt;" not in html.replace("&lt;b&gt;", "")
    assert "&lt;b&gt;" in html


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (body("atention"), ["atention", "attention"]),
        (body("next", model="world-tny"), ["world-tny", "world-tiny"]),
        (body("next", prompt="Nobody recorded this"), ["record_views.py"]),
        ("show: next\nmodel: world-tiny", ["'prompt'"]),
        (body("next", other="x"), ["'other'"]),
        (body("attention", layer=4), ["'layer'", "0 to 3"]),
        (body("attention", head="first"), ["'head'", "first"]),
        (body("attention", haed=1), ["haed", "head"]),
        (body("cache", length=0.5), ["'length'"]),
    ],
)
def test_faults_name_the_page_and_the_field(
    looks: Path, page: Page, text: str, words: list[str]
) -> None:
    with pytest.raises(SuperFencesException) as caught:
        page(fenced(text))
    for word in ("modules/alpha/index.md", "view box", *words):
        assert word in str(caught.value)


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_look_of_another_model_is_refused(looks: Path, page: Page, file: str) -> None:
    page(fenced(body("next")))
    changed = looks / "models" / "world-tiny" / file
    changed.write_bytes(changed.read_bytes() + b" ")
    with pytest.raises(SuperFencesException, match=r"record_views\.py"):
        page(fenced(body("next")))


def test_every_view_of_the_pages_is_recorded_from_todays_model() -> None:
    asked = recorded.asked()
    assert len(asked) >= 3
    for model, prompt, other in asked:
        recorded.load(model, prompt, other)
    wanted = {recorded.path(*look).name for look in asked} | {"shapes.json"}
    assert {f.name for f in recorded.folder().glob("*.json")} == wanted
    assert recorded.shapes() == make.compared()


def test_the_number_of_a_look_is_printed_or_refused(looks: Path) -> None:
    prompt = PATCHED["prompt"]
    recorded.path("world-tiny", prompt).write_text(json.dumps(PATCHED | {"other": ""}), "utf-8")
    said = MACROS["look"]("world-tiny", prompt, "answer.2", ".0%")
    assert f">{PATCHED['answer'][2]:.0%}</span>" in said and '"' not in said
    share = PATCHED["attention"][0][1][12][6]
    assert f">{share / 1000:.0%}<" in MACROS["look"]("world-tiny", prompt, "attention.0.1.12.6")
    for key in ("answer.3", "answer.1", "nothing", "attention.9.0.0.0"):
        with pytest.raises(MinimindError, match="no such number"):
            MACROS["look"]("world-tiny", prompt, key)


def test_what_is_recorded_is_consistent() -> None:
    size, rows = len(PATCHED["ids"]), PATCHED["attention"]
    for layer in rows:
        for head in layer:
            assert [len(row) for row in head] == list(range(1, size + 1))
            assert all(abs(sum(row) - 1000) <= size for row in head)
    last = PATCHED["lens"][-1][-1]
    assert last["top"][0] == PATCHED["answer"] == PATCHED["next"][0]
    assert last["actual"] == PATCHED["answer"][2]
    found = PATCHED["patch"]
    assert found["map"][-1][-1] == found["after"], "the whole last vector is the whole answer"
    same = next(i for i, pair in enumerate(zip(PATCHED["ids"], found["ids"], strict=True))
                if pair[0] != pair[1])  # fmt: skip
    for position in range(same):
        assert {row[position] for row in found["map"]} == {found["before"]}, "nothing differs yet"


def test_patterns_are_runs_of_one_colour() -> None:
    svg = draw.pattern([[1.0], [0.5, 0.5], [0.0, 0.01, 0.99]])
    assert '<path data-step="5" d="M0 0h1v1H0zM2 2h1v1H2z"/>' in svg
    assert '<path data-step="4" d="M0 1h2v1H0z"/>' in svg and 'data-step="0"' not in svg
    assert [step(share) for share in (0.0, 0.0278, 1.0)] == [0, 1, 5]
    assert draw.token(" a") == "␣a" and draw.token("\n") == "⏎" and draw.token("\x13") == "\\x13"


def test_measures_of_a_head_that_does_one_thing() -> None:
    ids = [5, 6, 5, 6, 5]
    back = [[1.0 if j == max(0, i - 1) else 0.0 for j in range(i + 1)] for i in range(5)]
    told = measures.head_measures(back, ids)
    assert told["one back"] == 1.0 and told["itself"] == 0.0
    # at the third token one back is what followed the first copy; at the fifth, one of two such
    assert told["after same"] == 1.0
    assert measures.strongest(told)[1] == 1.0
    assert measures.head_measures([[1.0]], [5])["itself"] is None
    thrice = [[1.0], [0.5, 0.5], [0.25, 0.5, 0.25]]
    assert measures.head_measures(thrice, [7, 7, 7])["after same"] == 0.5, "itself is not after"


def test_the_cache_counts_what_the_package_keeps() -> None:
    shape = next(s for s in recorded.shapes() if s["id"] == "26m")
    config = preset("26m")
    each = 2 * config.num_key_value_heads * config.head_dim * config.num_hidden_layers
    assert sum(cache.cache_bytes(shape, 10, "float16")) == 10 * each * 2
    windowed = next(s for s in recorded.shapes() if s["id"] == "26m-window")
    short, long = (sum(cache.cache_bytes(windowed, n)) for n in (512, 5120))
    assert long == short * (1 + 10) / 2, "half of the layers grow"


def test_the_book_reads_from_its_own_folder(looks: Path) -> None:
    assert pages.root() == looks and recorded.folder().is_relative_to(looks)
