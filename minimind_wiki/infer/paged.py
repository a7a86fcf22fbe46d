"""Who owns which block of a paged cache, and which texts begin alike (vLLM's prefix cache).

A full block is known by a key: a hash of its tokens and of the key before it, so that equal keys
mean equal texts from the first token on. Only full blocks are shared, and a full block is never
written again: nothing has to be copied when two texts part. A block that nobody uses any more keeps
its content and its key until it is needed, the longest unused first.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Sequence


def block_key(before: bytes, ids: Sequence[int]) -> bytes:
    """The key of a full block of `ids` behind the block with the key `before` (b"" for the first).

    A cryptographic hash: with a weaker one, somebody could write a prompt that gets the content
    of another's block.

    >>> one = block_key(b"", [1, 2])
    >>> one == block_key(b"", [1, 2]), one == block_key(one, [1, 2])
    (True, False)
    """
    return hashlib.sha256(before + array("q", ids).tobytes()).digest()


class Blocks:
    """Counts of users and keys of `count` blocks of `size` tokens.

    Every block is either free or has users. `free` is in the order in which blocks are taken.

    >>> blocks = Blocks(count=2, size=16)
    >>> first = blocks.take()
    >>> blocks.name(first, b"key")
    >>> blocks.release([first])   # nobody uses it now
    [0]
    >>> blocks.share(b"key") == first   # still there
    True
    """

    def __init__(self, count: int, size: int) -> None:
        self.size = size
        self.users = [0] * count
        self.keys: list[bytes | None] = [None] * count
        self.holder: dict[bytes, int] = {}
        """The block that holds the content of a key."""
        self.free: OrderedDict[int, None] = OrderedDict.fromkeys(range(count))

    def take(self) -> int:
        """A free block for new content; KeyError if there is none."""
        block, _ = self.free.popitem(last=False)
        self.forget(block)
        self.users[block] = 1
        return block

    def share(self, key: bytes) -> int | None:
        """The block with this content, with one more user; None if no block holds it."""
        block = self.holder.get(key)
        if block is not None:
            self.users[block] += 1
            self.free.pop(block, None)
        return block

    def name(self, block: int, key: bytes) -> None:
        """Say what a full block holds. If another holds the same, that one keeps the name."""
        if self.keys[block] is None and key not in self.holder:
            self.keys[block] = key
            self.holder[key] = block

    def forget(self, block: int) -> None:
        """Nobody shall find this block's content any more."""
        key, self.keys[block] = self.keys[block], None
        if key is not None:
            del self.holder[key]

    def release(self, blocks: Sequence[int]) -> list[int]:
        """One user of each goes; those that nobody uses now are free, and are returned.

        The last block of a text is taken first: its beginning is likelier to come again, and
        what follows a missing block cannot be found. A block without a key goes before all.
        """
        freed = []
        for block in reversed(blocks):
            self.users[block] -= 1
            if self.users[block] == 0:
                self.free[block] = None
                if self.keys[block] is None:
                    self.free.move_to_end(block, last=False)
                freed.append(block)
        return freed
