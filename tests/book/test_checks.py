"""The checks of built pages and the policy that every page gets: each fault once."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest

from minimind_wiki.book import build, checks, policy

HEAD = '<meta charset="utf-8"><title>T</title><meta name="description" content="D">'


def site(tmp_path: Path, body: str, head: str = HEAD) -> Path:
    other = tmp_path / "en" / "other"
    other.mkdir(parents=True)
    (other / "index.html").write_text(
        f"<html><head>{HEAD}</head><body><h1 id='there'>x</h1></body></html>", encoding="utf-8"
    )
    (tmp_path / "en" / "a.png").write_bytes(b"")
    (tmp_path / "en" / "index.html").write_text(
        f"<html><head>{head}</head><body>{body}</body></html>", encoding="utf-8"
    )
    return tmp_path


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('<a href="othr/">x</a>', "dead link 'othr/'"),
        ('<a href="other/#gone">x</a>', "dead anchor 'other/#gone'"),
        ('<a href="#gone">x</a>', "dead anchor '#gone'"),
        ('<a href="/other/">x</a>', "dead link '/other/'"),
        ('<a href="../../../x.html">x</a>', "dead link"),
        ('<a href="javascript:void(0)">x</a>', "javascript:"),
        ('<p id="a"></p><p id="a"></p>', "the id 'a' is used twice"),
        ('<img src="a.png">', "no alt text"),
        ('<img src="b.png" alt="">', "loads 'b.png', which is not in the site"),
        ('<img src="https://example.org/a.png" alt="">', "another origin"),
        ('<script src="//example.org/a.js"></script>', "another origin"),
        ('<link rel="stylesheet" href="https://example.org/a.css">', "another origin"),
        ('<iframe src="https://example.org/"></iframe>', "another origin"),
        ('<style>@import "https://example.org/a.css";</style>', "another origin"),
        ('<p style="background:url(https://example.org/a.png)"></p>', "another origin"),
        ('<button onclick="a()">x</button>', "inline handlers"),
        ("<table><tr><th> </th><th>b</th></tr></table>", "a column of a table has no name"),
        ('<svg><use xlink:href="#gone"/></svg>', "a picture uses '#gone'"),
    ],
)
def test_each_fault_is_found_and_names_its_page(tmp_path: Path, body: str, said: str) -> None:
    found = checks.check(site(tmp_path, body))
    assert len([fault for fault in found if said in fault]) == 1, found
    assert all(fault.startswith("en/index.html: ") for fault in found)


def test_sound_page_has_no_faults(tmp_path: Path) -> None:
    body = (
        '<a href="other/#there">x</a><a href="https://example.org/">out</a><a href="#">top</a>'
        '<a href="mailto:a@example.org">m</a><a href="/wiki/en/other/">x</a>'
        '<img src="a.png" alt="">'
        '<img src="data:image/png;base64," alt=""><svg><title>not the page</title>'
        '<path id="p"/><use href="#p"/></svg>'
        '<span id="__span-0-1"></span><span id="__span-0-1"></span>'
    )
    assert checks.check(site(tmp_path, body), prefix="/wiki") == []


def test_title_and_description_are_required(tmp_path: Path) -> None:
    found = checks.check(site(tmp_path, "<svg><title>x</title></svg>", head=""))
    assert any("no <title>" in f for f in found) and any("no description" in f for f in found)


def test_styles_that_load_from_elsewhere(tmp_path: Path) -> None:
    root = site(tmp_path, "")
    (root / "en" / "a.css").write_text("@font-face{src:url(https://example.org/f.woff2)}")
    assert checks.check(root) == [
        "en/a.css: loads 'https://example.org/f.woff2' from another origin."
    ]


def test_empty_site_says_what_to_do(tmp_path: Path) -> None:
    assert "minimind site build" in checks.check(tmp_path)[0]


def test_policy_is_the_union_of_all_inline_scripts(tmp_path: Path) -> None:
    root = site(tmp_path, "<script>one()</script><script type='application/json'>{}</script>")
    other = root / "en" / "other" / "index.html"
    text = other.read_text(encoding="utf-8")
    other.write_text(text.replace("<body>", "<body><script type=module>two()</script>"))
    assert policy.apply(root) == 2
    for page in (root / "en" / "index.html", other):
        html = page.read_text(encoding="utf-8")
        assert html.index("Content-Security-Policy") < html.index("<title>")
        for body in ("one()", "two()"):
            digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
            assert f"'sha256-{digest}'" in html
        directive = html.split("script-src")[1].split(";")[0]
        assert "'unsafe-inline'" not in directive and "'wasm-unsafe-eval'" in directive
    assert policy.apply(root) == 2, "a second run changes nothing"
    assert other.read_text(encoding="utf-8").count("Content-Security-Policy") == 1


def test_finish_makes_the_site_servable(tmp_path: Path) -> None:
    root = site(tmp_path, "<a href='javascript:void(0)'>share</a>".replace("'", '"'))
    (root / "en" / "404.html").write_text(f"<html><head>{HEAD}</head></html>", encoding="utf-8")
    build.finish(root)
    assert 'url=en/"' in (root / "index.html").read_text(encoding="utf-8")
    assert "Sitemap:" in (root / "robots.txt").read_text(encoding="utf-8")
    assert (root / "404.html").is_file() and (root / ".nojekyll").is_file()
    assert checks.check(root) == []


def test_prefix_comes_from_the_address_of_the_site(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SITE_URL", "https://example.org/minimind.wiki/en/")
    assert build.address_prefix() == "/minimind.wiki"
    monkeypatch.delenv("SITE_URL")
    assert build.address_prefix() == ""


def test_what_mkdocs_says_is_boiled_down() -> None:
    text = "\n".join([
        "INFO    -  [macros] - Found", "Traceback (most recent call last):", "  File x",
        "WARNING -  Doc file 'a.md' contains a link",
        "pymdownx.superfences.SuperFencesException: a.md: quiz box: no",
        "# _Macro Rendering Error_", "_File_: `b.md`", "_MinimindError_: b.md: m('x')",
    ])  # fmt: skip
    assert build.relevant(text) == [
        "WARNING -  Doc file 'a.md' contains a link", "a.md: quiz box: no", "b.md: m('x')",
    ]  # fmt: skip
