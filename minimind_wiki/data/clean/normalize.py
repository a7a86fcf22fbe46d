"""Text out of pages and scans: Unicode, HTML, boilerplate, hard line breaks.

Unicode is brought to NFC, not NFKC: NFKC would turn x² into x2. Text that was decoded with the
wrong table (schÃ¶n) is repaired by ftfy (Speer 2019) where that is asked for. HTML is read with the
standard library's parser; a block is content or boilerplate by its words and its links, after
Kohlschütter, Fankhauser & Nejdl 2010, "Boilerplate detection using shallow text features". Boxes
whose class or id says what they are (comments, cookies, share …) go first, as in Mozilla's
Readability: no rule on words tells a comment from a paragraph.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from html.parser import HTMLParser

from minimind_wiki.errors import MinimindError

_INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u200b\u2060\ufeff\ufff9-\ufffb]"
)
_SPACES = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f]")
_BREAKS = re.compile("\r\n?|\u2028|\x85")
_SURROGATE = re.compile("[\ud800-\udfff]")


def unicode_text(text: str, repair: bool = False) -> tuple[str, Counter[str]]:
    """NFC, Unix line ends, plain spaces, no control characters; returns what was found.

    Joiners (U+200C, U+200D) stay: Persian and emoji need them. With `repair`, ftfy undoes wrong
    decodings first; MinimindError when it is not installed.

    >>> unicode_text("cafe\\u0301\\u00a0\\u200bau lait\\r\\n")[0]
    'café au lait\\n'
    """
    counts: Counter[str] = Counter()
    if repair:
        fixed = _ftfy(text)
        counts["wrong decoding repaired"] += fixed != text
        text = fixed
    for pattern, by, reason in (
        (_SURROGATE, "\ufffd", "lone surrogate"),
        (_BREAKS, "\n", "line end"),
        (_SPACES, " ", "odd space"),
        (_INVISIBLE, "", "invisible character"),
    ):
        text, number = pattern.subn(by, text)
        counts[reason] += number
    composed = unicodedata.normalize("NFC", text)
    counts["composed to NFC"] += composed != text
    return composed, +counts


def _ftfy(text: str) -> str:
    try:
        import ftfy
    except ImportError as error:
        raise MinimindError(
            "repairing wrong decodings needs ftfy; 'pip install ftfy', or leave the repair out."
        ) from error
    return ftfy.fix_text(text, uncurl_quotes=False)


def join_lines(text: str) -> tuple[str, Counter[str]]:
    """Undo the line breaks of scans and mails: `exam-⏎ple` → `example`, one line a paragraph.

    Only lines of prose are joined: a line that ends a sentence and is shorter than most keeps its
    break. A hyphen at a line's end is taken as division, which is wrong for the few words that are
    hyphenated anyway (`well-⏎known`).

    >>> join_lines("The vil-\\nlage lay\\nby the sea.\\n\\nNext.")[0]
    'The village lay by the sea.\\n\\nNext.'
    """
    text, divided = re.subn(r"(?<=[^\W\d_])-\n(?=[a-zà-ÿ])", "", text)
    text, joined = re.subn(r"(?<=[\w,;])\n(?=[^\W_])", " ", text)
    return text, +Counter({"divided word joined": divided, "line joined": joined})


_SKIP = {"script", "style", "nav", "footer", "aside", "form", "noscript", "button", "select",
         "svg", "template", "iframe", "head", "title"}  # fmt: skip
_INLINE = {"a", "abbr", "b", "bdi", "cite", "code", "em", "font", "i", "kbd", "mark", "q", "s",
           "small", "span", "strong", "sub", "sup", "time", "u", "var", "wbr", "img"}  # fmt: skip
_HTML = re.compile(r"<!doctype html|</?(?:html|body|div|p|span|br|a|table|h[1-6])\b[^<>]*>", re.I)

_BOXES = {"div", "section", "ul", "ol", "p", "table", "dl"}
_NAMED = re.compile(
    r"(?:^|[\s_-])(?:ads?|advert\w*|banner|breadcrumbs?|comments?|consent|cookies?|footer|menu|nav\w*|"
    r"newsletter|promo|related|share|sharing|sidebar|social|sponsor\w*)(?:$|[\s_-])",
    re.I,
)
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u9fff]")
_CUT_TAG = re.compile(r"</?[a-z][^<>]*$", re.I)  # where a page was cut


@dataclass(slots=True)
class Block:
    """A run of text between block tags."""

    text: str = ""
    linked: int = 0  # words inside links
    heading: bool = False

    @property
    def words(self) -> int:
        """Number of words; where none are marked (Chinese, Japanese), two characters are one."""
        return _words(self.text)

    @property
    def link_density(self) -> float:
        """Share of the words that stand in links."""
        return self.linked / max(1, self.words)


def _words(text: str) -> int:
    return len(text.split()) + len(_UNSPACED.findall(text)) // 2


class _Blocks(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.blocks = [Block()]
        self.skipped: Counter[str] = Counter()
        self._skip: list[str] = []
        self._link = 0
        self._box, self._depth = "", 0  # the box that is left out, and how many like it are open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._box:
            self._depth += tag == self._box
        elif tag in _BOXES and any(
            name in ("class", "id") and value and _NAMED.search(value) for name, value in attrs
        ):
            self._cut()
            self._box, self._depth = tag, 1
            self.skipped["named box"] += 1
        elif tag in _SKIP:
            self.skipped[f"<{tag}>"] += not self._skip
            self._skip.append(tag)
        elif tag == "a":
            self._link += 1
        elif tag not in _INLINE:
            self._cut(heading=len(tag) == 2 and tag[0] == "h" and tag[1] in "123456")

    def handle_endtag(self, tag: str) -> None:
        if self._box:
            self._depth -= tag == self._box
            if not self._depth:
                self._box = ""
        elif tag in self._skip:  # an unclosed inner tag ends with the outer one
            del self._skip[self._skip.index(tag) :]
        elif tag == "a":
            self._link = max(0, self._link - 1)
        elif tag not in _INLINE:
            self._cut()

    def handle_data(self, data: str) -> None:
        if not self._skip and not self._box:
            block = self.blocks[-1]
            block.text += data
            block.linked += _words(data) if self._link else 0

    def _cut(self, heading: bool = False) -> None:
        if self.blocks[-1].text.strip():
            self.blocks.append(Block())
        self.blocks[-1].heading = heading


def looks_like_html(text: str) -> bool:
    """Whether at least two tags of a page stand in the text."""
    return sum(1 for _ in zip(_HTML.finditer(text), range(2), strict=False)) == 2


def is_content(before: Block, block: Block, after: Block) -> bool:
    """The paper's rules on words and link density of a block and its two neighbours."""
    if block.link_density > 1 / 3:
        return False
    if before.link_density > 5 / 9:
        return block.words > 40 or after.words > 17
    return block.words > 16 or after.words > 15 or before.words > 4


def extract_html(text: str) -> tuple[str, Counter[str]]:
    """The content of a page, a blank line between blocks; text that is not HTML stays as it is.

    A heading stays when the next block does.
    """
    if not looks_like_html(text):
        return text, Counter()
    parser = _Blocks()
    parser.feed(_CUT_TAG.sub("", text))
    parser.close()
    blocks = [b for b in parser.blocks if b.text.strip()]
    for block in blocks:
        block.text = " ".join(block.text.split())
    padded = [Block(), *blocks, Block()]
    keep = [is_content(*padded[i : i + 3]) for i in range(len(blocks))]
    for i in range(len(blocks) - 2, -1, -1):
        if blocks[i].heading and blocks[i].link_density <= 1 / 3:
            keep[i] = keep[i + 1]
    counts = parser.skipped + Counter({"boilerplate block": keep.count(False)})
    counts["page extracted"] += 1
    return "\n\n".join(b.text for b, kept in zip(blocks, keep, strict=True) if kept), +counts
