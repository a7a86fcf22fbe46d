"""Rows of letters that one stack reads and another writes again, and ways to hand them over.

    read   q m a t |        write   q m a t |

All letters of a row differ. A batch has one length, so nothing needs padding. The models are the
package's encoder-decoder, and its stack alone with one causal mask over "read, then write".
Shapes: B rows, N letters, S = T = N + 1 tokens that are read and written, E hidden, V vocabulary.
"""

import math
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minimind_wiki.model.linear import Linear
from minimind_wiki.model.masks import causal_mask
from minimind_wiki.model.seq2seq import EncoderDecoder, Seq2SeqConfig, Stack

LETTERS, MARK, PLACES = 26, 26, 27
LENGTHS = (2, 4, 6, 8, 10, 12)  # at which the models are asked
SELECT, REPORT = 1, 2  # streams of rows beside those of training, which are numbered from 1000
EVENLY = math.log(LETTERS + 1)  # nats a token of guessing


def rows(count: int, letters: int, *stream: int) -> tuple[Tensor, Tensor]:
    """What is read, and what is to be written, (B, S) each; a stream always gives the same rows."""
    rng = np.random.default_rng(stream)
    row_BN = rng.permuted(np.tile(np.arange(LETTERS), (count, 1)), axis=1)[:, :letters]
    row_BN = torch.from_numpy(np.ascontiguousarray(row_BN))
    return F.pad(row_BN, (0, 1), value=MARK), F.pad(row_BN, (0, 1), value=MARK)


def behind(written_BT: Tensor) -> Tensor:
    """What the writer has before each token that it writes: the mark first."""
    return F.pad(written_BT[:, :-1], (1, 0), value=MARK)


def config(arm: dict, settings) -> Seq2SeqConfig:
    """Distances are told apart one by one: more rows in the table than tokens."""
    width = settings.width * arm["width"]
    return Seq2SeqConfig(
        vocab_size=LETTERS + 1, hidden_size=width, num_attention_heads=settings.heads,
        head_dim=width // settings.heads, num_hidden_layers=settings.reading,
        num_decoder_layers=settings.writing, intermediate_size=2 * width,
        relative_attention_num_buckets=192, relative_attention_max_distance=128,
    )  # fmt: skip


class Placed(nn.Module):
    """The vector of a letter and that of its place, (B, T) to (B, T, E). From the mark on, where
    writing begins, places are counted anew, in a table of their own."""

    def __init__(self, letters: nn.Embedding, seed: int) -> None:
        super().__init__()
        self.letters, self.place = letters, nn.Embedding(2 * PLACES, letters.embedding_dim)
        self.place.weight.data.normal_(generator=torch.Generator().manual_seed(seed))

    def forward(self, ids_BT: Tensor) -> Tensor:
        writes_T = (ids_BT[0] == MARK).cumsum(0)
        place_T = torch.arange(len(writes_T)) - writes_T * (len(writes_T) - writes_T.sum())
        return self.letters(ids_BT) + self.place(place_T + PLACES * writes_T)


class Across(EncoderDecoder):
    """The package's; with `one`, the writer sees nothing of what was read but the mark's vector."""

    def __init__(self, arm: dict, settings, seed: int) -> None:
        super().__init__(config(arm, settings), seed)
        self.one = arm["form"] == "one vector"
        self.encoder.embed_tokens = self.decoder.embed_tokens = Placed(self.shared, seed)

    def scores(self, read_BS: Tensor, written_BT: Tensor) -> Tensor:
        """Scores (B, T, V) of each token that is to be written."""
        if not self.one:
            return self(read_BS, behind(written_BT))
        everything = torch.ones(1, 1, 1, read_BS.shape[1], dtype=torch.bool)
        memory_B1E = self.encoder(read_BS, everything)[:, -1:]
        time = written_BT.shape[1]
        out = self.decoder(
            behind(written_BT), causal_mask(time, time), torch.zeros(1, 1, 1, 1), memory_B1E
        )
        return self.lm_head(out * self.config.hidden_size**-0.5)


class Joined(nn.Module):
    """One stack reads and writes one row under one causal mask: no encoder, nothing across.

    It has as many blocks as the others together, and their cross-attention's parameters in wider
    feed-forwards.
    """

    def __init__(self, arm: dict, settings, seed: int) -> None:
        super().__init__()
        whole, layers = config(arm, settings), settings.reading + settings.writing
        spare = settings.writing * 4 * whole.hidden_size**2
        wider = round(spare / (2 * whole.hidden_size * layers))
        shape = replace(
            whole, num_hidden_layers=layers, intermediate_size=whole.intermediate_size + wider
        )
        # the draw is the package's: the stack of an encoder-decoder that has no decoder
        drawn = EncoderDecoder(shape, seed)
        self.stack: Stack = drawn.encoder
        self.head: Linear = drawn.lm_head
        self.stack.embed_tokens = Placed(drawn.shared, seed)
        self.scale = shape.hidden_size**-0.5

    def scores(self, read_BS: Tensor, written_BT: Tensor) -> Tensor:
        """Scores (B, T, V) of each token that is to be written."""
        ids_BL = torch.cat((read_BS, written_BT[:, :-1]), dim=1)  # the mark stands there once
        out = self.stack(ids_BL, causal_mask(ids_BL.shape[1], ids_BL.shape[1]))
        return self.head(out[:, read_BS.shape[1] - 1 :] * self.scale)


def built(arm: dict, settings, seed: int) -> Across | Joined:
    """The model of an arm."""
    return (Joined if arm["form"] == "joined" else Across)(arm, settings, seed)


def loss_of(model: Across | Joined, read_BS: Tensor, written_BT: Tensor) -> Tensor:
    """Mean nats a token that is to be written."""
    return F.cross_entropy(model.scores(read_BS, written_BT).flatten(0, 1), written_BT.flatten())


@torch.no_grad()
def scored(model: Across | Joined, count: int) -> tuple[float, list[float]]:
    """On rows never seen: the mean loss over all lengths, on rows that only choose the rate, and
    the share of letters right at each, every letter behind the right ones. The end is not asked."""
    loss = [loss_of(model, *rows(count, letters, SELECT)).item() for letters in LENGTHS]
    shares = []
    for letters in LENGTHS:
        read_BS, written_BT = rows(count, letters, REPORT)
        hit_BT = model.scores(read_BS, written_BT).argmax(-1) == written_BT
        shares.append(hit_BT[:, :letters].float().mean().item())
    return sum(loss) / len(loss), shares


def unread(letters: int) -> float:
    """Share right of who has read nothing: a letter that has not come yet."""
    return sum(1 / (LETTERS - n) for n in range(letters)) / letters
