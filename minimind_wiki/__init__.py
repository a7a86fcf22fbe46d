"""minimind.wiki: learn how language models are trained, by measuring it.

The folders of this package are the rooms of the book: `model` is what is trained, `data` and
`tokenizer` what it reads, `train` how it learns, `infer` how it speaks, `lite` what runs in the
reader's browser, and `book` the machine that turns measurements into pages.
"""

__version__ = "0.1.0"
