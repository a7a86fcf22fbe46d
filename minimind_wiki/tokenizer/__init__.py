"""How text becomes numbers and back."""

from minimind_wiki.tokenizer.bytes import ByteTokenizer
from minimind_wiki.tokenizer.load import load_tokenizer
from minimind_wiki.tokenizer.protocol import Tokenizer, text_ids

__all__ = ["ByteTokenizer", "Tokenizer", "load_tokenizer", "text_ids"]
