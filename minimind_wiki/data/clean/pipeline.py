"""Rows stream through steps; what is dropped or changed lies beside the result, with its reason.

`Pipeline.run` reads JSONL (also .gz) line by line and writes three files: the clean rows, a report,
and `….rejected.jsonl`, which holds for every row that is not in the result as it was: file, line,
step, reason and the line itself. With it `undo` gives every line back. Rows that break their schema
are set aside in the same file, or stop the run when `strict`. Memory: one row, and what steps keep.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minimind_wiki.data.clean.step import Row, Step
from minimind_wiki.data.schemas import SCHEMAS, check_rows
from minimind_wiki.errors import MinimindError, WrongCall, unknown

_PLACE = re.compile(r" of \S+:\d+( \(about .*\))?$")


@dataclass(slots=True)
class Report:
    """What came in, went out and why. Reasons are counted without the places that they name."""

    read: int = 0
    written: int = 0
    characters_read: int = 0
    characters_written: int = 0
    rejected: Counter[str] = field(default_factory=Counter)  # schema faults, by field and reason
    dropped: dict[str, Counter[str]] = field(default_factory=dict)
    edited: dict[str, Counter[str]] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)  # "step: reason" -> file:line
    seconds: float = 0.0

    def count(self, step: str, reason: str, place: str) -> None:
        """One more row that `step` dropped; the first three places are kept as examples."""
        reason = _PLACE.sub("", reason)
        self.dropped.setdefault(step, Counter())[reason] += 1
        seen = self.examples.setdefault(f"{step}: {reason}", [])
        if len(seen) < 3:
            seen.append(place)

    def as_json(self) -> dict[str, Any]:
        """For the report file."""
        return {name: getattr(self, name) for name in Report.__slots__}

    def lines(self) -> list[str]:
        """For people."""
        out = [
            f"{self.read:,} rows read, {self.written:,} written "
            f"({self.characters_read:,} and {self.characters_written:,} characters)"
        ]
        out += [f"  not a row  {n:>7,}  {reason}" for reason, n in self.rejected.most_common()]
        for verb, table in (("dropped", self.dropped), ("edited", self.edited)):
            for step, reasons in table.items():
                for reason, n in reasons.most_common():
                    where = ", ".join(self.examples.get(f"{step}: {reason}", ()))
                    at = f"  ({where})" if where and verb == "dropped" else ""
                    out.append(f"  {verb:<9}  {n:>7,}  {step}: {reason}{at}")
        return out


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a source: its text, or the reason why it is none. `raw` gives every byte back."""

    file: str
    number: int
    raw: str
    fault: str = ""


