# ruff: noqa: F821  (this text is appended to a training program and uses its names)
"""Runs in the page, after the program: a stopwatch around what lite calls. See page_step.py.

While an operation works its name is on top of `working`; the functions that pass its gradient back
are booked under the same name, as "backward". Beside that the seconds inside each C kernel are
added up, whoever called it: the rest is numpy and Python.
"""

import time

from minimind_wiki.lite import kernel, optim
from minimind_wiki.lite.autograd import Node
from minimind_wiki.lite.nn import functional, utils

working, spent, since, inside = ["other operations"], {}, [0.0], {}


def book():
    now = time.perf_counter()
    spent[working[-1]] = spent.get(working[-1], 0.0) + now - since[0]
    since[0] = now


def timed(name, fn):
    def run(*args, **kwargs):
        book()
        working.append(name)
        try:
            return fn(*args, **kwargs)
        finally:
            book()
            working.pop()

    return run


plain_record, plain_train, plain_call = Node.record, train, kernel._call


def call(name, *arguments):
    began = time.perf_counter()
    plain_call(name, *arguments)
    inside[name] = inside.get(name, 0.0) + time.perf_counter() - began


def record(self, data, *inputs):
    name = working[-1] + ", backward"
    return plain_record(self, data, *((node, timed(name, vjp)) for node, vjp in inputs))


def train(model, text, knobs):
    """The program's own events; those of steps also tell the seconds of each operation."""
    for name in ("rms_norm", "silu", "linear", "embedding", "cross_entropy",
                 "scaled_dot_product_attention"):  # fmt: skip
        setattr(functional, name, timed(name, getattr(functional, name)))
    ours = globals()
    ours.update(turn=timed("turn", turn), rotation=timed("rotation", rotation))
    ours.update(
        bits_per_byte=lambda *_: 0.0, sample=lambda *_: ()
    )  # steps alone, from the first on
    utils.clip_grad_norm_ = timed("clip_grad_norm_", utils.clip_grad_norm_)
    for kind in (optim.AdamW, optim.Muon):
        kind.step = timed(kind.__name__, kind.step)
    Node.backward = timed("the walk of backward", Node.backward)
    Node.record, kernel._call = record, call
    for event in plain_train(model, text, knobs):
        if "loss" in event:
            book()
            event |= {"spent": dict(spent), "inside": dict(inside)}
        spent.clear()
        inside.clear()
        since[0] = time.perf_counter()
        yield event
