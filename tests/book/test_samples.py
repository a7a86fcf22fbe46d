"""Samples on the pages: the generator's rows, escaped, foldable, readable without a picture."""

from __future__ import annotations

import base64
import html
import math
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from minimind_wiki.book import records, samples
from minimind_wiki.book.macros import MACROS
from minimind_wiki.data.registry import REGISTRY
from minimind_wiki.data.world import make_document, scenes
from minimind_wiki.data.world.rows import KINDS, make_rows
from minimind_wiki.errors import MinimindError
from minimind_wiki.evaluate.world_exam import SECTIONS, exam_items


class Seen(HTMLParser):
    """Text as a reader gets it, and whether every tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.said: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.said.append(data)

    @property
    def text(self) -> str:
        return "".join(self.said)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_shown_whole(kind: str) -> None:
    (row,) = make_rows(kind, 1, seed=3)
    made = samples.world_rows(kind, seed=3)
    seen = Seen(made)
    for message in row.get("conversations", row.get("chosen", [])):
        document, _, question = message["content"].removeprefix("<image>\n").rpartition("\n\n")
        assert document in seen.text
        assert question in seen.text
    if "rejected" in row:
        assert row["rejected"][-1]["content"] in seen.text
    assert row.get("text", "") in seen.text
    assert "\n" not in made.strip(), "Markdown must find one line of HTML"


def test_rows_are_those_of_the_command() -> None:
    third = list(make_rows("instructions", 3, seed=5, split="test"))[2]
    seen = Seen(samples.world_rows("instructions", 1, 5, "test", skip=2))
    assert third["conversations"][0]["content"] in seen.text
    assert "row 2 of seed 5, test" in seen.text
    assert samples.world_rows("sft", 3).count('class="mm-sample"') == 3


def test_options_reach_the_generator() -> None:
    seen = Seen(samples.world_rows("preference", 1, noise=1.0))
    assert "flipped true" in seen.text


def test_what_a_row_holds_is_never_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    evil = "<script>alert(1)</script>\n\n**x** `y` {{ m() }} & \"q\" 'z'"
    row = {"text": evil, "labels": {"language": '"><b>'}, "gt": [evil], "note": evil}
    talk = {"conversations": [{"role": "<i>", "content": evil, "tool_calls": evil}]}
    for made in (row, talk):
        monkeypatch.setattr(samples, "make_rows", lambda *a, r=made, **k: iter([r]))
        page = samples.world_rows("sft")
        assert "<script" not in page
        assert {tag for tag, _ in Seen(page).tags}.isdisjoint({"script", "b", "i"})
        assert "<script>alert(1)</script>" in Seen(page).text


def test_long_texts_are_folded_and_short_ones_are_not() -> None:
    long = Seen(samples.world_rows("pretrain", seed=3))
    assert [tag for tag, _ in long.tags].count("summary") == 1
    assert "summary" not in [tag for tag, _ in Seen(samples.world_rows("arithmetic")).tags]


def test_pictures_are_enlarged_and_have_words() -> None:
    row = next(make_rows("scenes", 1, seed=2))
    (image,) = [attrs for tag, attrs in Seen(samples.world_rows("scenes", seed=2)).tags
                if tag == "img"]  # fmt: skip
    pixels = scenes.read_png(base64.b64decode((image["src"] or "").partition("base64,")[2]))
    assert (pixels == scenes.read_png(base64.b64decode(row["images"][0]))).all()
    assert image["alt"] == scenes.scene("2.0").caption
    shapes, time, ground, _ = scenes.find_shapes(pixels)
    for word in (time, ground, *(shape.kind for shape in shapes)):
        assert word in (image["alt"] or ""), "the words are those of another picture"
    assert "mm-sample__picture" in (image["class"] or "")


def test_story_is_told_with_events_and_exact_probability() -> None:
    document = make_document("page.16", "validation")
    made = samples.world_story("page.16", "validation")
    seen = Seen(made)
    told = re.findall(r"<li>(.*?)(?:<br>.*?)?</li>", made)
    assert html.unescape(" ".join(told)).split() == document.text.split()
    assert seen.text.count("take Millela kite") == 1
    assert "Falmela believes that the kite is at Otter Forge, which is false" in seen.text
    assert f"{-document.logp / math.log(2):.1f} bits" in seen.text
    assert f"{document.bits_per_byte:.3f} bits per byte" in seen.text
    assert "one derivation" in seen.text
    assert "derivation" not in samples.world_story("page.16", "validation", counted=False)


def test_exam_has_every_section_and_no_trick_wins() -> None:
    items = 20
    page = samples.world_exam(items)
    rows = re.findall(r"<tr><th scope=\"row\">(\w+)</th>.*?<td>(\d+)%</td><td>(\d+)%", page)
    assert [section for section, _, _ in rows] == list(SECTIONS) == list(samples.ASKS)
    for section, chance, trick in rows:
        assert int(trick) <= int(chance) + 100 / items + 1, section
    seen = Seen(page)
    for section in SECTIONS:
        item = next(exam_items(section, 1))
        assert item.prompt in seen.text
        assert f"{item.options[0]} (right)" in seen.text


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("world_rows", ("question",), "did you mean 'questions'"),
        ("world_rows", ("sft", 1, 0, "valid"), "did you mean 'validation'"),
        ("world_rows", ("sft", 0), "at least one row"),
        ("world_story", ("0.1", "tests"), "did you mean 'test'"),
        ("world_story", ("page.16", "validation", "a dragon"), "choose another seed"),
        ("data_sets", ("chat",), "did you mean 'chats'"),
    ],
)
def test_wrong_names_stop_the_build(name: str, arguments: tuple[object, ...], words: str) -> None:
    with pytest.raises(MinimindError, match=re.escape(words)):
        MACROS[name](*arguments)


def test_every_data_set_is_in_one_table() -> None:
    tables = {group: Seen(samples.data_sets(group)) for group in samples.GROUPS}
    for name, item in REGISTRY.items():
        found = [group for group, seen in tables.items() if name in seen.said]
        assert len(found) == 1, (name, found)
        assert item.licence in tables[found[0]].text
        assert (found[0] == "refused") == bool(item.refused)


def test_samples_need_no_torch() -> None:
    code = (
        "import sys; from minimind_wiki.book import samples;"
        "samples.world_rows('scenes'); samples.world_exam(1); samples.data_sets('text');"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_claim_says_what_the_record_says(book: Path) -> None:
    known = records.load("alpha/first")["claims"]["first_claim"]
    seen = Seen(f"<p>{MACROS['claim']('alpha/first', 'first_claim')}</p>")
    assert known["text"] in seen.text
    assert known["evidence"] in seen.text
    assert ("a", "../../reproducibility/#alpha-first") in [(t, a.get("href")) for t, a in seen.tags]
    file = book / "experiments/alpha/records/first.json"
    text = file.read_text(encoding="utf-8").replace('"supported"', '"not supported"')
    file.write_text(text, encoding="utf-8")
    records._checked.cache_clear()
    assert "mm-verdict--not-supported" in MACROS["claim"]("alpha/first", "first_claim")
    with pytest.raises(MinimindError, match="first_claim"):
        MACROS["claim"]("alpha/first", "frst_claim")
