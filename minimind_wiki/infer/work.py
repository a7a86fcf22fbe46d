"""A request at work in an engine: its text, where that ends, how it is drawn, what was guessed."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from minimind_wiki.infer.draw import Drawer
from minimind_wiki.infer.request import Request
from minimind_wiki.infer.schedule import Text
from minimind_wiki.infer.stops import TextStream


@dataclass(slots=True, eq=False, kw_only=True)
class Work(Text):
    """A request at work. Shapes: k guesses, V vocabulary."""

    number: int
    request: Request
    most: int
    """Tokens with which the text ends at the latest."""
    drawer: Drawer
    shown: TextStream | None
    reach: int = 0
    """Most guesses of a step; 0 where nothing guesses, or the drawing cannot be guessed."""
    guesses: list[int] = field(default_factory=list)
    """How the text may go on: checked in this step, behind its last token."""
    q_kV: Tensor | None = None
    """The probabilities with which the guesses were drawn."""

    @property
    def wanted(self) -> int:
        """None before the first token, which ends the reading of the prompt; and one token is
        drawn behind the last guess that stands."""
        if not self.reach or len(self.ids) == len(self.request.prompt):
            return 0
        return min(self.reach, self.most - len(self.ids) - 1)
