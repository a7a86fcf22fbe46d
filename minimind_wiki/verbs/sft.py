"""`minimind sft`: teach a model to answer, from chats."""

from __future__ import annotations

import argparse

from minimind_wiki.verbs import _tuning

HELP = "Fine-tune a model on chats; only what assistants said is learned."
EXAMPLE = "minimind sft --model runs/world --data world/sft --out runs/sft"


def _verb() -> _tuning.Verb:
    from minimind_wiki.train.sft import SftSettings, sft

    return _tuning.Verb("sft", SftSettings, "world/sft", {}, sft)


def configure(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    _tuning.configure(parser, _verb())


def run(args: argparse.Namespace) -> int:
    """Train."""
    return _tuning.run(args, _verb())
