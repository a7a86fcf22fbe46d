"""How text becomes numbers and back."""

from minimind_wiki.tokenizer.bytes import ByteTokenizer, load_tokenizer

__all__ = ["ByteTokenizer", "load_tokenizer"]
