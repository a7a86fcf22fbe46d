"""Quality and language filters: published rules, each with its own reason.

Gopher's document and repetition rules are from Rae et al. 2021 (arXiv:2112.11446, A.1.1 and table
A1), C4's from Raffel et al. 2020 (arXiv:1910.10683, 2.2). The language guess counts scripts and the
commonest words of a language (Grefenstette 1995, "Comparing two language identification schemes");
fastText's classifier is the trained form of the same idea. Rules for web pages are no rules for
conversations: give `Rules` other limits there.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from minimind_wiki.data.clean.minhash import words as split_words

TERMINAL = tuple(".!?。！？…\"”’'」)")
_SENTENCE_END = re.compile(r"[.!?](?=[\"”’')\]]*(?:\s|$))|[。！？]")
_GOPHER_WORDS = frozenset(("the", "be", "to", "of", "and", "that", "have", "with"))
_TOP = {2: 0.20, 3: 0.18, 4: 0.16}
_REPEATED = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}


@dataclass(frozen=True, slots=True)
class Rules:
    """The limits; the defaults are the papers'."""

    min_words: int = 50
    max_words: int = 100_000
    min_word_length: float = 3.0
    max_word_length: float = 10.0
    max_symbols: float = 0.1  # '#' or ellipses a word
    max_bullets: float = 0.9  # share of lines
    max_ellipses: float = 0.3  # share of lines
    min_alphabetic: float = 0.8  # share of words with a letter
    min_stop_words: int = 2  # different ones of the/be/to/of/and/that/have/with; 0 outside English
    min_sentences: int = 3
    min_terminal: float = (
        0.0  # share of lines that end a sentence; C4 drops each other line instead
    )
    repetition: bool = True


def quality_fault(text: str, rules: Rules) -> str | None:
    """The first rule that the text breaks, as a short stable reason, or None."""
    tokens = text.split()
    unspaced = len(split_words(text)) if any(c > "\u2fff" for c in text) else 0
    number = max(len(tokens), unspaced)
    if number < rules.min_words:
        return "too few words"
    if number > rules.max_words:
        return "too many words"
    if any(mark in text.lower() for mark in ("lorem ipsum", "enable javascript")):
        return "placeholder or script notice"
    symbols = max(text.count("#"), text.count("...") + text.count("…"))
    if symbols > rules.max_symbols * number:
        return "too many symbols"
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if sum(line[0] in "•*-‣·–" for line in lines) > rules.max_bullets * len(lines):
        return "mostly bullets"
    if sum(line.endswith(("...", "…")) for line in lines) > rules.max_ellipses * len(lines):
        return "lines that break off"
    if sum(line.endswith(TERMINAL) for line in lines) < rules.min_terminal * len(lines):
        return "lines without terminal punctuation"
    if len(_SENTENCE_END.findall(text)) < rules.min_sentences:
        return "too few sentences"
    if not unspaced:
        mean = sum(map(len, tokens)) / number
        if not rules.min_word_length <= mean <= rules.max_word_length:
            return "odd mean word length"
        if sum(any(map(str.isalpha, t)) for t in tokens) < rules.min_alphabetic * number:
            return "too few words with letters"
        lower = {token.lower().strip('.,;:!?"') for token in tokens}
        if len(lower & _GOPHER_WORDS) < rules.min_stop_words:
            return "no running English"
    return repetition_fault(text) if rules.repetition else None


