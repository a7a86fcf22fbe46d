"""The decoder that the book trains: plain PyTorch, a file an idea.

Read in this order: `norm`, `rope`, `masks`, `attention`, `feedforward`, `block`, `transformer`.
"""

from minimind_wiki.model.cache import KVCache, RowCache
from minimind_wiki.model.config import ModelConfig
from minimind_wiki.model.pages import PagedCache
from minimind_wiki.model.presets import PRESETS, preset
from minimind_wiki.model.transformer import Transformer

__all__ = ["PRESETS", "KVCache", "ModelConfig", "PagedCache", "RowCache", "Transformer", "preset"]
