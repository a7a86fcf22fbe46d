"""Programs that answer prompts with one model's weights: the engine and its rivals.

Each is a function from prompts of one length and a number of new tokens to those tokens, greedy and
without an end token, so that all do the same work. `bench/inference.py` uses them as well.
"""

import importlib.util
import json
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from minimind_wiki.book.record import repo_root
from minimind_wiki.errors import MinimindError
from minimind_wiki.infer import load_model_folder, save_model_folder, stream
from minimind_wiki.infer.engine import Engine
from minimind_wiki.infer.export.gguf_file import export_gguf
from minimind_wiki.infer.quantize import quantize_model, quicken
from minimind_wiki.infer.request import Request, Sampling
from minimind_wiki.model import Transformer

Ids = list[list[int]]
Answer = Callable[[Ids, int], Ids]


def need_rivals() -> None:
    """Raise MinimindError, with what to install, where a rival is missing."""
    missing = [n for n in ("transformers", "xllamacpp", "gguf") if not importlib.util.find_spec(n)]
    if missing:
        raise MinimindError(f"there is nothing to compare with; pip install {' '.join(missing)}.")


def by_engine(model: Transformer) -> Answer:
    """Our engine, made once for prompts of a size. No prompt is found in its cache, as none comes
    twice."""

    @cache
    def engine_for(count: int, longest: int) -> Engine:
        return Engine(model, room=count * longest, step_tokens=2048)

    def answer(prompts: Ids, new: int) -> Ids:
        engine = engine_for(len(prompts), len(prompts[0]) + new + 16)
        asked = [engine.add(Request(prompt, new, Sampling(temperature=0))) for prompt in prompts]
        out: dict[int, list[int]] = {number: [] for number in asked}
        while engine.busy:
            for number, token in engine.step():
                out[number].append(token.id)
        return [*out.values()]

    return answer


def by_int8(model: Transformer) -> Answer:
    """Our engine on weights of eight bits, through torch's kernel for them."""
    small = quantize_model(model, 8)
    quicken(small)
    return by_engine(small)


def by_stream(model: Transformer) -> Answer:
    """Our plain loop: a batch of equal prompts, a cache of one row each."""

    def answer(prompts: Ids, new: int) -> Ids:
        steps = stream(model, torch.tensor(prompts), new, temperature=0)
        return torch.stack([*steps], dim=1).tolist()

    return answer


def by_forward(model: Transformer) -> Answer:
    """One bare pass of the model over the prompts: the least that reading them can take."""

    @torch.inference_mode()
    def answer(prompts: Ids, new: int) -> Ids:
        assert new == 1
        return model.lm_head(model.model(torch.tensor(prompts))[:, -1:]).argmax(-1).tolist()

    return answer


def by_transformers(model: Transformer, dtype: torch.dtype = torch.float32) -> Answer:
    """transformers' `generate`, all in this format; several prompts as one batch."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with TemporaryDirectory() as folder:
        save_model_folder(Path(folder) / "model", model)
        theirs = transformers.AutoModelForCausalLM.from_pretrained(
            Path(folder) / "model", dtype=dtype
        ).eval()
    theirs.generation_config.eos_token_id = None

    def answer(prompts: Ids, new: int) -> Ids:
        ids = torch.tensor(prompts)
        out = theirs.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=new
        )
        return out[:, ids.shape[1] :].tolist()

    return answer


@cache
def any_tokenizer():
    """A GGUF file must carry one; nothing here is text."""
    return load_model_folder(repo_root() / "models" / "world-nano")[1]


class LlamaCpp:
    """llama.cpp's server in this process, on a GGUF file of the weights; several prompts come as
    requests at the same time. Its cache is float16, as it comes, and float32 beside float32."""

    def __init__(self, model: Transformer, kind: str, threads: int, slots: int, room: int) -> None:
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.n_parallel, params.n_ctx = slots, slots * room
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
        if kind == "f32":
            params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        params.cache_ram_mib, params.verbosity = 0, -1
        with TemporaryDirectory() as folder:
            file = export_gguf(model, any_tokenizer(), Path(folder) / "model.gguf", kind)
            params.model.path = str(file)
            self.server = xllamacpp.Server(params)

    def __call__(self, prompts: Ids, new: int) -> Ids:
        with ThreadPoolExecutor(len(prompts)) as pool:
            return list(pool.map(lambda prompt: self._ask(prompt, new), prompts))

    def _ask(self, prompt: list[int], new: int) -> list[int]:
        words = {"prompt": prompt, "n_predict": new, "temperature": 0, "samplers": ["temperature"],
                 "ignore_eos": True, "return_tokens": True, "cache_prompt": False}  # fmt: skip
        request = urllib.request.Request(
            self.server.listening_address + "/completion", json.dumps(words).encode(),
            {"Content-Type": "application/json"},
        )  # fmt: skip
        with urllib.request.urlopen(request, timeout=300) as answer:
            return json.load(answer)["tokens"]
