"""Layers and their parts, by the names of `torch.nn`."""

# ruff: noqa: F401  (the names are imported to be offered)
from minimind_wiki.lite.nn import functional, init, utils
from minimind_wiki.lite.nn.layers import (
    GELU,
    Dropout,
    Embedding,
    LayerNorm,
    Linear,
    ReLU,
    RMSNorm,
    SiLU,
)
from minimind_wiki.lite.nn.module import Module, ModuleList, Parameter, Sequential
