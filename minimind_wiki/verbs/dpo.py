"""`minimind dpo`: learn from pairs of answers which is preferred."""

from __future__ import annotations

import argparse

from minimind_wiki.verbs import _tuning

HELP = "Learn from chosen and rejected answers: DPO, IPO, SimPO, ORPO or KTO."
EXAMPLE = "minimind dpo --model runs/sft --data world/preference --out runs/dpo"


def _verb() -> _tuning.Verb:
    from minimind_wiki.train.dpo import DpoSettings, dpo

    usual = {"learning_rate": 5e-5, "held_out": 0.1}
    return _tuning.Verb("dpo", DpoSettings, "world/preference", usual, dpo)


def configure(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    _tuning.configure(parser, _verb())


def run(args: argparse.Namespace) -> int:
    """Train."""
    return _tuning.run(args, _verb())
