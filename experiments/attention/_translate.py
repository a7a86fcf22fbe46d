"""Letter by letter into a second alphabet: rows to translate, and two ways to read the source.

A source is a row of letters, all different; its translation is the same row, each letter by a fixed
one of the second alphabet. Shapes: B rows, N letters, V vocabulary, H heads.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minimind_wiki.model import ModelConfig, Transformer
from minimind_wiki.model.seq2seq import EncoderDecoder, Seq2SeqConfig

LETTERS = 26
BEGIN = 2 * LETTERS  # the token before the translation
VOCABULARY = BEGIN + 1


def draw(rows: int, letters: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Sources and translations, ids (B, N) each."""
    dictionary = torch.randperm(LETTERS, generator=torch.Generator().manual_seed(0)) + LETTERS
    source_BN = torch.rand(rows, LETTERS, generator=generator).argsort(1)[:, :letters]
    return source_BN, dictionary[source_BN]


class Reader(nn.Module):
    """reads "cross": an encoder and a decoder, joined by cross-attention; "nothing": the same, and
    every source is hidden; "joined": one causal decoder, source and translation in one row."""

    def __init__(self, reads: str, settings, seed: int) -> None:
        super().__init__()
        width, heads, self.reads = settings.width, settings.heads, reads
        if reads == "joined":
            self.model: nn.Module = Transformer(ModelConfig(
                vocab_size=VOCABULARY, hidden_size=width, num_hidden_layers=2, rope_theta=1e4,
                num_attention_heads=heads, intermediate_size=2 * width, max_position_embeddings=64,
                initializer_range=width**-0.5, tie_word_embeddings=False,
            ), seed=seed)  # fmt: skip
            return
        self.model = EncoderDecoder(Seq2SeqConfig(
            vocab_size=VOCABULARY, hidden_size=width, num_hidden_layers=1, num_decoder_layers=1,
            num_attention_heads=heads, head_dim=width // heads, intermediate_size=2 * width,
            tie_word_embeddings=False,
        ), seed=seed)  # fmt: skip

    def forward(self, source_BN: Tensor, target_BN: Tensor) -> Tensor:
        """Scores (B, N, V) of each letter of the translation, after those before it."""
        begin_B1 = torch.full_like(target_BN[:, :1], BEGIN)
        before_BN = torch.cat([begin_B1, target_BN[:, :-1]], dim=1)
        if self.reads == "joined":
            row = torch.cat([source_BN, before_BN], dim=1)
            return self.model(row)[:, -target_BN.shape[1] :]
        if self.reads == "nothing":
            source_BN = torch.full_like(source_BN, BEGIN)
        return self.model(source_BN, before_BN)


def loss_of(model: Reader, source_BN: Tensor, target_BN: Tensor) -> Tensor:
    """Mean nats a letter."""
    return F.cross_entropy(model(source_BN, target_BN).flatten(0, 1), target_BN.flatten())


@torch.no_grad()
def right(model: Reader, source_BN: Tensor, target_BN: Tensor) -> float:
    """Share of letters translated rightly."""
    return (model(source_BN, target_BN).argmax(-1) == target_BN).float().mean().item()


def unread(letters: int) -> dict[str, float]:
    """Share right and nats of the best reader of the translation alone: no letter comes twice."""
    left = [LETTERS - n for n in range(letters)]
    return {"right": sum(1 / n for n in left) / letters,
            "loss": sum(map(math.log, left)) / letters}  # fmt: skip


@torch.no_grad()
def looks(model: Reader, source_BN: Tensor, target_BN: Tensor) -> float:
    """The mean weight that one head of the cross-attention, the one with most of it, puts on the
    source letter whose translation is to be written."""
    (layer,) = [m for n, m in model.named_modules() if n.endswith("EncDecAttention")]
    seen: list[tuple] = []
    hook = layer.register_forward_hook(lambda _, args, __: seen.append(args))
    model(source_BN, target_BN)
    hook.remove()
    x, bias, memory = seen[0]
    q, k = (p.unflatten(-1, (layer.heads, -1)).transpose(1, 2)
            for p in (layer.q(x), layer.k(memory)))  # fmt: skip
    weight_BHNN = (q @ k.transpose(-1, -2) + bias).softmax(-1)
    return weight_BHNN.diagonal(dim1=-2, dim2=-1).mean((0, 2)).max().item()