def repetition_fault(text: str) -> str | None:
    """Gopher's table A1: repeated lines, paragraphs and word n-grams."""
    size = len(text)
    for kind, parts in (
        ("lines", [p.strip() for p in text.split("\n") if p.strip()]),
        ("paragraphs", [p.strip() for p in text.split("\n\n") if p.strip()]),
    ):
        seen: set[str] = set()
        again = [p for p in parts if p in seen or seen.add(p)]  # type: ignore[func-returns-value]
        if len(again) > 0.3 * len(parts) or sum(map(len, again)) > 0.2 * size:
            return f"repeated {kind}"
    tokens = split_words(text)
    letters = max(1, sum(map(len, tokens)))
    for n, limit in _TOP.items():
        grams = Counter(zip(*(tokens[i:] for i in range(n)), strict=False))
        if grams:
            gram, times = grams.most_common(1)[0]
            if times > 1 and times * sum(map(len, gram)) > limit * letters:
                return f"one {n}-gram again and again"
    for n, limit in _REPEATED.items():
        if _repeated_share(tokens, n) > limit:
            return "repeated n-grams"
    return None


def _repeated_share(tokens: list[str], n: int) -> float:
    """Share of the characters that lie in an n-gram seen before, each character counted once."""
    seen: set[tuple[str, ...]] = set()
    covered = bytearray(len(tokens))
    for at in range(len(tokens) - n + 1):
        gram = tuple(tokens[at : at + n])
        if gram in seen:
            covered[at : at + n] = b"\1" * n
        else:
            seen.add(gram)
    lengths = sum(map(len, tokens))
    return sum(len(t) for t, c in zip(tokens, covered, strict=True) if c) / max(1, lengths)


_SCRIPTS = (
    ("ja", "぀", "ヿ"), ("zh", "㐀", "鿿"), ("ko", "가", "힣"), ("ru", "Ѐ", "ӿ"),
    ("el", "Ͱ", "Ͽ"), ("ar", "؀", "ۿ"), ("he", "֐", "׿"), ("hi", "ऀ", "ॿ"), ("th", "฀", "๿"),
)  # fmt: skip
_COMMON = {
    "en": "the and of to a in is that it was for he on with as his they at be this had but she i "
    "you we my are have has how many much if than more each what when there will can do were her",
    "de": "der die und das in den von zu ist mit sich des auf für nicht ein eine dem es auch als",
    "fr": "de la le et les des en un une du est que dans pour qui sur il pas au plus par avec elle",
    "es": "de la que el en y a los se del las un por con una su para es al lo como más pero sus",
    "it": "di e il la che in un per è una sono non si del le con da della come ma nel gli",
    "pt": "de a o que e do da em um para com não uma os no se na por mais as dos como mas foi",
    "nl": "de en van het een in is dat op te zijn met voor niet aan er om ook als bij maar hij",
    "sv": "och i att det som en på är av för med den till inte har de ett om var men han hon",
}
LANGUAGES = (*_COMMON, *(code for code, _, _ in _SCRIPTS), "und")  # what `language` can say
_PROFILE = {code: frozenset(common.split(" ")) for code, common in _COMMON.items()}


def language(text: str) -> tuple[str, float]:
    """The likeliest language's code and its score; `und` when nothing speaks for any.

    A script that only one of our languages uses decides; for Latin letters the score is the share
    of words (numbers aside) that are common words of the language, and 0.1 is the least that
    counts.

    >>> [language(text)[0] for text in ("The cat sat on the mat.", "床前明月光", "Zik bol tra.")]
    ['en', 'zh', 'und']
    """
    letters = [char for char in text if char.isalpha()]
    if not letters:
        return "und", 0.0
    for code, low, high in _SCRIPTS:
        share = sum(low <= char <= high for char in letters) / len(letters)
        if share > (0.1 if code == "ja" else 0.5):
            return code, share
    tokens = [word for word in split_words(text) if any(map(str.isalpha, word))]
    scores = {c: sum(t in known for t in tokens) / len(tokens) for c, known in _PROFILE.items()}
    best = max(scores, key=lambda code: scores[code])
    return (best, scores[best]) if scores[best] >= 0.1 else ("und", scores[best])


def language_fault(text: str, keep: tuple[str, ...]) -> str | None:
    """`language is xx` when the guess is none of `keep`."""
    code, _ = language(text)
    return None if code in keep else f"language is {code}"
