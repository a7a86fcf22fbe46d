"""The training loop: batch, loss, gradient, step; now and then measure, save, say.

Everything that changes during a run is in four places: the model, the optimizer, float16's scaler
and `State`. All are saved together, and everything else is a function of the configuration and the
step. That is why a resumed run repeats the uninterrupted one to the bit (float32, same machine and
threads; `tests/unit/test_train_run.py`).
Shapes: B rows, T tokens in each.
"""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from minimind_wiki.model import Transformer
from minimind_wiki.model.moe_balance import Balancer
from minimind_wiki.tokenizer import Tokenizer
from minimind_wiki.train import faults
from minimind_wiki.train.batches import Tokens
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.device import Place
from minimind_wiki.train.faults import NonFinite
from minimind_wiki.train.feeds import Feed
from minimind_wiki.train.loggers import Logger
from minimind_wiki.train.measure import held_out_loss, sample, world_exam
from minimind_wiki.train.meters import Meter, flops_per_token
from minimind_wiki.train.method import Method
from minimind_wiki.train.optim import set_learning_rate
from minimind_wiki.train.parallel import Alone, clip_gradients, own_piece
from minimind_wiki.train.prefetch import Prefetch
from minimind_wiki.train.report import Report, clock, printable
from minimind_wiki.train.schedule import learning_rate
from minimind_wiki.train.state import State


