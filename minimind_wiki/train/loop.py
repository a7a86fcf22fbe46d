"""The training loop: batch, loss, gradient, step; now and then measure, save, say.

Everything that changes during a run is in three places: the model, the optimizer and `State`. All
three are saved together, and everything else is a function of the configuration and the step.
That is why a resumed run repeats the uninterrupted one to the bit (float32, same machine and
threads; `tests/unit/test_train_run.py`).
Shapes: B rows, T tokens in each.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

from minimind_wiki.data.packing import IGNORE
from minimind_wiki.errors import MinimindError
from minimind_wiki.evaluate.likelihood import log_likelihood
from minimind_wiki.evaluate.world_exam import by_likelihood, exam
from minimind_wiki.infer import generate
from minimind_wiki.model import Transformer
from minimind_wiki.tokenizer import Tokenizer
from minimind_wiki.train.batches import Tokens
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.device import Place
from minimind_wiki.train.feeds import Feed
from minimind_wiki.train.report import Report, clock, printable
from minimind_wiki.train.schedule import learning_rate


@dataclass(slots=True)
class State:
    """What a run has done so far; plain numbers, lists and texts, so that it is saved as JSON."""

    step: int = 0  # optimizer steps done, and so the number of the next batch
    train: dict[str, list[float]] = field(default_factory=lambda: {"step": [], "loss": []})
    held_out: dict[str, list[float]] = field(
        default_factory=lambda: {"step": [], "loss": [], "bits_per_byte": []}
    )
    exams: list[dict[str, Any]] = field(default_factory=list)  # step, and accuracy by section
    samples: list[dict[str, Any]] = field(default_factory=list)
    pending_sum: float = 0.0  # losses since the training curve's last point …
    pending_count: int = 0  # … and how many
    seconds: float = 0.0  # of training steps alone, over all sittings

    @property
    def best(self) -> int:
        """Index of the lowest held-out loss after step 0; -1 if nothing is measured yet."""
        losses = self.held_out["loss"][1:]
        return 1 + losses.index(min(losses)) if losses else -1

    @property
    def best_step(self) -> int:
        """The step of that measurement, or -1."""
        return int(self.held_out["step"][self.best]) if self.best > 0 else -1

    @property
    def best_loss(self) -> float | None:
        """Its nats per token."""
        return self.held_out["loss"][self.best] if self.best > 0 else None

    @property
    def best_bits(self) -> float | None:
        """Its bits per byte."""
        return self.held_out["bits_per_byte"][self.best] if self.best > 0 else None


class NonFinite(MinimindError):
    """The loss or its gradient is not a number any more. The step was not applied."""


@dataclass(slots=True)
class Loop:
    """One run. `save` writes a checkpoint; `stopping` says whether to stop after this step."""

    config: TrainConfig
    model: Transformer
    optimizer: torch.optim.Optimizer
    tokenizer: Tokenizer
    feed: Feed
    place: Place
    state: State
    report: Report
    save: Callable[[], str] = lambda: ""
    stopping: Callable[[], bool] = lambda: False
    last_saved: str = ""
    saved_step: int = -1
    started_at: int = 0

    def run(self) -> bool:
        """Train to the last step. True when it was reached, False when `stopping` ended it."""
        config, state = self.config, self.state
        forward = torch.compile(self.model) if config.compile else self.model
        self.started_at = state.step
        if not state.held_out["step"]:
            self.measure()
        self.report.start(config.steps, state.step)
        sitting = 0.0
        try:
            while state.step < config.steps and not self.stopping():
                began = time.perf_counter()
                loss = self.step(forward, self.feed.at(state.step))
                sitting += (spent := time.perf_counter() - began)
                state.seconds += spent
                self.record(loss, sitting)
                last = state.step == config.steps
                improved = (last or state.step % config.eval_interval == 0) and self.measure()
                if improved or last or state.step % config.save_interval == 0:
                    self.keep()
        finally:
            self.report.stop()
        if self.saved_step != state.step:  # stopped between two checkpoints
            self.keep()
        return state.step == config.steps

    def keep(self) -> None:
        """Write a checkpoint, unless its weights are not finite (an overflow in the last step)."""
        for name, parameter in self.model.named_parameters():
            if not torch.isfinite(parameter).all():
                rate = self.config.learning_rate
                raise NonFinite(self.explain(f"weight {name} is not finite", rate))
        self.last_saved, self.saved_step = self.save(), self.state.step

    def step(self, forward: Callable[..., torch.Tensor], batch: Tokens) -> float:
        """One optimizer step; the mean loss in nats over the batch's predicted tokens.

        The batch may pass in several micro-batches. Each is weighed by its tokens, not by its rows:
        packed rows and loss masks give some micro-batches far fewer tokens to predict than others.
        """
        config = self.config
        rate = learning_rate(self.state.step, config.steps, config.warmup,
                             config.learning_rate, config.min_learning_rate)  # fmt: skip
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        tokens = max(1, batch.predicted)
        total = 0.0
        for part in batch.to(self.place.device).split(config.micro_batch_size or config.batch_size):
            loss = summed_loss(forward, part, self.place) / tokens
            loss.backward()
            total += loss.item()
        limit = config.gradient_clip or math.inf
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), limit).item()
        if not (math.isfinite(total) and math.isfinite(norm)):
            what = f"loss is {total}" if not math.isfinite(total) else f"gradient norm is {norm}"
            raise NonFinite(self.explain(what, rate))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return total

    def explain(self, what: str, rate: float) -> str:
        """What a reader needs when the numbers blow up: the step, the way back, likely causes."""
        back = "no checkpoint was written yet"
        if self.last_saved:
            back = f"the last good checkpoint is {self.last_saved}"
        causes = [f"the learning rate ({rate:.2g} at this step) is too high: try a tenth of it"]
        if self.config.warmup < 10:
            causes.append(f"the warm-up ({self.config.warmup} steps) is short")
        if not self.config.gradient_clip:
            causes.append("gradients are not clipped: try --gradient-clip 1")
        if self.place.dtype is not torch.float32:
            causes.append("bfloat16 is too coarse: try --dtype float32")
        return (f"the {what} at step {self.state.step + 1:,} of {self.config.steps:,}, so training "
                f"stopped; {back}. Likely causes: {'; '.join(causes)}.")  # fmt: skip

    def record(self, loss: float, sitting: float) -> None:
        """Count the step, add to the training curve, and tell the report."""
        config, state = self.config, self.state
        state.step += 1
        state.pending_sum += loss
        state.pending_count += 1
        if state.step % config.log_interval == 0 or state.step == config.steps:
            state.train["step"].append(state.step)
            state.train["loss"].append(state.pending_sum / state.pending_count)
            state.pending_sum, state.pending_count = 0.0, 0
        done = state.step - self.started_at
        speed = done * config.batch_size * config.context_length / sitting
        self.report.step(state.step, loss, speed, (config.steps - state.step) * sitting / done)

    def measure(self) -> bool:
        """Held-out loss at this step, and a sample; True if it is the best so far."""
        config, state = self.config, self.state
        loss, bits = held_out_loss(self.model, self.feed.held_out, self.place, self.tokenizer)
        if not math.isfinite(loss):
            raise NonFinite(self.explain(f"held-out loss is {loss}", config.learning_rate))
        state.held_out["step"].append(state.step)
        state.held_out["loss"].append(loss)
        state.held_out["bits_per_byte"].append(bits)
        self.report.line(f"step {state.step:,}: held-out loss {loss:.4f} nats/token, "
                         f"{bits:.4f} bits/byte")  # fmt: skip
        if config.exam_items:
            likelihood = log_likelihood(self.model, self.tokenizer, self.feed.begin)
            scores = exam(partial(by_likelihood, likelihood), config.exam_items, "validation")
            self.model.train()
            right = {score.section: score.accuracy for score in scores}
            mean = sum(right.values()) / len(right)
            state.exams.append({"step": state.step, "mean": mean, "sections": right})
            told = "  ".join(f"{name} {share:.0%}" for name, share in right.items())
            self.report.line(f"  world exam: mean {mean:.1%}  ({told})")
        if config.sample_tokens and state.step:
            text = sample(self.model, self.tokenizer, self.feed.prompt, config, self.place.device)
            state.samples.append({"step": state.step, "text": text})
            self.report.line("  sample: " + printable(text).replace("\n", "\n          "))
        return state.best_step == state.step

    def summary(self) -> str:
        """The closing line of a finished run."""
        state = self.state
        tokens = state.step * self.config.batch_size * self.config.context_length
        return (f"Trained {state.step:,} steps on {tokens:,} tokens in {clock(state.seconds)} "
                f"({tokens / max(state.seconds, 1e-9):,.0f} tokens/s).")  # fmt: skip


def summed_loss(forward: Callable[..., torch.Tensor], part: Tokens, place: Place) -> torch.Tensor:
    """Cross-entropy in nats, summed over the predicted tokens; the softmax is in float32."""
    with place.autocast():
        logits_BTV = forward(part.ids_BT, documents_BT=part.documents_BT)
    return F.cross_entropy(
        logits_BTV.float().flatten(0, 1), part.labels_BT.flatten(), reduction="sum"
    )


@torch.no_grad()
def held_out_loss(
    model: Transformer, held_out: Sequence[Tokens], place: Place, tokenizer: Tokenizer
) -> tuple[float, float]:
    """Mean nats per token and bits per byte over the held-out rows.

    Each token is predicted from its own row (and document) only, and none is predicted twice. Bits
    per byte divides by the bytes of text, so that models with different tokenizers can be compared.
    """
    total, tokens = 0.0, 0
    counts = torch.zeros(tokenizer.vocab_size, dtype=torch.int64)
    model.eval()
    for part in held_out:
        total += summed_loss(model, part.to(place.device), place).item()
        targets = part.labels_BT[part.labels_BT != IGNORE]
        tokens += targets.numel()
        counts += torch.bincount(targets, minlength=tokenizer.vocab_size)
    model.train()
    seen = [(token, n) for token, n in enumerate(counts.tolist()) if n]
    size = sum(n * tokenizer.byte_length(token) for token, n in seen)
    return total / tokens, total / (max(size, 1) * math.log(2))


def sample(
    model: Transformer,
    tokenizer: Tokenizer,
    prompt: Sequence[int],
    config: TrainConfig,
    device: torch.device,
) -> str:
    """A short text after the prompt's ids, drawn with a generator of its own (temperature 0.8).

    The run's own random state is not touched, so measuring more often changes no curve.
    """
    ids_BT = torch.tensor([list(prompt)], device=device)
    length = min(config.sample_tokens, model.config.max_position_embeddings - len(prompt))
    generator = torch.Generator(device=device).manual_seed(config.seed)
    model.eval()
    ids = generate(model, ids_BT, length, temperature=0.8, generator=generator,
                   stop_ids=(tokenizer.eos_id,))  # fmt: skip
    model.train()
    return tokenizer.decode(ids[0, len(prompt) :].tolist()).strip()
