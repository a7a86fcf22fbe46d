"""What can go wrong in a step, each as one sentence with a way out.

All are raised before the optimizer moves a weight: a run that stops with one of them leaves
weights and optimizer as they were after the last good step.
"""

from __future__ import annotations

import torch

from minimind_wiki.data.packing import IGNORE
from minimind_wiki.errors import MinimindError
from minimind_wiki.model import ModelConfig, Transformer
from minimind_wiki.train.activations import free_bytes, row_bytes, rows_that_fit
from minimind_wiki.train.batches import Tokens
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.device import Place


class NonFinite(MinimindError):
    """The loss or its gradient is not a number any more. The step was not applied."""


class BadBatch(MinimindError):
    """A batch that the model cannot learn from: the feed's fault, not the model's."""


class OutOfMemory(MinimindError):
    """The step did not fit into memory and was not applied."""


def check_batch(batch: Tokens, config: ModelConfig, step: int) -> Tokens:
    """The batch, if the model can read it. Look at it on the CPU: an id outside the embedding makes
    a GPU stop with an error that names neither the id nor the step, and end the process.
    """
    where = f"the batch of step {step + 1:,}"
    rows, length = batch.ids_BT.shape
    if length > config.max_position_embeddings:
        raise BadBatch(
            f"{where} has rows of {length:,} tokens, but the model accepts at most "
            f"{config.max_position_embeddings:,} (max_position_embeddings); make shorter rows."
        )
    labels_BT = batch.labels_BT
    for what, low, high in (
        ("token", batch.ids_BT.min(), batch.ids_BT.max()),
        ("label", labels_BT.masked_fill(labels_BT == IGNORE, 0).min(), labels_BT.max()),
    ):
        wrong = int(low) if low < 0 else int(high)
        if not 0 <= wrong < config.vocab_size and not (what == "label" and wrong == IGNORE):
            raise BadBatch(
                f"{where} has the {what} id {wrong:,}, but the model's vocabulary ends at "
                f"{config.vocab_size - 1:,}: the data was made with another tokenizer. Make it "
                "again with the run's own (--tokenizer)."
            )
    if not batch.predicted:
        raise BadBatch(
            f"{where} has no token to predict in its {rows} rows: all labels are hidden. Look for "
            "rows that are cut off before their answer begins, or a mask that hides everything."
        )
    return batch


def non_finite(
    what: str, step: int, rate: float, config: TrainConfig, place: Place, saved: str
) -> NonFinite:
    """What a reader needs when the numbers blow up: the step, the way back, likely causes."""
    back = f"the last good checkpoint is {saved}" if saved else "no checkpoint was written yet"
    causes = [f"the learning rate ({rate:.2g} at this step) is too high: try a tenth of it"]
    if config.warmup < 10:
        causes.append(f"the warm-up ({config.warmup} steps) is short")
    if not config.gradient_clip:
        causes.append("gradients are not clipped: try --gradient-clip 1")
    if place.dtype is torch.float16:
        causes.append("float16 ends at 65,504: try --dtype bfloat16 or float32")
    if place.dtype is torch.bfloat16:
        causes.append("bfloat16 is too coarse: try --dtype float32")
    return NonFinite(
        f"the {what} at step {step + 1:,} of {config.steps:,}, so training stopped; {back}. "
        f"Likely causes: {'; '.join(causes)}."
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch or Python means that memory is used up.

    Torch has a class for it for its own memory on a card only, not for a CPU's or a library's.
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    signs = ("can't allocate memory", "STATUS_ALLOC_FAILED")
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs)


def out_of_memory(
    step: int,
    config: TrainConfig,
    model: Transformer,
    optimizer: torch.optim.Optimizer,
    place: Place,
    chunk: int = 0,
) -> OutOfMemory:
    """How much a row needs, how much there is, and the micro-batch that would fit.

    Call it when the tensors of the failed step are free again. Their place, less what gradients
    and, in a first step, the optimizer's two averages take, is what activations can have.
    """
    rows, length = config.micro_batch_size or config.batch_size, config.context_length
    weights = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    free = max(0, free_bytes(place.device) - weights * (1 if optimizer.state else 3))
    recompute, shape = config.activation_checkpointing, model.config
    told = (
        f"out of memory at step {step + 1:,} with {rows} rows of {length:,} tokens in one pass, so "
        "training stopped. "
    )
    row = row_bytes(shape, length, place.dtype, recompute, chunk)
    if row:
        told += (
            f"A row needs about {size(row)} until the backward pass, {size(rows * row)} together; "
            f"{size(free)} are free beside weights, gradients and optimizer. "
        )
    # what is free may look enough (other programs, fragments), and yet it was not: try fewer rows
    fits = min(rows_that_fit(config.batch_size, row, free) if row else rows, rows - 1)
    fits = max((n for n in range(1, fits + 1) if config.batch_size % n == 0), default=0)
    ways = []
    if fits:
        ways.append(f"--micro-batch-size {fits} (the result is the same)")
    if not recompute:
        less = row_bytes(shape, length, place.dtype, True, chunk)
        figure = f" (a row then needs {size(less)})" if less else ""
        ways.append(f"--activation-checkpointing{figure}")
    if not fits:
        ways.append("a smaller --context-length or --preset")
    return OutOfMemory(f"{told}Try {', or '.join(ways)}.")


def size(count: float, unit: str = "B") -> str:
    """A large count for a reader.

    >>> size(1500), size(2_500_000), size(12.34e9, "FLOP/s")
    ('1.5 KB', '2.5 MB', '12.3 GFLOP/s')
    """
    for prefix, factor in (("T", 1e12), ("G", 1e9), ("M", 1e6)):
        if count >= factor:
            return f"{count / factor:.1f} {prefix}{unit}"
    return f"{count / 1e3:.1f} K{unit}"
