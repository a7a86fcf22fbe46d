"""ZeRO by its authors' own engine: DeepSpeed, stages 1 to 3 (Rajbhandari et al. 2020,
arXiv:1910.02054).

Stage 1 cuts the optimizer's state, stage 2 the gradients as well, stage 3 also the weights, which
is what `parallel_fsdp` does with torch alone. The engine owns backward, clipping and the step, so
it takes the place of those lines of the loop and not of a `parallel.Group`. Its own checkpoints
are pickles; `whole_weights` gathers the model for a folder of ours instead.

DeepSpeed is not installed with this package: `pip install deepspeed`. Without a GPU it works over
gloo; `quiet_import` keeps it from compiling an extra for processes on one machine.
"""

from __future__ import annotations

import os
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.train.batches import Tokens
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.losses import LossModel
from minimind_wiki.train.optim import decay_groups
from minimind_wiki.train.parallel import Dealing


def zero_settings(config: TrainConfig, stage: int, processes: int) -> dict[str, Any]:
    """DeepSpeed's configuration for a run of ours; may be written to a file as JSON.

    WrongCall for a stage that is none, an optimizer that DeepSpeed would cut wrongly, or rows that
    cannot be dealt evenly.

    >>> settings = zero_settings(TrainConfig(batch_size=16, micro_batch_size=2), 2, processes=4)
    >>> settings["train_micro_batch_size_per_gpu"], settings["gradient_accumulation_steps"]
    (2, 2)
    """
    if stage not in (1, 2, 3):
        raise WrongCall(f"ZeRO has the stages 1, 2 and 3, not {stage}.")
    if config.optimizer != "adamw":
        raise WrongCall(
            f"{config.optimizer} needs whole matrices, which ZeRO lays end to end and cuts "
            "anywhere; use adamw, or fsdp."
        )
    if config.base_width:
        raise WrongCall("base_width is not for DeepSpeed, which sets one rate; use fsdp.")
    own, left = divmod(config.batch_size, processes)
    rows = min(config.micro_batch_size or own, own)
    if left or not own or own % rows:
        raise WrongCall(
            f"{config.batch_size} rows cannot be dealt to {processes} processes in micro-batches "
            f"of {rows}; make batch_size a multiple of {processes * rows}."
        )
    return {
        "train_batch_size": config.batch_size,
        "train_micro_batch_size_per_gpu": rows,
        "gradient_accumulation_steps": own // rows,
        "gradient_clipping": config.gradient_clip,
        "bf16": {"enabled": False},  # autocast, as in the loop: weights stay float32
        "zero_allow_untested_optimizer": True,  # torch's own AdamW
        "zero_optimization": {
            "stage": stage,
            "overlap_comm": False,
            "stage3_param_persistence_threshold": 0,  # keep no weight whole because it is small
        },
        "steps_per_print": 10**9,
    }


def quiet_import() -> Any:
    """The `deepspeed` package. MinimindError if it is not installed.

    On a CPU it would compile a transport through shared memory, which needs a compiler and minutes.
    """
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    try:
        import deepspeed
        import deepspeed.ops
    except ImportError as error:
        raise MinimindError(
            f"DeepSpeed is not here ({error}). Run 'pip install deepspeed', or use --parallel fsdp."
        ) from error
    if not torch.cuda.is_available():
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed


class ZeroRun:
    """A model in DeepSpeed's hands. The process group must be there (see `parallel.joined`)."""

    def __init__(self, loss: LossModel, config: TrainConfig, stage: int) -> None:
        deepspeed = quiet_import()
        self.group = Dealing(dist.get_rank(), dist.get_world_size())
        self.settings = zero_settings(config, stage, self.group.size)
        deepspeed.init_distributed(dist_backend=dist.get_backend(), verbose=False)
        named = dict(loss.named_parameters())
        decayed, plain = decay_groups(loss)
        groups = [
            {"params": [named[n] for n in decayed], "weight_decay": config.weight_decay},
            {"params": [named[n] for n in plain], "weight_decay": 0.0},
        ]
        betas = (config.beta1, config.beta2)
        optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, betas=betas)
        self.loss = loss
        self.engine = deepspeed.initialize(
            model=loss, optimizer=optimizer, config=self.settings, dist_init_required=False
        )[0]

    def step(self, batch: Tokens, rate: float) -> tuple[float, float]:
        """One step on this process's rows; loss of the whole batch, gradient norm."""
        for options in self.engine.optimizer.param_groups:
            options["lr"] = rate
        rows = self.settings["train_micro_batch_size_per_gpu"]
        passes = self.settings["gradient_accumulation_steps"]
        # the engine divides by processes and micro-batches, as it expects a mean; ours is a sum
        factor = self.group.size * passes / batch.predicted
        total = 0.0
        for part in self.group.rows(batch).to(self.engine.device).split(rows):
            loss = self.engine(part.ids_BT, part.labels_BT, part.documents_BT)
            self.engine.backward(loss * factor)
            self.engine.step()  # moves weights after the last micro-batch only
            total += loss.item() / batch.predicted
        return self.group.over_rows(total), float(self.engine.get_global_grad_norm())

    def whole_weights(self) -> dict[str, Tensor]:
        """All weights by name, in float32, on every process. All must ask."""
        from deepspeed.utils import safe_get_full_fp32_param

        return {name: safe_get_full_fp32_param(p) for name, p in self.loss.named_parameters()}
