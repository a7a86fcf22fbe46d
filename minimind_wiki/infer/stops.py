"""The text that may be shown while its tokens arrive.

Two things keep text back. A token may end in the middle of a character: its bytes wait for the
rest. And a stop string, at which the text has to end, may begin in one token and end in another:
what could be its beginning waits until that is known. Nothing that was shown is ever taken back.

Each token costs the same, however long the text is: nothing is decoded twice.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from minimind_wiki.errors import WrongCall
from minimind_wiki.tokenizer import Tokenizer


class TextStream:
    """Tokens in, text out. The pieces joined are the whole text, cut before the first stop string.

    The first is the one that is complete first, as a reader of single characters would see it; of
    two that end together, the longer. Special tokens show nothing, and other reserved ones, such
    as `<think>`, their names. Errors: WrongCall for an empty stop string.

    >>> from minimind_wiki.tokenizer import ByteTokenizer
    >>> stream = TextStream(ByteTokenizer(), stop=["END"])
    >>> [stream.push(byte) for byte in "né EN, ENDLESS".encode()]
    ['n', '', 'é', ' ', '', '', 'EN,', ' ', '', '', '', '', '', '', '']
    >>> stream.stopped
    True
    """

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str] = ()) -> None:
        if not all(stop):
            raise WrongCall("a stop string is empty; give at least one character, or leave it out.")
        self.tokenizer = tokenizer
        self.stop = tuple(stop)
        self.stopped = False
        """Whether a stop string was found. Then nothing more is shown."""
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._kept = ""

    def push(self, token: int) -> str:
        """What may be shown after `token`, maybe nothing."""
        # A reserved token stands for no text; its name, if it is shown at all, is for `decode`.
        raw = self.tokenizer.token_bytes(token) or self.tokenizer.decode([token]).encode()
        return self._show(self._decoder.decode(raw))

    def finish(self) -> str:
        """The rest, when no more tokens come: what was kept back, half a character as U+FFFD."""
        shown = self._show(self._decoder.decode(b"", final=True))
        kept, self._kept = self._kept, ""
        return shown + kept

    def _show(self, text: str) -> str:
        if self.stopped:
            return ""
        self._kept += text
        found = [(at + len(s), at) for s in self.stop if (at := self._kept.find(s)) >= 0]
        self.stopped = bool(found)
        cut = min(found)[1] if found else len(self._kept) - self._beginning()
        shown, self._kept = self._kept[:cut], "" if found else self._kept[cut:]
        return shown

    def _beginning(self) -> int:
        """Characters at the end of what is kept that a stop string begins with."""
        longest = max(map(len, self.stop), default=1) - 1
        for size in range(min(longest, len(self._kept)), 0, -1):
            if any(s.startswith(self._kept[-size:]) for s in self.stop):
                return size
        return 0
