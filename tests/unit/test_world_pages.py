"""Labelled raw pages: the truth that each carries is held against the page itself."""

from __future__ import annotations

import ipaddress
import json
import re

import pytest

from minimind_wiki.data.schemas import check_rows
from minimind_wiki.data.world import foreign, ocr, pages, private
from minimind_wiki.data.world.boilerplate import web_page
from minimind_wiki.data.world.chooser import Chooser
from minimind_wiki.errors import WrongCall

ROWS = list(pages.raw_pages("t", 1200))
BY_ID = {row["labels"]["id"]: row for row in ROWS}


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def of(**wanted: object) -> list[dict]:
    found = [r for r in ROWS if all(r["labels"][k] == v for k, v in wanted.items())]
    assert found, wanted
    return found


def test_the_same_seed_gives_the_same_pages_and_row_n_depends_on_n_alone() -> None:
    assert list(pages.raw_pages("t", 300)) == ROWS[:300]
    assert pages.page(Chooser("pages/train/t.250"), "t.250", "train") == ROWS[250]
    far = [pages.page(Chooser(f"f{n}"), f"t.{n}", "train") for n in range(10**6, 10**6 + 40)]
    assert any(row["labels"]["duplicate"] for row in far)
    assert next(pages.raw_pages("u", 1))["text"] != ROWS[0]["text"]
    assert next(pages.raw_pages("t", 1, "test"))["text"] != ROWS[0]["text"]
    with pytest.raises(WrongCall, match="at least 1"):
        list(pages.raw_pages(0, 0))


def test_rows_are_rows_and_every_defect_dress_and_kind_is_met() -> None:
    lines = [json.dumps(row, ensure_ascii=False) for row in ROWS]
    assert check_rows(lines, "pretrain")[1:] == (len(ROWS), [])
    assert {d for row in ROWS for d in row["labels"]["defects"]} == set(pages.DEFECTS)
    assert {r["labels"]["dress"] for r in ROWS} == {"plain", "web", "scan", "mojibake", "odd"}
    kinds = {r["labels"]["kind"] for r in ROWS}
    assert kinds >= {*pages.HARD, *pages.JUNK, "story", "foreign", "quoting", "lookalike"}
    assert {r["labels"]["language"] for r in ROWS} == {"en", "", *foreign.LANGUAGES}
    assert {r["labels"]["benchmark"] for r in ROWS} == {"", "whole", "excerpt", "edited"}


def test_what_goes_and_what_stays_follows_from_the_defects() -> None:
    out = {"junk", "language", "exact duplicate", "near duplicate", "contaminated"}
    for row in ROWS:
        labels = row["labels"]
        assert labels["keep"] != bool(out & set(labels["defects"])), labels
        plain = labels["dress"] == "plain" and not labels["private"]
        assert not plain or labels["kind"] == "copy" or labels["clean"] == row["text"]


def test_private_data_stands_where_the_labels_say_and_not_in_the_clean_text() -> None:
    spans = [(r, span) for r in ROWS for span in r["labels"]["private"]]
    assert {span["kind"] for _, span in spans} == set(private.MASKS)
    for row, span in spans:
        assert row["text"][span["start"] : span["end"]] == span["text"]
        assert span["text"] not in row["labels"]["clean"]
        assert private.MASKS[span["kind"]] in row["labels"]["clean"]
    for row in ROWS:
        assert bool(row["labels"]["private"]) == ("private" in row["labels"]["defects"])


def test_private_data_is_from_ranges_that_belong_to_nobody() -> None:
    nets = [ipaddress.ip_network(n) for n in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24",
                                              "2001:db8::/32")]  # fmt: skip
    for seed in range(300):
        _, kind, value = private.private_sentence(Chooser(seed))
        if kind == "e-mail":
            assert re.search(r"example\.(com|org|net)$", value)
        elif kind == "phone":
            assert re.search(r"555.01\d\d$|7946 09\d\d$", value)
        elif kind == "IP address":
            address = ipaddress.ip_address(value)
            assert any(address in net for net in nets if net.version == address.version)
        else:
            assert value in private.CARDS + private.IBANS


