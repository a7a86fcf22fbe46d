"""The fact base: every fact has its articles, and withheld ones reach no training row."""

from __future__ import annotations

import pytest

from minimind_wiki.data.world.facts import (
    PASSAGES,
    fact_base,
    read_facts,
    split_of_fact,
)
from minimind_wiki.data.world.rows import check_row, make_rows
from minimind_wiki.errors import WrongCall

BASES = [fact_base(f"{seed}.0") for seed in range(8)]


def _facts_of(row) -> set:
    texts = [p["text"] for p in row["passages"]] if "passages" in row else [row["text"]]
    said = row["conversations"][0]["content"] if "passages" in row else ""
    parts = [line.split(": ", 1)[1] for line in said.split("\n") if line.startswith("[")]
    return set().union(*map(read_facts, [*texts, *parts]))


def test_articles_state_what_they_are_said_to_state() -> None:
    for base in BASES:
        stated = set()
        for document in base.documents:
            assert read_facts(document.text) == set(document.facts)
            assert document.withheld == bool(set(document.facts) & base.withheld)
            assert not document.withheld or set(document.facts) <= base.withheld
            stated |= set(document.facts)
        assert stated == set(base.facts) and len(base.facts) == len(set(base.facts))
        assert len({(s, r) for s, r, _ in base.facts}) == len(base.facts)


def test_queries_have_one_answer_and_all_their_articles() -> None:
    once = 0
    for base in BASES:
        assert len({q.text for q in base.queries}) == len(base.queries) == len(base.facts)
        for query in base.queries:
            subject, relation, _ = query.fact
            found = {d.id: f for d in base.documents for f in read_facts(d.text)
                     if f[:2] == (subject, relation)}  # fmt: skip
            assert set(found) == set(query.positives) and set(found.values()) == {query.fact}
            assert query.short in query.answer and query.short in query.fact[2]
            assert query.withheld == (query.fact in base.withheld)
            once += len(query.positives) == 1
        assert {(q, d) for q, d, _ in base.qrels()} == {
            (q.id, d) for q in base.queries for d in q.positives
        }
        assert [set(row) for row in base.corpus()] == [{"_id", "title", "text"}] * len(
            base.documents
        )
    total = sum(len(base.facts) for base in BASES)
    assert 0.5 < once / total < 0.8
    # the share is that of the splits: two tenths, within 4.5 standard deviations
    withheld = sum(len(base.withheld) for base in BASES) / total
    assert abs(withheld - 0.2) < 4.5 * (0.2 * 0.8 / total) ** 0.5


@pytest.mark.parametrize("kind", ["facts", "retrieval"])
def test_no_withheld_fact_is_in_a_training_row(kind: str) -> None:
    held = set().union(*(fact_base(f"3.{block}").withheld for block in range(10)))
    answers = {(q.text, q.short) for n in range(10) for q in fact_base(f"3.{n}").queries
               if q.withheld}  # fmt: skip
    seen = set()
    for row in make_rows(kind, 480, seed=3):
        told = _facts_of(row)
        assert told and not told & held
        assert {split_of_fact(fact) for fact in told} == {"train"}
        if kind == "retrieval":
            assert (row["query"], row["gt"][0]) not in answers and not row["withheld"]
        seen |= told
    assert len(seen) > 900
    asked = list(make_rows(kind, 480, seed=3, split="test"))
    assert all(_facts_of(row) & held for row in asked)


def test_facts_of_the_splits_are_disjoint() -> None:
    told = {
        split: set().union(*(_facts_of(row) for row in make_rows("facts", 300, 3, split)))
        for split in ("train", "validation", "test")
    }
    for split, some in told.items():
        assert {split_of_fact(fact) for fact in some} == {split}


def test_retrieval_rows_have_hard_wrong_passages() -> None:
    similar = 0
    for row in make_rows("retrieval", 200, seed=5, split="test"):
        assert check_row("retrieval", row) and row["withheld"]
        assert len(row["passages"]) == PASSAGES
        wrong = [p for p in row["passages"] if p["_id"] not in row["positives"]]
        assert wrong and row["positives"]
        similar += any(p["title"].split()[-1][:3] in row["query"] for p in wrong)
        assert not check_row("retrieval", {**row, "gt": ["nobody"]})
        assert not check_row("retrieval", {**row, "positives": [wrong[0]["_id"]]})
    assert similar > 100


def test_a_base_has_a_size() -> None:
    assert len(fact_base(1, 4).facts) == 4 * 6 + 2 * 5
    assert fact_base(1, 4) == fact_base(1, 4) != fact_base(2, 4)
    for size in (1, 201):
        with pytest.raises(WrongCall, match="2 to 200"):
            fact_base(1, size)
