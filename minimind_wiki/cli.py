"""The `minimind` command: one verb a job.

Each verb is a module of `minimind_wiki.verbs` with four names: `HELP` (one line), `EXAMPLE` (a call
that works as printed), `configure(parser)` and `run(args) -> int`. Only the module of the verb that
was called is imported, so that `minimind --help` needs neither torch nor a second.

Exit status: 0 done, 1 failed, 2 wrong call, 141 the reader of the output went away.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import select
import sys
from collections.abc import Sequence
from typing import Any, NoReturn, TextIO

from minimind_wiki import __version__
from minimind_wiki.errors import MinimindError, unknown

SIGPIPE_STATUS = 128 + 13  # what a shell shows for a tool that this signal ended
VERBS = {
    "data": "list, fetch, check and clean data sets; write the little world",
    "pretrain": "train a decoder from scratch on text",
    "sft": "fine-tune a model on chats",
    "lora": "fine-tune small matrices beside the weights (LoRA, QLoRA)",
    "dpo": "learn from chosen and rejected answers",
    "reward": "train a judge from chosen and rejected answers",
    "grpo": "reinforce answers that a program finds right",
    "ppo": "reinforce answers with a value for every token",
    "distill": "teach a small model what a larger one would say",
    "run": "run a recipe: stages of training in a row",
    "generate": "continue a prompt with a trained model",
    "chat": "talk with a trained model in the terminal",
    "serve": "answer OpenAI's API with a trained model",
    "webui": "talk with a trained model in the browser",
    "quantize": "write a model in eight or four bits",
    "export": "write a model for transformers, llama.cpp, Ollama, ONNX or a page",
    "tokenizer": "learn a vocabulary, compare vocabularies",
    "evaluate": "score a trained model",
    "models": "list and verify the trained models that ship",
    "experiment": "list, run, render and check the experiments of the book",
    "exercise": "check your solution of an exercise",
    "path": "check what a learning path asks for at its end",
    "new": "write the skeleton of a new module",
    "site": "build, check and serve the site",
}


class Parser(argparse.ArgumentParser):
    """argparse with our exit status, one sentence instead of the whole usage, and nearest names.

    No abbreviations: `--step` must not quietly become another flag when one is added.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def flags(self) -> set[str]:
        """Every --flag of this parser and of the parsers below it."""
        known = {n for n in self._option_string_actions if n.startswith("--")}
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                known |= set().union(*(p.flags() for p in action.choices.values()))
        return {name for name in known if not name.startswith("--no-")}

    def error(self, message: str) -> NoReturn:
        found = re.match(r"unrecognized arguments: (--[\w-]+)", message)
        if found:
            raise unknown("flag", found[1], self.flags())
        self.exit(2, f"{self.prog}: {message}. See '{self.prog} --help'.\n")


def help_texts(about: str, example: str) -> dict[str, Any]:
    """What the help of a verb or of an action shows beside the flags: the example is never wrapped.

    >>> help_texts("Count.", "minimind count a.txt")["epilog"]
    'example:\\n  minimind count a.txt'
    """
    return {
        "description": about,
        "epilog": f"example:\n  {example}",
        "formatter_class": argparse.RawDescriptionHelpFormatter,
    }


def _top_level() -> Parser:
    rows = "\n".join(f"  {name:12s}{text}" for name, text in VERBS.items())
    parser = Parser(
        prog="minimind",
        usage="minimind VERB [options]",
        description="Train, run and understand small language models.",
        epilog=f"verbs:\n{rows}\n\n'minimind VERB --help' shows each with an example.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"minimind {__version__}")
    parser.add_argument("verb", nargs="?", help=argparse.SUPPRESS)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        try:
            return _call(words)
        finally:
            sys.stdout.flush()  # a closed pipe must show here, not when Python has shut down
    except BrokenPipeError:
        broken = [stream for stream in (sys.stdout, sys.stderr) if _nobody_reads(stream)]
        if not broken:  # the pipe of something else, a worker for example: not for us to hide
            raise
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in broken:  # what is left in the buffer must not complain at the end
            os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        return SIGPIPE_STATUS


def leave(status: int) -> NoReturn:
    """End the process; one of several that torchrun started without Python's own shutdown.

    Something of torch's (FSDP's mesh) may still refer to a process group that was destroyed. Its
    threads then run while Python shuts down, and now and then abort a process whose work is done
    (github.com/pytorch/pytorch/issues/190489); torchrun would take the run for failed.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        os._exit(status)  # what was printed is out: `main` has flushed it
    sys.exit(status)


def _nobody_reads(stream: TextIO) -> bool:
    """Whether `stream` goes into a pipe whose reader has closed it (`minimind … | head`)."""
    try:
        number = stream.fileno()
    except (OSError, ValueError):  # not a file of the system: a test's or a notebook's
        return False
    if not hasattr(select, "poll"):
        return True  # Windows cannot tell
    poll = select.poll()
    poll.register(number, 0)  # POLLERR is always reported
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _call(words: list[str]) -> int:
    """Run one verb; its errors become one sentence each."""
    top = _top_level()
    if not words or words[0].startswith("-"):
        top.parse_args(words)
        top.print_help()
        return 0
    name, rest = words[0], words[1:]
    try:
        if name not in VERBS:
            raise unknown("verb", name, VERBS)
        module = importlib.import_module(f"minimind_wiki.verbs.{name}")
        parser = Parser(
            prog=f"minimind {name}",
            **help_texts(module.HELP, module.EXAMPLE),
        )
        module.configure(parser)
        return int(module.run(parser.parse_args(rest)) or 0)
    except MinimindError as error:
        print(f"minimind {name}: {error}", file=sys.stderr)
        return error.exit_status
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] == "minimind_wiki":
            raise
        print(
            f"minimind {name}: the package {error.name!r} is not installed. Run 'make setup', or "
            "'pip install \"minimind-wiki[train,site]\"' in your own environment.",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print(f"\nminimind {name}: stopped.", file=sys.stderr)
        return 1
