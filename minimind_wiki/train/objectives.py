"""What an encoder and an encoder-decoder learn from: text with something taken away.

Masked tokens (BERT: Devlin et al. 2019, arXiv:1810.04805, §3.1) hide single tokens and ask for them
in place. Span corruption (T5: Raffel et al. 2020, arXiv:1910.10683, §3.1.4 and §3.3.4) cuts spans
out, leaves a numbered sentinel in each gap and asks the decoder for what stood there. Pairs of
texts (translation, questions) go to the decoder shifted by one.

Every draw comes from the generator given, on the CPU: the same state means the same batch.

Shapes: B batch, S source, T time or target, N tokens of one row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from minimind_wiki.data.packing import IGNORE
from minimind_wiki.errors import WrongCall
from minimind_wiki.train.batches import Tokens


@dataclass(frozen=True, slots=True)
class Pairs:
    """What an encoder-decoder reads in one step. A label of IGNORE is not predicted."""

    source_BS: Tensor  # what the encoder reads
    real_BS: Tensor  # bool, False where the source is padding
    target_BT: Tensor  # what the decoder reads: the start token, then the labels but the last
    labels_BT: Tensor  # what the decoder is to say at each place

    @property
    def predicted(self) -> int:
        """Number of tokens to predict."""
        return int((self.labels_BT != IGNORE).sum())

    def to(self, device: torch.device) -> Pairs:
        """The same on a device."""
        parts = (self.source_BS, self.real_BS, self.target_BT, self.labels_BT)
        return Pairs(*(part.to(device) for part in parts))


def masked_tokens(
    ids_BT: Tensor,
    generator: Generator,
    mask_id: int,
    vocab_size: int,
    never: Sequence[int] = (),
    share: float = 0.15,
) -> Tokens:
    """Hide a `share` of each row's tokens; the labels are those tokens, IGNORE elsewhere.

    Of the chosen, 80 % become `mask_id`, 10 % a random id below `vocab_size`, and 10 % stay: at
    use there are no masks, so the model must doubt every token. Ids in `never` (padding, marks)
    are not chosen. The count is exact for a row, round(share · tokens), and at least one.

    Raises WrongCall for a share outside (0, 1] or a mask_id outside the vocabulary.
    """
    if not 0 < share <= 1:
        raise WrongCall(f"share is {share}; give the part of the tokens to hide, such as 0.15.")
    if not 0 <= mask_id < vocab_size:
        raise WrongCall(
            f"mask_id {mask_id} is outside the vocabulary of {vocab_size}; give one in."
        )
    open_BT = ~torch.isin(ids_BT, torch.tensor(list(never), dtype=ids_BT.dtype))
    draw_BT = torch.rand(ids_BT.shape, generator=generator).masked_fill(~open_BT, 2.0)
    rank_BT = draw_BT.argsort(dim=1).argsort(dim=1)
    wanted_B1 = (share * open_BT.sum(dim=1, keepdim=True)).round().clamp(min=1)
    chosen_BT = open_BT & (rank_BT < wanted_B1)
    fate_BT = torch.rand(ids_BT.shape, generator=generator)
    random_BT = torch.randint(vocab_size, ids_BT.shape, generator=generator)
    hidden_BT = torch.where(chosen_BT & (fate_BT < 0.8), mask_id, ids_BT)
    hidden_BT = torch.where(chosen_BT & (fate_BT >= 0.9), random_BT, hidden_BT)
    return Tokens(hidden_BT, ids_BT.masked_fill(~chosen_BT, IGNORE))


def random_parts(total: int, parts: int, generator: Generator) -> Tensor:
    """`total` cut into `parts` whole numbers of at least one, every way equally likely; (parts,).

    >>> random_parts(5, 5, Generator())
    tensor([1, 1, 1, 1, 1])
    """
    cuts = torch.randperm(total - 1, generator=generator)[: parts - 1].sort().values + 1
    ends = torch.cat((cuts, torch.tensor([total])))
    return ends.diff(prepend=torch.tensor([0]))


def span_mask(length: int, generator: Generator, share: float, mean_span: float) -> Tensor:
    """Which of a row's tokens are cut out, (N,) bool: round(share · N) of them, in spans.

    There are round(cut / mean_span) spans, at least one. As in T5's own code, kept and cut spans
    alternate and a kept one is first, so that a row always ends in a gap. WrongCall for a row of
    fewer than two tokens, a share outside (0, 1) or spans shorter than a token.
    """
    if length < 2 or not 0 < share < 1 or mean_span < 1:
        raise WrongCall(
            f"cannot cut a share of {share} in spans of {mean_span} from {length} tokens; give at "
            "least 2 tokens, a share between 0 and 1 and spans of at least 1."
        )
    cut = min(max(round(length * share), 1), length - 1)
    spans = min(max(round(cut / mean_span), 1), cut, length - cut)
    kept = random_parts(length - cut, spans, generator)
    gone = random_parts(cut, spans, generator)
    alternating = torch.stack((kept, gone), dim=1).flatten()
    return torch.tensor([False, True]).repeat(spans).repeat_interleave(alternating)


def collapse(ids_N: Tensor, gone_N: Tensor, sentinels: Sequence[int]) -> Tensor:
    """The row with each span of `gone` tokens replaced by the next sentinel.

    >>> gone = torch.tensor([False, False, True, True, False, True])
    >>> collapse(torch.tensor([1, 2, 3, 4, 5, 6]), gone, [99, 98])
    tensor([ 1,  2, 99,  5, 98])
    >>> collapse(torch.tensor([1, 2, 3, 4, 5, 6]), ~gone, [99, 98])  # the cut's other side
    tensor([99,  3,  4, 98,  6])
    """
    opens_N = gone_N.clone()
    opens_N[1:] &= ~gone_N[:-1]
    spans = int(opens_N.sum())
    if spans > len(sentinels):
        raise WrongCall(f"{spans} spans need as many sentinels, but there are {len(sentinels)}.")
    out_N = ids_N.clone()
    out_N[opens_N] = torch.tensor(list(sentinels[:spans]), dtype=ids_N.dtype)
    return out_N[opens_N | ~gone_N]


def shift_right(labels_BT: Tensor, start_id: int, pad_id: int) -> Tensor:
    """What the decoder reads to say `labels`: the start token, then all labels but the last.

    >>> shift_right(torch.tensor([[5, 6, 2, IGNORE]]), start_id=1, pad_id=0)
    tensor([[1, 5, 6, 2]])
    """
    start_B1 = torch.full_like(labels_BT[:, :1], start_id)
    before_BT = torch.cat((start_B1, labels_BT[:, :-1]), dim=1)
    return before_BT.masked_fill(before_BT == IGNORE, pad_id)


def text_pairs(
    sources: Sequence[Tensor],
    targets: Sequence[Tensor],
    start_id: int,
    eos_id: int,
    pad_id: int,
) -> Pairs:
    """Rows of any length as one batch: eos after each, then padding, which has no label.

    Raises WrongCall where there is not one target for each source.
    """
    if len(sources) != len(targets) or not sources:
        raise WrongCall(
            f"{len(sources)} sources and {len(targets)} targets; give one target for each source."
        )

    def padded(rows: Sequence[Tensor], fill: int) -> Tensor:
        ended = [torch.cat((row, row.new_tensor([eos_id]))) for row in rows]
        return torch.nn.utils.rnn.pad_sequence(ended, batch_first=True, padding_value=fill)

    lengths_B = torch.tensor([len(row) + 1 for row in sources])
    source_BS, labels_BT = padded(sources, pad_id), padded(targets, IGNORE)
    real_BS = torch.arange(source_BS.shape[1])[None] < lengths_B[:, None]
    return Pairs(source_BS, real_BS, shift_right(labels_BT, start_id, pad_id), labels_BT)


def corrupted_spans(
    ids_BT: Tensor,
    generator: Generator,
    sentinels: Sequence[int],
    start_id: int,
    eos_id: int,
    share: float = 0.15,
    mean_span: float = 3.0,
) -> Pairs:
    """Source: each row with spans cut out; labels: sentinel, span, sentinel, span, ..., eos.

    The rows are full of tokens (no padding). As all lose equally many in equally many spans, the
    result has no padding either: with G cut in P spans, S = T - G + P + 1 and T' = G + P + 1.
    Raises WrongCall as `span_mask` does, and where there are fewer sentinels than spans.
    """
    gone = [span_mask(ids_BT.shape[1], generator, share, mean_span) for _ in ids_BT]
    rows = list(zip(ids_BT, gone, strict=True))
    sources = [collapse(ids_N, gone_N, sentinels) for ids_N, gone_N in rows]
    targets = [collapse(ids_N, ~gone_N, sentinels) for ids_N, gone_N in rows]
    return text_pairs(sources, targets, start_id, eos_id, pad_id=eos_id)
