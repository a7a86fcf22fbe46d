"""The engine's kernels in C for a CPU, where their compiler is: the same numbers in less time."""

from minimind_wiki.infer.native.decoder import hasten

__all__ = ["hasten"]
