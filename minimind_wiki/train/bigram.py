"""The bar to clear: a model that sees one token and counts what followed it.

Its probabilities are counts of the training part, smoothed towards the unigram frequencies (Jelinek
& Mercer 1980) and those towards uniform. The smoothing weight is tuned on the training part's own
last tenth, never on the held-out part, so that the bar is as high as a bigram model gets.
"""

from __future__ import annotations

import numpy as np

PSEUDO_COUNTS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)


class Bigram:
    """Counts of pairs in `ids`, a 1-D array. Memory: 16 bytes for each different pair, not V²."""

    def __init__(self, ids: np.ndarray, vocab_size: int) -> None:
        self.vocab_size = vocab_size
        pairs = ids[:-1].astype(np.int64) * vocab_size + ids[1:]
        self.codes, self.counts = np.unique(pairs, return_counts=True)
        self.before = np.bincount(ids[:-1], minlength=vocab_size)
        self.unigram = (np.bincount(ids, minlength=vocab_size) + 1.0) / (len(ids) + vocab_size)

    def log_probability(self, before: np.ndarray, after: np.ndarray, pseudo: float) -> np.ndarray:
        """log p(after | before) in nats: `pseudo` counts are spread as the unigram frequencies.

        >>> seen = Bigram(np.array([0, 1, 0, 1, 0, 2]), 3)
        >>> np.exp(seen.log_probability(np.array([0, 0]), np.array([1, 2]), 1e-9)).round(3).tolist()
        [0.667, 0.333]
        """
        wanted = before.astype(np.int64) * self.vocab_size + after
        at = np.searchsorted(self.codes, wanted).clip(max=len(self.codes) - 1)
        counts = np.where(self.codes[at] == wanted, self.counts[at], 0)
        total = self.before[before] + pseudo * self.unigram.sum()
        return np.log((counts + pseudo * self.unigram[after]) / total)


def tuned_bigram(train: np.ndarray, vocab_size: int) -> tuple[Bigram, float]:
    """The counts of all of `train`, and the pseudo count that suits its own last tenth best."""
    cut = len(train) * 9 // 10
    part, rest = Bigram(train[:cut], vocab_size), train[cut:]
    pseudo = max(PSEUDO_COUNTS, key=lambda p: part.log_probability(rest[:-1], rest[1:], p).mean())
    return Bigram(train, vocab_size), pseudo


def bigram_loss(train: np.ndarray, before: np.ndarray, after: np.ndarray, vocab_size: int) -> float:
    """Mean nats per token over the pairs (before, after) that the model is measured on."""
    model, pseudo = tuned_bigram(train, vocab_size)
    return float(-model.log_probability(before, after, pseudo).mean())
