"""The world as a stream: any step at any time, the documents of `data world`, hardly padded."""

from __future__ import annotations

import json
from itertools import islice

import numpy as np
import pytest

from minimind_wiki.data import stream as module
from minimind_wiki.data.packing import IGNORE, Batch, byte_lengths
from minimind_wiki.data.stream import WorldStream
from minimind_wiki.data.world.rows import make_rows
from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.tokenizer import ByteTokenizer

MIX = {"pretrain": 3.0, "dialogue": 1.0, "tools": 1.0}
TOKENIZER = ByteTokenizer()


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 1 << 14)


def make(length: int = 256, batch: int = 4, seed: int = 1, **more: object) -> WorldStream:
    return WorldStream(TOKENIZER, length, batch, seed, **more)  # type: ignore[arg-type]


def same(first: Batch, second: Batch) -> bool:
    names = ("ids", "labels", "positions", "documents")
    return all((getattr(first, n) == getattr(second, n)).all() for n in names)


def test_document_n_is_row_n_of_the_world_between_bos_and_eos() -> None:
    stream = make()
    for number, row in enumerate(make_rows("pretrain", 5, seed=1)):
        ids, flags = stream.document(number)
        assert TOKENIZER.decode(ids[1:-1].tolist()) == row["text"]
        assert ids[0] == TOKENIZER.bos_id and ids[-1] == TOKENIZER.eos_id and flags.all()
    held_out = make(split="test").document(0)[0]
    assert TOKENIZER.decode(held_out.tolist()) == next(make_rows("pretrain", 1, 1, "test"))["text"]


def test_a_chat_learns_only_what_the_assistant_said() -> None:
    stream = make(2048, kinds={"dialogue": 1.0})
    row = next(make_rows("dialogue", 1, seed=1))["conversations"]
    ids, flags = stream.document(0)
    learned = TOKENIZER.decode(ids[flags > 0].tolist(), specials=True)
    said = [f"<think>\n\n</think>\n\n{m['content']}<|im_end|>" for m in row[1::2]]
    assert learned == "".join(said)


def test_any_step_can_be_read_first() -> None:
    stream = make(kinds=MIX)
    steps = range(3 * stream.steps_per_block + 2)
    forward = [stream.at(step) for step in steps]
    backward = [stream.at(step) for step in reversed(steps)][::-1]
    assert all(map(same, forward, backward))
    last = steps[-1]
    assert same(make(kinds=MIX).at(last), forward[last])
    assert not same(make(seed=2, kinds=MIX).at(0), forward[0])


def test_a_far_step_generates_one_block_only(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, made = make(), []
    document = stream.document
    monkeypatch.setattr(stream, "document", lambda n, r: made.append(n) or document(n, r))
    stream.at(10**6)
    assert 0 < len(made) < 60 and made == list(range(made[0], made[0] + len(made)))
    first = 10**6 // stream.steps_per_block * stream.rows_per_block * stream.row_length
    assert made[0] == first


def test_the_rows_of_a_block_hold_its_documents_once_each() -> None:
    stream = make()
    batches = [stream.at(step) for step in range(stream.steps_per_block)]
    held = np.concatenate([b.ids[b.documents > 0] for b in batches])
    count = stream.block(0).documents
    expected = np.concatenate([stream.document(n)[0] for n in range(count)])
    assert count > 10 and (np.sort(held) == np.sort(expected)).all()
    assert np.mean([b.useful for b in batches]) > 0.9
    labels = sum(int((b.labels != IGNORE).sum()) for b in batches)
    lengths = byte_lengths(TOKENIZER)
    assert 0 < sum(b.bytes(lengths) for b in batches) < labels <= len(held)


def test_kinds_are_mixed_by_weight() -> None:
    stream = make(kinds=MIX)
    drawn = [stream.kind_of(n) for n in range(3000)]
    assert abs(drawn.count("pretrain") / 3000 - 0.6) < 4 * (0.6 * 0.4 / 3000) ** 0.5
    assert set(drawn) == set(MIX)


def test_resuming_goes_on_with_the_very_next_batch() -> None:
    whole = list(islice(make(kinds=MIX), 30))
    first = make(kinds=MIX)
    got = list(islice(first, 7))
    state = json.loads(json.dumps(first.state()))
    second = make(seed=9, kinds=MIX)
    second.at(0)
    second.resume(state)
    assert all(map(same, whole, got + list(islice(second, 23))))
    for other in (make(), make(kinds=MIX, split="test"), make(128, kinds=MIX)):
        with pytest.raises(MinimindError, match="started on other data"):
            other.resume(state)


def test_chats_that_do_not_fit_are_counted() -> None:
    report = make(900, kinds={"dialogue": 1.0}).block(0).report
    assert report.rejected > 0 and report.cut > 0 and report.tokens_cut >= report.cut
    assert not make(2048, kinds={"dialogue": 1.0}).block(0).report.rejected
    with pytest.raises(MinimindError, match="no document fits 16-token rows"):
        make(16, kinds={"dialogue": 1.0}).at(0)


def test_wrong_calls() -> None:
    for kinds, text in (
        ({"pretain": 1.0}, "did you mean 'pretrain'"),
        ({"rl": 1.0}, "have no answer"),
        ({"preference": 1.0}, "have no answer"),
        ({"sft": -1.0}, "0 or more"),
        ({"sft": 0.0}, "no kind has a weight"),
    ):
        with pytest.raises(WrongCall, match=text):
            make(kinds=kinds)
    with pytest.raises(WrongCall, match="no batch"):
        make(4)
    with pytest.raises(WrongCall, match="policy"):
        make(policy="squeeze")
