"""`minimind reward`: a judge that learns from pairs of answers which is preferred."""

from __future__ import annotations

import argparse

from minimind_wiki.verbs import _tuning

HELP = "Train a reward model from chosen and rejected answers; it stands in --out/reward."
EXAMPLE = "minimind reward --model runs/sft --data world/preference --out runs/reward"


def _verb() -> _tuning.Verb:
    from minimind_wiki.train.reward_run import RewardSettings, train_reward

    usual = {"learning_rate": 1e-4, "held_out": 0.1}
    return _tuning.Verb("reward", RewardSettings, "world/preference", usual, train_reward,
                        next="minimind ppo --reward-model {out}/reward")  # fmt: skip


def configure(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    _tuning.configure(parser, _verb())


def run(args: argparse.Namespace) -> int:
    """Train."""
    return _tuning.run(args, _verb())
