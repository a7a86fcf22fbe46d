"""What the verbs of all methods share: a model to begin with, flags of two dataclasses, resuming.

A method's verb module gives HELP, EXAMPLE and `METHOD`; `configure` and `run` come from here.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minimind_wiki.errors import MinimindError, WrongCall, unknown
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.flags import add_flags, convert, field_types, read_yaml

# Settings that the model folder decides, or that are pretraining's own.
FIXED = ("preset", "init", "tokenizer", "packing", "replay", "replay_share", "sample_tokens",
         "base_width")  # fmt: skip
ANEW = ("timeout", "device", "threads")  # what a resumed run may change
USUAL: dict[str, Any] = {"steps": 300, "batch_size": 16, "learning_rate": 3e-4, "sample_tokens": 0,
                         "eval_windows": 128}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Verb:
    """A method as the command line sees it. `usual` differs from USUAL; `train` runs it."""

    name: str
    settings: type
    data: str
    usual: dict[str, Any]
    train: Callable[..., Any]
    skip: tuple[str, ...] = ()
    method: str = ""  # whose runs it resumes, where that is not its name
    next: str = "minimind evaluate {out}"  # what one does with the model


def configure(parser: argparse.ArgumentParser, verb: Verb) -> None:
    """--model, --out, --resume, --config, and a flag for each field."""
    parser.add_argument("--model", type=Path, metavar="DIR",
                        help="the model folder that the run begins with")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="DIR",
                        help=f"folder of the run (default: runs/{verb.name})")  # fmt: skip
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument("--config", type=Path, metavar="F.yaml",
                        help="fields as 'name: value' lines; flags win over them")  # fmt: skip
    add_flags(parser, verb.settings, f"the method ({verb.name})")
    add_flags(parser, TrainConfig, "how it is trained", (*FIXED, *verb.skip), "see the guide")


def run(args: argparse.Namespace, verb: Verb) -> int:
    """Train; 0 when the last step was reached, 1 when a signal ended the run before."""
    from minimind_wiki.train.report import make_report

    types = {**field_types(TrainConfig), **field_types(verb.settings)}
    given = read_yaml(args.config, types) if args.config else {}
    given |= {n: convert(n, v, types) for n, v in vars(args).items() if n in types}
    out = args.out or Path("runs") / verb.name
    if args.resume:
        config, settings = resumed(out, verb, given)
    else:
        config, settings = begun(args.model, verb, given)
    report = make_report()
    report.line(f"Run: {out}")
    outcome = verb.train(config, settings, out, args.resume, report)
    if not outcome.finished:
        report.line(f"Stopped at step {outcome.state.step:,} of {config.steps:,}; the checkpoint "
                    f"is whole. Go on with: minimind {verb.name} --out {out} --resume")  # fmt: skip
        return 1
    report.line(f"Model: {out}. Try: {verb.next.format(out=out)}")
    return 0


def begun(model: Path | None, verb: Verb, given: dict[str, Any]) -> tuple[TrainConfig, Any]:
    """Settings of a new run. WrongCall without a model or for a field that cannot work."""
    if model is None:
        raise WrongCall(f"minimind {verb.name} begins with a trained model: give --model DIR.")
    from minimind_wiki.verbs.generate import find_model, is_model

    folder = find_model(model)
    if not is_model(folder):
        raise WrongCall(f"{model} is no model folder: it has no config.json. Check --model.")
    usual: dict[str, Any] = {"data": verb.data, "context_length": context_of(folder)}
    usual |= USUAL | verb.usual
    own = {item.name for item in dataclasses.fields(verb.settings)}
    fields = usual | {name: value for name, value in given.items() if name not in own}
    config = TrainConfig(init=str(folder), **fields)
    config.validate()
    return config, verb.settings(**{name: given[name] for name in own if name in given})


def context_of(folder: Path) -> int:
    """Tokens in a row when the model was trained, else what it accepts."""
    from minimind_wiki.infer.adapter import whole_folder

    if not (folder / "run.json").exists():
        folder = whole_folder(folder)
    try:
        run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        return int(run["settings"]["context_length"])
    except (OSError, ValueError, KeyError, TypeError):
        shape = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return int(shape.get("max_position_embeddings", shape.get("n_positions", 512)))


def resumed(out: Path, verb: Verb, given: dict[str, Any]) -> tuple[TrainConfig, Any]:
    """The run's own settings; only those in ANEW may be given again."""
    from minimind_wiki.train.folder import saved_method, saved_run

    config, _ = saved_run(out)
    method = saved_method(out)
    if method.pop("name", "pretrain") != (verb.method or verb.name):
        raise MinimindError(f"the run in {out} is not one of {verb.name}; resume it by its verb.")
    try:
        settings = verb.settings(**method)
    except TypeError as error:
        raise MinimindError(f"{out} was written by another version ({error}).") from error
    known = {**dataclasses.asdict(config), **method}
    for name, value in given.items():
        if name not in known:
            raise unknown("field", name, known)
        if name not in ANEW and known[name] != value:
            raise WrongCall(
                f"{name} is {known[name]} in the run in {out}, not {value}; a resumed run keeps "
                "its settings. Leave the flag out, or start a new run in another --out."
            )
    anew = {name: given[name] for name in ANEW if name in given}
    return dataclasses.replace(config, **anew), settings
