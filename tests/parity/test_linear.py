"""Our linear layer against torch's: values, gradients, and when it steps aside."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from minimind_wiki.model import linear as room
from minimind_wiki.model.linear import Linear, linear, product, suits


def tensors(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every float32 product through oneDNN, however small."""
    if not room.AVAILABLE:
        pytest.skip("this build of torch has no oneDNN")
    monkeypatch.setattr(room, "LEAST", 0)


@pytest.mark.parametrize("rows", [(7,), (3, 5), (1,), (0,), (2, 1, 4)])
@pytest.mark.parametrize("bias", [False, True])
def test_values_and_gradients_are_torchs(always, rows: tuple[int, ...], bias: bool) -> None:
    ours, theirs = Linear(24, 10, bias=bias), nn.Linear(24, 10, bias=bias)
    theirs.load_state_dict(ours.state_dict())
    found = []
    for layer in (ours, theirs):
        x = tensors(*rows, 24).requires_grad_()
        (layer(x) * tensors(*rows, 10, seed=1)).sum().backward()
        found.append((layer(x), x.grad, *(p.grad for p in layer.parameters())))
    for mine, its in zip(*found, strict=True):
        torch.testing.assert_close(mine, its, atol=1e-5, rtol=1e-5)


def test_transposed_and_sliced_tensors_are_read_as_they_lie(always) -> None:
    x, w = tensors(40, 16).T, tensors(30, 80)[:, ::2]
    assert suits(x, w)
    torch.testing.assert_close(product(x, w), x @ w.T, atol=1e-5, rtol=1e-5)


def test_only_the_wanted_gradients_are_made(always) -> None:
    x, w = tensors(6, 8), tensors(4, 8).requires_grad_()
    linear(x, w).sum().backward()
    assert x.grad is None and w.grad is not None
    with torch.no_grad():
        assert not linear(x, w).requires_grad


def test_it_is_not_reduced_to_sixteen_bits(always) -> None:
    """oneDNN can compute float32 in bfloat16's precision; it must not here."""
    x, w = tensors(64, 512), tensors(64, 512, seed=1)
    exact = x.double() @ w.double().T
    assert (
        (product(x, w) - exact).abs().max()
        < 1e-3
        < (x.bfloat16() @ w.bfloat16().T - exact).abs().max()
    )


def test_it_steps_aside() -> None:
    """For other formats, autocast, few products, other devices, and tensors that are not plain."""
    x, w = tensors(256, 128), tensors(128, 128)
    assert suits(x, w) == room.AVAILABLE
    assert not suits(x[:4], w)
    assert not suits(x.double(), w.double()) and not suits(x.bfloat16(), w.bfloat16())
    assert not suits(x.to("meta"), w.to("meta"))

    class Marked(torch.Tensor):
        pass

    assert not suits(x.as_subclass(Marked), w) and not suits(x, w.as_subclass(Marked))
    with torch.autocast("cpu", torch.bfloat16):
        assert not suits(x, w) and linear(x, w).dtype == torch.bfloat16
    torch.testing.assert_close(linear(x.double(), w.double()), F.linear(x.double(), w.double()))
