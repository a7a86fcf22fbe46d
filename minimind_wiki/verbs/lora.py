"""`minimind lora`: supervised fine-tuning of small matrices beside the weights."""

from __future__ import annotations

import argparse

from minimind_wiki.verbs import _tuning

HELP = "Fine-tune small matrices beside the weights: LoRA, and QLoRA with --quantize nf4."
EXAMPLE = "minimind lora --model runs/world --data world/sft --lora-rank 8 --out runs/lora"


def _verb() -> _tuning.Verb:
    from minimind_wiki.train.sft import SftSettings, sft

    usual = {"lora_rank": 8, "learning_rate": 1e-3}
    return _tuning.Verb("lora", SftSettings, "world/sft", usual, sft, ("freeze",), "sft")


def configure(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    _tuning.configure(parser, _verb())


def run(args: argparse.Namespace) -> int:
    """Train."""
    return _tuning.run(args, _verb())
