"""`minimind pretrain`: train a decoder from scratch on text."""

from __future__ import annotations

import argparse
import dataclasses
import re
from pathlib import Path
from typing import Any

from minimind_wiki.data import Corpus, load_corpus
from minimind_wiki.errors import WrongCall
from minimind_wiki.model import ModelConfig, preset
from minimind_wiki.train.config import TrainConfig, build
from minimind_wiki.train.flags import add_flags, convert, field_types, read_yaml
from minimind_wiki.train.folder import saved_run
from minimind_wiki.train.report import Quiet, Report, make_report

HELP = "Train a decoder from scratch on text: a progress bar, held-out loss, a model folder."
EXAMPLE = "minimind pretrain --preset tiny --data tinyshakespeare --out runs/shakespeare"

# The tokenizer decides these, not the caller.
FIXED = ("vocab_size", "bos_token_id", "eos_token_id", "pad_token_id")
ANEW = ("data", "parallel", "timeout")  # what a resumed run may change
TYPES = {
    **{name: kind for name, kind in field_types(ModelConfig).items() if name not in FIXED},
    **field_types(TrainConfig),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """The run's own flags, and one for each field of the run and of the model."""
    parser.add_argument("--out", type=Path, metavar="DIR",
                        help="folder of the run (default: runs/PRESET-DATA)")  # fmt: skip
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument("--config", type=Path, metavar="F.yaml",
                        help="fields as 'name: value' lines; flags win over them")  # fmt: skip
    add_flags(parser, TrainConfig, "how it is trained (defaults of the preset 'tiny')")
    add_flags(parser, ModelConfig, "fields of the model", FIXED, "the preset's")


def run(args: argparse.Namespace) -> int:
    """Train; 0 when the last step was reached, 1 when a signal ended the run before."""
    from minimind_wiki.train.checkpoint import list_checkpoints
    from minimind_wiki.train.feeds import reads_text
    from minimind_wiki.train.parallel import is_first, processes, restarted
    from minimind_wiki.train.pretrain import pretrain

    given = read_yaml(args.config, TYPES) if args.config else {}
    for name, value in vars(args).items():
        if name in TYPES:
            given[name] = convert(name, value, TYPES)
    config, fields = build(given, TYPES)
    preset(config.preset, **fields)  # a wrong shape is told before data is fetched
    report: Report = make_report() if is_first() else Quiet()
    alone = processes() == 1  # of several, one must fetch before the others: see `pretrain`
    if restarted() and args.out and list_checkpoints(args.out):
        args.resume = True
    corpus = None
    if alone and (args.out is None or not args.resume) and reads_text(config.data):
        corpus = load_corpus(config.data, fetch_progress(config.data))
    out = args.out or Path("runs") / f"{config.preset}-{_slug(corpus, config.data)}"
    if args.resume:
        config, fields = _resumed(out, given)
        corpus = load_corpus(config.data) if alone and reads_text(config.data) else None
    report.line(f"Run: {out}")
    outcome = pretrain(config, fields, out, args.resume, report, corpus)
    again = f"minimind pretrain --out {out} --resume"
    if not outcome.finished:
        report.line(f"Stopped at step {outcome.state.step:,} of {config.steps:,}; the checkpoint "
                    f"is whole. Go on with: {again}")  # fmt: skip
        return 1
    report.line(f"Model: {out}. Try: minimind generate {out} --prompt 'The '")
    return 0


def _resumed(out: Path, given: dict[str, Any]) -> tuple[TrainConfig, dict[str, Any]]:
    """The run's own settings, but for those in ANEW. Data is compared by its hash later."""
    config, fields = saved_run(out)
    own = {**dataclasses.asdict(preset(config.preset, **fields)), **dataclasses.asdict(config)}
    for name, value in given.items():
        if name not in ANEW and own[name] != value:
            raise WrongCall(
                f"{name} is {own[name]} in the run in {out}, not {value}; a resumed run keeps its "
                "settings. Leave the flag out, or start a new run in another --out."
            )
    anew = {name: given[name] for name in ANEW if name in given}
    return dataclasses.replace(config, **anew), fields


def _slug(corpus: Corpus | None, data: str) -> str:
    name = Path(corpus.source if corpus else data).name.split(".")[0]
    return re.sub(r"[^\w-]+", "-", name) or "text"


def fetch_progress(name: str) -> Any:
    """A function (done, total) that draws a download bar on standard error."""
    from rich.console import Console
    from rich.progress import Progress

    bar: dict[str, Any] = {}

    def advance(done: int, total: int) -> None:
        if not bar:
            bar["progress"] = Progress(console=Console(stderr=True), transient=True)
            bar["task"] = bar["progress"].add_task(f"fetching {name}", total=total)
            bar["progress"].start()
        bar["progress"].update(bar["task"], completed=done)
        if done >= total:
            bar["progress"].stop()

    return advance
