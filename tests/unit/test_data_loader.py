"""The loader: an order of (seed, step) alone, each token once an epoch, exact resuming."""

from __future__ import annotations

import json
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from minimind_wiki.data.loader import Loader
from minimind_wiki.data.packing import ARMS, Batch
from minimind_wiki.data.shards import ShardWriter
from minimind_wiki.errors import MinimindError, WrongCall

TOTAL = 4_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four shards whose tokens are all different, so that each can be followed."""
    rng, at = np.random.default_rng(0), 0
    for number, tokens in enumerate((1500, 700, 0, 1800)):
        with ShardWriter(tmp_path / f"{number:05d}.tokens", "t", TOTAL, loss=True) as shard:
            end = at + tokens
            while at < end:
                size = min(int(rng.integers(1, 90)), end - at)
                shard.add(range(at, at + size), [1] * size)
                at += size
    return tmp_path


def same(first: Batch, second: Batch) -> bool:
    names = ("ids", "labels", "positions", "documents")
    return all((getattr(first, n) == getattr(second, n)).all() for n in names)


@pytest.mark.parametrize("arm", ARMS)
def test_an_epoch_has_every_token_once_and_the_next_another_order(folder: Path, arm: str) -> None:
    loader = Loader(folder, row_length=64, batch_size=1, seed=3, arm=arm)
    epochs = []
    for epoch in range(2):
        steps = range(epoch * loader.rows, (epoch + 1) * loader.rows)
        epochs.append(
            [ids for s in steps for b in [loader.at(s)] for ids in b.ids[b.documents > 0]]
        )
        assert Counter(epochs[-1]) == Counter(range(TOTAL))
    assert epochs[0] != epochs[1]


def test_batches_over_shard_and_epoch_ends_are_the_same_stream(folder: Path) -> None:
    one = Loader(folder, row_length=64, batch_size=1, seed=5)
    many = Loader(folder, row_length=64, batch_size=7, seed=5)
    rows = [one.at(step).ids[0] for step in range(7 * 40)]
    assert one.rows * 2 < len(rows)
    assert (np.concatenate([many.at(s).ids for s in range(40)]) == np.array(rows)).all()


def test_the_order_depends_on_the_seed_and_on_nothing_that_was_read(folder: Path) -> None:
    loader = Loader(folder, 64, 4, seed=1)
    forward = [loader.at(step) for step in range(30)]
    backward = [loader.at(step) for step in reversed(range(30))][::-1]
    fresh = [Loader(folder, 64, 4, seed=1).at(step) for step in (0, 17, 29)]
    assert all(map(same, forward, backward))
    assert all(map(same, fresh, [forward[0], forward[17], forward[29]]))
    assert not same(forward[0], Loader(folder, 64, 4, seed=2).at(0))


def test_resuming_goes_on_with_the_very_next_batch(folder: Path) -> None:
    whole = list(islice(Loader(folder, 64, 4, seed=1), 25))
    first = Loader(folder, 64, 4, seed=1)
    got = list(islice(first, 11))
    state = json.loads(json.dumps(first.state()))
    second = Loader(folder, 64, 4, seed=99)
    second.resume(state)
    got += list(islice(second, 14))
    assert all(map(same, whole, got))
    with pytest.raises(MinimindError, match="started on other data"):
        Loader(folder, 32, 4).resume(state)
    with pytest.raises(MinimindError, match="started on other data"):
        Loader(folder / "00000.tokens", 64, 4).resume(state)


def test_packing_has_more_useful_tokens_than_padding(folder: Path) -> None:
    packed, padded = Loader(folder, 128, 4), Loader(folder, 128, 4, arm="pad")
    assert packed.useful > 0.9 > 0.5 > padded.useful
    assert packed.rows < padded.rows


def test_wrong_calls_and_empty_data(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(WrongCall, match="at least 1 row"):
        Loader(folder, 64, 0)
    with pytest.raises(MinimindError, match="another tokenizer"):
        Loader(folder, 64, 1, tokenizer="u")
    with pytest.raises(MinimindError, match="no token to load"):
        Loader(folder / "00002.tokens", 64, 1)
    (tmp_path / "none").mkdir()
    with pytest.raises(MinimindError, match="no token to load"):
        Loader(tmp_path / "none", 64, 1)


def test_documents_can_be_chosen_by_their_length(folder: Path) -> None:
    loader = Loader(folder, 64, 4, shortest=20, longest=50)
    lengths = np.concatenate([shard.lengths() for shard in loader.shards])
    chosen = lengths[(lengths >= 20) & (lengths <= 50)]
    assert loader.tokens == chosen.sum() < TOTAL
    seen = [ids for s in range(loader.rows) for b in [loader.at(s)] for ids in b.ids[b.ids > 0]]
    assert len(set(seen)) in (loader.tokens, loader.tokens - 1)  # id 0 may be one of them
    assert loader.fingerprint != Loader(folder, 64, 4).fingerprint
    with pytest.raises(MinimindError, match="no document has 100 to 120 tokens"):
        Loader(folder, 64, 4, shortest=100, longest=120)
