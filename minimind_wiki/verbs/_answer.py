"""What the verbs that answer have in common: a model, a draft that guesses for it, an engine."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.infer.guess import NGRAM
from minimind_wiki.infer.open import open_model
from minimind_wiki.infer.quantize import is_quantized
from minimind_wiki.infer.request import Sampling
from minimind_wiki.train.device import choose
from minimind_wiki.verbs.generate import find_model


class Opened:
    """The model of a call, its tokenizer and its draft, on the device that was asked for.

    `args`: model, device and dtype, and of those verbs that guess, draft and ahead. MinimindError
    for a folder that is no model or has no tokenizer; WrongCall for a draft that cannot guess for
    it, and for a format that cannot hold the weights.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        # the chat page has no such flags
        word, self.ahead = getattr(args, "draft", None), getattr(args, "ahead", 4)
        if self.ahead < 1:
            raise WrongCall(f"--ahead is {self.ahead}; give 1 guess or more, or no --draft.")
        if word not in (None, NGRAM) and not Path(word).exists():
            raise WrongCall(f"--draft {word} is no folder; give a model's, or ngram.")
        self.device = choose(args.device).device
        self.dtype = None if args.dtype == "auto" else getattr(torch, args.dtype)
        self.folder = find_model(args.model)
        self.model, self.tokenizer = self._open(self.folder)
        if self.tokenizer is None:
            raise MinimindError(f"{args.model} has no tokenizer, so it cannot read a text.")
        self.draft = self._draft(word)
        self.native = getattr(args, "native", False)

    def _open(self, folder: Path) -> tuple[Any, Any]:
        if self.dtype is not None and is_quantized(folder):
            raise WrongCall(
                f"{folder} holds codes, which --dtype cannot round; leave it out, or give the "
                "model that was quantized."
            )
        if self.device.type != "cpu":
            return open_model(folder, self.device, self.dtype)
        # many CPUs have no units for 16 bits and take many times as long
        model, tokenizer = open_model(folder, self.device, torch.float32)
        if self.dtype is not None:
            round_to(model, self.dtype)
        return model, tokenizer

    def _draft(self, word: str | None) -> Any:
        """What `--draft` names: a model, "ngram", or None."""
        if word is None or word == NGRAM:
            return word
        model, own = self._open(find_model(Path(word)))
        if own is None or _spelled(own) != _spelled(self.tokenizer):
            raise WrongCall(
                f"--draft {word} has another tokenizer than the model, so it cannot guess for it; "
                "give a model of the same tokenizer, or ngram."
            )
        return model

    def engine(self) -> Any:
        """An engine for one text at a time, with a cache for a whole context."""
        room = self.model.config.max_position_embeddings + 15  # the last block may be half full
        return self.engine_of(self.model, room=room, max_running=1)

    def engine_of(self, model: Any, **settings: Any) -> Any:
        """An engine for this model, or for it with an adapter, as the flags want it. MinimindError
        with the reason where there are no kernels for `--native`."""
        from minimind_wiki.infer.engine import Engine

        engine = Engine(model, self.tokenizer, draft=self.draft, ahead=self.ahead, **settings)
        if self.native:
            from minimind_wiki.infer.native import hasten

            hasten(engine)
        return engine


def round_to(model: torch.nn.Module, dtype: torch.dtype) -> None:
    """Round the weights to what `dtype` can hold; they stay float32. WrongCall for one beyond it.

    The engine reads them as 16 bits then (`infer.lean.fits_half`).
    """
    for name, weight in model.named_parameters():
        weight.data = weight.data.to(dtype).float()
        if not bool(weight.isfinite().all()):
            raise WrongCall(f"{dtype} does not reach the numbers of {name}; give --dtype bfloat16.")


def sampling_of(args: argparse.Namespace) -> Sampling:
    """How to draw, from the flags. WrongCall for a value without a meaning, before a model loads.

    >>> sampling_of(argparse.Namespace(max_tokens=9, temperature=0, top_k=None, top_p=None, seed=1))
    ... # doctest: +ELLIPSIS
    Sampling(temperature=0, ...)
    """
    if args.max_tokens < 1:
        raise WrongCall(f"--max-tokens is {args.max_tokens}; give 1 or more.")
    sampling = Sampling(args.temperature, args.top_k, args.top_p, seed=args.seed)
    sampling.check()
    return sampling


def _spelled(tokenizer: Any) -> list[bytes | None]:
    """Every token as bytes: equal for tokenizers that mean the same by their ids."""
    return [tokenizer.token_bytes(token) for token in range(tokenizer.vocab_size)]