def read_lines(path: Path) -> Iterator[Line]:
    """The lines of a file, one at a time; MinimindError when it cannot be read or is cut."""
    gz = path.name.lower().endswith(".gz")
    try:
        with gzip.open(path, "rb") if gz else path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                if number == 1:
                    raw = raw.removeprefix(b"\xef\xbb\xbf")
                raw = raw.removesuffix(b"\n")
                fault = ""
                try:
                    raw.decode()
                except UnicodeDecodeError as error:
                    fault = f"not UTF-8 (byte 0x{raw[error.start]:02x} at {error.start})"
                yield Line(path.name, number, raw.decode(errors="surrogateescape"), fault)
    except (OSError, EOFError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise MinimindError(f"{path} cannot be read ({reason}). Check or get it again.") from error


def refuse_folder(path: Path) -> None:
    """WrongCall when a file is to be written where a folder is."""
    if path.is_dir():
        raise WrongCall(f"{path} is a folder. Name a file, for example {path / 'rows.jsonl'}.")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What the system says against writing `path`, as one sentence."""
    refuse_folder(path)
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise MinimindError(f"{path} cannot be written ({reason}). Choose another.") from error


def side_file(out: Path) -> Path:
    """Where the rows that are not in `out` as they were are kept."""
    refuse_folder(out)
    return out.with_name(out.name.removesuffix(".jsonl") + ".rejected.jsonl")


def _dumps(data: dict[str, Any]) -> str:
    text = json.dumps(data, ensure_ascii=False)
    return json.dumps(data) if any("\ud800" <= char <= "\udfff" for char in text) else text


class Pipeline:
    """Steps in order. A step with a memory serves one run; make a new pipeline for the next."""

    def __init__(
        self, steps: Sequence[Step], schema: str | None = None, strict: bool = False
    ) -> None:
        if schema is not None and schema not in SCHEMAS:
            raise unknown("schema", schema, SCHEMAS)
        names = [step.name for step in steps]
        if len(set(names)) < len(names):
            raise WrongCall(f"two steps have the same name: {', '.join(names)}.")
        self.steps, self.schema, self.strict = list(steps), schema, strict

    def rows(
        self, lines: Iterable[Line], side: list[dict[str, Any]], report: Report
    ) -> Iterator[Any]:
        """Yields (line, rows that it gave) and appends to `side` what is not as it was."""
        schemas: dict[str, str] = {}
        for index, line in enumerate(lines):
            report.read += 1
            entry: dict[str, Any] = {"file": line.file, "line": line.number, "index": index}
            fault = line.fault
            if not fault:
                known = self.schema or schemas.get(line.file)
                used, _, faults = check_rows([line.raw], known)
                fault = str(faults[0]).removeprefix("1: ") if faults else ""
                if not fault:  # the first good row decides which schema its file has
                    schemas[line.file] = used
            if fault:
                if self.strict:
                    raise MinimindError(f"{line.file}:{line.number}: {fault}. Repair the row.")
                report.rejected[re.sub(r"\(.*\)|\d+", "…", fault)] += 1
                side.append({**entry, "step": "schema", "reason": fault, "outputs": 0,
                             "raw": line.raw})  # fmt: skip
                yield line, []
                continue
            first = Row(json.loads(line.raw), line.file, line.number)
            report.characters_read += len(first.text)
            rows, dropped = [first], []
            edited: dict[str, Counter[str]] = {}
            for step in self.steps:
                results = [step(row) for row in rows]
                for result in results:
                    if result.edits:
                        edited[step.name] = edited.get(step.name, Counter()) + result.edits
                    if result.dropped:
                        dropped.append({"step": step.name, "reason": result.dropped})
                        report.count(step.name, result.dropped, f"{line.file}:{line.number}")
                rows = [row for result in results for row in result.rows]
            for name, counts in edited.items():
                report.edited.setdefault(name, Counter()).update(counts)
            if len(rows) != 1 or rows[0] is not first:
                why = dropped[0] if dropped else {"step": ",".join(edited) or "split", "reason": ""}
                more: dict[str, Any] = {"edits": edited} if edited else {}
                more |= {"also": dropped[1:]} if dropped[1:] else {}
                side.append({**entry, **why, "outputs": len(rows), **more, "raw": line.raw})
            yield line, rows

    def run(self, sources: Sequence[Path], out: Path) -> Report:
        """Clean `sources` into `out`; the three files appear together at the end, or none does."""
        with writing(out):
            return self._run(sources, out)

    def _run(self, sources: Sequence[Path], out: Path) -> Report:
        names = [path.name for path in sources]
        if len(set(names)) < len(names):
            raise WrongCall("two sources have the same name, so a place would be ambiguous.")
        began, report = time.perf_counter(), Report()
        side_path, report_path = side_file(out), out.with_name(out.name + ".report.json")
        parts = {
            p: p.with_name(f"{p.name}.part{os.getpid()}") for p in (out, side_path, report_path)
        }
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            with (
                parts[out].open("w", encoding="utf-8", newline="\n") as clean,
                parts[side_path].open("w", encoding="utf-8", newline="\n") as aside,
            ):
                lines = (line for path in sources for line in read_lines(path))
                side: list[dict[str, Any]] = []
                for line, rows in self.rows(lines, side, report):
                    for entry in side:
                        aside.write(json.dumps(entry) + "\n")
                    as_it_was = not side
                    side.clear()
                    for row in rows:
                        text = line.raw if as_it_was else _dumps(row.data)
                        clean.write(text + "\n")
                        report.written += 1
                        report.characters_written += len(row.text)
            report.seconds = round(time.perf_counter() - began, 3)
            text = json.dumps(report.as_json(), indent=2, ensure_ascii=False) + "\n"
            parts[report_path].write_text(text, encoding="utf-8")
            for path, part in parts.items():
                part.replace(path)
        finally:
            for part in parts.values():
                part.unlink(missing_ok=True)
        return report


def undo(out: Path, restored: Path, steps: Iterable[str] | None = None) -> int:
    """Write the rows as they were before cleaning; returns how many were brought back.

    Without `steps` everything is undone: the result is the sources' lines, joined. With them only
    rows that one of these steps dropped come back, as they were in the source.
    """
    chosen = None if steps is None else set(steps)
    with writing(restored):
        part = restored.with_name(f"{restored.name}.part{os.getpid()}")
        try:
            back = _undo(out, part, chosen)
            part.replace(restored)
        finally:
            part.unlink(missing_ok=True)
    return back


def _undo(out: Path, part: Path, chosen: set[str] | None) -> int:
    back = 0
    with part.open("w", encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        clean = (line.raw for line in read_lines(out))
        index = 0

        def take() -> str:
            text = next(clean, None)
            if text is None:
                raise MinimindError(f"{out} has fewer rows than {side_file(out).name} tells of.")
            return text

        for line in read_lines(side_file(out)):
            entry = json.loads(line.raw)
            while index < entry["index"]:
                file.write(take() + "\n")
                index += 1
            index += 1
            outputs = [take() for _ in range(entry["outputs"])]
            if chosen is None or (not outputs and entry["step"] in chosen):
                outputs = [entry["raw"]]
                back += 1
            file.writelines(text + "\n" for text in outputs)
        file.writelines(text + "\n" for text in clean)
    return back
