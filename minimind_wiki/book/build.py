"""Building the site: check the sources, run MkDocs, finish the pages, check the result.

`mkdocs build --strict` alone is never enough (it cannot see what macros, fences and the theme
write) and never quiet: with -q a strict build passes with broken links.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from minimind_wiki.book import (
    checks,
    library,
    lint,
    notebooks,
    offline,
    pages,
    policy,
    sheets,
    skeleton,
)
from minimind_wiki.errors import MinimindError

PACKAGE_HOME = Path(__file__).resolve().parents[2]
LANGUAGE = "en"
TEMPLATES = Path(__file__).with_name("templates") / "reference"
SHOWN = re.compile(r"^(?:WARNING|ERROR|CRITICAL|Error|Aborted)|^\s+- ")
FENCE_ERROR = re.compile(r"^pymdownx\.superfences\.SuperFencesException: (.*)$")
OWN_ERROR = re.compile(r"^minimind_wiki\.errors\.\w+: (.*)$")
SOURCES = re.compile(r"<pre\b.*?</pre>|\s*Source code in <code>[^<]*</code>\s*", re.DOTALL)
LISTINGS = re.compile(r"<pre\b[^>]*>.{300,}?</pre>", re.DOTALL)  # a short one may be a command
INNER = re.compile(r"\.[A-Z]\w*\.\w+$|\._\w+$|\.[A-Z][A-Z\d_]+$")  # of a class, private, constant
PLAIN_CODE = re.compile(r"<pre\b.*?</pre>", re.DOTALL)
PLAIN_SPAN = re.compile(r'<span class="[nw]">([^<]*)</span>')
REFERENCE_SPAN = re.compile(r'<span class="[nwpo]">([^<]*)</span>')
DOCUMENTED = '<div class="doc doc-object'
MACRO_ERROR = re.compile(r"^_(?!File_)\w+_: (.*)$")

REDIRECT = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>minimind.wiki</title>
<meta name="description" content="How language models are trained, measured and shown by code.">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="0; url=en/">
</head>
<body><main><h1>minimind.wiki</h1><p><a href="en/">Go to the English pages</a></p></main></body>
</html>
"""

Say = Callable[[str], None]


def build(strict: bool = True, drafts: bool = False, out: Path | None = None,
          say: Say = print) -> Path:  # fmt: skip
    """Build the whole site into `out` (default site/) and return it.

    strict: stale records and every warning fail the build; otherwise they are only shown.
    drafts: also build modules whose front matter says `draft: true`.
    Raises MinimindError with all faults that were found.
    """
    started = time.monotonic()
    root = pages.root()
    site = out or root / "site"
    check_assets(root)
    _report(source_problems(), strict, say, "the sources have")
    notebooks.place()
    page_folder = site / LANGUAGE
    run_mkdocs(root, page_folder, strict, drafts, say)
    notebooks.finish(page_folder)
    finish(site, say)
    _report(checks.check(site, prefix=address_prefix()), strict, say, "the built pages have")
    count = sum(1 for _ in page_folder.rglob("*.html"))
    say(f"built {count} pages in {time.monotonic() - started:.0f} s: {site}")
    return site


def _report(faults: list[str], strict: bool, say: Say, where: str) -> None:
    if not faults:
        return
    listed = "\n".join(f"  {fault}" for fault in faults[:60])
    more = f"\n  … and {len(faults) - 60} more" if len(faults) > 60 else ""
    text = f"{where} {len(faults)} fault{'s' * (len(faults) != 1)}:\n{listed}{more}"
    if strict:
        raise MinimindError(text)
    say(f"warning: {text}")


def check_assets(root: Path) -> None:
    """Scripts and styles must be there: MkDocs would link to them without a word."""
    built = root / "docs" / LANGUAGE / "assets" / "build"
    missing = [name for name in ("book.js", "book.css") if not (built / name).is_file()]
    if missing:
        raise MinimindError(
            f"{' and '.join(missing)} are not built yet: run 'make web', then this again."
        )


def source_problems() -> list[str]:
    """Every fault that can be seen in the sources, without building anything."""
    return [
        *lint.problems(),
        *lint.quiz_problems(),
        *description_problems(pages.root()),
        *skeleton.left_over(),
    ]


def description_problems(root: Path) -> list[str]:
    """Every page must have a description: search engines and the page list show it."""
    out = []
    for page in sorted((root / "docs" / LANGUAGE).rglob("*.md")):
        meta = library.front_matter(page.read_text(encoding="utf-8"))
        if not meta.get("description"):
            name = page.relative_to(root / "docs" / LANGUAGE)
            out.append(f"{name}: the front matter has no 'description:'; add one sentence.")
    return out


def address_prefix() -> str:
    """The path below the host at which the site is served: '' for http://localhost:8000/en/."""
    path = urlsplit(os.environ.get("SITE_URL", "")).path
    return path.rstrip("/").removesuffix(f"/{LANGUAGE}")


