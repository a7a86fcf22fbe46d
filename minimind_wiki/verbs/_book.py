"""Runs the stages of a recipe by their verbs, in this process, and keeps recipe.json."""

from __future__ import annotations

import contextlib
import io
import json
import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import torch

from minimind_wiki import __version__, cli
from minimind_wiki.errors import MinimindError
from minimind_wiki.train.ledger import fingerprint, write_ledger
from minimind_wiki.train.recipe import Stage
from minimind_wiki.verbs import _stages


class Book:
    """Runs stages and keeps recipe.json up to date: before a stage, after it, when it stops."""

    def __init__(self, path: Path, about: str, out: Path, stages: dict[str, Any]) -> None:
        self.path, self.about, self.out, self.stages = path, about, out, stages

    def call(self, stage: Stage) -> str:
        """The stage as one would call it by hand."""
        words = ["minimind", *_stages.words(stage, self.out)]
        product = _stages.product(stage, self.out)
        return shlex.join(words + ([] if product.suffix == ".txt" else ["--out", str(product)]))

    def run(self, stage: Stage, resume: bool) -> int:
        """Call the verb; its exit status. Another process would do the same: nothing stays."""
        product = _stages.product(stage, self.out)
        _stages.fetch(stage)
        self.begin(stage, resume)
        began = time.perf_counter()
        with as_found():
            if _stages.trains(stage):
                words = stage.verb.split() if resume else _stages.words(stage, self.out)
                words += ["--out", str(product), *(["--resume"] if resume else [])]
                status = cli.main(words)
            else:
                status = self.make(stage, product)
        entry = self.stages[stage.name]
        entry["seconds"] = round(entry["seconds"] + time.perf_counter() - began, 1)
        self.write()
        return status

    def make(self, stage: Stage, product: Path) -> int:
        """A stage that cannot be resumed: its product appears whole or not at all."""
        fresh = product.with_name(f".new-{product.name}")
        words = _stages.words(stage, self.out)
        if product.suffix == ".txt":
            heard = Both(sys.stdout)
            with contextlib.redirect_stdout(heard):
                status = cli.main(words)
            fresh.write_text(heard.getvalue(), encoding="utf-8")
        else:
            shutil.rmtree(fresh, ignore_errors=True)
            status = cli.main([*words, "--out", str(fresh)])
        if not status:
            fresh.replace(product)
        return status

    def begin(self, stage: Stage, resume: bool) -> None:
        """Note what the stage is made of, so that a later call can compare."""
        seconds = self.stages[stage.name]["seconds"] if resume else 0.0
        folders = stage.folders(self.out)
        inputs = {field: fingerprint(folder) for field, folder in folders.items()}
        for field, folder in folders.items():
            if field in stage.inputs and not inputs[field]:
                raise MinimindError(
                    f"{stage.at(field)}: {folder} is not finished, and stage {stage.name!r} begins "
                    f"with it. Run stage {stage.inputs[field]!r} first."
                )
        self.stages[stage.name] = {
            "verb": stage.verb, "fields": stage.fields, "inputs": inputs,
            "command": self.call(stage), "status": "begun", "seconds": seconds,
        }  # fmt: skip
        self.write()

    def finish(self, stage: Stage) -> None:
        """Note what came out."""
        product = _stages.product(stage, self.out)
        entry = self.stages[stage.name]
        entry |= {"status": "finished"} | outcome(product)
        if product.is_dir():
            entry["sha256"] = fingerprint(product)
        self.write()

    def write(self) -> None:
        """recipe.json."""
        about = {"recipe": str(self.path), "about": self.about, "minimind_wiki": __version__}
        write_ledger(self.out, about, self.stages)


class Both(io.StringIO):
    """Keeps what is printed, and prints it."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self.stream = stream

    def write(self, text: str) -> int:
        self.stream.write(text)
        return super().write(text)

    def flush(self) -> None:
        self.stream.flush()


@contextlib.contextmanager
def as_found() -> Iterator[None]:
    """Undo what a stage does to the process: else the next one would differ when it is resumed."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.compiler.reset()


def outcome(product: Path) -> dict[str, Any]:
    """Steps, and the measurements of the step whose weights were published, from run.json."""
    try:
        run = json.loads((product / "run.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    curve = run["curve"]["held_out"]
    place = curve["step"].index(run["held_out"]["step"])
    values = {name: row[place] for name, row in curve.items()
              if name != "step" and len(row) == len(curve["step"])}  # fmt: skip
    exam = {"exam": run["exams"][-1]["mean"]} if run.get("exams") else {}
    return {"steps": run["settings"]["steps"], "held_out": values} | exam
