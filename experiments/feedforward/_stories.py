"""Held-out stories of the little world, and a shipped model's loss on each class of their words.

Shapes: T tokens of a story, D hidden, V vocabulary.
"""

import re
from collections import defaultdict
from pathlib import Path

import torch
from torch import Tensor, nn

from minimind_wiki.data.world import make_document
from minimind_wiki.data.world.words import JOBS, LOOKS, NAMES, PLACES, THINGS
from minimind_wiki.infer import load_model_folder
from minimind_wiki.model import Transformer
from minimind_wiki.tokenizer import Tokenizer

CLASSES = {
    "first": "a name or place, first time",
    "again": "a name or place, again",
    "thing": "a thing, its look, a job",
    "pronoun": "he, she, his, her …",
    "other": "any other word",
    "mark": "a full stop, a comma …",
}
_OWN = {*NAMES, *(word for place in PLACES for word in place.split())}
_THINGS = {*THINGS, *LOOKS, *JOBS}
_PRONOUNS = {"he", "she", "his", "her", "him", "hers", "himself", "herself"}
_WORD = re.compile(rb"\w+|[^\w\s]")


class Constant(nn.Module):
    """A feed-forward that was cut out and left behind its average, (D,)."""

    def __init__(self, average_D: Tensor) -> None:
        super().__init__()
        self.average_D = average_D

    def forward(self, x: Tensor) -> Tensor:
        return self.average_D.expand_as(x)


def loaded(folder: Path) -> tuple[Transformer, Tokenizer]:
    """A shipped model in float32, and its tokenizer."""
    model, tokenizer = load_model_folder(folder, "cpu", torch.float32)
    assert tokenizer is not None
    return model.eval(), tokenizer


def stories(count: int, split: str, seed: int) -> list[str]:
    """So many stories that no model has read: the splits share neither people nor places."""
    return [make_document(f"feedforward/{seed}.{n}", split).text for n in range(count)]


def words(text: str) -> list[tuple[int, int, str]]:
    """(first byte, end, class) of each word of a story, in order."""
    seen: set[str] = set()
    found = []
    for hit in _WORD.finditer(text.encode()):
        word = hit[0].decode(errors="replace")
        kind = "other"
        if word in _OWN:
            kind = "again" if word in seen else "first"
            seen.add(word)
        elif word.lower() in _THINGS:
            kind = "thing"
        elif word.lower() in _PRONOUNS:
            kind = "pronoun"
        elif not word[0].isalnum():
            kind = "mark"
        found.append((hit.start(), hit.end(), kind))
    return found


@torch.inference_mode()
def losses(model: Transformer, tokenizer: Tokenizer, texts: list[str]) -> dict[str, float]:
    """Bits per byte of the stories, and nats per word of each class. A word of several tokens costs
    their sum; a token belongs to the word whose last byte it ends at or before."""
    nats: dict[str, float] = defaultdict(float)
    many: dict[str, int] = defaultdict(int)
    total, size = 0.0, 0
    for text in texts:
        ids = [tokenizer.bos_id, *tokenizer.encode(text)]
        logits_TV = model(torch.tensor([ids[:-1]]))[0].log_softmax(-1)
        cost_T = -logits_TV.gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
        total, size = total + cost_T.sum().item(), size + len(text.encode())
        todo, end = iter(words(text)), 0
        _, stop, kind = next(todo)
        many[kind] += 1
        for token, cost in zip(ids[1:], cost_T.tolist(), strict=True):
            end += tokenizer.byte_length(token)
            while end > stop and (following := next(todo, None)):
                _, stop, kind = following
                many[kind] += 1
            nats[kind] += cost
    per_word = {f"nats_{kind}": nats[kind] / many[kind] for kind in CLASSES if many[kind]}
    return {"bits_per_byte": total / size / 0.6931471805599453, **per_word}


@torch.inference_mode()
def means(model: Transformer, tokenizer: Tokenizer, texts: list[str]) -> list[Tensor]:
    """What each layer's feed-forward adds to the stream on average, (D,) for each layer."""
    sums = [torch.zeros(model.config.hidden_size) for _ in model.model.layers]
    count = 0

    def watch(n: int):
        def add(_: nn.Module, __: tuple, out_BTD: Tensor) -> None:
            sums[n] += out_BTD.sum((0, 1))

        return add

    hooks = [
        layer.mlp.register_forward_hook(watch(n)) for n, layer in enumerate(model.model.layers)
    ]
    for text in texts:
        ids = [tokenizer.bos_id, *tokenizer.encode(text)]
        count += len(ids)
        model(torch.tensor([ids]))
    for hook in hooks:
        hook.remove()
    return [total / count for total in sums]
