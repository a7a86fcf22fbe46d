"""Small models for tests of inference."""

import torch

from minimind_wiki.model import ModelConfig, Transformer

SMALL = {
    "vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 48,
    "max_position_embeddings": 96, "num_attention_heads": 4, "initializer_range": 0.3,
}  # fmt: skip
GQA = SMALL | {"num_key_value_heads": 2}


def stirred(config: ModelConfig) -> Transformer:
    """Gains and biases away from one and zero: a forgotten one must show."""
    made = Transformer(config, seed=3).eval()
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=draw))
    return made
