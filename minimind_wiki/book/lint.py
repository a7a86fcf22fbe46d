"""Hand-typed measured numbers in the prose of the pages: each is an error.

What a measurement could have produced must come from a record: decimals, powers of ten,
percentages, factors such as "20×", times and rates. Code, formulas, macros, link addresses,
headings, front matter and the names of models and versions are left out. In quizzes the
explanations are read; questions and options are not, because a wrong option is an invented number
by nature.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from minimind_wiki.book import pages

ADVICE = (
    "print it with m(…) from a record, given(…) if it is a setting or a worked example, "
    "cited(…) if it is from a source"
)
# Each match is blanked, line breaks kept, so that line numbers stay true.
NOT_PROSE = [
    re.compile(r"\A---\n.*?\n---\n", re.DOTALL),
    re.compile(r"<!--.*?-->", re.DOTALL),
    re.compile(r"\{%.*?%\}|\{#.*?#\}|\{\{.*?\}\}", re.DOTALL),
    re.compile(r"^\$\$.*?\$\$", re.DOTALL | re.MULTILINE),
    re.compile(r"\\\[.*?\\\]|\\\(.*?\\\)", re.DOTALL),
    re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)", re.DOTALL),
    re.compile(r"\$\$.+?\$\$", re.DOTALL),
    re.compile(r"(?<![\\$])\$(?!\s)[^$\n]*(?:\n(?!\s*\n)[^$\n]*)*?(?<!\s)\$(?!\d)"),
    re.compile(r"\]\([^)\s]*(?:\s+\"[^\"]*\")?\)"),
    re.compile(r"^\[[^\]]+\]:.*$", re.MULTILINE),
    re.compile(r"<[a-zA-Z/][^>]*>"),
    re.compile(r"https?://\S+"),
    re.compile(r"\{[:\s]*[#.][^}]*\}"),
    re.compile(r"^ {0,3}#{1,6} .*$", re.MULTILINE),
    re.compile(r"^ *\d+\. ", re.MULTILINE),
    re.compile(r"^\s*(?:!!!|\?\?\?\+?) .*$", re.MULTILINE),
    # names: Qwen2.5, Llama 3.1, Python 3.11, arXiv:1910.07467, section 2.1, version 1.2.3
    re.compile(r"\b[A-Za-z][A-Za-z-]*\d[\w.]*"),
    re.compile(
        r"\b(?:Llama|Qwen|GPT|DeepSeek|Gemma|Phi|Mistral|MiniMind|OLMo|Python|PyTorch|NumPy|CUDA|"
        r"torch|transformers|arXiv|version|sections?|chapters?|equations?|tables?|figures?|RFC)"
        r"[ :\-\u00a0]*\d+(?:\.\d+)*", re.IGNORECASE,
    ),
    re.compile(r"§\s*\d+(?:\.\d+)*"),
]  # fmt: skip
NUMBER = r"(?<![\w.,])[-−+]?\d(?:[\d,]*\d)?(?:\.\d+)?"
SPAN = rf"{NUMBER}(?:\s*[–-]\s*\d[\d,.]*)?"
SUSPECT = re.compile(
    rf"{NUMBER}[eE][-+−]?\d+"
    r"|(?<![\w.])10(?:\^|<sup>|[⁻⁰¹²³⁴-⁹])\S*"
    rf"|{SPAN}\s*(?:%|percent\b|per cent\b)"
    rf"|{SPAN}\s?×(?!\s*\d)"
    rf"|{SPAN}\s?x\b"
    rf"|{SPAN}\s*(?:ns|µs|us|ms|s|sec|seconds?|min|minutes?|hours?)\b"
    rf"|{SPAN}\s*(?:k?tokens?|steps?|it|requests?|[kMGT]?B|[MGTP]?FLOPs?|samples?)"
    r"\s?(?:/\s?s\b|/sec|per second|a second)"
    r"|(?<![\w.,])[-−+]?\d[\d,]*\.\d+(?![\w.]*\.\d)"
)
FENCE = re.compile(r"^\s*(?P<ticks>`{3,}|~{3,})\s*(?P<kind>[\w-]*)[^\n]*$", re.MULTILINE)
READ_IN_FENCES = {"predict": ("reveal", "why"), "figure": ("caption",)}


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match.group())


def _without_fences(text: str) -> str:
    """Blank fenced blocks; of our own boxes the fields that are prose stay."""
    lines = text.split("\n")
    out: list[str] = []
    at = 0
    while at < len(lines):
        opened = FENCE.match(lines[at])
        if not opened:
            out.append(lines[at])
            at += 1
            continue
        ticks = opened.group("ticks")
        end = at + 1
        closing = re.compile(rf"^\s*{ticks[0]}{{{len(ticks)},}}\s*$")
        while end < len(lines) and not closing.match(lines[end]):
            end += 1
        body = lines[at + 1 : end]
        out.append("")
        out.extend(_fields(body, READ_IN_FENCES.get(opened.group("kind"), ())))
        if end < len(lines):
            out.append("")
        at = end + 1
    return "\n".join(out)


def _fields(lines: list[str], names: tuple[str, ...]) -> list[str]:
    """Keep the lines of these YAML fields (values on the line and on deeper lines below it)."""
    kept: list[str] = []
    inside: int | None = None
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if inside is not None and line.strip() and indent <= inside:
            inside = None
        start = re.match(r"^(\s*(?:-\s+)?)(\w+):(.*)$", line)
        flow = [m.group(1) for name in names for m in re.finditer(rf"\b{name}:\s*([^}}]*)", line)]
        if inside is None and start and start.group(2) in names:
            inside = len(start.group(1))
            kept.append(" " * inside + start.group(3))
        elif inside is not None:
            kept.append(line)
        else:
            kept.append(" ".join(flow))
    return kept


def suspects(text: str) -> list[tuple[int, str]]:
    """Line and text of every number in Markdown that a measurement could have produced.

    >>> suspects("It is 20× faster\\nwith `lr=0.1` and {{ m('a/b', 'c.d') }}, or 3.5 %.")
    [(1, '20×'), (2, '3.5 %')]
    """
    # Fences first: their ticks must not be read as inline code.
    head = re.match(r"\A---\n.*?\n---\n", text, re.DOTALL)
    if head:
        text = _blank(head) + text[head.end() :]
    text = _without_fences(text)
    for pattern in NOT_PROSE:
        text = pattern.sub(_blank, text)
    found = []
    for match in SUSPECT.finditer(text):
        found.append((text.count("\n", 0, match.start()) + 1, " ".join(match.group().split())))
    return found


def quiz_suspects(text: str) -> list[tuple[int, str]]:
    """The same for the explanations of a quiz file."""
    lines = text.split("\n")
    return suspects("\n".join(_fields(lines, ("why",))))


def problems(docs: Path | None = None) -> list[str]:
    """Every hand-typed number of the pages, as `page:line: …` sentences.

    Left out: the log, whose dated findings are records themselves, and what is generated.
    """
    base = docs or pages.docs()
    out = []
    for page in sorted(base.rglob("*")):
        if page.relative_to(base).parts[0] in ("log.md", "assets", "notebooks", "reference"):
            continue
        if page.suffix == ".md":
            found = suspects(page.read_text(encoding="utf-8"))
        elif page.suffix == ".yaml":
            found = quiz_suspects(page.read_text(encoding="utf-8"))
        else:
            continue
        name = page.relative_to(base).as_posix()
        out += [f"{name}:{line}: the number '{number}' is typed by hand; {ADVICE}."
                for line, number in found]  # fmt: skip
    return out


# Tells in quizzes ------------------------------------------------------------------------------

FEW = 4  # below this many questions a pattern proves nothing


def quiz_problems(docs: Path | None = None) -> list[str]:
    """Quiz files whose right answers can be told without reading.

    With four or more single-choice questions: the right option is not at one place in more than
    half of them, and strictly the longest or strictly the shortest in at most half.
    Quiz ids are unique over the site.
    """
    base = docs or pages.docs()
    out = []
    ids: dict[str, str] = {}
    for file in sorted(base.glob("modules/*/*.yaml")):
        name = file.relative_to(base).as_posix()
        try:
            data = yaml.safe_load(file.read_text(encoding="utf-8"))
        except yaml.YAMLError:
            continue  # the fence reports it with its line
        if not isinstance(data, dict) or not isinstance(data.get("questions"), list):
            continue
        if data.get("id") in ids:
            out.append(f"{name}: the quiz id '{data['id']}' is also that of {ids[data['id']]}.")
        ids[data.get("id", "")] = name
        out += [f"{name}: {tell}" for tell in tells(data["questions"])]
    return out


def tells(questions: list[dict[str, Any]]) -> list[str]:
    """The patterns by which the right options of these questions can be guessed."""
    single = [
        q["options"]
        for q in questions
        if isinstance(q, dict) and q.get("type") == "single" and isinstance(q.get("options"), list)
    ]
    if len(single) < FEW:
        return []
    places: dict[int, int] = {}
    longest = shortest = 0
    for options in single:
        right = next((i for i, o in enumerate(options) if o.get("right") is True), None)
        if right is None:
            continue
        places[right] = places.get(right, 0) + 1
        sizes = [len(str(o.get("text", ""))) for o in options]
        others = sizes[:right] + sizes[right + 1 :]
        longest += sizes[right] > max(others, default=0)
        shortest += sizes[right] < min(others, default=0)
    half = len(single) / 2
    out = []
    for place, count in places.items():
        if count > half:
            out.append(
                f"the right option is number {place + 1} in {count} of {len(single)} questions; "
                "move some."
            )
    for count, word in ((longest, "longest"), (shortest, "shortest")):
        if count > half:
            out.append(
                f"the right option is the {word} in {count} of {len(single)} questions; "
                "even the lengths out."
            )
    return out
