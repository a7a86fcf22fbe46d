"""What models read: known data sets, the embedded corpus, and checks that drop nothing silently."""

from minimind_wiki.data.corpus import Corpus, load_corpus
from minimind_wiki.data.embedded import embedded_text
from minimind_wiki.data.registry import REGISTRY

__all__ = ["REGISTRY", "Corpus", "embedded_text", "load_corpus"]
