"""A decoder put together from the package's parts, in any order and with any of them left out.

A spelling says which branches stand on the stream, one letter each: `a` attention, `f` feed-
forward, `p` both at once behind one norm, `P` both at once behind a norm each. The package's own
decoder of two layers is "afaf"; `tests/unit/test_transformer_block_module.py` holds the two equal.

Shapes: B batch, T time, D hidden, V vocabulary.
"""

import math

import torch
from torch import Tensor, nn

from minimind_wiki.model import ModelConfig
from minimind_wiki.model.attention import Attention
from minimind_wiki.model.block import make_norm
from minimind_wiki.model.feedforward import SwiGLU
from minimind_wiki.model.linear import Linear
from minimind_wiki.model.rope_scaling import RotaryTables

BRANCHES = {"a": ("a",), "f": ("f",), "p": ("a", "f"), "P": ("a", "f")}  # letter: its branches


class Step(nn.Module):
    """One letter: what it reads is normed, what it says is added. (B, T, D) in and out.

    `drop` names what is left out: "norm a" or "norm f" (the branch reads the stream itself),
    "sum a" or "sum f" (the branch takes the stream's place), "out" (no o_proj).
    """

    def __init__(self, letter: str, config: ModelConfig, drop: tuple[str, ...], dropout: float):
        super().__init__()
        self.branches, self.drop = BRANCHES[letter], drop
        norms = self.branches[:1] if letter == "p" else self.branches
        self.norms = nn.ModuleDict(
            {b: nn.Identity() if f"norm {b}" in drop else make_norm(config) for b in norms}
        )
        self.parts = nn.ModuleDict(
            {b: Attention(config, 0) if b == "a" else SwiGLU(config) for b in self.branches}
        )
        if "out" in drop and "a" in self.branches:
            self.parts["a"].o_proj = nn.Identity()
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BTD: Tensor, rope: tuple[Tensor, Tensor] | None) -> Tensor:
        y_BTD = 0 if any(f"sum {b}" in self.drop for b in self.branches) else x_BTD
        normed = {b: norm(x_BTD) for b, norm in self.norms.items()}
        for b in self.branches:
            read = normed[b] if b in normed else normed["a"]
            said = self.parts[b](read, rope) if b == "a" else self.parts[b](read)
            y_BTD = y_BTD + self.dropout(said)
        return y_BTD


class Assembled(nn.Module):
    """Token ids (B, T) to logits (B, T, V), with the parts that the spelling names.

    `drop` may also hold "norm last" and "rope". With `bias`, every Linear but the head has one.
    """

    def __init__(
        self, spelling: str, config: ModelConfig, drop: tuple[str, ...] = (),
        bias: bool = False, dropout: float = 0.0, spread: float = 0.1,
    ) -> None:  # fmt: skip
        super().__init__()
        self.embed = nn.Embedding(config.vocab_size, config.hidden_size)
        self.rotary = None if "rope" in drop else RotaryTables(config)
        self.steps = nn.ModuleList(Step(letter, config, drop, dropout) for letter in spelling)
        self.last = nn.Identity() if "norm last" in drop else make_norm(config)
        self.head = Linear(config.hidden_size, config.vocab_size, bias=False)
        if config.tie_word_embeddings:
            self.head.weight = self.embed.weight
        self.dropout = nn.Dropout(dropout)
        self.draw(spread, sum(len(BRANCHES[letter]) for letter in spelling))
        if bias:
            for part in self.steps.modules():
                if isinstance(part, Linear):
                    part.bias = nn.Parameter(torch.zeros(part.out_features))

    @torch.no_grad()
    def draw(self, spread: float, branches: int) -> None:
        """The package's draw: one spread, divided by the root of the branches where they write."""
        for name, weight in self.named_parameters():
            if weight.dim() > 1:
                writes = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(weight, std=spread / math.sqrt(branches) if writes else spread)

    def forward(self, ids_BT: Tensor) -> Tensor:
        x_BTD = self.dropout(self.embed(ids_BT))
        rope = None if self.rotary is None else self.rotary(0, ids_BT.shape[1])
        for step in self.steps:
            x_BTD = step(x_BTD, rope)
        return self.head(self.last(x_BTD))


def count(model: nn.Module) -> int:
    """Parameters, tied ones once."""
    return sum(weight.numel() for weight in model.parameters())
