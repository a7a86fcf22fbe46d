"""More of lite against torch: parts, indices, triangles, order, and what joins tensors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from test_lite import both, close, draw, few

import minimind_wiki.lite as lite

SHAPES = hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=5)


def axis_of(data, shape):
    return data.draw(st.integers(-len(shape), len(shape) - 1))


ELEMENTWISE = {
    "sin": lambda t, x: t.sin(x), "cos": lambda t, x: x.cos(), "sigmoid": lambda t, x: t.sigmoid(x),
    "erf": lambda t, x: t.erf(x), "log2": lambda t, x: t.log2(x * x + 1),
    "clamp": lambda t, x: x.clamp(-0.5, 1.0), "clamp min": lambda t, x: t.clamp(x, min=0.1),
    "floor": lambda t, x: x.floor() + x, "round": lambda t, x: t.round(3 * x) + x,
    "sign": lambda t, x: x.sign() * x, "mod": lambda t, x: x % 0.75,
    "floordiv": lambda t, x: x.detach() // 0.3,
    "isfinite": lambda t, x: t.isfinite(x / x.floor()), "isnan": lambda t, x: t.isnan(x - x),
    "logic": lambda t, x: ((x > 0) & (x < 1)) | ~(x < -1) ^ (x == 0),
}  # fmt: skip


@pytest.mark.parametrize("name", ELEMENTWISE)
@few
@given(shape=SHAPES)
def test_elementwise(name, shape):
    both(ELEMENTWISE[name], [draw(shape, "float64")])


@few
@given(shapes=hnp.mutually_broadcastable_shapes(num_shapes=3, max_dims=3, max_side=4))
def test_where_masks_and_the_larger_of_two(shapes):
    c, a, b = (draw(s, "float64", i) for i, s in enumerate(shapes.input_shapes))
    both(lambda t, c, a, b: t.where(c > 0, a, b), [c, a, b])
    both(lambda t, a, b: t.maximum(a, b) - t.minimum(a, 2 * b), [a, b])
    tied = np.zeros(shapes.result_shape)
    both(lambda t, a, b: t.maximum(a, b) + 3 * t.minimum(a, b), [tied, tied])
    both(lambda t, a: a.masked_fill(a > 0.3, -1.5), [a])


@few
@given(data=st.data(), shape=SHAPES)
def test_parts_of_one_axis(data, shape):
    x, dim = draw(shape, "float64"), axis_of(data, shape)
    size = data.draw(st.integers(1, shape[dim]))
    start = data.draw(st.integers(0, shape[dim] - size))
    shift = data.draw(st.integers(-7, 7))
    both(lambda t, x: x.narrow(dim, start, size) * 2, [x])
    for call in (
        lambda t, x: t.split(x, size, dim),
        lambda t, x: t.chunk(x, size, dim),
        lambda t, x: x.split([start, size, shape[dim] - start - size], dim),
        lambda t, x: x.unbind(dim),
    ):
        pieces = [call(t, t.tensor(x)) for t in (torch, lite)]
        assert [tuple(p.shape) for p in pieces[0]] == [p.shape for p in pieces[1]]
        both(lambda t, x, call=call: sum((i + 1) * p.sum() for i, p in enumerate(call(t, x))), [x])
    both(lambda t, x: t.roll(x, shift, dims=dim), [x])
    both(lambda t, x: t.flip(x, [dim]) * x, [x])
    both(lambda t, x: x.repeat_interleave(size, dim), [x])
    both(lambda t, x: x.cumsum(dim), [x])
    both(lambda t, x: t.cat([x, 2 * x, x.narrow(dim, start, size)], dim), [x])
    both(lambda t, x: t.stack([x, x * x], dim), [x])
    both(lambda t, x: x.movedim(0, dim), [x])


@few
@given(data=st.data(), shape=SHAPES, dtype=st.sampled_from(["float16", "float32", "float64"]))
def test_probabilities_along_an_axis(data, shape, dtype):
    x, dim = draw(shape, dtype, low=-9, high=9), axis_of(data, shape)
    tolerance = 5e-3 if dtype == "float16" else None
    both(lambda t, x: t.softmax(x, dim), [x], tolerance)
    both(lambda t, x: x.log_softmax(dim), [x], tolerance)
    both(lambda t, x: t.logsumexp(x, dim, keepdim=True), [x], tolerance)


@few
@given(data=st.data(), shape=SHAPES)
def test_order_along_an_axis(data, shape):
    # Without equal values: which of them is named first is nobody's promise.
    x = np.random.default_rng(1).permutation(int(np.prod(shape))).reshape(shape).astype(float)
    dim, keepdim = axis_of(data, shape), data.draw(st.booleans())
    k, down = data.draw(st.integers(1, shape[dim])), data.draw(st.booleans())
    for name in ("max", "min"):
        both(lambda t, x, n=name: getattr(x, n)(dim, keepdim=keepdim).values, [x])
        both(lambda t, x, n=name: getattr(t, n)(x, dim).indices, [x])
        both(lambda t, x, n=name: getattr(x, n)() * 2, [x])
        both(lambda t, x, n=name: getattr(t, f"arg{n}")(x, dim=dim, keepdim=keepdim), [x])
    both(lambda t, x: t.topk(x, k, dim, largest=down).values, [x])
    both(lambda t, x: x.topk(k, dim, largest=down).indices, [x])
    both(lambda t, x: t.sort(x, dim, descending=down)[0], [x])
    both(lambda t, x: x.argsort(dim, descending=down), [x])
    both(lambda t, x: (x > 2).any(dim, keepdim=keepdim), [x])
    both(lambda t, x: t.all(x > 2, dim), [x])
    both(lambda t, x: x.argmax(), [x])


def test_equal_largest_values_share_the_gradient():
    both(lambda t, x: x.max() * 3, [np.array([1.0, 5.0, 5.0, 2.0])])


@few
@given(data=st.data(), shape=hnp.array_shapes(min_dims=2, max_dims=4, max_side=4))
def test_shapes(data, shape):
    x, k = draw(shape, "float64"), data.draw(st.integers(-3, 3))
    first = data.draw(st.integers(0, len(shape) - 1))
    last = data.draw(st.integers(first, len(shape) - 1))
    both(lambda t, x: x.flatten(first, last), [x])
    both(lambda t, x: x.unflatten(first, (1, -1)) * 2, [x])
    both(lambda t, x: t.tril(x, diagonal=k) + 2 * x.triu(k), [x])
    both(lambda t, x: x.mT @ x, [x])
    both(lambda t, x: x.squeeze() * 2, [x])
    both(lambda t, x: x.unsqueeze(0).expand(3, *shape), [x])
    both(lambda t, x: x[:1].expand(4, *[-1] * (len(shape) - 1)), [x])


@few
@given(data=st.data(), shape=hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=5))
def test_basic_indices(data, shape):
    index = data.draw(hnp.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True))
    parts = index if isinstance(index, tuple) else (index,)
    if any(isinstance(p, slice) and (p.step or 1) < 0 for p in parts):
        return  # PyTorch has no negative steps
    both(lambda t, x: x[index] * 2, [draw(shape, "float64")])


@few
@given(data=st.data(), shape=hnp.array_shapes(min_dims=2, max_dims=3, min_side=2, max_side=4))
def test_indices_that_are_tensors(data, shape):
    x = draw(shape, "float64")
    rows = data.draw(hnp.arrays(np.int64, (3,), elements=st.integers(0, shape[0] - 1)))
    columns = data.draw(hnp.arrays(np.int64, (3,), elements=st.integers(-shape[1], shape[1] - 1)))
    dim = axis_of(data, shape)
    places = data.draw(hnp.arrays(np.int64, shape, elements=st.integers(0, shape[dim] - 1)))
    fewer = tuple(slice(data.draw(st.integers(1, n))) for n in shape)
    both(lambda t, x: x[t.tensor(rows)], [x])
    both(lambda t, x: x[t.tensor(rows), t.tensor(columns)], [x])
    both(lambda t, x: x[rows[:, None], columns], [x])
    both(lambda t, x: x[x > 0.2] * 3, [x])
    both(lambda t, x: x.gather(dim, t.tensor(places[fewer])), [x])
    both(lambda t, x: t.take_along_dim(x, t.tensor(places), dim=dim), [x])


def test_writing_into_a_part():
    def write(t, x, y):
        z = x * 2
        z[1:, 0] = y
        z[z > 1.5] = 0.0
        z[0, t.tensor([1, 2])] = -y.sum()
        return z * x

    both(write, [draw((3, 4), "float64"), draw((2,), "float64", 3)])
    for t in (torch, lite):
        leaf = t.ones(3, requires_grad=True)
        with pytest.raises(RuntimeError, match="leaf"):
            leaf[0] = 2.0


def test_ways_to_make_tensors():
    for make in (
        lambda t: t.arange(5), lambda t: t.arange(2, 9, 3), lambda t: t.arange(0, 1, 0.25),
        lambda t: t.eye(3), lambda t: t.full((2,), 7), lambda t: t.tensor([True, False]),
        lambda t: t.arange(3).outer(t.arange(4)), lambda t: t.ones(2, dtype=t.bool),
        lambda t: t.zeros(2, 3, dtype=t.long), lambda t: t.tensor([1.5, 2.5]).long(),
        lambda t: t.nn.functional.one_hot(t.tensor([0, 2, 1])), lambda t: 10 ** -t.arange(3.0),
        lambda t: t.nn.functional.one_hot(t.tensor([[0], [2]]), 5), lambda t: t.tensor(3) == 3,
    ):  # fmt: skip
        a, b = make(torch), make(lite)
        assert str(a.dtype) == f"torch.{b.dtype}" and a.tolist() == b.tolist()
    assert sorted(lite.randperm(9).tolist()) == list(range(9))
    drawn = lite.randint(2, 5, (500,))
    assert set(drawn.tolist()) == {2, 3, 4} and drawn.dtype == lite.int64


def test_multinomial_draws_as_the_weights_say():
    lite.manual_seed(0)
    weights = lite.tensor([[1.0, 0.0, 3.0, 6.0], [5.0, 5.0, 0.0, 0.0]])
    many = lite.multinomial(weights, 8000, replacement=True).numpy()
    shares = np.stack([np.bincount(row, minlength=4) / 8000 for row in many])
    # Five standard errors of a share of one half.
    np.testing.assert_allclose(shares, [[0.1, 0, 0.3, 0.6], [0.5, 0.5, 0, 0]], atol=0.028)
    without = lite.multinomial(weights, 2)
    assert all(len(set(row)) == 2 for row in without.tolist())
    assert set(without[1].tolist()) == {0, 1}
    with pytest.raises(RuntimeError, match="weights above zero"):
        lite.multinomial(weights, 3)


def test_what_is_missing_is_said():
    with pytest.raises(AttributeError, match=r"no 'argmaxx'; near it: argmax"):
        lite.argmaxx  # noqa: B018
    with pytest.raises(AttributeError, match=r"Tensor has no 'unsqeeze'; near it: unsqueeze"):
        lite.ones(2).unsqeeze(0)
    with pytest.raises(AttributeError, match="PyTorch"):
        lite.fft  # noqa: B018
    with pytest.raises(TypeError, match=r"SGD has no setting 'beta'\. It has: lr, momentum"):
        lite.optim.SGD([lite.ones(1)], lr=0.1, beta=0.9)
    with pytest.raises(RuntimeError, match="do not sum to 4"):
        lite.ones(4).split([1, 2])
    assert not hasattr(lite, "nothing") and not hasattr(lite.ones(1), "nothing")


def test_every_name_of_lite_is_one_of_torchs():
    for name in lite.FUNCTIONS:
        assert callable(getattr(torch, name)) and callable(getattr(lite, name))
    ours = {"data", "record", "rewrite"}
    for name in dir(lite.Tensor):
        assert name.startswith("_") or name in ours or hasattr(torch.Tensor, name), name
    for module in ("nn", "nn.functional", "nn.init", "optim", "nn.utils"):
        a, b = lite, torch
        for part in module.split("."):
            a, b = getattr(a, part), getattr(b, part)
        for name, value in vars(a).items():
            if callable(value) and getattr(value, "__module__", "").endswith(f"lite.{module}"):
                assert name.startswith("_") or hasattr(b, name) or name == "orthogonalize", name
    close(lite.ones(1), torch.ones(1), 1e-9)
