"""What do LoRA and QLoRA save, and what do they cost?

One model is fine-tuned for a few steps in four ways, each in a fresh process: all weights, all
weights with the optimizer's state in eight bits, adapters beside the weights (LoRA), and adapters
beside weights of four bits (QLoRA). Memory is what the process writes itself while it trains. It
depends on shapes and not on what the weights are, so they are random.
"""

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from minimind_wiki.book.experiment import Experiment, Measurement
from minimind_wiki.book.record import repo_root
from minimind_wiki.infer import save_model_folder
from minimind_wiki.lite.plot import Axis, Bars, Figure, Panel
from minimind_wiki.model import Transformer, preset
from minimind_wiki.tokenizer import load_tokenizer


@dataclass(frozen=True, slots=True)
class Settings:
    """Preset, steps of batch_size chats packed into rows of context tokens, the adapters' rank."""

    preset: str = "26m"
    steps: int = 8
    batch_size: int = 8
    context: int = 256
    rank: int = 8


def arm(title: str, role: str, adapters: bool, quantize: str = "", optimizer: str = "adamw"):
    return {"title": title, "role": role, "adapters": adapters, "quantize": quantize,
            "optimizer": optimizer}  # fmt: skip


experiment = Experiment(
    name="post-training/memory",
    factors=("adapters", "quantize", "optimizer"),
    arms={
        "full": arm("all weights", "none", False),
        "eight_bit": arm("all weights, 8-bit AdamW", "a", False, optimizer="adamw8bit"),
        "lora": arm("LoRA", "b", True),
        "qlora": arm("QLoRA", "model", True, "nf4"),
    },
    settings=Settings(),
    quick=Settings(preset="nano", steps=3, batch_size=4),
    primary="training_mb",
    parallel=False,
    noisy=("training_mb", "tokens_per_second"),
)


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    tokenizer = load_tokenizer(repo_root() / "models" / "world-tiny")
    with tempfile.TemporaryDirectory() as folder:
        shape = preset(settings.preset, vocab_size=6400)
        save_model_folder(Path(folder) / "model", Transformer(shape, seed=seed), tokenizer)
        config = {
            "init": f"{folder}/model", "data": "world/instructions", "seed": seed,
            "steps": settings.steps,
            "batch_size": settings.batch_size, "context_length": settings.context,
            "eval_windows": 2, "sample_tokens": 0, "device": "cpu", "dtype": "float32",
            "threads": 1, "optimizer": arm["optimizer"], "quantize": arm["quantize"],
            "lora_rank": settings.rank if arm["adapters"] else 0,
        }  # fmt: skip
        script = Path(__file__).with_name("_watched.py")
        done = subprocess.run([sys.executable, str(script), json.dumps(config)],
                              capture_output=True, text=True, check=True)  # fmt: skip
    return Measurement(json.loads(done.stdout.splitlines()[-1]))


@experiment.derived
def against_full(record):
    """Each arm's memory and speed as a share of training all weights, and of the weights."""
    full = {name: record.value("full", name) for name in ("training_mb", "tokens_per_second")}
    full["trained"] = record.value("full", "trained")
    return {
        arm: {"memory_share": record.value(arm, "training_mb") / full["training_mb"],
              "speed_share": record.value(arm, "tokens_per_second") / full["tokens_per_second"],
              "trained_share": record.value(arm, "trained") / full["trained"]}
        for arm in record.arms
    }  # fmt: skip


@experiment.claim()
def less_and_less(record):
    """Eight-bit states, LoRA and QLoRA each take less memory than what stands before."""
    arms = ("full", "eight_bit", "lora", "qlora")
    good = all(max(record.seeds(b, "training_mb")) < min(record.seeds(a, "training_mb"))
               for a, b in pairwise(arms))  # fmt: skip
    return good, ", ".join(f"{record.value(arm, 'training_mb'):.0f} MB" for arm in arms)


@experiment.claim()
def four_bits_cost_time(record):
    """QLoRA trains more slowly than LoRA: every product unpacks its weight first."""
    lora, qlora = (record.seeds(arm, "tokens_per_second") for arm in ("lora", "qlora"))
    return max(qlora) < min(lora), (
        f"{record.value('qlora', 'tokens_per_second'):.0f} against "
        f"{record.value('lora', 'tokens_per_second'):.0f} tokens/s")  # fmt: skip


@experiment.claim(quick=True)
def few_are_trained(record):
    """Adapters are less than a tenth of the numbers that full fine-tuning moves."""
    share = record.value("lora", "trained") / record.value("full", "trained")
    return share < 0.1, f"{share:.2%}"


@experiment.figure()
def memory_of_training(record):
    """Bars of the memory that training takes with all weights, eight-bit states, LoRA and QLoRA; a
    second panel with tokens a second."""
    titles = [record.arms[arm]["title"] for arm in record.arms]
    panels = []
    for metric, name in (("training_mb", "memory, MB"), ("tokens_per_second", "tokens/s")):
        seeds = [record.seeds(arm, metric) for arm in record.arms]
        bars = Bars(titles, [record.value(arm, metric) for arm in record.arms], "", "model",
                    map(min, seeds), map(max, seeds))  # fmt: skip
        panels.append(Panel("", Axis(name), bars=[bars]))
    return Figure(panels)