def draft_pages() -> list[str]:
    """Folders of modules whose page says `draft: true`, as patterns for MkDocs."""
    return [
        f"/modules/{module.slug}/"
        for module in library.modules().values()
        if module.status == "draft"
    ]


def run_mkdocs(root: Path, out: Path, strict: bool, drafts: bool, say: Say) -> None:
    """Run MkDocs; its warnings and the reason of a failure are shown, the rest goes to a file."""
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(out)]
    if strict:
        command.append("--strict")
    listed = "\n".join(draft_pages())
    env = os.environ | notebooks.environment() | {
        "NO_MKDOCS_2_WARNING": "1",
        "MM_TEMPLATES": str(TEMPLATES),
        "MM_STRICT": "1" if strict else "0",
        "MM_HIDDEN": "*.yaml\n" + ("" if drafts else listed),
        "MM_DRAFTS_SHOWN": listed if drafts else "",
    }  # fmt: skip
    done = subprocess.run(
        command, cwd=root, env=env, capture_output=True, text=True, encoding="utf-8", check=False
    )
    text = done.stdout + done.stderr
    log = PACKAGE_HOME / "build" / "mkdocs.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(text, encoding="utf-8")
    shown = relevant(text)
    if done.returncode:
        lines = "\n".join(f"  {line}" for line in shown) or text[-2000:]
        raise MinimindError(f"MkDocs stopped (everything it said is in {log}):\n{lines}")
    for line in shown:
        say(line)


def relevant(text: str) -> list[str]:
    """The lines of MkDocs' output that say what is wrong, without tracebacks and chatter."""
    out: list[str] = []
    page = ""
    for line in text.splitlines():
        fence = FENCE_ERROR.match(line) or OWN_ERROR.match(line)
        macro = MACRO_ERROR.match(line.strip())
        if line.strip().startswith("_File_:"):
            page = line.split("`")[1]
        if fence:
            out.append(fence.group(1))
        elif macro and page:
            said = macro.group(1)
            out.append(said if said.startswith(page) else f"{page}: {said}")
        elif "Error reading page" in line:
            continue  # its reason follows as the exception
        elif SHOWN.match(line) and "[macros]" not in line:
            out.append(line)
    return list(dict.fromkeys(out))


def finish(site: Path, say: Say = print) -> None:
    """Root page, policy headers, robots: what a static host needs besides the pages."""
    (site / "index.html").write_text(REDIRECT, encoding="utf-8")
    base = os.environ.get("SITE_URL", "http://localhost:8000/en/")
    (site / "robots.txt").write_text(
        f"User-agent: *\nAllow: /\nSitemap: {base.rstrip('/')}/sitemap.xml\n", encoding="utf-8"
    )
    (site / ".nojekyll").write_text("", encoding="utf-8")
    modules = sheets.chunks(site / LANGUAGE / "assets/build/book.js")
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        mended = sheets.deferred(fewer_spans(theme_repairs(text)))
        mended = sheets.preloaded(mended, modules)
        if mended != text:
            page.write_text(mended, encoding="utf-8")
    sheets.join(site / LANGUAGE)
    not_found = site / LANGUAGE / "404.html"
    if not_found.is_file():
        shutil.copyfile(not_found, site / "404.html")
    policy.apply(site)
    for index in site.glob("*/search/search_index.json"):
        index.write_text(slim_search(index.read_text(encoding="utf-8")), encoding="utf-8")
    offline.write(site / LANGUAGE)  # last: it lists what is there


def slim_search(index: str) -> str:
    """The search index without listings, and of the reference pages functions and classes.

    Every page loads the index, and the reference would be two thirds of it. A function or a class
    is found by what it is called and by the first paragraph that says what it does; a method by
    its class.
    """
    data = json.loads(index)
    kept = []
    for entry in data["docs"]:
        text = LISTINGS.sub("", entry["text"])
        page, _, symbol = entry["location"].partition("#")
        if page.startswith("reference/"):
            text = SOURCES.sub("", text)
            end = text.find("</p>")
            text = text[: end + len("</p>")] if end >= 0 else text
            if symbol and INNER.search(symbol):
                continue
        kept.append({**entry, "text": text})
    data["docs"] = kept
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def theme_repairs(text: str) -> str:
    """The theme's share link starts as javascript:, which the policy refuses."""
    return text.replace('href="javascript:void(0)"', 'href="#"')


def fewer_spans(text: str) -> str:
    """Code without the spans that have no colour; in the reference also without punctuation's.

    A page of the reference has a third fewer elements without them.
    """
    plain = REFERENCE_SPAN if DOCUMENTED in text else PLAIN_SPAN
    return PLAIN_CODE.sub(lambda block: plain.sub(r"\1", block[0]), text)
