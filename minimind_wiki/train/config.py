"""Everything that decides a training run, as one frozen dataclass.

The command line and the YAML file are both made from these fields (and from the model's), so a
field exists once: here, with its meaning beside it. A value of 0 in an interval means "chosen from
the number of steps", by the properties `warmup`, `eval_interval` and `save_interval`.
"""

from __future__ import annotations

import dataclasses
import math
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from minimind_wiki.errors import WrongCall, unknown
from minimind_wiki.train.schedule import SCHEDULES

OPTIMIZERS = ("adamw", "muon", "adamw8bit", "paged_adamw8bit")


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """How a model is trained. Defaults are for `tiny` on two CPU cores; see `RECIPES`."""

    preset: str = "tiny"
    """Which model: a name of PRESETS."""
    data: str = ""
    """Registry name, 'world', 'world/KIND', 'embedded', a .txt or .jsonl (.gz), a shard folder."""
    tokenizer: str = "bytes"
    """'bytes', or a folder that 'minimind tokenizer train' or a run wrote."""
    packing: str = "auto"
    """Rows of a batch: concat, pack, pad; auto: concat for one text, pack for documents."""
    init: str = ""
    """Model folder whose weights, shape and tokenizer the run begins with."""
    freeze: str = ""
    """Parameters that are not trained: a regular expression, such as embed_tokens|layers.[0-3]."""
    lora_rank: int = 0
    """Train adapters of this rank beside the weights, instead of these (0: the weights)."""
    lora_alpha: float = 16.0
    """Strength of the adapters: their change is multiplied by alpha / rank."""
    lora_targets: str = "all"
    """Layers that get one, by the ends of their names: q_proj,v_proj; all: every projection."""
    lora_dropout: float = 0.0
    """Share of an adapter's inputs that is zeroed in training."""
    rslora: bool = False
    """Multiply by alpha / sqrt(rank) instead, which suits high ranks."""
    quantize: str = ""
    """nf4: keep the weights beside adapters in four bits (QLoRA); empty: as they are."""
    replay: str = ""
    """Old data, as in --data, some rows of which stand among the new."""
    replay_share: float = 0.1
    """Share of the rows that are old, where there is old data."""
    seed: int = 0
    """Decides the initial weights, the order of the data and the samples."""
    steps: int = 1600
    """Optimizer steps."""
    batch_size: int = 16
    """Windows in one optimizer step."""
    micro_batch_size: int = 0
    """Windows in one forward pass (0: all of the batch)."""
    context_length: int = 128
    """Tokens in one window."""
    optimizer: str = "adamw"
    """adamw; muon: orthogonal steps for the blocks' matrices; adamw8bit, paged_adamw8bit."""
    learning_rate: float = 1.5e-3
    """Peak learning rate, reached after the warm-up."""
    base_width: int = 0
    """Width for which the rate was found; matrices of wider models take less (0: all take it)."""
    schedule: str = "cosine"
    """cosine, linear, wsd (stays, then falls late) or constant, each after the warm-up."""
    min_learning_rate: float = 0.0
    """Where the schedule ends, one step after the last."""
    decay_share: float = 0.2
    """Share of the steps in which wsd falls."""
    warmup_steps: int = 0
    """Steps of linear warm-up (0: a twentieth of steps)."""
    weight_decay: float = 0.1
    """AdamW's decay on matrices; norms and embeddings have none."""
    beta1: float = 0.9
    """AdamW's memory of the gradient."""
    beta2: float = 0.99
    """AdamW's memory of the squared gradient."""
    gradient_clip: float = 1.0
    """Largest gradient norm (0: no clipping)."""
    z_loss: float = 0.0
    """Weight of the squared logarithm of the softmax's sum (PaLM: 1e-4); held-out loss has none."""
    label_smoothing: float = 0.0
    """Share of each target spread over the vocabulary; held-out loss has none."""
    loss_chunk: int = 0
    """Tokens whose scores exist at a time (0: chosen by their size)."""
    held_out: float = 0.1
    """Share at the corpus's end that is never trained on."""
    eval_every: int = 0
    """Steps between measurements of held-out loss (0: a tenth of steps)."""
    eval_windows: int = 1024
    """Most held-out windows that are measured, evenly spaced."""
    exam_items: int = 0
    """Items of each section of the world exam at each measurement (0: no exam)."""
    save_every: int = 0
    """Steps between checkpoints (0: at each measurement)."""
    keep_checkpoints: int = 2
    """Newest checkpoints that stay, besides the best."""
    sample_tokens: int = 120
    """Length of the sample after each measurement (0: none)."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    dtype: str = "auto"
    """auto, float32, bfloat16 or float16 (autocast; weights stay float32)."""
    threads: int = 0
    """CPU threads (0: torch's own choice)."""
    activation_checkpointing: bool = False
    """Compute each block again in the backward pass: far less memory, a third more time."""
    prefetch: int = 2
    """Batches that a thread makes ahead (0: none)."""
    log_to: str = ""
    """tensorboard, wandb or both with a comma; needs that package."""
    attention: str = "auto"
    """auto, plain, fused, packed (CPU) or flex (CUDA, with --compile)."""
    compile: bool = False
    """torch.compile: faster steps after a minute of compiling."""
    parallel: str = "ddp"
    """How the processes that torchrun starts share the work: ddp, fsdp or tensor."""
    timeout: int = 600
    """Seconds that a process waits for the others before it gives up."""

    def validate(self) -> None:
        """Raise WrongCall naming the first field that cannot work, and what would."""
        for name in ("steps", "batch_size", "context_length", "eval_windows", "keep_checkpoints",
                     "timeout"):  # fmt: skip
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("micro_batch_size", "warmup_steps", "eval_every", "save_every", "threads",
                     "sample_tokens", "exam_items", "seed", "weight_decay", "gradient_clip",
                     "min_learning_rate", "base_width", "z_loss", "loss_chunk",
                     "prefetch", "lora_rank"):  # fmt: skip
            _require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        _require(self.learning_rate > 0, "learning_rate", self.learning_rate, "above 0")
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            finite = not isinstance(value, float) or math.isfinite(value)
            _require(finite, item.name, value, "a finite number")
        for name in ("beta1", "beta2", "label_smoothing", "lora_dropout"):
            _require(0 <= getattr(self, name) < 1, name, getattr(self, name), "in [0, 1)")
        _require(
            0 < self.decay_share <= 1, "decay_share", self.decay_share, "above 0 and at most 1"
        )
        _require(0 < self.replay_share < 1, "replay_share", self.replay_share, "between 0 and 1")
        _require(0 < self.held_out < 1, "held_out", self.held_out, "between 0 and 1")
        _require(self.warmup_steps <= self.steps, "warmup_steps", self.warmup_steps,
                 f"at most steps ({self.steps})")  # fmt: skip
        micro = self.micro_batch_size or self.batch_size
        _require(self.batch_size % micro == 0, "micro_batch_size", micro,
                 f"a divisor of batch_size ({self.batch_size})")  # fmt: skip
        for name, known in (("device", ("auto", "cpu", "cuda", "mps")),
                            ("dtype", ("auto", "float32", "bfloat16", "float16")),
                            ("schedule", tuple(SCHEDULES)),
                            ("optimizer", OPTIMIZERS),
                            ("quantize", ("", "nf4")),
                            ("parallel", ("ddp", "fsdp", "tensor")),
                            ("packing", ("auto", "concat", "pack", "pad"))):  # fmt: skip
            if getattr(self, name) not in known:
                raise unknown(name, getattr(self, name), known)

        if self.lora_rank and (not self.init or self.freeze):
            raise WrongCall(
                "lora_rank needs the weights of a trained model (init), all of which it freezes; "
                "give a model, and leave freeze out."
            )
        if self.quantize and not self.lora_rank:
            raise WrongCall("quantize needs adapters to train: give lora_rank, too.")

    @property
    def warmup(self) -> int:
        """Steps of warm-up, resolved."""
        return self.warmup_steps or max(1, self.steps // 20)

    @property
    def eval_interval(self) -> int:
        """Steps between measurements, resolved."""
        return self.eval_every or max(1, self.steps // 10)

    @property
    def save_interval(self) -> int:
        """Steps between checkpoints, resolved."""
        return self.save_every or self.eval_interval

    @property
    def log_interval(self) -> int:
        """Steps that one point of the training curve averages; a curve has at most 500 points."""
        return max(1, -(-self.steps // 500))


# What differs from the defaults for each preset. tiny and nano are measured (see the record
# pretrain-run/tiny_shakespeare and the golden curve); the others are starting points, not results.
RECIPES: dict[str, dict[str, Any]] = {
    "nano": {"steps": 400, "batch_size": 16, "context_length": 64, "learning_rate": 5e-3},
    "tiny": {},
    "mini": {"learning_rate": 1e-3},
    "26m": {"steps": 3000, "batch_size": 32, "context_length": 512, "learning_rate": 1e-3},
    "64m": {"steps": 5000, "batch_size": 32, "context_length": 512, "learning_rate": 6e-4},
    "104m": {"steps": 5000, "batch_size": 32, "context_length": 512, "learning_rate": 6e-4},
    "gpt2-124m": {"steps": 5000, "batch_size": 32, "context_length": 512, "learning_rate": 6e-4},
}


def _require(good: bool, name: str, value: object, needed: str) -> None:
    if not good:
        raise WrongCall(f"{name} is {value}, but it must be {needed}.")


def build(given: dict[str, Any], model_fields: Iterable[str]) -> tuple[TrainConfig, dict[str, Any]]:
    """Split the given settings into a valid TrainConfig and the model's overrides.

    Defaults come first, then the preset's recipe, then what was given. A name that is a field of
    neither raises with the nearest names.
    """
    own = {item.name for item in dataclasses.fields(TrainConfig)}
    known = own | set(model_fields)
    for name in given:
        if name not in known:
            raise unknown("field", name, known)
    recipe = RECIPES.get(str(given.get("preset", TrainConfig().preset)), {})
    config = TrainConfig(**{**recipe, **{k: v for k, v in given.items() if k in own}})
    config.validate()
    return config, {name: value for name, value in given.items() if name not in own}


def command(config: TrainConfig, model_fields: dict[str, Any], tuning: Any = None) -> str:
    """The call that makes this run: its preset, and each field that is not the preset's own.

    `tuning` has a name and settings (see `method.py`): its verb and its flags.

    >>> command(TrainConfig(steps=9, data="my text.txt"), {"qk_norm": True})
    "minimind pretrain --preset tiny --data 'my text.txt' --steps 9 --qk-norm"
    """
    usual = build({"preset": config.preset}, ())[0]
    given = {"preset": config.preset, "data": config.data}
    changed = _changed(config, usual)
    if tuning:
        given = {"model": changed.pop("init"), "data": config.data}
        changed |= _changed(tuning.settings, type(tuning.settings)())
    words = [f"minimind {tuning.name if tuning else 'pretrain'}"]
    for name, value in {**given, **changed, **model_fields}.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        elif value != "":
            words.append(f"--{flag} {shlex.quote(str(value))}")
    return " ".join(words)


def _changed(settings: Any, usual: Any) -> dict[str, Any]:
    """The fields that are not as usual."""
    names = (item.name for item in dataclasses.fields(settings))
    return {name: getattr(settings, name) for name in names
            if getattr(settings, name) != getattr(usual, name)}  # fmt: skip
