"""A static server for the built site: right MIME types, gzip, no caching, sitemap for this address.

Instant navigation takes page addresses from the sitemap, which holds the address that the site was
built for; here the host in it is replaced by the one the browser asked for.
"""

from __future__ import annotations

import errno
import gzip
import posixpath
import re
import sys
from functools import lru_cache
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from minimind_wiki.errors import MinimindError

TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm",
         ".whl": "application/zip", ".json": "application/json", ".css": "text/css",
         ".svg": "image/svg+xml", ".woff2": "font/woff2", ".html": "text/html; charset=utf-8",
         ".xml": "application/xml", ".txt": "text/plain; charset=utf-8",
         ".ipynb": "application/json", ".py": "text/plain; charset=utf-8",
         ".data": "application/octet-stream"}  # fmt: skip
SQUEEZED = {".html", ".js", ".mjs", ".css", ".json", ".svg", ".xml", ".txt", ".wasm", ".ipynb"}
TRIES = 20
ORIGIN = re.compile(rb"<loc>https?://[^/<]+")


class Server(ThreadingHTTPServer):
    """Refuses a port that is taken instead of sharing it."""

    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that leaves in the middle of an answer is not worth a traceback."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Handler(SimpleHTTPRequestHandler):
    """Files of one folder."""

    protocol_version = "HTTP/1.1"

    def guess_type(self, path: Any) -> str:
        """MIME type by our own list first: the system's may call .mjs plain text."""
        ending = posixpath.splitext(str(path))[1].lower()
        return TYPES.get(ending) or super().guess_type(path)

    def end_headers(self) -> None:
        """No caching: the next build must be seen at once."""
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Only faults are printed."""
        if len(args) > 1 and str(args[1]).startswith(("4", "5")):
            super().log_message(format, *args)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """The site's own page for a wrong address."""
        page = Path(self.directory) / "404.html"
        if code != 404 or not page.is_file():
            super().send_error(code, message, explain)
            return
        self.log_request(404)
        body = page.read_bytes()
        self.send_response_only(404)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_head(self) -> BytesIO | BinaryIO | None:
        """Like the base class; text goes out gzipped when the browser takes it."""
        file = Path(self.translate_path(self.path))
        if file.is_dir():
            if not self.path.partition("?")[0].endswith("/"):
                return super().send_head()
            file = file / "index.html"
        wants = "gzip" in self.headers.get("Accept-Encoding", "")
        if not file.is_file() or self.headers.get("Range"):
            return super().send_head()
        if file.name == "sitemap.xml":
            host = self.headers.get("Host", "localhost").encode()
            return self._send(ORIGIN.sub(b"<loc>http://" + host, file.read_bytes()), file, False)
        if wants and file.suffix in SQUEEZED:
            return self._send(_squeezed(file, file.stat().st_mtime_ns), file, True)
        return super().send_head()

    def _send(self, body: bytes, file: Path, squeezed: bool) -> BytesIO:
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(str(file)))
        self.send_header("Content-Length", str(len(body)))
        if squeezed:
            self.send_header("Content-Encoding", "gzip")
            self.send_header("Vary", "Accept-Encoding")
        self.end_headers()
        return BytesIO(body)


@lru_cache(maxsize=256)
def _squeezed(file: Path, stamp: int) -> bytes:
    return gzip.compress(file.read_bytes(), compresslevel=6)


def start(site: Path, port: int = 8000, host: str = "127.0.0.1") -> tuple[Server, list[int]]:
    """A server bound to `port` or to the next free one; also the ports that were busy."""
    if not (site / "index.html").is_file():
        raise MinimindError(f"there is no built site in {site}: run 'minimind site build' first.")

    class Bound(Handler):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, directory=str(site), **kwargs)

    busy: list[int] = []
    for candidate in range(port, port + TRIES) if port else [0]:
        try:
            return Server((host, candidate), Bound), busy
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise MinimindError(f"cannot listen on {host}: {error.strerror}") from None
            busy.append(candidate)
    raise MinimindError(f"the ports {busy[0]} to {busy[-1]} are all taken; choose one with --port.")
