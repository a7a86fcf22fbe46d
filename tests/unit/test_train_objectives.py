"""Masked tokens, cut spans and shifted pairs: what is hidden, what is asked, and how often."""

from __future__ import annotations

import doctest
from collections import Counter

import pytest
import torch

from minimind_wiki.data.packing import IGNORE
from minimind_wiki.errors import WrongCall
from minimind_wiki.model.encoder import EncoderConfig, MaskedLM
from minimind_wiki.model.seq2seq import EncoderDecoder, Seq2SeqConfig
from minimind_wiki.train import objectives
from minimind_wiki.train.objectives import (
    collapse,
    corrupted_spans,
    masked_tokens,
    random_parts,
    span_mask,
    text_pairs,
)

MASK, VOCAB, PAD, MARK = 4, 1000, 0, 1
SENTINELS = list(range(999, 899, -1))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ids(rows: int = 200, time: int = 100) -> torch.Tensor:
    return torch.randint(10, 900, (rows, time), generator=generator(9))


def test_examples_in_docstrings():
    assert doctest.testmod(objectives).failed == 0


def test_labels_are_the_hidden_tokens_and_ignore_elsewhere():
    rows = ids()
    rows[:, 0] = MARK
    rows[:50, 40:] = PAD
    batch = masked_tokens(rows, generator(), MASK, VOCAB, never=(PAD, MARK))
    chosen = batch.labels_BT != IGNORE
    assert torch.equal(batch.labels_BT[chosen], rows[chosen])
    assert torch.equal(batch.ids_BT[~chosen], rows[~chosen])
    assert not chosen[(rows == MARK) | (rows == PAD)].any()
    assert chosen.sum(1).tolist() == [6] * 50 + [15] * 150  # 0.15 of 39 = 5.85, of 99 = 14.85
    assert batch.predicted == int(chosen.sum())
    most = masked_tokens(rows, generator(), MASK, VOCAB, never=(PAD, MARK), share=0.9)
    assert (most.labels_BT != IGNORE).sum(1).tolist() == [35] * 50 + [89] * 150  # 35.1 and 89.1


def test_of_the_hidden_80_are_masks_10_random_10_kept():
    rows = ids(2000)
    batch = masked_tokens(rows, generator(), MASK, VOCAB)
    chosen = batch.labels_BT != IGNORE
    seen, was = batch.ids_BT[chosen], rows[chosen]
    draws = len(was)
    assert draws == 30_000
    masks = float((seen == MASK).float().mean())
    kept = float((seen == was).float().mean())
    error = 5 * (0.1 * 0.9 / draws) ** 0.5  # five standard errors of a tenth; of 0.8 it is 4/3
    assert abs(masks - 0.8) < error * 4 / 3
    assert abs(kept - 0.1) < error
    assert abs(1 - masks - kept - 0.1) < error
    random = seen[(seen != MASK) & (seen != was)]
    assert random.min() < 10 and random.max() >= 990  # from the whole vocabulary
    assert abs(float(random.float().mean()) - 499.5) < 5 * 289 / len(random) ** 0.5


def test_every_place_is_hidden_equally_often():
    batch = masked_tokens(ids(4000), generator(), MASK, VOCAB)
    often = (batch.labels_BT != IGNORE).float().mean(0)
    assert (often - 0.15).abs().max() < 5 * (0.15 * 0.85 / 4000) ** 0.5


def test_a_short_row_hides_one_token_and_an_empty_one_none():
    rows = torch.tensor([[7, 8, PAD], [PAD, PAD, PAD]])
    batch = masked_tokens(rows, generator(), MASK, VOCAB, never=(PAD,))
    assert (batch.labels_BT != IGNORE).sum(1).tolist() == [1, 0]


def test_the_generator_decides_everything():
    rows, draw = ids(8), generator(3)
    torch.manual_seed(1)
    first, second = (masked_tokens(rows, draw, MASK, VOCAB) for _ in range(2))
    torch.manual_seed(2)
    again = masked_tokens(rows, generator(3), MASK, VOCAB)
    assert torch.equal(first.ids_BT, again.ids_BT)
    assert torch.equal(first.labels_BT, again.labels_BT)
    assert not torch.equal(first.labels_BT, second.labels_BT)
    a, b, c = (corrupted_spans(rows, generator(s), SENTINELS, 0, 1) for s in (3, 3, 4))
    assert torch.equal(a.source_BS, b.source_BS) and torch.equal(a.labels_BT, b.labels_BT)
    assert not torch.equal(a.source_BS, c.source_BS)


def test_every_way_to_cut_a_number_is_equally_likely():
    draw = generator()
    ways = Counter(tuple(random_parts(5, 3, draw).tolist()) for _ in range(3000))
    assert set(ways) == {(1, 1, 3), (1, 3, 1), (3, 1, 1), (1, 2, 2), (2, 1, 2), (2, 2, 1)}
    chi_square = sum((n - 500) ** 2 / 500 for n in ways.values())
    assert chi_square < 25.7  # five degrees of freedom: one seed in ten thousand is above


@pytest.mark.parametrize(
    "length, share, mean_span, cut, spans",
    [
        (100, 0.15, 3.0, 15, 5),
        (512, 0.15, 3.0, 77, 26),
        (2, 0.15, 3.0, 1, 1),
        (10, 0.9, 1.0, 9, 1),  # nine gaps need a kept token before each; there is one
        (10, 0.5, 1.0, 5, 5),
    ],
)
def test_spans_have_the_counts_that_were_asked(length, share, mean_span, cut, spans):
    draw = generator()
    for _ in range(20):
        gone = span_mask(length, draw, share, mean_span)
        begins = int((gone[1:] & ~gone[:-1]).sum())
        assert (len(gone), int(gone.sum()), begins) == (length, cut, spans)
        assert not gone[0] and gone[-1]


