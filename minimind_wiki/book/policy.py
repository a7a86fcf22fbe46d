"""The Content-Security-Policy of every page: nothing from another origin, inline scripts by hash.

Instant navigation keeps the policy of the first page, so every page gets the union of all hashes.
"""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

SCRIPT = re.compile(r"<script\b([^>]*)>(.*?)</script>", re.DOTALL | re.IGNORECASE)
KIND = re.compile(r"""\btype\s*=\s*["']?([^"'\s>]+)""", re.IGNORECASE)
META = re.compile(r'\s*<meta http-equiv="Content-Security-Policy"[^>]*>')
EXECUTED = {"text/javascript", "application/javascript", "module", "text/ecmascript"}


def inline_hashes(html: str) -> set[str]:
    """CSP hashes of the scripts that stand in a page and are executed.

    >>> sorted(inline_hashes("<script>a()</script><script src='x.js'></script>"))
    ["'sha256-qVpDBgj7bpq5hMAcGp3AOc79J3Y1Z4HvySTwKrWDoy4='"]
    >>> inline_hashes('<script type="application/json">{}</script>')
    set()
    """
    found = set()
    for attributes, body in SCRIPT.findall(html):
        kind = KIND.search(attributes)
        if re.search(r"\bsrc\s*=", attributes) or (kind and kind.group(1).lower() not in EXECUTED):
            continue
        digest = hashlib.sha256(body.encode()).digest()
        found.add(f"'sha256-{base64.b64encode(digest).decode()}'")
    return found


def policy(hashes: set[str]) -> str:
    """The policy with these script hashes."""
    scripts = " ".join(["'self'", "'wasm-unsafe-eval'", *sorted(hashes)])
    return "; ".join([
        "default-src 'self'",
        f"script-src {scripts}",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' data: blob:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
    ])  # fmt: skip


def put(html: str, content: str) -> str:
    """The page with this policy right after its charset (replacing an older one)."""
    html = META.sub("", html)
    meta = f'<meta http-equiv="Content-Security-Policy" content="{content}">'
    charset = re.search(r"<meta charset=[^>]*>", html, re.IGNORECASE)
    if charset:
        return html[: charset.end()] + meta + html[charset.end() :]
    return re.sub(r"<head\b[^>]*>", lambda m: m.group() + meta, html, count=1)


def apply(site: Path) -> int:
    """Write the policy into every page below `site`; returns how many hashes it holds."""
    texts = {file: file.read_text(encoding="utf-8") for file in sorted(site.rglob("*.html"))}
    hashes: set[str] = set()
    for text in texts.values():
        hashes |= inline_hashes(META.sub("", text))
    content = policy(hashes)
    for file, text in texts.items():
        file.write_text(put(text, content), encoding="utf-8")
    return len(hashes)
