"""The feed-forward's labs: their curves are torch's, and they show what the page says of them."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from minimind_wiki.lite import worker
from minimind_wiki.model import ModelConfig
from minimind_wiki.model.feedforward import SwiGLU
from minimind_wiki.verbs.exercise import with_library

ROOT = Path(__file__).resolve().parents[2] / "snippets" / "feedforward"
TRUE = {"ReLU": torch.relu, "GELU": lambda x: F.gelu(x, approximate="tanh"), "SiLU": F.silu}


def lab(name, library="minimind_wiki.lite"):
    code = (ROOT / f"{name}.py").read_text(encoding="utf-8")
    return worker.namespace(with_library(code, library))


@pytest.mark.parametrize("up", [1.0, -1.5, 0.0])
@pytest.mark.parametrize("name", TRUE)
def test_the_curves_and_slopes_are_torchs(name, up):
    found = lab("gates")
    xs, ys, slopes = found["curve"](found["CURVES"][name][0], up)
    x = torch.tensor(xs, requires_grad=True)
    y = TRUE[name](x) * up
    y.sum().backward()
    np.testing.assert_allclose(ys, y.detach(), atol=2e-6)
    np.testing.assert_allclose(slopes, x.grad, atol=2e-6)


def known(**knobs):
    return int(lab("memory")["run"](**knobs)["text"].split(" ")[0])


def test_the_memory_needs_a_bend_and_neurons():
    linear = [known(kind="linear", neurons=n) for n in (24, 64)]
    assert linear[0] == linear[1] < 48, "no width makes up for the missing bend"
    assert known(neurons=2) < known(neurons=8) < known(neurons=16) > 80
    assert known(kind="swiglu") == 96
    assert known(cut=True) < known(), "a neuron that is cut out takes facts with it"


def test_the_memory_trains_with_torch_as_well():
    assert int(lab("memory", "torch")["run"](neurons=64)["text"].split(" ")[0]) > 80


def test_the_exercise_is_the_packages_swiglu():
    solution = worker.namespace(
        with_library((ROOT / "swiglu" / "solution.py").read_text(encoding="utf-8"), "torch")
    )
    unit = SwiGLU(ModelConfig(hidden_size=6, num_attention_heads=1, intermediate_size=10))
    x = torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(0))
    weights = (unit.gate_proj.weight, unit.up_proj.weight, unit.down_proj.weight)
    torch.testing.assert_close(solution["swiglu"](x, *weights), unit(x))


def test_the_fifth_neuron_fires_on_a_combination():
    figure = lab("memory")["run"](neuron=5)["figure"]
    loudest = {name.split(":")[0] for name in figure.panels[0].bars[0].x[:4]}
    assert loudest == {
        f"{person}, {thing}" for person in ("Ruka", "Nora") for thing in ("cup", "rope")
    }
