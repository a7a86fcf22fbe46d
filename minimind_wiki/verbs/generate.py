"""`minimind generate`: continue a prompt with a trained model."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from minimind_wiki.errors import MinimindError, WrongCall

HELP = "Continue a prompt with a trained model; temperature 0 always takes the likeliest token."
DTYPES = ("float32", "bfloat16", "float16")
EXAMPLE = "minimind generate runs/shakespeare --prompt 'ROMEO:' --max-tokens 200 --temperature 0.8"


def configure(parser: argparse.ArgumentParser) -> None:
    """The model, the prompt and how to draw."""
    parser.add_argument("model", type=Path, help="a model folder, or the folder of a run")
    parser.add_argument("--prompt", required=True, metavar="T", help="the text to continue")
    sampling_flags(parser)


def sampling_flags(parser: argparse.ArgumentParser) -> None:
    """How to draw, and where; the verb `chat` has them too."""
    parser.add_argument("--max-tokens", type=int, default=200, metavar="N",
                        help="most tokens to add (default: 200)")  # fmt: skip
    parser.add_argument("--temperature", type=float, default=0.8, metavar="X",
                        help="0 takes the best token, 1 samples (default: 0.8)")  # fmt: skip
    parser.add_argument("--top-k", type=int, metavar="N", help="draw from the N likeliest only")
    parser.add_argument("--top-p", type=float, metavar="X",
                        help="draw from the likeliest that hold this probability")  # fmt: skip
    parser.add_argument("--stop", action="append", default=[], metavar="T",
                        help="end before this text; may be given several times")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="decides the draws (default: 0)")
    device_flag(parser)
    dtype_flag(parser)
    draft_flags(parser)
    native_flag(parser)


def device_flag(parser: argparse.ArgumentParser) -> None:
    """Where to compute; all verbs that ask a model have it."""
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"),
                        metavar="D", help="auto, cpu, cuda or mps (default: auto)")  # fmt: skip


def dtype_flag(parser: argparse.ArgumentParser) -> None:
    """How weights are held; the verbs `serve` and `webui` have it too."""
    parser.add_argument("--dtype", default="auto", choices=("auto", *DTYPES), metavar="F",
        help="round the weights to float32, bfloat16 or float16; those of 16 bits are read in "
             "half the time (default: auto, as they are stored)")  # fmt: skip


def draft_flags(parser: argparse.ArgumentParser) -> None:
    """Who guesses ahead, and how far; the verb `serve` has them too."""
    parser.add_argument("--draft", metavar="MODEL",
        help="guess ahead with this smaller model of the same tokenizer, or with 'ngram', the "
             "text itself; answers stay as they are (default: no guesses)")  # fmt: skip
    parser.add_argument("--ahead", type=int, default=4, metavar="N",
        help="most tokens to guess at a time (default: 4)")  # fmt: skip


def native_flag(parser: argparse.ArgumentParser) -> None:
    """Whether kernels in C compute; the verbs `chat`, `serve` and `webui` have it too."""
    parser.add_argument("--native", action="store_true",
        help="compute by kernels in C, compiled once for this processor: answers come quicker on "
             "a CPU, most of all many at once (needs minimind-wiki[native])")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Print the prompt and, as they are drawn, the tokens that follow."""
    from minimind_wiki.infer.request import Request
    from minimind_wiki.train.report import printable
    from minimind_wiki.verbs._answer import Opened, sampling_of

    if not args.prompt:
        raise WrongCall("--prompt is empty; give at least one character.")
    sampling = sampling_of(args)
    opened = Opened(args)
    try:
        prompt = opened.tokenizer.encode(args.prompt)
    except UnicodeEncodeError as error:
        raise WrongCall(f"--prompt is not UTF-8 text ({error.reason}).") from error
    engine, ends = opened.engine(), [opened.tokenizer.eos_id]
    engine.add(Request(prompt, args.max_tokens, sampling, ends, args.stop))
    clean = printable if sys.stdout.isatty() else str
    said, drawn = args.prompt, 0
    while engine.busy:
        for _, token in engine.step():
            if token.error:
                raise MinimindError(token.error)
            print(clean(said + token.text), end="", flush=True)
            said, drawn = "", drawn + 1
    print()
    if drawn < args.max_tokens and token.finish == "length":
        print(f"(cut: the context of {engine.context:,} tokens is full)", file=sys.stderr)
    return 0


def is_model(folder: Path) -> bool:
    """Whether a folder holds a model, or an adapter that makes one of another."""
    return any((folder / name).exists() for name in ("config.json", "adapter_config.json"))


def find_model(folder: Path) -> Path:
    """`folder` if it is a model; the newest checkpoint if it is a run that has not finished."""
    from minimind_wiki.train.checkpoint import list_checkpoints

    if folder.is_dir() and not is_model(folder):
        found = list_checkpoints(folder)
        if found:
            step, checkpoint = found[-1]
            print(f"The run in {folder} is not finished; using step {step:,}.", file=sys.stderr)
            return checkpoint
    return folder
