"""Layers and their parts, by the names of `torch.nn`."""

# ruff: noqa: F401, F403  (the names are imported to be offered)
from minimind_wiki.lite.nn import functional, init, utils
from minimind_wiki.lite.nn.layers import *
from minimind_wiki.lite.nn.module import *
