"""`minimind grpo`: reinforcement learning with answers that a program can judge."""

from __future__ import annotations

import argparse

from minimind_wiki.verbs import _tuning

HELP = "Make answers more likely that a program finds right: GRPO and its relatives."
EXAMPLE = "minimind grpo --model runs/sft --data world/rl --out runs/grpo"


def _verb() -> _tuning.Verb:
    from minimind_wiki.train.grpo import GrpoSettings, grpo

    usual = {"learning_rate": 5e-5, "batch_size": 64, "steps": 100, "weight_decay": 0.0}
    return _tuning.Verb("grpo", GrpoSettings, "world/rl", usual, grpo, ("prefetch",))


def configure(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    _tuning.configure(parser, _verb())


def run(args: argparse.Namespace) -> int:
    """Train."""
    return _tuning.run(args, _verb())
