"""What the world exam gives to those who have understood nothing.

The tricks look at where and how often an option's deciding words stand in the prompt and at the
length of the options; the bigram model knows which words are neighbours. A model has learned a
section only as far as it beats the best of them: chance is the wrong bar wherever a trick works.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from itertools import pairwise

from minimind_wiki.errors import WrongCall
from minimind_wiki.evaluate.tricks import TRICKS, by_trick
from minimind_wiki.evaluate.world_exam import Item, LogLikelihood

Judge = Callable[[Item], bool]
_WORD = re.compile(r"\w+|[^\w\s]")


def bigram(texts: Iterable[str], weight: float = 0.9) -> LogLikelihood:
    """Log-likelihood (nats) by pairs of neighbouring words, counted in `texts`.

    `weight` of each probability comes from the pairs, the rest from the single words, where one
    count is kept for an unknown word (Jelinek & Mercer 1980). WrongCall if there is no text.

    >>> score = bigram(["Mila was there. Mila was glad."])
    >>> score("Then Mila", "was") > score("Then Mila", "glad")
    True
    """
    singles: Counter[str] = Counter()
    pairs: Counter[tuple[str, str]] = Counter()
    for text in texts:
        words = _WORD.findall(text)
        singles.update(words)
        pairs.update(pairwise(words))
    total = singles.total()
    if not total:
        raise WrongCall("a bigram model needs at least one text to count in; give some.")

    def score(prompt: str, continuation: str) -> float:
        before, value = (_WORD.findall(prompt) or [""])[-1], 0.0
        for word in _WORD.findall(continuation):
            single = (singles[word] + 1) / (total + len(singles) + 1)
            pair = pairs[before, word] / singles[before] if singles[before] else 0.0
            value += math.log(weight * pair + (1 - weight) * single)
            before = word
        return value

    return score


def baselines(texts: Iterable[str] = ()) -> dict[str, Judge]:
    """Every baseline as a judge of items; with `texts` to count in, the bigram model too.

    >>> list(baselines())[:2]
    ['first mentioned', 'last mentioned']
    """
    judges: dict[str, Judge] = {name: partial(by_trick, trick) for name, trick in TRICKS.items()}
    texts = list(texts)
    if texts:
        score = bigram(texts)
        judges["bigram"] = partial(by_trick, lambda item, i: score(item.prompt, item.options[i]))
    return judges
