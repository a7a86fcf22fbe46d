"""The bar to clear: a model that sees one token and counts what followed it.

Its probabilities are counts of the training part, smoothed towards the unigram frequencies (Jelinek
& Mercer 1980) and those towards uniform. The smoothing weight is tuned on the training part's own
last tenth, never on the held-out part, so that the bar is as high as a bigram model gets.
"""

from __future__ import annotations

import numpy as np

PSEUDO_COUNTS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)


def bigram_log_probabilities(ids: np.ndarray, vocab_size: int, pseudo: float) -> np.ndarray:
    """log p(next | previous), (V, V): pseudo counts are spread as the unigram frequencies."""
    pairs = ids[:-1].astype(np.int64) * vocab_size + ids[1:]
    counts = np.bincount(pairs, minlength=vocab_size**2).reshape(vocab_size, vocab_size)
    unigram = (np.bincount(ids, minlength=vocab_size) + 1.0) / (len(ids) + vocab_size)
    smoothed = counts + pseudo * unigram
    return np.log(smoothed / smoothed.sum(axis=1, keepdims=True))


def bigram_loss(
    train: np.ndarray, held_out: np.ndarray, starts: np.ndarray, length: int, vocab_size: int
) -> float:
    """Mean nats per token over the same held-out windows that the model is measured on."""
    cut = len(train) * 9 // 10
    best = min(PSEUDO_COUNTS, key=lambda p: _mean_loss(train[:cut], train[cut:], vocab_size, p))
    table = bigram_log_probabilities(train, vocab_size, best)
    positions = (starts[:, None] + np.arange(length)).ravel()
    return float(-table[held_out[positions], held_out[positions + 1]].mean())


def _mean_loss(train: np.ndarray, test: np.ndarray, vocab_size: int, pseudo: float) -> float:
    table = bigram_log_probabilities(train, vocab_size, pseudo)
    return float(-table[test[:-1], test[1:]].mean())
