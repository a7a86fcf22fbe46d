"""The static server: types, gzip, the site's 404, busy ports, the sitemap's address."""

from __future__ import annotations

import gzip
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from email.message import Message
from pathlib import Path

import pytest

from minimind_wiki.book import serve
from minimind_wiki.errors import MinimindError


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "en").mkdir()
    files = {"index.html": "root", "en/index.html": "home " * 100, "404.html": "lost page",
             "a.mjs": "x", "a.wasm": "x", "a.whl": "x", "a.css": "x",
             "en/sitemap.xml": "<loc>http://localhost:8000/en/</loc>"}  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    server, _ = serve.start(tmp_path, port=0)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def get(url: str, **headers: str) -> tuple[int, Message, bytes]:
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("/a.mjs", "text/javascript"),
        ("/a.wasm", "application/wasm"),
        ("/a.whl", "application/zip"),
        ("/a.css", "text/css"),
        ("/en/", "text/html; charset=utf-8"),
    ],
)
def test_types_and_no_cache(address: str, name: str, kind: str) -> None:
    status, headers, _ = get(address + name)
    assert status == 200 and headers["Content-Type"] == kind
    assert headers["Cache-Control"] == "no-cache"


def test_text_is_squeezed_for_browsers_that_take_it(address: str) -> None:
    _, plain_headers, plain = get(address + "/en/")
    _, headers, body = get(address + "/en/", **{"Accept-Encoding": "gzip"})
    assert headers["Content-Encoding"] == "gzip" and "Content-Encoding" not in plain_headers
    assert gzip.decompress(body) == plain and len(body) < len(plain)


def test_wrong_address_shows_the_site_s_page(address: str) -> None:
    assert get(address + "/nowhere/")[::2] == (404, b"lost page")
    assert get(address + "/../../etc/passwd")[0] == 404


def test_sitemap_names_the_address_that_was_asked(address: str) -> None:
    assert get(address + "/en/sitemap.xml")[2].decode() == f"<loc>{address}/en/</loc>"


def test_busy_port_is_named_and_the_next_taken(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("x", encoding="utf-8")
    first, _ = serve.start(tmp_path, port=0)
    port = first.server_address[1]
    second, busy = serve.start(tmp_path, port=port)
    assert busy and busy[0] == port and second.server_address[1] > port
    first.server_close()
    second.server_close()


def test_unbuilt_site_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(MinimindError, match="minimind site build"):
        serve.start(tmp_path)


def test_a_browser_that_leaves_prints_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve.Server(("127.0.0.1", 0), serve.Handler)
    for error, said in ((ConnectionResetError("left"), False), (ValueError("a bug"), True)):
        try:
            raise error
        except (ConnectionResetError, ValueError):
            server.handle_error(None, ("127.0.0.1", 1))
        assert ("Traceback" in capsys.readouterr().err) is said
    server.server_close()
