"""A place to write to that appears whole or not at all.

A reader of the file (a server, a copy, another process) must never open half of it, and a failed
export must not cost the one before. So everything is written beside its place, on the same disk,
and renamed: one step.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from minimind_wiki.errors import MinimindError, WrongCall


@contextmanager
def whole_file(out: str | Path) -> Iterator[Path]:
    """Yield a path to write a file at; it becomes `out` when the block ends without an error.

    WrongCall if `out` is a folder, MinimindError if the disk refuses.
    """
    out = Path(os.path.abspath(out))
    if out.is_dir():
        raise WrongCall(f"{out} is a folder; give --out the name of a file.")
    fresh = out.parent / f".{out.name}.new"
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        yield fresh
        fresh.replace(out)
    except OSError as error:
        raise _refused(out, error) from error
    finally:
        fresh.unlink(missing_ok=True)


@contextmanager
def whole_folder(out: str | Path, mark: str) -> Iterator[Path]:
    """The same for a folder. One that is there is replaced if it holds the file `mark`, by which
    an earlier export is known, or nothing; WrongCall otherwise: it is not ours to remove.
    """
    out = Path(os.path.abspath(out))
    if out.exists() and not (out.is_dir() and ((out / mark).exists() or not any(out.iterdir()))):
        raise WrongCall(f"{out} holds no {mark}, so it is not replaced; give another --out.")
    fresh, old = out.parent / f".{out.name}.new", out.parent / f".{out.name}.old"
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        yield fresh
        if out.exists():
            shutil.rmtree(old, ignore_errors=True)
            out.rename(old)
        fresh.rename(out)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise _refused(out, error) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _refused(out: Path, error: OSError) -> MinimindError:
    reason = error.strerror or str(error)
    return MinimindError(f"{out} cannot be written ({reason}); free space or give another --out.")
