"""One file over HTTP, as if nothing could go wrong: it goes on where it stopped, or starts again.

Bytes go to `NAME.part`; beside it `NAME.part.json` keeps the address and the server's validator
(`ETag`, else `Last-Modified`). Whoever comes next, after a dropped connection or in another
process, asks for the rest with `Range` and `If-Range` (RFC 9110, sections 13.1.5 and 14.2): the
server sends 206 and the rest if the file is still the same, else 200 and all of it. Without a
validator nothing is joined. The real name is given only after size and hash have matched. Two
processes do not trample each other: the part file is locked, the second waits and then finds the
finished file.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import json
import os
import random
import re
import shutil
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from minimind_wiki.errors import MinimindError

Progress = Callable[[int, int], None]  # bytes so far, bytes in all (0: the server did not say)
BLOCK = 1 << 16
AGAIN = {408, 425, 429, 500, 502, 503, 504}  # answers that another try may change
REASONS = {
    401: "the server asks for a login (401): the file is gated, or private",
    403: "the server refuses access (403): the file is gated, or its terms are not accepted yet",
    404: "there is no such file any more (404)",
    410: "the file was taken away (410)",
    451: "the file is not available for legal reasons (451)",
}


@dataclass(frozen=True, slots=True)
class Fetched:
    """A finished download."""

    path: Path
    bytes: int
    sha256: str
    etag: str
    resumed: bool  # whether some of its bytes lay here before


class _Dropped(Exception):
    """The connection ended too early; what came is kept."""


class _Disk(Exception):
    """The disk refused."""


def file_sha256(path: Path) -> str:
    """Hash of a file, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download(
    url: str,
    target: Path,
    *,
    bytes: int | None = None,
    sha256: str | None = None,
    progress: Progress | None = None,
    timeout: float = 30.0,
    tries: int = 6,
    wait: float = 0.5,
) -> Fetched:
    """Fetch `url` into `target`; an existing `target` is returned as it is (hashed, not compared).

    `bytes` and `sha256` are what the file must have, where known. A dropped connection is tried
    again after `wait`, 2 `wait`, 4 `wait` … seconds (with jitter), `tries` times in a row without a
    new byte. MinimindError, one sentence without a remedy, when it cannot be done.
    """
    part = target.with_name(target.name + ".part")
    note = target.with_name(target.name + ".part.json")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _claim(part, target) as out:
            if out is None:
                return _finished(target)
            job = _Job(url, out, note, bytes, progress, timeout)
            digest = job.run(tries, wait)
            if job.resumed and not _matches(job, digest, bytes, sha256):
                job.restart()  # the joint may be wrong; a whole fetch decides
                digest = job.run(tries, wait)
            if not _matches(job, digest, bytes, sha256):
                found = f"{job.done:,} bytes, sha256 {digest[:12]}…"
                wanted = f"{bytes:,} bytes" if bytes is not None else ""
                if sha256:
                    wanted += f"{', ' if wanted else ''}sha256 {sha256[:12]}…"
                part.unlink(missing_ok=True)
                note.unlink(missing_ok=True)
                raise MinimindError(f"what {url} sent is not the file: {found}; expected {wanted}")
            os.replace(part, target)
            note.unlink(missing_ok=True)
            return Fetched(target, job.done, digest, job.etag, job.resumed)
    except _Disk as disk:
        _forget_if_empty(part, note)
        raise MinimindError(str(disk)) from disk
    except MinimindError:
        _forget_if_empty(part, note)
        raise
    except OSError as error:
        raise MinimindError(f"{target} cannot be written ({error.strerror or error})") from error


def _matches(job: _Job, digest: str, bytes: int | None, sha256: str | None) -> bool:
    return bytes in (None, job.done) and sha256 in (None, digest)


def _forget_if_empty(part: Path, note: Path) -> None:
    if part.is_file() and not part.stat().st_size:
        part.unlink()
        note.unlink(missing_ok=True)


def _finished(target: Path) -> Fetched:
    return Fetched(target, target.stat().st_size, file_sha256(target), "", False)


