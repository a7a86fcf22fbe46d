"""Each cleaning step: what it must change or drop, what it must leave, and what it says."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minimind_wiki.data.clean.decontaminate import Benchmarks, Decontaminate, strings
from minimind_wiki.data.clean.filters import Rules, language, quality_fault, repetition_fault
from minimind_wiki.data.clean.normalize import extract_html, join_lines, unicode_text
from minimind_wiki.data.clean.pii import luhn, mask_pii
from minimind_wiki.data.clean.step import Edit, Filter, Row
from minimind_wiki.data.clean.steps import Chunk, ExactDuplicates, NearDuplicates, Sample, chunks
from minimind_wiki.data.embedded import embedded_text
from minimind_wiki.errors import WrongCall

PROSE = (
    "The miller went to the market with two sacks of flour. He wanted to sell them and to buy a "
    "horse, but nobody had one for him. In the evening he came home without the sacks, and his "
    "wife asked where the horse was. He said that the road had been long and that the inn was "
    "warm. She laughed, because she had known it before he left."
)


def row(text: str, line: int = 1, file: str = "a.jsonl") -> Row:
    return Row({"text": text}, file, line)


def test_unicode_keeps_meaning_and_counts_what_it_changed() -> None:
    text, counts = unicode_text("x² e\u0301 \u200bno\xadw\r\nfa\u00a0👨\u200d👩 \ud800")
    assert text == "x² é now\nfa 👨\u200d👩 \ufffd"
    assert counts == Counter({"invisible character": 2, "line end": 1, "odd space": 1,
                              "lone surrogate": 1, "composed to NFC": 1})  # fmt: skip
    assert unicode_text(PROSE) == (PROSE, Counter())


@given(st.text())
@settings(max_examples=100, deadline=None)
def test_unicode_is_done_after_one_pass(text: str) -> None:
    once, _ = unicode_text(text)
    assert unicode_text(once)[0] == once
    once.encode()


def test_wrong_decodings_are_repaired_with_ftfy() -> None:
    pytest.importorskip("ftfy")
    assert unicode_text("schÃ¶n", repair=True) == ("schön", Counter({"wrong decoding repaired": 1}))
    assert unicode_text("“schön”", repair=True) == ("“schön”", Counter())


def test_html_gives_the_article_and_leaves_menus_scripts_and_links() -> None:
    page = f"""<!doctype html><html><head><title>t</title><script>var x = "<p>no</p>";</script>
    </head><body><nav><a href="/">Home</a></nav><div><a>Login</a> | <a>Sign up for free</a></div>
    <h1>The &amp; miller</h1><p>{PROSE[:160]}</p><p>{PROSE[160:]}</p>
    <ul><li><a>More stories like this</a></li><li><a>Next</a></li></ul>
    <div>Share</div><footer>© 2024 All rights reserved</footer></body></html>"""
    text, counts = extract_html(page)
    assert text.split("\n\n") == ["The & miller", PROSE[:160].strip(), PROSE[160:].strip()]
    assert counts["<script>"] == 0 and counts["<head>"] == 1 and counts["<nav>"] == 1
    assert counts["boilerplate block"] == 4


def test_text_with_a_less_than_sign_is_no_page_and_broken_pages_do_not_raise() -> None:
    assert extract_html("if a < b and <x> then")[0] == "if a < b and <x> then"
    assert extract_html(f"<html><body><p>{PROSE}<b></i></div></p")[0] == PROSE


def test_hard_line_breaks_are_joined_and_paragraphs_stay() -> None:
    text, counts = join_lines("A divi-\nded word, and\na line.\nNext line.\n\nNew 19-\n20.")
    assert text == "A divided word, and a line.\nNext line.\n\nNew 19-\n20."
    assert counts == Counter({"divided word joined": 1, "line joined": 1})


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Ann.B+c@mail.example.co.uk!", "[EMAIL]!"),
        (
            "card 4111 1111 1111 1111, not 4111 1111 1111 1112",
            "card [CARD], not 4111 1111 1111 1112",
        ),
        ("from 192.168.0.17.", "from [IP]."),
        ("2001:db8::ff00:42:8329 up", "[IP] up"),
        ("+49 30 1234567 or (212) 555-0142", "[PHONE] or [PHONE]"),
        ("call 555-0142, 13812345678", "call [PHONE], [PHONE]"),
        ("212.555.0142", "[PHONE]"),
    ],
)
def test_private_data_is_masked(text: str, masked: str) -> None:
    assert mask_pii(text)[0] == masked


@pytest.mark.parametrize(
    "text",
    ["in 1998-2004", "version 1.2.3", "999.1.1.1", "2024-05-17", "12:30:45", "3.14159265", "a@b",
     "1,000,000 people", "0000 0000 0000 0000", "std::vector", "pages 100-2000", "12 345 678"],
)  # fmt: skip
def test_other_numbers_are_left_alone(text: str) -> None:
    assert mask_pii(text) == (text, Counter())


@given(st.text("0123456789", min_size=2, max_size=18), st.integers(0, 8))
@settings(max_examples=100, deadline=None)
def test_luhn_finds_each_single_wrong_digit(body: str, add: int) -> None:
    check = next(d for d in "0123456789" if luhn(body + d))
    wrong = str((int(body[0]) + 1 + add) % 10) + body[1:] + check
    assert not luhn(wrong)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Too short.", "too few words"),
        (PROSE + " Lorem ipsum dolor.", "placeholder or script notice"),
        (PROSE.replace(" ", " # ", 40), "too many symbols"),
        ("\n".join("- " + s for s in PROSE.split(". ")), "mostly bullets"),
        ("\n".join(s + "…" for s in PROSE.split(". ")), "lines that break off"),
        (PROSE.replace(".", ","), "too few sentences"),
        ("a b. c d. " * 20, "odd mean word length"),
        ("There 12345 67890 12345. " * 20, "too few words with letters"),
        (PROSE.translate(str.maketrans("eaht", "xuqz")), "no running English"),
        (PROSE + "\n" + PROSE, "repeated lines"),
        ((PROSE + " ") * 2, "repeated n-grams"),
    ],
)
def test_each_quality_rule_speaks_for_itself(text: str, reason: str) -> None:
    assert quality_fault(text, Rules()) == reason


def test_good_prose_passes_and_rules_can_be_loosened() -> None:
    assert quality_fault(PROSE, Rules()) is None
    assert quality_fault(PROSE, Rules(min_terminal=1.0)) is None
    assert quality_fault(PROSE + "\nMenu", Rules(min_terminal=1.0)) == (
        "lines without terminal punctuation"
    )
    short = Rules(min_words=2, min_sentences=1, min_stop_words=0, repetition=False)
    assert quality_fault("Too short.", short) is None
    assert (
        quality_fault(
            "床前明月光，疑是地上霜。举头望明月，低头思故乡。", Rules(min_words=20, min_sentences=2)
        )
        is None
    )
    assert repetition_fault("go home " * 30) == "one 2-gram again and again"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (PROSE, "en"),
        ("Der Müller ging auf den Markt und wollte das Pferd nicht kaufen.", "de"),
        ("Le meunier est allé au marché pour vendre la farine et il est content.", "fr"),
        ("El molinero fue al mercado con la harina y no quiso el caballo.", "es"),
        ("Мельник пошёл на рынок.", "ru"),
        ("粉屋は市場へ行きました。", "ja"),
        ("磨坊主去了市场。", "zh"),
        ("방앗간 주인이 시장에 갔다.", "ko"),
        ("zorpel mikta vun galo trez hupa", "und"),
        ("12 + 5", "und"),
        ("Grace weighs 125 pounds. Alex weighs 2 pounds less than 4 times what she does.", "en"),
    ],
)
def test_languages_by_script_and_common_words(text: str, code: str) -> None:
    assert language(text)[0] == code


def test_duplicates_name_the_row_that_they_are_like() -> None:
    exact, near = ExactDuplicates(), NearDuplicates(0.6, n=3)
    other = (
        "A quite different text stands here, about bees, honey and the long summer days of June."
    )
    edited = PROSE.replace("horse", "donkey")
    texts = [PROSE, other, PROSE.upper(), edited, "?", "?", "!"]
    assert [exact(row(t, i)).dropped for i, t in enumerate(texts)] == [
        "", "", "duplicate of a.jsonl:0", "", "", "duplicate of a.jsonl:4", "",
    ]  # fmt: skip
    assert [bool(near(row(t, i)).dropped) for i, t in enumerate(texts[:4])] == [0, 0, 1, 1]


def test_a_benchmark_in_a_row_is_found_and_named() -> None:
    bench = Benchmarks()
    question = "How many sacks of flour does the miller sell if he starts with nine and keeps two?"
    bench.add(
        "gsm",
        [question, "only seven words stand in this one", "eight words are just enough to be here"],
    )
    assert (bench.texts, bench.too_short) == (2, 1)
    step = Decontaminate(bench)
    dirty = f"{PROSE} {question.upper()} {PROSE}"
    assert step(row(dirty)).dropped == "13 words of gsm"
    assert step(row("So: eight words, are just enough -- to be here.")).dropped == "8 words of gsm"
    assert step(row(PROSE + " How many sacks of flour does the miller sell?")).dropped == ""
    chat = {
        "conversations": [
            {"role": "user", "content": question},
            {"role": "assistant", "content": "7"},
        ]
    }
    assert step(Row(chat)).dropped == "13 words of gsm"
    assert list(strings({"a": ["x", {"b": "y"}], "c": 1})) == ["x", "y"]


def test_mixing_takes_about_the_share_and_always_the_same_rows() -> None:
    step = Sample({"a*": 0.3, "b*": 2.5}, seed=4)
    copies = [len(step(row("x", i)).rows) for i in range(2000)]
    assert set(copies) == {0, 1} and abs(sum(copies) / 2000 - 0.3) < 0.05
    assert copies == [len(step(row("x", i)).rows) for i in range(2000)]
    more = [len(step(row("x", i, "b.jsonl")).rows) for i in range(2000)]
    assert set(more) == {2, 3} and abs(sum(more) / 2000 - 2.5) < 0.05
    assert len(step(row("x", 1, "other")).rows) == 1
    assert step(row("x", copies.index(0))).dropped == "sampled out at rate 0.3"
    with pytest.raises(WrongCall, match="0 or more"):
        Sample({"a": -1})


@given(st.text("ab .\n。", max_size=200), st.integers(1, 30))
@settings(max_examples=200, deadline=None)
def test_chunks_join_to_the_text_and_fit(text: str, size: int) -> None:
    pieces = chunks(text, size)
    assert "".join(pieces) == text
    assert all(0 < len(piece) <= size for piece in pieces)


def test_chunking_keeps_other_keys_and_whole_chats() -> None:
    long = Row({"text": PROSE, "source": "s"}, "a", 3)
    pieces = Chunk(120)(long).rows
    assert len(pieces) > 2 and all(p.data["source"] == "s" and p.line == 3 for p in pieces)
    assert all(p.text.rstrip().endswith(".") for p in pieces)
    chat = Row({"conversations": [{"role": "user", "content": PROSE}]})
    assert Chunk(10)(chat).rows == [chat]


def test_edits_touch_the_texts_of_chats_and_nothing_else() -> None:
    message = {
        "role": "user",
        "content": "a@b.org",
        "tools": '["a@b.org"]',
        "reasoning_content": "a@b.org",
    }
    chat = Row({"conversations": [message], "id": "a@b.org"})
    result = Edit("pii", mask_pii)(chat)
    assert result.rows[0].data == {
        "conversations": [{**message, "content": "[EMAIL]", "reasoning_content": "[EMAIL]"}],
        "id": "a@b.org",
    }
    assert result.edits == {"e-mail": 2}
    assert Edit("html", extract_html)(row("<p><a>Home</a></p>")).dropped == "nothing was left"
    same = row(PROSE)
    assert Edit("pii", mask_pii)(same).rows[0] is same
    assert Filter("quality", lambda text: "bad")(same).dropped == "bad"


def test_the_embedded_corpus_survives_its_own_filters() -> None:
    stories = [s for s in embedded_text().split("\n\n") if s.strip()][:200]
    rules = Rules(min_words=20, repetition=False, min_stop_words=1)
    passed = sum(quality_fault(s, rules) is None and language(s)[0] == "en" for s in stories)
    assert passed >= 0.9 * len(stories)
