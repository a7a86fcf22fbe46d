"""`minimind ppo`: reinforcement learning with a value for every token."""

from __future__ import annotations

import argparse

from minimind_wiki.verbs import _tuning

HELP = "Reinforce answers that a program or a reward model finds good, a token at a time."
EXAMPLE = "minimind ppo --model runs/sft --data world/rl --out runs/ppo"


def _verb() -> _tuning.Verb:
    from minimind_wiki.train.ppo import PpoSettings, ppo

    usual = {"learning_rate": 3e-5, "batch_size": 32, "steps": 160, "weight_decay": 0.0,
             "schedule": "constant"}  # fmt: skip
    return _tuning.Verb("ppo", PpoSettings, "world/rl", usual, ppo, ("prefetch",))


def configure(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    _tuning.configure(parser, _verb())


def run(args: argparse.Namespace) -> int:
    """Train."""
    return _tuning.run(args, _verb())