@contextmanager
def _claim(part: Path, target: Path) -> Iterator[IO[bytes] | None]:
    """The part file, locked and open at its end; None if `target` is there by then.

    The lock is the kernel's (`flock`), so a killed process leaves none. Whoever waited may hold a
    file that was renamed meanwhile: then the name leads elsewhere, and one looks again. Systems
    without `flock` go without a lock.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        fcntl = None  # type: ignore[assignment]
    while True:
        if target.is_file():
            yield None
            return
        with part.open("ab") as out:
            if fcntl:
                fcntl.flock(out, fcntl.LOCK_EX)
                here = part.stat() if part.exists() else None
                if here is None or not os.path.samestat(os.fstat(out.fileno()), here):
                    continue
            if target.is_file():  # finished between the first look and the opening
                part.unlink()
                continue
            out.seek(0, os.SEEK_END)
            yield out
            return


class _Job:
    """One download: the open part file and what is known of it."""

    def __init__(
        self,
        url: str,
        out: IO[bytes],
        note: Path,
        bytes: int | None,
        progress: Progress | None,
        timeout: float,
    ) -> None:
        self.url, self.out, self.note = url, out, note
        self.bytes, self.progress, self.timeout = bytes, progress, timeout
        self.done = out.tell()
        self.validator = self.etag = ""
        self.resumed = False
        known = _read_note(note)
        self.total: int | None = None
        if self.done and known.get("url") == url:
            self.validator, self.etag = known.get("validator", ""), known.get("etag", "")
            self.total = known.get("total")
        if self.done and not self.validator:
            self.restart()

    def restart(self) -> None:
        """Forget every byte."""
        self.out.seek(0)
        self.out.truncate()
        self.done, self.validator, self.total, self.resumed = 0, "", None, False

    def run(self, tries: int, wait: float) -> str:
        """Fetch until the file is whole; returns its sha256."""
        failed = 0
        while True:
            before = self.done
            try:
                self._once()
                break
            except urllib.error.HTTPError as error:
                error.close()
                if error.code == 416:  # what lies here is longer than the file: not the same file
                    self.restart()
                elif error.code not in AGAIN:
                    reason = REASONS.get(error.code, f"the server answers {error.code}")
                    raise MinimindError(f"{self.url} could not be fetched: {reason}") from error
                reason_text = f"the server answers {error.code}"
            except (_Dropped, OSError, http.client.HTTPException) as error:
                cause = error.reason if isinstance(error, urllib.error.URLError) else error
                reason_text = str(cause) or type(cause).__name__
                if isinstance(cause, socket.gaierror | FileNotFoundError) and not self.done:
                    raise MinimindError(
                        f"{self.url} could not be fetched ({reason_text})"
                    ) from error
            failed = 1 if self.done > before else failed + 1
            if failed >= tries:
                raise MinimindError(
                    f"{self.url} could not be fetched ({reason_text}; {tries} tries in a row "
                    f"brought nothing). {self.done:,} bytes are kept; the next try goes on from "
                    "there"
                )
            time.sleep(wait * 2 ** (failed - 1) * (0.5 + random.random() / 2))
        _guard(self.out.flush)
        with open(self.out.name, "rb") as whole:
            return hashlib.file_digest(whole, "sha256").hexdigest()

    def _once(self) -> None:
        if self.done and self.done == self.total:  # stopped between the last byte and the hash
            self.resumed = True
            return
        headers = {"User-Agent": "minimind-wiki", "Accept-Encoding": "identity"}
        if self.done:
            headers |= {"Range": f"bytes={self.done}-", "If-Range": self.validator}
        request = urllib.request.Request(self.url, headers=headers)
        with urllib.request.urlopen(request, timeout=self.timeout) as answer:
            self._begin(answer)
            self._tell()
            while block := answer.read(BLOCK):
                _guard(self.out.write, block)
                self.done += len(block)
                self._tell()
        if self.total is not None and self.done < self.total:
            raise _Dropped(f"the connection ended after {self.done:,} of {self.total:,} bytes")

    def _tell(self) -> None:
        if self.progress:
            self.progress(self.done, self.total or self.bytes or 0)

    def _begin(self, answer: Any) -> None:
        """Read the head of the answer: is it the rest or the whole, how much, of which version."""
        head = answer.headers
        length = head.get("Content-Length")
        total = int(length) if length and length.isdigit() else None
        if getattr(answer, "status", None) == 206:
            part = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", head.get("Content-Range", ""))
            if not part or int(part[1]) != self.done:
                self.restart()
                raise _Dropped("the server sent another part than was asked for")
            self.resumed = True
            return
        if self.done:  # 200: the file changed, or the server knows no Range
            self.restart()
        self.total = total
        self.etag = head.get("ETag", "")
        strong = self.etag if self.etag and not self.etag.startswith("W/") else ""
        self.validator = strong or head.get("Last-Modified", "")
        if self.bytes is not None and total not in (None, self.bytes):
            raise MinimindError(
                f"what {self.url} offers is not the file: {total:,} bytes; expected {self.bytes:,}"
            )
        needed, folder = total or self.bytes or 0, self.note.parent
        free = shutil.disk_usage(folder).free
        if free < needed:
            raise _Disk(
                f"the disk of {folder} is too full: {needed:,} bytes are needed, {free:,} are free"
            )
        data = {"url": self.url, "validator": self.validator, "etag": self.etag, "total": total}
        _guard(self.note.write_text, json.dumps(data))


def _guard(write: Callable[..., Any], *args: Any) -> None:
    """An error of the disk is not one of the network, and no other try will help."""
    try:
        write(*args)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "the disk is full" if full else error.strerror or str(error)
        raise _Disk(f"the download cannot be written ({reason})") from error


def _read_note(note: Path) -> dict[str, Any]:
    try:
        data = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}
