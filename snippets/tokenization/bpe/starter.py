import re

PIECES = re.compile(r" ?[^\W\d_]+| ?\d+| ?(?:[^\w\s]|_)+|\s+(?!\S)|\s+")


def merge(ids: list[int], pair: tuple[int, int], new: int) -> list[int]:
    """A new list: each `pair` of neighbours in `ids`, from the left, replaced by `new`."""
    raise NotImplementedError


def train(text: str, merges: int) -> list[tuple[int, int]]:
    """The pairs to merge, in order. The merge at index i makes the id 256 + i."""
    raise NotImplementedError


def encode(text: str, merges: list[tuple[int, int]]) -> list[int]:
    """The ids of `text`, by the merges that were learned."""
    raise NotImplementedError


def decode(ids: list[int], merges: list[tuple[int, int]]) -> str:
    """The text of `ids`. Bytes that are no UTF-8 become U+FFFD."""
    raise NotImplementedError