def test_duplicates_name_an_earlier_page_and_their_likeness() -> None:
    hows = set()
    for row in ROWS:
        labels = row["labels"]
        if labels["duplicate"] is None:
            continue
        base = BY_ID[labels["duplicate"]["of"]]
        hows.add(labels["duplicate"]["how"])
        assert ROWS.index(base) < ROWS.index(row) and base["labels"]["keep"]
        a, b = base["labels"]["clean"], labels["clean"]
        like = pages.likeness(a, b)
        assert labels["duplicate"]["jaccard"] == round(like, 4)
        assert ("exact duplicate" in labels["defects"]) == (words(a) == words(b))
        assert ("near duplicate" in labels["defects"]) == (
            words(a) != words(b) and like >= pages.NEAR
        )
        if labels["duplicate"]["how"] == "copy":
            assert row["text"] == base["text"]
    assert hows == {"copy", "edited", "rewrapped"}


def test_no_two_pages_that_should_stay_are_near_duplicates_unless_labelled() -> None:
    """Otherwise a filter that finds them would be scored as wrong."""
    kept = [r for r in ROWS if r["labels"]["keep"] and not r["labels"]["duplicate"]]
    holders: dict[tuple[str, ...], list[int]] = {}
    for number, row in enumerate(kept):
        for gram in pages.grams(row["labels"]["clean"]):
            holders.setdefault(gram, []).append(number)
    pairs = {(a, b) for who in holders.values() if len(who) < 30 for a in who for b in who if a < b}
    for a, b in pairs:
        like = pages.likeness(kept[a]["labels"]["clean"], kept[b]["labels"]["clean"])
        assert like < pages.NEAR, (kept[a]["labels"]["id"], kept[b]["labels"]["id"])


def test_contaminated_pages_quote_a_held_out_text_and_no_other_page_is_built_on_one() -> None:
    held_out = list(pages.benchmark_texts())
    grams = {gram for text in held_out for gram in pages.grams(text, 20)}
    for how, found in (("whole", True), ("excerpt", True), ("edited", False)):
        for row in of(benchmark=how):
            assert bool(pages.grams(row["labels"]["clean"], 20) & grams) == found
    for row in of(benchmark="whole", dress="plain"):
        assert any(text in row["text"] for text in held_out)
    for row in of(benchmark="excerpt", dress="plain"):
        assert not any(text in row["text"] for text in held_out)
    for row in ROWS:
        if not row["labels"]["benchmark"]:
            assert not pages.grams(row["labels"]["clean"], 20) & grams


def test_a_web_page_holds_its_text_and_much_else() -> None:
    for row in of(dress="web", kind="foreign", language="pl")[:5]:
        assert row["text"].startswith("<!DOCTYPE html>") and "<title>" in row["text"]
        told = set(words(re.sub("<[^>]*>", "", row["text"])))
        assert set(words(row["labels"]["clean"])) < told
    layouts = {
        next(mark for mark in ("<nav>", "cookie-banner", "<table>") if mark in page)
        for page in (web_page(Chooser(seed), "T", ["One.", "Two."]) for seed in range(20))
    }
    assert len(layouts) == 3


def ftfy_free_repair(text: str) -> str:
    """The reverse of the fault: bytes of Windows-1252, its holes as Latin-1, read as UTF-8."""
    table = {bytes([b]).decode("cp1252", "ignore") or chr(b): b for b in range(256)}
    return bytes(table[char] for char in text).decode()


def test_scans_and_wrong_decodings_are_the_faults_they_are_named_after() -> None:
    for row in of(dress="scan")[:20]:
        lines = row["text"].split("\n")
        assert max(map(len, lines)) <= 81 and row["text"] != row["labels"]["clean"]
    for row in of(dress="mojibake"):
        assert re.search("â€|[ÃÄÅá]", row["text"]), row["text"]
        assert ftfy_free_repair(row["text"]) == row["labels"]["clean"]
    assert ocr.mojibake("“naïve”").startswith("â€œna")
    assert ocr.confuse(Chooser(0), "corn barn", 1.0) != "corn barn"
    assert ocr.confuse(Chooser(0), "corn barn", 0.0) == "corn barn"