@dataclass(slots=True)
class Loop:
    """One run. `forward` is the model with its loss (`LossModel`), compiled or wrapped or neither.

    `save` writes a checkpoint; `stopping` says whether to stop after this step.
    """

    config: TrainConfig
    model: Transformer
    forward: Callable[..., torch.Tensor]
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    tokenizer: Tokenizer
    feed: Feed
    place: Place
    state: State
    report: Report
    save: Callable[[], str] = lambda: ""
    stopping: Callable[[], bool] = lambda: False
    last_saved: str = ""
    saved_step: int = -1
    loggers: Sequence[Logger] = ()
    chunk: int = 0  # tokens whose scores exist at a time; 0: all
    group: Alone = field(default_factory=Alone)  # the processes that share the run
    old: Feed | None = None  # the feed that is replayed, to measure what is forgotten
    meter: Meter = field(init=False)
    balancer: Balancer | None = None  # of a model with experts
    norm: float = 0.0  # of the last gradient, before clipping
    method: Method | None = None  # else pretraining: the feed's batches, the held-out loss

    def run(self) -> bool:
        """Train to the last step. True when it was reached, False when `stopping` ended it."""
        config, state = self.config, self.state
        flops = flops_per_token(self.model, config.context_length)
        self.meter = Meter(flops, self.place, self.group.size)
        if not state.held_out["step"]:
            self.measure()
        self.report.start(config.steps, state.step)
        batches = Prefetch(self.batch, config.steps, config.prefetch)
        try:
            while state.step < config.steps and not self.interrupted():
                began = time.perf_counter()
                batch = batches.at(state.step)
                loss = None if batch is None else self.step(batch)
                self.record(loss, batch, time.perf_counter() - began)
                last = state.step == config.steps
                improved = (last or state.step % config.eval_interval == 0) and self.measure()
                if improved or last or state.step % config.save_interval == 0:
                    self.keep()
        finally:
            batches.close()
            self.report.stop()
        if self.saved_step != state.step:  # stopped between two checkpoints
            self.keep()
        return state.step == config.steps

    def interrupted(self) -> bool:
        """Whether to stop here. Samples are not saved, so not while a cycle still uses them."""
        between = not self.method or self.state.step % self.method.cycle == 0
        return between and self.group.any(self.stopping())

    def batch(self, step: int) -> Tokens | None:
        """The batch of a step, looked at and ready for the device."""
        batch = self.method.at(step) if self.method else self.feed.at(step)
        if batch is None:
            return None
        batch = faults.check_batch(batch, self.model.config, step)
        return batch.pinned() if self.place.device.type == "cuda" else batch

    def step(self, batch: Tokens) -> float:
        """One optimizer step; the mean loss in nats over the batch's predicted tokens.

        When it raises (NonFinite, OutOfMemory), no weight has moved and no gradient is left.
        """
        set_learning_rate(self.optimizer, self.rate())
        try:
            return self.update(batch)
        except Exception as error:
            self.optimizer.zero_grad(set_to_none=True)
            if not faults.is_out_of_memory(error):
                raise
            traceback.clear_frames(error.__traceback__)  # they hold what filled the memory
            raise faults.out_of_memory(self.state.step, self.config, self.model, self.optimizer,
                                self.place, self.chunk) from None  # fmt: skip

    def update(self, batch: Tokens) -> float:
        """Gradient, a look at it, and the step; returns the mean loss."""
        loss, self.norm = self.gradients(batch)
        overflow = self.scaler.is_enabled() and not math.isfinite(self.norm)
        if not math.isfinite(loss):
            raise self.blown_up(f"loss is {loss}")
        if not (math.isfinite(self.norm) or overflow):
            raise self.blown_up(f"gradient norm is {self.norm}")
        self.scaler.step(self.optimizer)  # float16: not where a gradient overflowed
        self.scaler.update()
        if self.balancer:
            self.balancer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.state.skipped += overflow
        if overflow and self.scaler.get_scale() < 1.0:
            raise self.blown_up("gradient overflows float16 even unscaled, and")
        return loss

    def gradients(self, batch: Tokens) -> tuple[float, float]:
        """Loss and gradient of the batch: (mean loss, norm before clipping).

        The batch may pass in several micro-batches. Each is weighed by its tokens, not by its rows:
        packed rows and loss masks give some micro-batches far fewer tokens to predict than others.
        """
        group, divisor, losses = self.group, batch.divisor, []
        rows = (self.config.micro_batch_size or self.config.batch_size) * batch.together
        mine = batch if batch.own else group.rows(batch)
        parts = list(mine.to(self.place.device).split(rows))
        for number, part in enumerate(parts, start=1):
            with group.accumulating(last=number == len(parts)):
                with self.place.autocast():
                    loss = self.forward(part.ids_BT, part.labels_BT, part.documents_BT, **part.more)
                    loss = loss / divisor
                self.scaler.scale(loss * group.loss_factor).backward()
            losses.append(loss.detach())
        self.scaler.unscale_(self.optimizer)
        limit = self.config.gradient_clip or math.inf
        norm = clip_gradients(self.model.parameters(), limit)
        *sums, norm = torch.stack([*losses, norm]).tolist()  # the step's one wait for the device
        return group.over_rows(sum(sums)), norm

    def rate(self) -> float:
        """The learning rate of the step to come."""
        config = self.config
        return learning_rate(self.state.step, config.steps, config.warmup, config.learning_rate,
                             config.min_learning_rate, config.schedule,
                             config.decay_share)  # fmt: skip

    def blown_up(self, what: str) -> NonFinite:
        """The error for numbers that are none."""
        return faults.non_finite(what, self.state.step, self.rate(), self.config, self.place,
                          self.last_saved)  # fmt: skip

    def keep(self) -> None:
        """Write a checkpoint, unless its weights are not finite (an overflow in the last step)."""
        named = self.model.named_parameters()
        wrong = [name for name, weight in named if not torch.isfinite(own_piece(weight)).all()]
        if self.group.any(bool(wrong)):
            name = wrong[0] if wrong else "of another process"
            raise self.blown_up(f"weight {name} is not finite")
        self.last_saved, self.saved_step = self.save(), self.state.step

    def record(self, loss: float | None, batch: Tokens | None, seconds: float) -> None:
        """Count the step, add to the training curve, and tell the report."""
        config, state, rate = self.config, self.state, self.rate()
        state.step += 1
        state.seconds += seconds
        if loss is None or batch is None:  # passed over
            state.skipped += 1
        else:
            places, predicted = batch.ids_BT.numel(), batch.predicted
            if batch.own:
                places, predicted = map(int, self.group.total(places, predicted))
            state.tokens += places
            state.predicted += predicted
            self.meter.add(places, predicted, seconds)
            state.pending_sum += loss
            state.pending_count += 1
        due = state.step % config.log_interval == 0 or state.step == config.steps
        if due and state.pending_count:
            mean = state.pending_sum / state.pending_count
            state.train["step"].append(state.step)
            state.train["loss"].append(mean)
            state.pending_sum, state.pending_count = 0.0, 0
            more = self.method.told() if self.method and self.method.told else {}
            for name, value in more.items():
                state.train.setdefault(name, []).append(value)
            self.log({f"train/{name}": value for name, value in more.items()})
            self.log({"train/loss": mean, "train/learning_rate": rate,
                      "train/gradient_norm": self.norm,
                      "speed/tokens_per_second": self.meter.speed})  # fmt: skip
        left = (config.steps - state.step) * self.meter.seconds_per_step
        if loss is not None:
            self.report.step(state.step, loss, self.meter.speed, left)

    def measure(self) -> bool:
        """Held-out loss at this step, and a sample; True if it is the best so far."""
        config, state = self.config, self.state
        found = self.method.assess() if self.method else self.held_out()
        if not math.isfinite(found["loss"]):
            raise self.blown_up(f"held-out loss is {found['loss']}")
        state.held_out["step"].append(state.step)
        for name, value in found.items():
            state.held_out.setdefault(name, []).append(value)
        values = {f"held_out/{name}": value for name, value in found.items()}
        units = {"loss": self.method.unit if self.method else " nats", "old_loss": " nats"}
        words = [f"{n.replace('_', ' ')} {x:.4f}{units.get(n, '')}" for n, x in found.items()]
        self.report.line(f"step {state.step:,}: held-out {', '.join(words)}")
        if told := self.meter.line():
            self.report.line(told)
        if config.exam_items and self.group.writes_text:
            right = world_exam(self.model, self.tokenizer, self.feed.begin, config.exam_items)
            mean = sum(right.values()) / len(right)
            state.exams.append({"step": state.step, "mean": mean, "sections": right})
            values |= {"exam/mean": mean} | {f"exam/{name}": x for name, x in right.items()}
            told = "  ".join(f"{name} {share:.0%}" for name, share in right.items())
            self.report.line(f"  world exam: mean {mean:.1%}  ({told})")
        self.log(values)
        if config.sample_tokens and state.step and self.group.writes_text:
            text = sample(self.model, self.tokenizer, self.feed.prompt, config, self.place.device)
            state.samples.append({"step": state.step, "text": text})
            self.report.line("  sample: " + printable(text).replace("\n", "\n          "))
            for logger in self.loggers:
                logger.text(state.step, "sample", printable(text))
        return state.best_step == state.step

    def held_out(self) -> dict[str, float]:
        """Nats per token and bits per byte of the held-out rows, and nats of the old text."""
        how = (self.place, self.tokenizer, self.chunk, self.group, self.config.micro_batch_size)
        loss, bits = held_out_loss(self.model, self.feed.held_out, *how)
        found = {"loss": loss, "bits_per_byte": bits}
        if self.old is not None:
            found["old_loss"] = held_out_loss(self.model, self.old.held_out, *how)[0]
        return found

    def log(self, values: dict[str, float]) -> None:
        """Numbers for every logger, and how evenly experts are busy."""
        if self.loggers and self.balancer:
            busy = self.balancer.statistics().items()
            values = values | {f"experts/{name}": value for name, value in busy}
        for logger in self.loggers:
            logger.log(self.state.step, values)

    def summary(self) -> str:
        """The closing line of a finished run."""
        state = self.state
        speed = state.tokens / max(state.seconds, 1e-9)
        return (f"Trained {state.step:,} steps on {state.tokens:,} tokens in "
                f"{clock(state.seconds)} ({speed:,.0f} tokens/s).")  # fmt: skip
