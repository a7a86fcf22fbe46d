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

import math
from typing import Any, cast

import torch
from torch import Tensor

from minimind_wiki.errors import WrongCall
from minimind_wiki.infer.draw import Drawer, Drawn, draw, filtered, told
from minimind_wiki.infer.guess import make_guesser, stand
from minimind_wiki.infer.lay import StepCache, context_of
from minimind_wiki.infer.lean import flat_decoder
from minimind_wiki.infer.paged import Blocks
from minimind_wiki.infer.request import Finish, Request, Token
from minimind_wiki.infer.schedule import Schedule
from minimind_wiki.infer.stops import TextStream
from minimind_wiki.infer.work import Work
from minimind_wiki.model import Transformer
from minimind_wiki.model.pages import Step

BROKEN = "the model's scores are not finite numbers; use a model whose weights are in order."


class Engine:
    """Requests through one model. `room` tokens of all texts together fit the cache.

    At most `max_running` requests are answered at a time, the others wait their turn. A step
    computes at most `step_tokens` tokens: fewer make the time between two tokens of an answer
    even, more read prompts quicker. Not safe for several threads: one calls, others ask it to.
    What was read before is kept, so the weights must stay as they are: change them, and `add`
    refuses; make a new engine for them.

    With a `draft`, a smaller model of the same vocabulary or "ngram", up to `ahead` tokens of each
    answer are guessed and checked in the same pass (`infer.guess`); they come on top of
    `step_tokens`. Answers follow the same distribution. A request whose scores depend on its own
    tokens (penalties, a bias, a form) goes on by single tokens.
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
        draft: Transformer | str | None = None,
        ahead: int = 4,
    ) -> None:
        if not 1 <= max_running < step_tokens:
            raise WrongCall(
                f"max_running is {max_running} and step_tokens {step_tokens}; give at least 1 and "
                "more tokens than requests, or no prompt is read while all answer."
            )
        if room < block_size:
            raise WrongCall(f"room is {room} tokens; give at least a block, {block_size}.")
        if ahead < 1:
            raise WrongCall(f"ahead is {ahead}; give 1 guess or more, or no draft.")
        config = model.config
        weight = next(model.parameters())  # not the head's: of codes it would be unpacked
        self.model, self.device = model.eval(), weight.device
        self.decode, self.score = flat_decoder(model)
        self.changes = changes(model)
        self.tokenizer = tokenizer
        self.blocks = Blocks(room // block_size, block_size)
        self.cache = StepCache(config, room // block_size, block_size, weight.device, weight.dtype)
        self.guesser = None
        if draft is not None:
            self.guesser = make_guesser(draft, model, room // block_size, block_size)
        self.ahead = ahead
        self.proposed = self.accepted = 0
        """Guesses of the last step, and those of them that stood."""
        self.schedule = Schedule(self.blocks, max_running, step_tokens)
        self.works: dict[int, Work] = {}
        self.added = 0
        self.context = context_of(config)

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
        if changes(self.model) != self.changes:
            raise WrongCall(
                "the model's weights were changed after the engine was made; make a new one for it."
            )
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
        reach = self.ahead if self.guesser is not None and drawer.plain else 0
        work = Work(prompt, number=self.added, request=request, most=most, drawer=drawer,
                    shown=shown, reach=reach)  # fmt: skip
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
        """One pass of the model; the new tokens, one of a request, or more where guesses stood.

        If the pass fails, nothing is lost: all that ran waits again, and the error goes on.
        """
        plan = cast(list[tuple[Work, int]], self.schedule.plan())
        self.proposed = self.accepted = 0
        if not plan:
            return []
        try:
            if self.guesser is not None:
                self.guesser.guess(plan)
                plan.sort(key=lambda item: item[1] + len(item[0].guesses))
            works, logits_RV = self._compute(plan)
        except BaseException:
            for text in self.schedule.running[::-1]:
                self.schedule.preempt(text, wipe=True)
            raise
        if not works:
            return []
        finite = [math.isfinite(most) for most in logits_RV.amax(dim=-1).tolist()]
        if all(finite) and len(finite) == len(works):  # nobody guessed
            return self._draw(works, logits_RV)
        return self._sort(works, logits_RV, finite)

    def _compute(self, plan: list[tuple[Work, int]]) -> tuple[list[Work], Tensor]:
        """Who draws now, and the scores for it, (R, V): a row a text, and one for each guess."""
        steps, works, rows, row = [], [], list[int](), 0
        for work, count in plan:
            stop = work.stored + count
            new, ends = work.ids[work.stored : stop], stop == len(work.ids)
            if work.guesses:
                new = new + work.guesses
            steps.append(Step(new, work.stored, work.blocks))
            row += len(new)
            if ends:
                works.append(work)
                rows += range(row - 1 - len(work.guesses), row)
        hidden_1TD = self.decode(self.cache.lay(steps), self.cache)
        for work, count in plan:
            work.stored += count
        # to choose rows by a list takes as long as a small product
        hidden_RD = hidden_1TD[0] if len(rows) == row else hidden_1TD[0, rows]
        return works, self.score(hidden_RD)

    def _sort(
        self, works: list[Work], logits_RV: Tensor, finite: list[bool]
    ) -> list[tuple[int, Token]]:
        """Each text by its rows: broken, without guesses, or with guesses to judge."""
        out: list[tuple[int, Token]] = []
        alone: list[tuple[Work, int]] = []
        guessed: list[tuple[Work, int]] = []
        row = 0
        for work in works:
            first, row = row, row + 1 + len(work.guesses)
            if all(finite[first:row]):
                (guessed if work.guesses else alone).append((work, first))
            elif work.guesses:
                self._restart(work)
            else:
                out.append(self._break(work))
        if alone:
            out += self._draw([work for work, _ in alone], logits_RV[[at for _, at in alone]])
        if guessed:
            out += self._judge(guessed, logits_RV)
        return out

    def _draw(self, works: list[Work], logits_RV: Tensor) -> list[tuple[int, Token]]:
        """A token for each of them."""
        drawn = draw(logits_RV, [work.drawer for work in works], checked=True)
        return [self._take(*pair) for pair in zip(works, drawn, strict=True)]

    def _judge(self, guessed: list[tuple[Work, int]], logits_RV: Tensor) -> list[tuple[int, Token]]:
        """The guesses that stand and a token more for each; what is behind an end is dropped."""
        out = []
        rows = [at for work, first in guessed for at in range(first, first + 1 + len(work.guesses))]
        kept = stand(logits_RV[rows], [work for work, _ in guessed])
        for (work, first), tokens in zip(guessed, kept, strict=True):
            self.proposed += len(work.guesses)
            self.accepted += len(tokens) - 1
            work.stored += len(tokens) - 1
            work.drafted = min(work.drafted, work.stored)
            drawn = [Drawn(token) for token in tokens]
            if work.request.logprobs is not None:
                rows_TV, drawers = (
                    logits_RV[first : first + len(tokens)],
                    [work.drawer] * len(tokens),
                )
                drawn = told(tokens, rows_TV, filtered(rows_TV, drawers), drawers)
            for token in drawn:
                work.drawer.accept(token.id)
                out.append(self._take(work, token))
                if out[-1][1].finish:
                    break
        return out

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
        self._wipe(work)
        return work.number, Token(-1, "", finish="error", error=BROKEN)

    def _restart(self, work: Work) -> None:
        """Read a text anew whose numbers broke beside guesses, and guess no more for it: a guess
        may be what broke them."""
        self._wipe(work)
        work.reach, work.guesses = 0, []
        self.schedule.waiting.appendleft(work)

    def _wipe(self, work: Work) -> None:
        freed = self.schedule.remove(work, wipe=True)
        self.cache.wipe(freed)
        if self.guesser is not None:
            self.guesser.wipe(freed)


def changes(model: Transformer) -> int:
    """How often the weights were written in place so far; torch counts it."""
    return sum(w._version for w in model.parameters() if not w.is_inference())
