"""Downloads against a server that drops, ignores, changes and lies."""

import hashlib
import http.server
import json
import multiprocessing
import os
import threading

import pytest

from minimind_wiki.data import download as module
from minimind_wiki.data.download import download
from minimind_wiki.errors import MinimindError

BODY = b"".join(i.to_bytes(4, "big") for i in range(60_000))  # 240 kB, no two places alike
SHA = hashlib.sha256(BODY).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request, client_address):
        pass  # a client that went away is what these tests are about


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `server.body`. `server.cuts`: send only so many bytes of the next answers."""

    def log_message(self, *args):
        pass

    def do_GET(self):
        s = self.server
        s.seen.append({k: self.headers.get(k) for k in ("Range", "If-Range")})
        if s.codes:
            self.send_error(s.codes.pop(0))
            return
        body, start = s.body, 0
        wanted, condition = self.headers.get("Range"), self.headers.get("If-Range")
        if wanted and s.ranges and condition in (s.etag, s.modified):
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                self.send_error(416)
                return
            self.send_response(206)
            first = start + s.shift
            self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        if s.length:
            self.send_header("Content-Length", str(len(body) - start))
        if s.etag:
            self.send_header("ETag", s.etag)
        if s.modified:
            self.send_header("Last-Modified", s.modified)
        self.end_headers()
        cut = s.cuts.pop(0) if s.cuts else None
        self.wfile.write(body[start:][:cut])


@pytest.fixture
def server():
    s = Server(("127.0.0.1", 0), Handler)
    s.body, s.etag, s.modified, s.ranges, s.length, s.shift = BODY, '"v1"', None, True, True, 0
    s.cuts, s.codes, s.seen = [], [], []
    s.url = f"http://127.0.0.1:{s.server_port}/set.bin"
    thread = threading.Thread(target=s.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield s
    s.shutdown()
    s.server_close()
    thread.join()


@pytest.fixture
def target(tmp_path):
    return tmp_path / "cache" / "set.bin"


def get(server, target, **more):
    return download(server.url, target, **{"wait": 0.0, "timeout": 5.0, **more})


def only(target):
    return [f.name for f in target.parent.iterdir()] == [target.name]


def test_whole_file_with_progress(server, target):
    calls = []
    done = get(server, target, bytes=len(BODY), sha256=SHA, progress=lambda *c: calls.append(c))
    assert target.read_bytes() == BODY
    assert (done.bytes, done.sha256, done.etag, done.resumed) == (len(BODY), SHA, '"v1"', False)
    assert calls[0] == (0, len(BODY))
    assert calls[-1] == (len(BODY), len(BODY))
    assert sorted(calls) == calls
    assert only(target)
    get(server, target)
    assert len(server.seen) == 1  # what is there is not fetched


def test_a_dropped_connection_goes_on_where_it_stopped(server, target):
    server.cuts = [100_001, 50_000, 0]
    done = get(server, target, sha256=SHA)
    assert target.read_bytes() == BODY
    assert done.resumed
    assert [s["Range"] for s in server.seen] == [
        None, "bytes=100001-", "bytes=150001-", "bytes=150001-"
    ]  # fmt: skip
    assert {s["If-Range"] for s in server.seen[1:]} == {'"v1"'}
    assert only(target)


def test_another_call_goes_on_with_what_lies_there(server, target):
    server.cuts = [100_000, 0, 0]
    with pytest.raises(MinimindError, match=r"100,000 bytes are kept; the next try goes on"):
        get(server, target, sha256=SHA, tries=2)
    assert not target.exists()
    assert json.loads(target.with_name("set.bin.part.json").read_text())["validator"] == '"v1"'
    server.cuts = []
    done = get(server, target, sha256=SHA)
    assert done.resumed
    assert server.seen[-1]["Range"] == "bytes=100000-"
    assert target.read_bytes() == BODY


def test_a_server_without_ranges_is_asked_for_everything_again(server, target):
    server.ranges, server.cuts = False, [100_000]
    done = get(server, target, sha256=SHA)
    assert not done.resumed
    assert target.read_bytes() == BODY


def test_a_file_that_changed_meanwhile_is_not_joined(server, target):
    server.cuts = [100_000, 0]
    with pytest.raises(MinimindError):
        get(server, target, tries=1)
    server.cuts = []
    server.body, server.etag = BODY[::-1], '"v2"'
    assert get(server, target).sha256 == hashlib.sha256(BODY[::-1]).hexdigest()
    assert server.seen[-1]["If-Range"] == '"v1"'


@pytest.mark.parametrize("etag", [None, 'W/"v1"'])
def test_without_a_strong_validator_nothing_is_joined(server, target, etag):
    server.etag, server.cuts = etag, [100_000]
    with pytest.raises(MinimindError):
        get(server, target, tries=1)
    done = get(server, target, sha256=SHA)
    assert server.seen[-1]["Range"] is None
    assert not done.resumed


def test_a_date_is_a_validator(server, target):
    server.etag, server.modified = None, "Fri, 20 Nov 2026 10:00:00 GMT"
    server.cuts = [100_000]
    assert get(server, target, sha256=SHA).resumed
    assert server.seen[-1]["If-Range"] == server.modified


def test_a_wrong_joint_is_noticed_and_mended_by_a_whole_fetch(server, target):
    """A server that keeps its ETag and changes the bytes: only the hash can tell."""
    server.body, server.cuts = bytes(len(BODY)), [100_000]
    with pytest.raises(MinimindError):
        get(server, target, tries=1)
    server.body = BODY
    get(server, target, sha256=SHA)
    assert target.read_bytes() == BODY
    assert [s["Range"] for s in server.seen] == [None, "bytes=100000-", None]


def test_another_part_than_asked_for_is_refused(server, target):
    server.shift, server.cuts = 7, [100_000]
    get(server, target, sha256=SHA)
    assert [s["Range"] for s in server.seen] == [None, "bytes=100000-", None]
    assert target.read_bytes() == BODY


def test_a_part_file_that_is_longer_than_the_file(server, target):
    target.parent.mkdir(parents=True)
    target.with_name("set.bin.part").write_bytes(BODY + b"more")
    note = {"url": server.url, "validator": '"v1"'}
    target.with_name("set.bin.part.json").write_text(json.dumps(note))
    get(server, target, sha256=SHA)
    assert target.read_bytes() == BODY


def test_stopped_after_the_last_byte_nothing_is_asked_for(server, target):
    target.parent.mkdir(parents=True)
    target.with_name("set.bin.part").write_bytes(BODY)
    note = {"url": server.url, "validator": '"v1"', "total": len(BODY)}
    target.with_name("set.bin.part.json").write_text(json.dumps(note))
    get(server, target, sha256=SHA)
    assert server.seen == []
    assert target.read_bytes() == BODY


def test_a_part_of_another_address_is_not_used(server, target):
    target.parent.mkdir(parents=True)
    target.with_name("set.bin.part").write_bytes(b"x" * 1000)
    note = {"url": "http://elsewhere/", "validator": '"v1"'}
    target.with_name("set.bin.part.json").write_text(json.dumps(note))
    get(server, target, sha256=SHA)
    assert server.seen[0]["Range"] is None


def test_wrong_bytes_never_get_the_real_name(server, target):
    server.body = BODY[:-1] + b"!"
    with pytest.raises(MinimindError, match=r"is not the file: 240,000 bytes, sha256 .* expected"):
        get(server, target, sha256=SHA)
    assert not list(target.parent.iterdir())


def test_a_wrong_size_is_told_before_the_bytes_come(server, target):
    calls = []
    with pytest.raises(MinimindError, match=r"240,000 bytes; expected 7"):
        get(server, target, bytes=7, progress=lambda *c: calls.append(c))
    assert calls == []
    assert not list(target.parent.iterdir())


def test_no_length_told(server, target):
    server.length = False
    assert get(server, target, sha256=SHA).bytes == len(BODY)


@pytest.mark.parametrize(
    ("code", "reason"),
    [(403, r"refuses access \(403\)"), (404, r"no such file any more"), (401, "asks for a login")],
)
def test_refusals_are_told_once_and_not_tried_again(server, target, code, reason):
    server.codes = [code] * 9
    with pytest.raises(MinimindError, match=reason):
        get(server, target)
    assert len(server.seen) == 1
    assert not list(target.parent.iterdir())


def test_a_busy_server_is_tried_again(server, target):
    server.codes = [503, 429]
    assert get(server, target, sha256=SHA).bytes == len(BODY)
    assert len(server.seen) == 3


def test_waiting_grows_and_begins_anew_after_progress(server, target, monkeypatch):
    slept = []
    monkeypatch.setattr(module.time, "sleep", slept.append)
    monkeypatch.setattr(module.random, "random", lambda: 1.0)
    server.cuts = [0, 0, 10, 0]
    get(server, target, sha256=SHA, wait=1.0)
    assert slept == [1.0, 2.0, 1.0, 2.0]


def test_nobody_there(tmp_path, monkeypatch):
    monkeypatch.setattr(module.time, "sleep", lambda s: None)
    with pytest.raises(MinimindError, match=r"could not be fetched .*refused"):
        download("http://127.0.0.1:9/x", tmp_path / "x", tries=3)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_told_before_and_during(server, target, monkeypatch):
    class Usage:
        free = 1000

    monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: Usage)
    with pytest.raises(MinimindError, match=r"too full: 240,000 bytes are needed, 1,000 are free"):
        get(server, target)
    monkeypatch.undo()

    def full(write, *args):
        raise module._Disk("the download cannot be written (the disk is full)")

    monkeypatch.setattr(module, "_guard", full)
    with pytest.raises(MinimindError, match="the disk is full"):
        get(server, target)
    assert len(server.seen) == 2  # no second try: the disk will not grow


def test_an_error_of_writing_is_one_of_the_disk():
    def write():
        raise OSError(28, "No space left on device")

    with pytest.raises(module._Disk, match="the disk is full"):
        module._guard(write)


def test_a_folder_that_cannot_be_made(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MinimindError, match="cannot be written"):
        get(server, tmp_path / "file" / "set.bin")


def _in_process(url, target, queue):
    try:
        queue.put(download(url, target, sha256=SHA, wait=0.0).sha256)
    except MinimindError as error:
        queue.put(str(error))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs flock and fork")
def test_processes_do_not_trample_each_other(server, target):
    server.cuts = [50_000, 50_000, 50_000]
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    jobs = [context.Process(target=_in_process, args=(server.url, target, queue)) for _ in range(4)]
    for job in jobs:
        job.start()
    assert [queue.get(timeout=20) for _ in jobs] == [SHA] * 4
    for job in jobs:
        job.join()
    assert target.read_bytes() == BODY
    assert len(server.seen) == 4  # one of them fetched, in four pieces
    assert only(target)
