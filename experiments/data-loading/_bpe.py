"""A byte-level BPE in MiniMind's layout, learned from given texts by the library."""

from minimind_wiki.tokenizer.layout import CHATML
from minimind_wiki.tokenizer.library import LibraryTokenizer, train_library


def bpe(texts, vocab_size: int) -> LibraryTokenizer:
    return LibraryTokenizer(train_library(texts, vocab_size, CHATML).to_str())
