"""A server as there are in the wild: under a sub-path, cutting what it sends, gone."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from minimind_wiki.book import serve

HANG = -1
"""A cut after which the connection stays open and nothing comes."""
SILENCE = 1.0
"""Seconds between the last byte and a cut: a browser throws away what it had not read by then."""


class Rough:
    """The site at `address`, and how it is served: change the fields while it runs."""

    def __init__(self, site: Path, prefix: str = "") -> None:
        self.prefix = prefix
        self.cuts: list[int] = []
        """Each answer for a model's weights ends after so many bytes, the first one first."""
        self.asked: list[str] = []
        """The Range headers of the requests for weights; empty for all of it."""
        self.over = threading.Event()
        rough = self

        class Handler(serve.Handler):
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, directory=str(site), **kwargs)

            def translate_path(self, path: str) -> str:
                return super().translate_path(path.removeprefix(rough.prefix))

            def send_head(self) -> BytesIO | BinaryIO | None:
                if not self.path.startswith(rough.prefix + "/"):
                    self.send_error(404)
                    return None
                if not self.path.endswith("model.bin"):
                    return super().send_head()
                self.weights()
                return None

            def weights(self) -> None:
                body = Path(self.translate_path(self.path)).read_bytes()
                wanted = self.headers.get("Range", "")
                rough.asked.append(wanted)
                start = int(re.findall(r"bytes=(\d+)-", wanted)[0]) if wanted else 0
                self.send_response(206 if start else 200)
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
                self.send_header("ETag", '"one"')
                self.send_header("Content-Length", str(len(body) - start))
                self.end_headers()
                part = body[start:]
                cut = rough.cuts.pop(0) if rough.cuts else None
                if cut == HANG:
                    self.wfile.flush()
                    rough.over.wait()
                elif cut is not None:
                    self.wfile.write(part[:cut])
                    self.wfile.flush()
                    time.sleep(SILENCE)
                else:
                    self.wfile.write(part)
                self.close_connection = True

            def log_message(self, format: str, *args: Any) -> None:
                """Faults are part of the game."""

        self.server = serve.Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"http://localhost:{self.server.server_address[1]}{prefix}"
        self.open: set[socket.socket] = set()
        plain = self.server.process_request

        def remember(request: Any, client_address: Any) -> None:
            self.open.add(request)
            plain(request, client_address)

        self.server.process_request = remember  # type: ignore[method-assign]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def leave(self) -> None:
        """Stop answering: also on connections that are open."""
        self.over.set()
        self.server.shutdown()
        self.server.server_close()
        for request in self.open:
            try:
                request.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # closed already


@contextmanager
def rough_site(site: Path, prefix: str = "") -> Iterator[Rough]:
    """A rough server for one test."""
    rough = Rough(site, prefix)
    try:
        yield rough
    finally:
        rough.leave()