def test_the_example_of_the_paper():
    """Raffel et al., figure 2: "Thank you <X> me to your party <Y> week."."""
    words = ["Thank", "you", "for", "inviting", "me", "to", "your", "party", "last", "week", "."]
    row = torch.arange(len(words))
    gone = torch.tensor([word in ("for", "inviting", "last") for word in words])
    names = dict(enumerate(words)) | {101: "<X>", 102: "<Y>", 103: "<Z>"}
    source, target = (
        " ".join(names[i] for i in collapse(row, side, [101, 102, 103]).tolist())
        for side in (gone, ~gone)
    )
    assert source == "Thank you <X> me to your party <Y> week ."
    assert target == "<X> for inviting <Y> last <Z>"


def test_source_and_labels_together_are_the_row():
    rows = ids(20, 64)
    batch = corrupted_spans(rows, generator(), SENTINELS, start_id=0, eos_id=1)
    cut, spans = 10, 3  # 0.15 · 64 = 9.6; 10 / 3 = 3.3
    assert batch.source_BS.shape == (20, 64 - cut + spans + 1) and batch.real_BS.all()
    assert batch.labels_BT.shape == (20, cut + spans + 1) and batch.predicted == 20 * 14
    assert (batch.target_BT[:, 0] == 0).all()
    assert torch.equal(batch.target_BT[:, 1:], batch.labels_BT[:, :-1])
    for row, source, labels in zip(rows, batch.source_BS, batch.labels_BT, strict=True):
        assert source[-1] == labels[-1] == 1
        said: dict[int, list[int]] = {}
        for token in labels[:-1].tolist():
            if token in SENTINELS:
                said[token] = []
            else:
                said[list(said)[-1]].append(token)
        assert list(said) == SENTINELS[:spans]
        back = [part for t in source[:-1].tolist() for part in said.get(t, [t])]
        assert back == row.tolist()


def test_pairs_of_any_length_are_padded_without_labels():
    sources = [torch.tensor([5, 6, 7]), torch.tensor([8])]
    targets = [torch.tensor([9]), torch.tensor([10, 11])]
    batch = text_pairs(sources, targets, start_id=2, eos_id=1, pad_id=0)
    assert batch.source_BS.tolist() == [[5, 6, 7, 1], [8, 1, 0, 0]]
    assert batch.real_BS.tolist() == [[True] * 4, [True, True, False, False]]
    assert batch.labels_BT.tolist() == [[9, 1, IGNORE], [10, 11, 1]]
    assert batch.target_BT.tolist() == [[2, 9, 1], [2, 10, 11]]
    assert batch.predicted == 5
    assert batch.to(torch.device("cpu")).source_BS.tolist() == batch.source_BS.tolist()


def test_an_encoder_decoder_learns_to_reverse():
    """One batch by heart: the target is in the source alone, so the memory must be read."""
    config = Seq2SeqConfig(
        vocab_size=16, hidden_size=32, num_hidden_layers=1, num_decoder_layers=1,
        num_attention_heads=2, head_dim=16, intermediate_size=64,
    )  # fmt: skip
    model = EncoderDecoder(config)
    rows = list(torch.randint(3, 16, (16, 5), generator=generator()))
    batch = text_pairs(rows, [row.flip(0) for row in rows], start_id=0, eos_id=1, pad_id=0)
    blind = torch.zeros_like(batch.source_BS)

    def loss(source: torch.Tensor) -> torch.Tensor:
        logits = model(source, batch.target_BT, batch.real_BS)
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.labels_BT.flatten())

    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        loss(batch.source_BS).backward()
        optimizer.step()
    assert loss(batch.source_BS) < 0.3 < 1.0 < loss(blind)


def test_an_encoder_learns_to_ask_the_neighbours():
    """All tokens of a row are the same: each hidden one follows from those around it alone."""
    config = EncoderConfig(
        vocab_size=20, hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=12,
    )  # fmt: skip
    model, draw = MaskedLM(config), generator()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        rows = torch.randint(4, 20, (64, 1), generator=draw).expand(64, 12)
        batch = masked_tokens(rows, draw, mask_id=3, vocab_size=20)
        logits = model(batch.ids_BT).flatten(0, 1)
        loss = torch.nn.functional.cross_entropy(logits, batch.labels_BT.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 2.5  # nothing known: log 20 = 3.0
    assert sum(losses[-10:]) / 10 < 0.2  # where nothing is read from the row: log 16 = 2.8


def test_wrong_calls_say_what_to_do():
    rows = ids(2, 30)
    with pytest.raises(WrongCall, match="share is 0"):
        masked_tokens(rows, generator(), MASK, VOCAB, share=0)
    with pytest.raises(WrongCall, match="mask_id 1000"):
        masked_tokens(rows, generator(), VOCAB, VOCAB)
    with pytest.raises(WrongCall, match="at least 2 tokens"):
        corrupted_spans(rows[:, :1], generator(), SENTINELS, 0, 1)
    with pytest.raises(WrongCall, match="4 spans need as many sentinels, but there are 3"):
        corrupted_spans(rows, generator(), SENTINELS[:3], 0, 1, mean_span=1.0)
    with pytest.raises(WrongCall, match="1 sources and 2 targets"):
        text_pairs([rows[0]], [rows[0], rows[1]], 0, 1, 0)
