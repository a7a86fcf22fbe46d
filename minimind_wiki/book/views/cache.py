"""What a cache of keys and values takes, by layer. web/src/views/cache-model.ts computes the same.

A layer keeps a key and a value for each token and key head, and no more tokens than its window.
"""

from __future__ import annotations

from typing import Any

FORMATS = ("float32", "float16", "int8")


def vector_bytes(size: int, kind: str) -> int:
    """Bytes of one key or value; int8 has a scale of four bytes beside it (infer.quantize.kv).

    >>> [vector_bytes(64, kind) for kind in FORMATS]
    [256, 128, 68]
    """
    return {"float32": 4 * size, "float16": 2 * size, "int8": size + 4}[kind]


def cache_bytes(shape: dict[str, Any], tokens: int, kind: str = "float32") -> list[int]:
    """Bytes of each layer at a length.

    >>> cache_bytes({"kvHeads": 2, "headSize": 64, "windows": [None, 8]}, 100, "float16")
    [51200, 4096]
    """
    each = 2 * shape["kvHeads"] * vector_bytes(shape["headSize"], kind)
    return [each * min(tokens, window or tokens) for window in shape["windows"]]


def in_words(size: int) -> str:
    """Bytes for reading, in powers of a thousand.

    >>> in_words(900), in_words(51_200), in_words(3_145_728)
    ('900 B', '51.2 kB', '3.1 MB')
    """
    value, unit = float(size), 0
    while value >= 1000 and unit < 3:
        value, unit = value / 1000, unit + 1
    if unit == 0:
        return f"{size} B"
    return f"{value:.{1 if value < 99.95 else 0}f} {('B', 'kB', 'MB', 'GB')[unit]}"
