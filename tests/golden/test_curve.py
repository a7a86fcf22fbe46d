"""The committed loss curve of 20 steps: a change that should not change training does not."""

import importlib.util
import json
from pathlib import Path

import pytest

HERE = Path(__file__).parent
# Other CPUs and torch builds sum in another order. Twenty steps carry that to a few 1e-6; a real
# change (an eps outside the root, a batch shifted by one) moves the curve by more than 1e-3.
RELATIVE = 1e-4


def load_maker():
    spec = importlib.util.spec_from_file_location("make_curve", HERE / "make_curve.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_twenty_steps_follow_the_golden_curve():
    golden = json.loads((HERE / "curve_nano.json").read_text(encoding="utf-8"))
    measured = load_maker().measure()
    assert measured.keys() == golden.keys()
    for name, values in golden.items():
        assert measured[name] == pytest.approx(values, rel=RELATIVE), (
            f"{name} left the golden curve. If training was meant to change, run "
            "'python tests/golden/make_curve.py' and say why in the commit."
        )
