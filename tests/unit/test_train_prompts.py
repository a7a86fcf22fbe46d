"""Bottlenecks, prefixes and prompts on our model: where they begin, and that only they learn.

What they compute is held equal to PEFT's in tests/parity/test_lora.py, as far as PEFT has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from minimind_wiki.errors import WrongCall
from minimind_wiki.infer import generate
from minimind_wiki.model import Transformer, preset
from minimind_wiki.train.adapters import Bottleneck, add_bottlenecks
from minimind_wiki.train.frozen import trained_tensors
from minimind_wiki.train.prompts import Prefix, add_prompt, with_prompt

SIZES = {"hidden_size": 32, "intermediate_size": 48, "initializer_range": 0.2}


def model(**more: object) -> Transformer:
    return Transformer(preset("nano", **SIZES | more), seed=1)


def ids(length: int = 12) -> Tensor:
    return torch.randint(0, 256, (2, length), generator=torch.Generator().manual_seed(0))


def learns(
    parameters: Iterable[Tensor], score: Callable[[], Tensor], labels: Tensor, rate: float = 0.05
) -> bool:
    """Whether a few steps of Adam on these parameters lower the loss."""
    optimizer = torch.optim.Adam([p for p in parameters if p.requires_grad], lr=rate)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        value = F.cross_entropy(score().flatten(0, 1), labels.flatten())
        value.backward()
        optimizer.step()
        losses.append(value.item())
    return losses[-1] < losses[0] - 0.02


def labels() -> Tensor:
    """The token after each, and none after the last."""
    return torch.cat([ids()[:, 1:], torch.full((2, 1), -100)], 1)


def test_bottlenecks_begin_at_the_model_and_add_their_formula():
    net = model()
    logits = net(ids()).detach()
    names = add_bottlenecks(net, width=4)
    assert len(names) == 4 and torch.equal(net(ids()), logits)
    learned = trained_tensors(net)
    assert sum("norm" in name for name in learned) == 2 * 2 + 1
    assert len(learned) == 5 + 4 * len(names)
    generator = torch.Generator().manual_seed(2)
    for tensor in learned.values():
        tensor.add_(0.3 * torch.randn(tensor.shape, generator=generator))
    part = net.get_submodule(names[0])
    assert isinstance(part, Bottleneck)
    x = torch.randn(1, 3, 32, generator=torch.Generator().manual_seed(0)).double()
    part.double()
    y = part.base(x)
    inner = y @ part.down.weight.T + part.down.bias
    inner = inner * 0.5 * (1 + torch.erf(inner / 2**0.5))
    torch.testing.assert_close(part(x), y + inner @ part.up.weight.T + part.up.bias)
    part.float()
    assert learns(net.parameters(), lambda: net(ids()), labels())


def test_bottlenecks_without_norms_and_around_experts():
    net = model(num_experts=4, num_experts_per_tok=2)
    add_bottlenecks(net, width=2, norms=False)
    assert not any("norm" in name for name in trained_tensors(net))
    assert learns(net.parameters(), lambda: net(ids()), labels())


def test_a_prefix_begins_as_if_its_tokens_had_been_read():
    net = model()
    first, text = ids()[0, :4], ids()
    prefix = Prefix(net, first)
    read = net(torch.cat([first.expand(2, -1), text], 1))[:, 4:]
    torch.testing.assert_close(prefix(net, text), read, atol=1e-5, rtol=0)
    assert not trained_tensors(net) and len(trained_tensors(prefix)) == 2
    assert learns(prefix.parameters(), lambda: prefix(net, text), labels())


def test_a_prompt_is_words_that_learn():
    net = model()
    plain = net(ids()).detach()
    prompted = add_prompt(net, 3)
    assert list(trained_tensors(net)) == ["model.embed_tokens.prompt_PD"]
    assert torch.equal(net(ids()), plain)  # without the words, nothing has changed
    rows, asked = with_prompt(ids(), labels(), 259, 3)
    assert learns([prompted.prompt_PD], lambda: net(rows), asked)
    out = generate(net, rows, 4, temperature=0)
    step = net(torch.cat([rows, out[:, rows.shape[1] : -1]], 1))[:, -1].argmax(-1)
    assert torch.equal(out[:, -1], step) and out[:, rows.shape[1] :].max() < 259
    with pytest.raises(WrongCall, match="already"):
        add_prompt(net, 3)
    with pytest.raises(WrongCall, match="at least 1"):
        add_prompt(model(), 0)
