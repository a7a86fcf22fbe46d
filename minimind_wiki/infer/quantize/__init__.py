"""Weights and caches in fewer bits: rounding, GPTQ, AWQ, layers that read codes, folders."""

from minimind_wiki.infer.quantize.folder import is_quantized, load_quantized, save_quantized
from minimind_wiki.infer.quantize.kv import Int8Cache, Int8PagedCache
from minimind_wiki.infer.quantize.layers import QuantLinear, quicken
from minimind_wiki.infer.quantize.model import METHODS, quantize_model, stored_bytes

__all__ = [
    "METHODS",
    "Int8Cache",
    "Int8PagedCache",
    "QuantLinear",
    "is_quantized",
    "load_quantized",
    "quantize_model",
    "quicken",
    "save_quantized",
    "stored_bytes",
]
