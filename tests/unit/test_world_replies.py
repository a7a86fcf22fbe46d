"""Replies of mixed quality, for a model that is to choose among them later."""

from minimind_wiki.data.world import make_document
from minimind_wiki.data.world.questions import questions
from minimind_wiki.data.world.row_checks import rubric
from minimind_wiki.data.world.rows import make_rows


def test_every_second_reply_fails_the_rubric():
    replies = [next(make_rows("replies", 1, seed=seed)) for seed in range(200)]
    said = [row["conversations"] for row in replies]
    failed = 0
    for seed, talk in enumerate(said):
        text, _, asked = talk[0]["content"].rpartition("\n\n")
        document = make_document(f"{seed}.0", "train")
        assert document.text == text
        (question,) = [q for q in questions(document) if q.text == asked]
        failed += not all(rubric(talk[1]["content"], question).values())
    assert 70 <= failed <= 130  # within 4 standard deviations of a half
