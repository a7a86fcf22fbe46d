"""llama.cpp for the tests: ids, probabilities and greedy continuations of a GGUF file.

The package `xllamacpp` carries llama.cpp with its server, built for every Python on Linux, macOS
and Windows; `llama-cpp-python` would compile it for minutes. The cache is float32 here: half of it
would hide an error of the file behind one of the cache.
"""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest


class LlamaCpp:
    """A GGUF file, opened by llama.cpp's server on a free port of this machine."""

    def __init__(self, file: Path) -> None:
        xllamacpp = pytest.importorskip("xllamacpp", reason="no wheel of llama.cpp for this system")
        params = xllamacpp.CommonParams()
        params.model.path = str(file)
        params.n_ctx, params.n_batch, params.n_parallel = 512, 512, 1
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        params.warmup, params.n_threads_http, params.verbosity = False, 1, -1
        self.server = xllamacpp.Server(params)

    def ask(self, path: str, **body: Any) -> dict[str, Any]:
        request = urllib.request.Request(
            self.server.listening_address + path, json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )  # fmt: skip
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def tokenize(self, text: str, specials: bool = False) -> list[int]:
        """Ids of a text; control tokens in it are data unless `specials` is given."""
        return self.ask("/tokenize", content=text, add_special=False, parse_special=specials)[
            "tokens"
        ]

    def chat(self, messages: list[dict[str, str]]) -> str:
        """The text that the file's template makes of a chat."""
        return self.ask("/apply-template", messages=messages)["prompt"]

    def greedy(self, ids: list[int], new: int) -> list[int]:
        """The `new` likeliest tokens, one after the other, whether one ends the text or not."""
        return self._complete(ids, new)["tokens"]

    def log_probabilities(self, ids: list[int], vocabulary: int) -> dict[int, float]:
        """Of every token after these, in nats."""
        found = self._complete(ids, 1, n_probs=vocabulary)["completion_probabilities"][0]
        return {one["id"]: one["logprob"] for one in found["top_logprobs"]}

    def _complete(self, ids: list[int], new: int, **more: Any) -> dict[str, Any]:
        return self.ask(
            "/completion", prompt=ids, n_predict=new, temperature=0, ignore_eos=False,
            return_tokens=True, cache_prompt=False, samplers=["temperature"], **more,
        )  # fmt: skip
