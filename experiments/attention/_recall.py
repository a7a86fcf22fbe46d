"""Look-ups by content: records of a key and a value, then queries that name several keys at once.

A record is one position: the sum of the embeddings of its key and its value. A query is one
position too, the sum of one embedding for each key that it asks for, from a table for each slot.
It must give the value of every key, each in its own slot. So a query has to read several places
and keep apart what came from which. Shapes: B rows, N records, Q queries, S slots, T = N + Q.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minimind_wiki.model.attention import View
from minimind_wiki.model.block import Block
from minimind_wiki.model.config import ModelConfig
from minimind_wiki.model.masks import causal_mask
from minimind_wiki.model.norm import RMSNorm


def draw(rows: int, settings, slots: int, generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Keys and values of the records (B, N), keys of the queries and their values (B, Q, S)."""
    s = settings
    noise = torch.rand(rows, s.keys, generator=generator)
    keys_BN = noise.argsort(1)[:, : s.records]  # all different
    values_BN = torch.randint(s.values, (rows, s.records), generator=generator)
    noise = torch.rand(rows, s.queries, s.records, generator=generator)
    places_BQS = noise.argsort(2)[:, :, :slots]  # a query asks for different keys
    flat = places_BQS.flatten(1)
    asked = keys_BN.gather(1, flat).view_as(places_BQS)
    return keys_BN, values_BN, asked, values_BN.gather(1, flat).view_as(places_BQS)


class Recall(nn.Module):
    """One block of the package between the embeddings and a head with a part for each slot.

    No positions: records have no order. The number of heads does not change the parameters.
    """

    def __init__(self, heads: int, slots: int, settings, seed: int) -> None:
        super().__init__()
        width, self.slots, self.values = settings.width, slots, settings.values
        config = ModelConfig(
            hidden_size=width, num_attention_heads=heads, num_hidden_layers=1, positions="none",
            intermediate_size=2 * width,
        )  # fmt: skip
        self.key, self.value = (nn.Embedding(n, width) for n in (settings.keys, settings.values))
        self.ask = nn.ModuleList(nn.Embedding(settings.keys, width) for _ in range(slots))
        self.block, self.norm = Block(config, 0), RMSNorm(width, 1e-6)
        self.head = nn.Linear(width, slots * settings.values, bias=False)
        generator = torch.Generator().manual_seed(seed)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                std = 1 / math.sqrt(parameter.shape[1])
                parameter.data.normal_(0, std, generator=generator)

    def forward(self, keys_BN: Tensor, values_BN: Tensor, asked_BQS: Tensor) -> Tensor:
        """Logits (B, Q, S, V)."""
        records = self.key(keys_BN) + self.value(values_BN)
        slots = [ask(asked_BQS[..., i]) for i, ask in enumerate(self.ask)]
        x_BTD = torch.cat([records, torch.stack(slots).sum(0)], dim=1)
        view = View(mask=causal_mask(x_BTD.shape[1], x_BTD.shape[1]))
        out = self.norm(self.block(x_BTD, view=view))[:, keys_BN.shape[1] :]
        return self.head(out).unflatten(-1, (self.slots, self.values))


def loss_of(model: Recall, rows) -> Tensor:
    """Mean nats a value."""
    *inputs, answers = rows
    return F.cross_entropy(model(*inputs).flatten(0, 2), answers.flatten())


def mixed_up(rows) -> tuple[float, float]:
    """Loss and share right of a reader who knows which values were asked for, not in which slot."""
    answers_QS = rows[-1].flatten(0, 1)
    counts = F.one_hot(answers_QS).sum(1).float()
    share = counts / counts.sum(1, keepdim=True)
    nats = -torch.xlogy(share, share).sum(1).mean().item()
    return nats, share.max(1).values.mean().item()


@torch.no_grad()
def scored(model: Recall, rows) -> tuple[float, float]:
    """Loss, and the share of values named right."""
    *inputs, answers = rows
    right = (model(*inputs).argmax(-1) == answers).float().mean().item()
    return loss_of(model, rows).item(), right
