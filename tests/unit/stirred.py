"""Small models for tests of inference, and the distributions that tokens are drawn from."""

import sys
from importlib.util import find_spec

import pytest
import torch
from torch import Tensor

from minimind_wiki.infer.draw import Drawer, filtered
from minimind_wiki.infer.request import Request, Sampling
from minimind_wiki.model import ModelConfig, Transformer

SMALL = {
    "vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 48,
    "max_position_embeddings": 96, "num_attention_heads": 4, "initializer_range": 0.3,
}  # fmt: skip
GQA = SMALL | {"num_key_value_heads": 2}


needs_kernels = pytest.mark.skipif(
    sys.platform != "linux" or find_spec("ziglang") is None,
    reason="the kernels are built on Linux, by ziglang: pip install ziglang",
)


def stirred(config: ModelConfig) -> Transformer:
    """Gains and biases away from one and zero: a forgotten one must show."""
    made = Transformer(config, seed=3).eval()
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=draw))
    return made


def drawn_logp(logits_NV: Tensor, temperature: float, top_k=None, top_p=None) -> Tensor:
    """Logarithm of the distribution that tokens are drawn from, at a temperature above 0, (N, V).

    Its filters are those of transformers: tests/unit/test_infer_rollout.py.
    """
    how = Request([0], 1, Sampling(temperature, top_k, top_p))
    drawers = [Drawer(how, logits_NV.shape[1])] * len(logits_NV)
    return torch.log_softmax(filtered(logits_NV, drawers), dim=-1)
