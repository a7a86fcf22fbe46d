"""Who computes what in the next step: continuous batching (Orca: Yu et al., OSDI 2022) with prompts
in chunks (Sarathi: Agrawal et al. 2023, arXiv:2308.16369).

A request waits, then runs. What it has to compute are the tokens that are in its text and not yet
in the cache: the whole prompt at first, one drawn token later. A step has a budget of tokens. All
that have one token to compute go first, so that no prompt holds up an answer; what is left of the
budget goes to prompts, first come first served, in pieces if need be.

A request is admitted when there are blocks for all its text. While it grows it may find none left:
then the newest gives up its blocks, waits again, ahead of all others, and computes its text anew
("preemption by recomputation"), most of which it may still find in the prefix cache.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from minimind_wiki.infer.paged import Blocks, block_key


@dataclass(slots=True, eq=False)
class Text:
    """The tokens of one request, and where their keys and values are."""

    ids: list[int]
    """The prompt and what has been drawn since."""
    stored: int = 0
    """How many of them are in the cache."""
    blocks: list[int] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    """Of the full blocks, as far as they were asked for."""
    named: int = 0
    """How many of its blocks were given their names."""
    drafted: int = 0
    """How many of its tokens are in the cache of a draft model, which has the same blocks."""
    ahead: int = 0
    """Guesses for which the plan has found places behind the text, in this step."""

    @property
    def pending(self) -> int:
        """Tokens to compute before the next can be drawn."""
        return len(self.ids) - self.stored

    @property
    def wanted(self) -> int:
        """Guesses that a step may check behind this text (`infer.guess`)."""
        return 0

    def key(self, block: int, size: int) -> bytes:
        """The key of the text's block of this number, which must be full."""
        while len(self.keys) <= block:
            start = len(self.keys) * size
            before = self.keys[-1] if self.keys else b""
            self.keys.append(block_key(before, self.ids[start : start + size]))
        return self.keys[block]


class Schedule:
    """Waiting and running texts over the blocks they share."""

    def __init__(self, blocks: Blocks, max_running: int, step_tokens: int) -> None:
        self.blocks = blocks
        self.max_running = max_running
        self.step_tokens = step_tokens
        self.waiting: deque[Text] = deque()
        self.running: list[Text] = []
        """The oldest first."""

    def plan(self) -> list[tuple[Text, int]]:
        """Who computes how many tokens now; those with one token first.

        Full blocks get their names here, before their content is computed: within a step every
        layer stores all new keys before any request reads them, so a request may already share
        what another computes in the same step. Guesses fill blocks, too; these are named once
        their tokens stand.
        """
        plan = self._single()
        budget = self.step_tokens - len(plan)
        planned = {id(text) for text, _ in plan}
        for text in [text for text in self.running if id(text) not in planned]:
            budget -= self._chunk(plan, text, budget)
        while self.waiting and budget > 0 and len(self.running) < self.max_running:
            if not self._admit(self.waiting[0]):
                break
            self.running.append(self.waiting.popleft())
            budget -= self._chunk(plan, self.running[-1], budget)
        return sorted(plan, key=lambda item: item[1] > 1)

    def remove(self, text: Text, wipe: bool = False) -> list[int]:
        """Take a text out, wherever it is; the blocks that became free.

        With `wipe` its content is also forgotten, because it is not to be trusted.
        """
        if text in self.running:
            self.running.remove(text)
        else:
            self.waiting.remove(text)
        return self._clear(text, wipe)

    def preempt(self, text: Text, wipe: bool = False) -> None:
        """Back to the head of those who wait, without blocks."""
        self.running.remove(text)
        self._clear(text, wipe)
        self.waiting.appendleft(text)

    def _single(self) -> list[tuple[Text, int]]:
        """One token of each that has one to compute, the oldest first, and blocks for them."""
        plan: list[tuple[Text, int]] = []
        for text in [text for text in self.running if text.pending == 1]:
            ahead = text.wanted
            blocks = -(-(text.stored + 1 + ahead) // self.blocks.size)
            while blocks - len(text.blocks) > len(self.blocks.free) and text in self.running:
                self.preempt(self.running[-1])  # newer than all in the plan, or the text itself
            if text in self.running:
                while len(text.blocks) < blocks:
                    text.blocks.append(self.blocks.take())
                self._chunk(plan, text, 1)
                text.ahead = ahead
        return plan

    def _chunk(self, plan: list[tuple[Text, int]], text: Text, budget: int) -> int:
        """Plan as many of the text's tokens as the budget allows; how many these are.

        An answer that is read anew leaves its last token to the next step, which guesses behind it:
        so what a seed draws does not depend on whether the text was ever preempted.
        """
        count, size = min(text.pending, budget), self.blocks.size
        if text.wanted and count == text.pending > 1:
            count -= 1
        text.ahead = 0
        if count > 0:
            plan.append((text, count))
            for block in range(text.named, (text.stored + count) // size):
                self.blocks.name(text.blocks[block], text.key(block, size))
                text.named = block + 1
        return max(count, 0)

    def _admit(self, text: Text) -> bool:
        """Find or take blocks for the whole text, if there are enough.

        The last token is always computed, even if a block with it is known: its scores are
        wanted. One block for each who runs is left, or it would be preempted at once.
        """
        size, spare = self.blocks.size, len(self.running)
        for block in range((len(text.ids) - 1) // size):
            found = self.blocks.share(text.key(block, size))
            if found is None:
                break
            text.blocks.append(found)
        text.named = len(text.blocks)
        text.stored = text.drafted = text.named * size
        missing = -(-len(text.ids) // size) - len(text.blocks)
        if missing + spare > len(self.blocks.free):
            self._clear(text)
            return False
        text.blocks += [self.blocks.take() for _ in range(missing)]
        return True

    def _clear(self, text: Text, wipe: bool = False) -> list[int]:
        if wipe:
            for block in text.blocks:
                self.blocks.forget(block)
        freed = self.blocks.release(text.blocks)
        text.blocks, text.stored, text.named, text.drafted = [], 0, 0, 0
        return freed
