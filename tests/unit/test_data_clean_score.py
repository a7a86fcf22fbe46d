"""The scoring of the pipeline, and the repairs that scoring asked for."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from minimind_wiki.data.clean.filters import quality_fault
from minimind_wiki.data.clean.normalize import extract_html
from minimind_wiki.data.clean.pii import find_pii, mask_pii
from minimind_wiki.data.clean.scan import looks_like_scan, repair_scan
from minimind_wiki.data.clean.score import Count, character_f1, has_to_go, score
from minimind_wiki.data.clean.step import Edit, Filter, Result, Row
from minimind_wiki.data.clean.steps import ExactDuplicates, NearDuplicates
from minimind_wiki.data.world.pages import raw_pages

PAGES = list(raw_pages("score", 500))
BY_ID = {page["labels"]["id"]: page["labels"] for page in PAGES}


class Oracle:
    """Drops what the labels say."""

    def __init__(self, name: str, wrong: bool = False) -> None:
        self.name, self.wrong = name, wrong
        self.ids = {page["labels"]["id"] for page in PAGES}

    def __call__(self, row: Row) -> Result:
        labels = PAGES[row.line - 1]["labels"]
        bad = bool(has_to_go(self.name, labels, self.ids))
        return Result([] if bad != self.wrong else [row], "told" if bad != self.wrong else "")


@pytest.mark.parametrize("name", ["language", "quality", "decontaminate", "exact", "near"])
def test_an_oracle_scores_one_and_its_opposite_nothing(name: str) -> None:
    count = score(PAGES, [Oracle(name)]).filters[name]
    assert (count.precision, count.recall) == (1.0, 1.0) and count.right > 3 < count.spared
    worst = score(PAGES, [Oracle(name, wrong=True)]).filters[name]
    assert (worst.precision, worst.recall, worst.right) == (0.0, 0.0, 0)
    assert worst.false == count.spared and worst.missed == count.right


def test_dropping_nothing_and_everything_are_the_two_ends() -> None:
    nothing = score(PAGES, [Filter("quality", lambda text: None)])
    everything = score(PAGES, [Filter("quality", lambda text: "no")])
    assert nothing.filters["quality"].recall == 0
    assert math.isnan(nothing.filters["quality"].precision)
    count = everything.filters["quality"]
    assert count.recall == 1 and count.precision == count.chance_precision
    keep = sum(page["labels"]["keep"] for page in PAGES)
    assert everything.filters["corpus"].false == keep == nothing.filters["corpus"].spared


def test_counts() -> None:
    count = Count(right=3, false=1, missed=2, spared=4)
    assert (count.precision, count.recall, count.judged) == (0.75, 0.6, 10)
    assert (count.chance_precision, count.chance_recall) == (0.5, 0.4)


def test_a_duplicate_is_not_judged_when_its_original_is_gone() -> None:
    labels = next(x for x in BY_ID.values() if "exact duplicate" in x["defects"])
    assert has_to_go("exact", labels, {labels["duplicate"]["of"]}) is True
    assert has_to_go("exact", labels, set()) is None
    near = next(x for x in BY_ID.values() if "near duplicate" in x["defects"])
    here = {near["duplicate"]["of"]}
    assert has_to_go("exact", near, here) is None and has_to_go("near", near, here) is True


def test_exact_copies_are_all_found_and_near_ones_mostly() -> None:
    plain = [page for page in PAGES if page["labels"]["dress"] == "plain"]
    done = score(plain, [ExactDuplicates(), NearDuplicates()])
    assert done.filters["exact"].recall == 1 and done.filters["exact"].precision == 1
    assert done.filters["near"].recall > 0.5 and done.filters["near"].precision > 0.8


def test_character_f1_compares_what_is_read() -> None:
    assert character_f1("a b", "a\n\nb") == 1 and character_f1("abc", "xyz") == 0
    assert character_f1("", "abc") == 0
    assert character_f1("the corn field", "the com field") == pytest.approx(2 * 10 / (12 + 11))


def test_texts_are_scored_before_after_and_on_pages_of_others() -> None:
    done = score(PAGES, [Edit("html", extract_html)])
    mean = {when: sum(v) / len(v) for (_, when), v in done.texts.items()}
    assert mean["before"] < 0.9 < mean["after"] < 1 == mean["others"]
    eaten = score(PAGES, [Edit("html", lambda text: ("", Counter()))])
    assert eaten.lost == sum(page["labels"]["keep"] for page in PAGES)


def test_private_spans_are_judged_place_by_place() -> None:
    done = score(PAGES, [Edit("pii", mask_pii)])
    truth = sum(len(page["labels"]["private"]) for page in PAGES)
    count = done.filters["pii"]
    assert count.right + count.missed == truth and count.recall > 0.8
    assert done.groups["pii", "IBAN"].missed == 0


def test_an_account_number_is_one_by_its_remainder() -> None:
    assert mask_pii("to DE89 3704 0044 0532 0130 00 now")[0] == "to [IBAN] now"
    assert mask_pii("to GB82WEST12345698765432")[0] == "to [IBAN]"
    assert "IBAN" not in mask_pii("to DE88 3704 0044 0532 0130 00 now")[0]
    assert find_pii("a@example.com 192.0.2.1") == [(0, 13, "e-mail"), (14, 23, "IP address")]


def test_a_scan_is_repaired_and_a_poem_is_none() -> None:
    text = (
        "It was a cold day and the mil-\nler went down to the river to\nsee whether the ice had\n\n"
        "- 14 -\n\nmelted. He took his 1amp and\na r0pe, and then he was gone for\nthe whole day."
    )
    got, edits = repair_scan(text)
    assert got == (
        "It was a cold day and the miller went down to the river to see whether the ice had "
        "melted. He took his lamp and a rope, and then he was gone for the whole day."
    )
    assert edits["page number dropped"] == 1 and edits["digit read for a letter"] == 2
    poem = "The rose is red,\nAnd so is bread,\nThe sky is blue,\nAnd so are you,\nGood night."
    assert not looks_like_scan(poem) and repair_scan(poem) == (poem, Counter())
    listed = "To buy:\n- 100 g of flour\n- 2 eggs\n- butter\n- milk\n- 1st 10 apples"
    assert repair_scan(listed)[0] == listed


def test_boxes_that_say_what_they_are_go_and_the_text_after_them_stays() -> None:
    page = (
        "<body><div class='post'><p>" + "A long paragraph of the text itself. " * 5 + "</p></div>"
        "<div id='comments'><div>" + "A long comment that is well written too. " * 5 + "</div>"
        "<div><p>inner</p><div>inner</div></div></div><div class='commentary'><p>"
        + "A second paragraph of the text. " * 6 + "</p></div></body>"
    )  # fmt: skip
    text, edits = extract_html(page)
    assert "comment" not in text and "inner" not in text and edits["named box"] == 1
    assert text.startswith("A long paragraph") and text.endswith("second paragraph of the text.")


def test_chinese_blocks_are_as_long_as_their_words() -> None:
    page = (
        "<html><body><p>"
        + "面包师找那只蓝色的水壶已经找了三天，就在磨坊旁边。" * 4
        + "</p></body></html>"
    )
    assert extract_html(page)[0].startswith("面包师")


def test_every_kind_of_good_page_is_spared_or_named_as_a_known_limit() -> None:
    from minimind_wiki.data.clean.filters import Rules

    hurt = {
        labels["kind"]
        for labels in BY_ID.values()
        if labels["keep"] and not labels["duplicate"] and quality_fault(labels["clean"], Rules())
    }
    assert hurt <= {"short", "poem", "numbers", "recipe"}
