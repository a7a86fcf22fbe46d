"""The engine: many requests at work at once, each with its own end.

A step is one pass of the model over all that is at work, as `schedule` plans it: a token of each
request that is answering and pieces of the prompts that are being read, in one flat row. Requests
come and go between steps ("continuous batching"), so that none waits for another to end. What a
request gets does not depend on its company, but for the order of sums in a product: the same
tokens as from `generate`, unless two scores are equal to the last digit.

    engine = Engine(model, tokenizer)
    number = engine.add(Request(prompt, max_new_tokens=100))
    while engine.busy:
        for number, token in engine.step():
            print(number, token.text)

Shapes: T tokens of a step, R requests that draw, D hidden, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from minimind_wiki.errors import WrongCall
from minimind_wiki.infer.draw import Drawer, Drawn, draw
from minimind_wiki.infer.lean import flat_decoder
from minimind_wiki.infer.paged import Blocks
from minimind_wiki.infer.request import Finish, Request, Token
from minimind_wiki.infer.schedule import Schedule, Text
from minimind_wiki.infer.stops import TextStream
from minimind_wiki.model import PagedCache, Transformer
from minimind_wiki.model.pages import Step

BROKEN = "the model's scores are not finite numbers; use a model whose weights are in order."


@dataclass(slots=True, eq=False, kw_only=True)
class Work(Text):
    """A request at work."""

    number: int
    request: Request
    most: int
    """Tokens with which the text ends at the latest."""
    drawer: Drawer
    shown: TextStream | None


class Engine:
    """Requests through one model. `room` tokens of all texts together fit the cache.

    At most `max_running` requests are answered at a time, the others wait their turn. A step
    computes at most `step_tokens` tokens: fewer make the time between two tokens of an answer
    even, more read prompts quicker. Not safe for several threads: one calls, others ask it to.
    """

    def __init__(
        self,
        model: Transformer,
        tokenizer: Any = None,
        *,
        room: int = 32_768,
        max_running: int = 64,
        step_tokens: int = 256,
        block_size: int = 16,
    ) -> None:
        if not 1 <= max_running < step_tokens:
            raise WrongCall(
                f"max_running is {max_running} and step_tokens {step_tokens}; give at least 1 and "
                "more tokens than requests, or no prompt is read while all answer."
            )
        if room < block_size:
            raise WrongCall(f"room is {room} tokens; give at least a block, {block_size}.")
        config = model.config
        weight = next(model.parameters())  # not the head's: of codes it would be unpacked
        self.model, self.device = model.eval(), weight.device
        self.decode = flat_decoder(model)
        self.tokenizer = tokenizer
        self.blocks = Blocks(room // block_size, block_size)
        self.cache = PagedCache(config, room // block_size, block_size, weight.device, weight.dtype)
        self.schedule = Schedule(self.blocks, max_running, step_tokens)
        self.works: dict[int, Work] = {}
        self.added = 0
        # beyond the trained length "dynamic" scaling turns all old keys anew at every token
        dynamic = config.rope_type == "dynamic"
        self.context = config.rope_original_positions if dynamic else config.max_position_embeddings

    @property
    def busy(self) -> bool:
        """Whether a request waits or runs."""
        return bool(self.works)

    def add(self, request: Request) -> int:
        """Let a request wait for its turn; its number. WrongCall, with the fix, if it cannot run.

        An answer ends where the context is full, even before `max_new_tokens`.
        """
        prompt = list(request.prompt)
        most = min(len(prompt) + request.max_new_tokens, self.context)
        room = len(self.blocks.users) * self.blocks.size
        if not prompt:
            raise WrongCall("the prompt is empty; give at least one token, such as bos.")
        vocabulary = self.model.config.vocab_size
        if not all(0 <= token < vocabulary for token in prompt):
            raise WrongCall(f"the prompt has tokens outside 0..{vocabulary - 1}; encode it anew.")
        if request.max_new_tokens < 1:
            raise WrongCall(f"max_new_tokens is {request.max_new_tokens}; give 1 or more.")
        if len(prompt) >= self.context:
            raise WrongCall(
                f"the prompt has {len(prompt)} tokens and the context {self.context}; shorten it "
                "so that an answer fits behind it."
            )
        if most - 1 > room:  # the last token is drawn and never read
            raise WrongCall(
                f"prompt and answer may take {most - 1} tokens, and the cache has room for {room}; "
                "ask for less, or make the engine with more room."
            )
        if request.stop and self.tokenizer is None:
            raise WrongCall("stop strings need a tokenizer; give the engine one, or use stop_ids.")
        drawer = Drawer(request, vocabulary, self.device)
        shown = TextStream(self.tokenizer, request.stop) if self.tokenizer else None
        self.added += 1
        work = Work(
            prompt, number=self.added, request=request, most=most, drawer=drawer, shown=shown
        )
        self.works[self.added] = work
        self.schedule.waiting.append(work)
        return self.added

    def cancel(self, number: int) -> bool:
        """Forget a request and free its blocks; whether it was still at work."""
        work = self.works.pop(number, None)
        if work is not None:
            self.schedule.remove(work)
        return work is not None

    @torch.inference_mode()
    def step(self) -> list[tuple[int, Token]]:
        """One pass of the model; the new tokens, at most one of each request.

        If the pass fails, nothing is lost: all that ran waits again, and the error goes on.
        """
        plan = self.schedule.plan()
        if not plan:
            return []
        try:
            works, logits_RV = self._compute(plan)
        except BaseException:
            for text in self.schedule.running[::-1]:
                self.schedule.preempt(text, wipe=True)
            raise
        if not works:
            return []
        out, whole = [], []
        for row, finite in enumerate(logits_RV.amax(dim=-1).isfinite().tolist()):
            if finite:
                whole.append(row)
            else:
                out.append(self._break(works[row]))
        works = [works[row] for row in whole]
        drawn = draw(logits_RV[whole], [work.drawer for work in works]) if works else []
        return out + [self._take(*pair) for pair in zip(works, drawn, strict=True)]

    def _compute(self, plan: list[tuple[Text, int]]) -> tuple[list[Work], Tensor]:
        """Who draws a token now, and the scores for it, (R, V)."""
        steps, rows, works, row = [], [], [], 0
        for text, count in plan:
            assert isinstance(text, Work)
            stop = text.stored + count
            steps.append(Step(text.ids[text.stored : stop], text.stored, text.blocks))
            row += count
            if stop == len(text.ids):
                works.append(text)
                rows.append(row - 1)
        hidden_1TD = self.decode(self.cache.lay(steps), self.cache)
        for text, count in plan:
            text.stored += count
        return works, self.model.lm_head(hidden_1TD[0, rows])

    def _take(self, work: Work, drawn: Drawn) -> tuple[int, Token]:
        """Add a drawn token to its text, and see whether that ends it."""
        if drawn.error:
            self.cancel(work.number)
            return work.number, Token(-1, "", finish="error", error=drawn.error)
        work.ids.append(drawn.id)
        finish: Finish | None = None
        text, ended = "", drawn.id in work.request.stop_ids
        if work.shown is not None and not ended:
            text = work.shown.push(drawn.id)
            ended = work.shown.stopped
        if work.drawer.constraint is not None:  # nothing more fits its form
            ended = ended or work.drawer.constraint.ended
        if ended:
            finish = "stop"
        elif len(work.ids) >= work.most:
            finish = "length"
        if finish is not None:
            text += work.shown.finish() if work.shown is not None else ""
            self.cancel(work.number)
        return work.number, Token(drawn.id, text, drawn.logprob, drawn.top, finish)

    def _break(self, work: Work) -> tuple[int, Token]:
        """End a request whose numbers broke. Its blocks must not be found, nor stay broken."""
        del self.works[work.number]
        self.cache.wipe(self.schedule.remove(work, wipe=True))
        return work.number, Token(-1, "", finish="error", error=BROKEN)
