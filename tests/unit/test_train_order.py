"""A batch is a function of seed and step: neither of the past nor of how many processes read it."""

import json

import pytest
import torch

from minimind_wiki.data import Corpus, embedded_text
from minimind_wiki.data.tokenize import tokenize_files
from minimind_wiki.tokenizer import ByteTokenizer
from minimind_wiki.train import feeds
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.feeds import make_feed
from minimind_wiki.train.parallel import Dealing


def shards(folder):
    source = folder / "texts.jsonl"
    texts = embedded_text(40).split("\n\n")
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    tokenize_files([source], folder / "shards", ByteTokenizer(), shard_tokens=4000)
    return str(folder / "shards")


@pytest.mark.parametrize("kind", ["text", "documents", "world", "shards"])
def test_the_order_of_the_data_knows_no_processes_and_no_past(kind, tmp_path, monkeypatch):
    """Four processes that begin at step 5 read rows which, put together, are the batch that one
    process read on its way from step 0."""
    monkeypatch.setattr(feeds, "BIGRAM_TOKENS", 1)
    corpus = None
    if kind in ("text", "documents"):
        parts = (embedded_text(40),) if kind == "text" else tuple(embedded_text(40).split("\n\n"))
        corpus = Corpus("x", parts, "a test", "x")
    data = {"world": "world", "shards": shards(tmp_path) if kind == "shards" else ""}.get(kind, "")
    length = 512 if kind == "world" else 32
    config = TrainConfig(data=data, batch_size=4, context_length=length, eval_windows=2)

    def fresh():
        return make_feed(config, ByteTokenizer(), corpus)

    alone = fresh()
    expected = [alone.at(step) for step in range(8)]
    assert not torch.equal(expected[5].ids_BT, expected[6].ids_BT)
    processes = [fresh() for _ in range(4)]
    for step in (5, 6, 7, 5):
        dealt = [Dealing(rank, 4).rows(feed.at(step)) for rank, feed in enumerate(processes)]
        for part in ("ids_BT", "labels_BT"):
            rows = torch.stack([getattr(mine, part) for mine in dealt], 1).flatten(0, 1)
            assert torch.equal(rows, getattr(expected[step], part))
