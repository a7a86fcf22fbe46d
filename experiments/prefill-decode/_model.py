"""Models for timings: a preset with random weights, or one of the small trained ones.

Their numbers are bfloat16, as those of the models that ship and of most that are published.
"""

import copy
from functools import cache

import torch

from minimind_wiki.book.record import repo_root
from minimind_wiki.infer import load_model_folder
from minimind_wiki.model import Transformer, preset


@cache
def load(name: str) -> Transformer:
    """In float32, ready to answer; `name` is a folder under `models/` or a preset."""
    folder = repo_root() / "models" / name
    if folder.is_dir():
        return load_model_folder(folder, "cpu", torch.float32)[0].eval()
    return Transformer(preset(name), seed=0).bfloat16().float().eval()


@cache
def load_long(name: str) -> Transformer:
    """The same model after a touch of noise: its numbers need all the digits of float32."""
    model, draw = copy.deepcopy(load(name)), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1 + 1e-5 * torch.randn(weight.shape, generator=draw))
    return model


def random_prompts(model: Transformer, count: int, length: int, seed: int) -> list[list[int]]:
    """Prompts of random tokens, so that no two begin alike for long; (count, length)."""
    draw = torch.Generator().manual_seed(seed)
    shape = (count, length)
    return torch.randint(3, model.config.vocab_size, shape, generator=draw).tolist()
