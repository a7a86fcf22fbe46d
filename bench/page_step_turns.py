# ruff: noqa: F821  (this text is appended to a training program and uses its names)
"""Runs in the page, after the program: RMSNorm fused and written out, by turns. See page_step.py.

Both arms meet the same machine, the same model and nearly the same moment: one step takes lite's
own function, the next the formula in the operations of tensors.
"""

import time

from minimind_wiki.lite.nn import functional

fused, plain_train = functional.rms_norm, train


def written_out(x, normalized_shape, weight, eps):
    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * weight


def train(model, text, knobs):
    """The program's own events; each tells its arm and the seconds that it took."""
    globals().update(bits_per_byte=lambda *_: 0.0, sample=lambda *_: ())  # steps alone
    events = plain_train(model, text, knobs)
    arms = {"fused": fused, "written out": written_out}
    while True:
        for arm, function in arms.items():
            functional.rms_norm = function
            began = time.perf_counter()
            event = next(e for e in events if "loss" in e)
            yield event | {"arm": arm, "took": time.perf_counter() - began}
