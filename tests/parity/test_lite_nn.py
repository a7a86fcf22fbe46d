"""Layers, losses, attention and optimizers of lite against torch's."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_lite import DTYPES, both, close, draw, few

import minimind_wiki.lite as lite

ACTIVATIONS = {
    "silu": lambda t, x: t.nn.functional.silu(x),
    "gelu": lambda t, x: t.nn.functional.gelu(x),
    "gelu tanh": lambda t, x: t.nn.GELU("tanh")(x),
    "SiLU": lambda t, x: t.nn.SiLU()(x) + t.nn.ReLU()(x),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name, dtype):
    both(ACTIVATIONS[name], [draw((4, 7), dtype, low=-6, high=6)], DTYPES[dtype] * 3)


@few
@given(
    shape=st.sampled_from([(5, 7), (1, 3), (2, 6, 3), (2, 4, 2, 3), (9,)]),
    reduction=st.sampled_from(["mean", "sum", "none"]),
    dtype=st.sampled_from(list(DTYPES)),
    seed=st.integers(0, 99),
)
def test_cross_entropy(shape, reduction, dtype, seed):
    logits = draw(shape, dtype, seed, -20, 20)
    classes = shape[1] if len(shape) > 1 else shape[0]
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, classes, (shape[0], *shape[2:]) if len(shape) > 1 else ())
    if targets.ndim:
        targets.flat[0] = -100
        targets.flat[-1] = 1  # not all ignored: the mean of none is nan in both

    def loss(t, x):
        return t.nn.functional.cross_entropy(x, t.tensor(targets), reduction=reduction)

    both(loss, [logits], 0.02 if dtype == "float16" else None)


def test_cross_entropy_of_unlikely_targets_and_what_it_refuses():
    far = np.array([[300.0, -300.0], [0.0, 90.0]], np.float32)
    both(lambda t, x: t.nn.functional.cross_entropy(x, t.tensor([1, 0])), [far])
    both(lambda t, x: t.nn.functional.cross_entropy(x, t.tensor([1, 0]), ignore_index=0), [far])
    with pytest.raises(RuntimeError, match="integer targets"):
        lite.nn.functional.cross_entropy(lite.ones(2, 3), lite.ones(2, 3))


def test_embedding_adds_what_one_row_receives():
    ids = np.array([[1, 1, 0], [4, 1, 2]])
    both(lambda t, w: t.nn.functional.embedding(t.tensor(ids), w), [draw((5, 3), "float32")])


@few
@given(
    batch=st.integers(1, 2), shared=st.integers(1, 3), groups=st.integers(1, 2),
    rows=st.integers(1, 5), seen=st.integers(1, 5), width=st.integers(1, 4),
    kind=st.sampled_from(["none", "causal", "mask", "added"]), scale=st.sampled_from([None, 0.3]),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_attention(batch, shared, groups, rows, seen, width, kind, scale, seed):
    q = draw((batch, shared * groups, rows, width), "float64", seed)
    k, v = (draw((batch, groups, seen, width), "float64", seed + i) for i in (1, 2))
    mask = np.random.default_rng(seed).random((rows, seen)) < 0.6  # some rows may look nowhere

    def attend(t, q, k, v):
        given = {"mask": t.tensor(mask), "added": t.tensor(np.where(mask, 0.5, -1.5))}
        return t.nn.functional.scaled_dot_product_attention(
            q, k, v, attn_mask=given.get(kind), is_causal=kind == "causal", scale=scale,
            enable_gqa=True,
        )  # fmt: skip

    both(attend, [q, k, v], 1e-9)


def test_dropout_keeps_the_mean_and_sleeps_in_eval():
    lite.manual_seed(0)
    layer, x = lite.nn.Dropout(0.25), lite.ones(200, 200)
    y = layer(x)
    assert set(np.unique(y.numpy()).tolist()) == {0.0, np.float32(1 / 0.75).item()}
    assert abs(float((y == 0).float().mean()) - 0.25) < 5 * math.sqrt(0.25 * 0.75 / 40_000)
    assert layer.eval()(x) is x


SETTINGS = [
    ("SGD", {"lr": 0.1}), ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.1, "momentum": 0.8, "nesterov": True}), ("AdamW", {}),
    ("AdamW", {"lr": 0.03, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.2}),
]  # fmt: skip


def walk(t, name, settings, steps=6, shape=(5, 3)):
    """The parameter after some steps along drawn gradients, the learning rate halved midway."""
    x = t.nn.Parameter(t.tensor(draw(shape, "float32", 1)))
    optimizer = getattr(t.optim, name)([{"params": [x]}], **settings)
    for step in range(steps):
        optimizer.zero_grad()
        (x * t.tensor(draw(shape, "float32", step + 2))).sum().backward()
        optimizer.step()
        if step == 2:
            optimizer.param_groups[0]["lr"] *= 0.5
    return x


@pytest.mark.parametrize(("name", "settings"), SETTINGS)
def test_optimizers(name, settings):
    close(walk(lite, name, settings), walk(torch, name, settings), 1e-6)


@pytest.mark.parametrize("adjust", [None, "match_rms_adamw"])
@pytest.mark.parametrize("shape", [(12, 40), (40, 12)])
def test_muon(shape, adjust):
    """torch iterates in bfloat16, so a step differs by about a percent of its size; that of a wrong
    factor, momentum or side by far more."""
    settings = {"lr": 0.02, "weight_decay": 0.1, "adjust_lr_fn": adjust}
    start = draw(shape, "float32", 1)
    ours, theirs = (walk(t, "Muon", settings, shape=shape).detach().numpy() for t in (lite, torch))
    assert np.linalg.norm(ours - theirs) < 0.02 * np.linalg.norm(theirs - start)
    with pytest.raises(ValueError, match="matrices only"):
        walk(lite, "Muon", settings, shape=(3,))


@pytest.mark.parametrize("most", [0.5, 100.0])
def test_clipping_the_norm(most):
    found = []
    for t in (torch, lite):
        xs = [t.nn.Parameter(t.tensor(draw(s, "float32", i))) for i, s in enumerate([(2, 3), (4,)])]
        sum((x * x).sum() for x in xs).backward()
        norm = t.nn.utils.clip_grad_norm_(xs, most)
        found.append([norm.item(), *(x.grad.numpy() for x in xs)])
    for theirs, ours in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_modules_count_shared_parameters_once_and_keep_buffers():
    def make(nn, t):
        class Tied(nn.Module):
            def __init__(self):
                super().__init__()
                self.table = nn.Embedding(4, 3)
                self.out = nn.Linear(3, 4, bias=False)
                self.out.weight = self.table.weight
                self.register_buffer("seen", t.zeros(2))
                self.register_buffer("scratch", t.zeros(5), persistent=False)
                self.drop = nn.Sequential(nn.Dropout(0.1), nn.SiLU())

        return Tied()

    theirs, ours = make(torch.nn, torch), make(lite.nn, lite)
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    assert sorted(ours.state_dict()) == sorted(theirs.state_dict())
    assert [n for n, _ in ours.named_modules()] == [n for n, _ in theirs.named_modules()]
    assert not ours.eval().drop[0].training
    state = {n: lite.tensor(v.numpy()) for n, v in theirs.state_dict().items()}
    ours.load_state_dict(state)
    close(ours.out.weight, theirs.table.weight, 1e-9)
    assert ours.out.weight is ours.table.weight
    names = []
    ours.apply(lambda module: names.append(type(module).__name__))
    assert sorted(names) == ["Dropout", "Embedding", "Linear", "Sequential", "SiLU", "Tied"]
