"""Look at what a reader has made on the mastery path: each part is measured, none is believed.

Where a model comes from is checked by hashes: run.json of every stage holds the sha256 of the
weights that it began with. What it can do is asked again, now, of it and of the model that it
began as, with the same questions. A quantized model is held against the whole one, text by text;
a server or an exported file must say what the folder says.
Shapes: none; folders in, sentences out.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from minimind_wiki.book.asked import PARTS, Finding
from minimind_wiki.data.world.rows import make_rows
from minimind_wiki.errors import MinimindError
from minimind_wiki.evaluate.intervals import mean_interval
from minimind_wiki.evaluate.manner import read
from minimind_wiki.infer import generate
from minimind_wiki.infer.open import open_model
from minimind_wiki.infer.quantize.folder import is_quantized
from minimind_wiki.train.compare import kl_to
from minimind_wiki.train.continued import weights_hash
from minimind_wiki.train.examine import Examined, arithmetic, instruction_following

MOST_NATS = 0.1
"""How far a quantized or exported model may be from the whole one: KL in nats a token. Eight bits
lie far below it; the stage before, or four bits of a model of 0.2M parameters, lie above."""
PROMPTS = ("Once upon a time", "This story began", "On Monday", "The old", "She went to", "Dear")
TOKENS = 16
TODO = {part.name: part.how for part in PARTS}


@dataclass(frozen=True, slots=True)
class Stage:
    """A training that the model went through: its folder and its run.json."""

    folder: Path
    run: dict[str, Any]

    @property
    def method(self) -> str:
        """sft, dpo, grpo …; pretrain where none is named."""
        return str((self.run.get("method") or {}).get("name", "pretrain"))


def lineage(folder: Path) -> tuple[list[Stage], str]:
    """The trainings of a model, the first one first, and why the way back ends too soon ("").

    A stage counts only if the weights that the next one began with are still there, to the bit.
    """
    stages: list[Stage] = []
    while True:
        run = read(folder / "run.json")
        if not run:
            return stages, f"{folder} has no run.json, so nothing says how it was trained."
        if run.get("status") != "finished":
            return stages, f"the run in {folder} is not finished; go on with --resume."
        if any(stage.folder.resolve() == folder.resolve() for stage in stages):
            return stages, f"the run in {folder} names itself as what it began with."
        stages.insert(0, Stage(folder, run))
        begun = run.get("init")
        if not begun:
            return stages, ""
        before = _before(folder, str(begun.get("folder", "")))
        if before is None:
            return stages, (
                f"{folder} began with {begun.get('folder')}, and that folder is not there; "
                "check from the folder where you trained, or keep the two side by side."
            )
        if weights_hash(before) != begun.get("sha256"):
            return stages, (
                f"the weights in {before} are not those that {folder.name} began with; train "
                "the later stage again."
            )
        folder = before


def _before(folder: Path, named: str) -> Path | None:
    """The folder that a run.json names: as it stands there, or beside the later one."""
    tries = [Path(named), folder.parent / Path(named).name] if named else []
    return next((place for place in tries if place.is_dir()), None)


def text(stages: list[Stage], broken: str) -> Finding:
    """The first training read raw text, and beat the best model of neighbouring pairs."""
    todo = f"Train one: {TODO['text']}"
    if broken:
        return Finding("text", False, broken, "" if stages else todo)
    first = stages[0]
    if first.method != "pretrain":
        return Finding("text", False, f"{first.folder} is {first.method}, no pretraining.", todo)
    loss, pairs = (first.run.get("held_out") or {}).get("loss"), first.run.get("bigram_loss")
    about = f"{first.run.get('parameters', 0):,} parameters on {first.run['data']['name']}"
    if loss is None or pairs is None:
        return Finding("text", False, f"{about}, with no held-out loss in run.json.", todo)
    found = f"{about}: {loss:.3f} nats a token on text it never read; pairs get {pairs:.3f}"
    if loss >= pairs:
        return Finding("text", False, found, "Train longer, or with a larger learning rate.")
    return Finding("text", True, found)


def taught(stages: list[Stage], broken: str) -> Finding:
    """At least one stage of fine-tuning follows, each from the one before."""
    methods = [stage.method for stage in stages]
    way = " → ".join(methods)
    if broken:
        return Finding("taught", False, f"not known, because: {broken}" if stages else broken)
    if len(methods) < 2:
        return Finding("taught", False, f"only {way}",
                       f"Teach it: {TODO['taught']}; or show a later stage.")  # fmt: skip
    return Finding("taught", True, f"{way}, each from the weights of the one before")


def exam(stages: list[Stage], items: int, device: str) -> Finding:
    """Base and model answer the same instructions and word problems.

    The gain must be no chance, and neither must be what the model gets right.
    """
    if len(stages) < 2:
        return Finding(
            "exam", False, "there is no base to compare with", "The two parts above come first."
        )
    scores: list[list[Examined]] = []
    for folder in (stages[0].folder, stages[-1].folder):
        model, tokenizer = _opened(folder, device)
        scores.append([
            asked(model, tokenizer, list(make_rows(kind, items, 0, "test")))
            for kind, asked in (("instructions", instruction_following),
                                ("arithmetic", arithmetic))
        ])  # fmt: skip
    before, after = ([each.marks for each in both] for both in scores)
    was, now = mean_interval(before).value, mean_interval(after)
    gain = mean_interval(
        [np.subtract(b, a, dtype=float) for a, b in zip(before, after, strict=True)]
    )
    chance = sum(each.score.chance for each in scores[1]) / len(scores[1])
    found = (
        f"{now.value:.0%} right, {was:.0%} before, {chance:.0%} by chance; the gain is "
        f"{gain.value:.0%} [{gain.low:.0%}, {gain.high:.0%}], {items} instructions and {items} sums"
    )
    if gain.low <= 0 or now.low <= chance:
        todo = (
            "Teach it longer, with instructions and worked problems, or ask more: "
            f"--limit {4 * items}."
        )
        return Finding("exam", False, found, todo, measured=True)
    return Finding("exam", True, found)


def small(model: Path, quantized: Path | None, rows: int, device: str) -> Finding:
    """The quantized folder is smaller and says nearly what the model says."""
    todo = f"Make it smaller: {TODO['small']}; then add --quantized runs/own-int8."
    if quantized is None:
        return Finding("small", False, "no quantized model was shown", todo)
    if not is_quantized(quantized):
        return Finding("small", False, f"{quantized} holds no quantized model", todo)
    whole, tokenizer = _opened(model, device)
    nats = _distance(whole, _opened(quantized, device)[0], tokenizer, rows)
    before = sum(p.numel() for p in whole.parameters()) * 4
    now = (quantized / "model.safetensors").stat().st_size
    about = json.loads((quantized / "config.json").read_text("utf-8"))["quantization_config"]
    found = (
        f"{about['bits']} bits, {now / before:.0%} of the bytes of float32; "
        f"{nats.value:.4f} nats a token from the whole model (at most {MOST_NATS})"
    )
    if nats.high > MOST_NATS:
        todo = "Quantize this very model; or take eight bits, or --method gptq."
        return Finding("small", False, found, todo, measured=True)
    return Finding("small", True, found)


def served(
    model: Path, quantized: Path | None, url: str | None, exported: Path | None, device: str
) -> Finding:
    """An address answers as the model does, or an exported folder or file holds the model."""
    todo = (f"Serve it: {TODO['served']}; then, from another terminal, add --served "
            "http://127.0.0.1:8000/v1. Or export it and add --exported.")  # fmt: skip
    if url:
        return _over_http(model, quantized, url.rstrip("/"), device, todo)
    if exported is None:
        return Finding("served", False, "neither an address nor an export was shown", todo)
    return _exported(model, exported, device, todo)


def _over_http(model: Path, quantized: Path | None, url: str, device: str, todo: str) -> Finding:
    try:
        name = _ask(f"{url}/models")["data"][0]["id"]
        told = [
            _ask(f"{url}/completions", {"model": name, "prompt": prompt, "temperature": 0,
                                        "max_tokens": TOKENS})["choices"][0]["text"]
            for prompt in PROMPTS
        ]  # fmt: skip
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        return Finding("served", False, f"{url} does not answer as OpenAI's API does ({error})",
                       todo)  # fmt: skip
    same = max(
        sum(a == b for a, b in zip(told, _said(folder, device), strict=True))
        for folder in filter(None, (model, quantized))
    )
    found = f"{same} of {len(PROMPTS)} answers over HTTP are the model's own, word for word"
    if same < len(PROMPTS) - 1:  # two tokens may be as likely as each other
        return Finding("served", False, found, f"Serve this very model. {todo}")
    return Finding("served", True, found)


def _ask(url: str, body: dict[str, Any] | None = None) -> Any:
    """The JSON of an address, with the key of MINIMIND_API_KEY if there is one."""
    if not url.startswith(("http://", "https://")):
        raise ValueError("an address begins with http:// or https://")
    head = {"Content-Type": "application/json"}
    if key := os.environ.get("MINIMIND_API_KEY"):
        head["Authorization"] = f"Bearer {key}"
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, head), timeout=60) as reply:
        return json.load(reply)


@torch.inference_mode()
def _said(folder: Path, device: str) -> list[str]:
    """The greedy continuations of the prompts."""
    model, tokenizer = _opened(folder, device)
    texts = []
    for prompt in PROMPTS:
        ids = tokenizer.encode(prompt)
        asked = torch.tensor([ids], device=device)
        new = generate(model, asked, TOKENS, 0.0, stop_ids=(tokenizer.eos_id,))[0, len(ids) :]
        kept = [token for token in new.tolist() if token != tokenizer.eos_id]
        texts.append(tokenizer.decode(kept))
    return texts


def _exported(model: Path, exported: Path, device: str, todo: str) -> Finding:
    whole, tokenizer = _opened(model, device)
    if exported.is_dir() and exported.resolve() != model.resolve():
        nats = _distance(whole, _opened(exported, device)[0], tokenizer, 8)
        found = f"read back, the folder is {nats.value:.4f} nats a token from the model"
        return Finding("served", nats.high <= MOST_NATS, found,
                       "" if nats.high <= MOST_NATS else "Export this very model.")  # fmt: skip
    if exported.suffix == ".gguf" and exported.is_file():
        error = _gguf_error(whole, exported)
        found = f"read back, the file's weights differ by {error:.2%} from the model's"
        good = error < 0.15  # four bits round a weight by up to a fifteenth of the widest
        return Finding("served", good, found, "" if good else "Export this very model.")
    return Finding("served", False, f"{exported} is no exported folder (--to hf) and no .gguf file",
                   todo)  # fmt: skip


def _gguf_error(model: Any, file: Path) -> float:
    """The norm of the difference of all matrices, by the norm of the model's."""
    import gguf

    from minimind_wiki.infer.export.gguf_file import gguf_tensors

    stored = {tensor.name: tensor for tensor in gguf.GGUFReader(file).tensors}
    off = size = 0.0
    for name, tensor in gguf_tensors(model):
        mine = tensor.cpu().numpy()
        held = stored.get(name)
        if held is None or held.data.size == 0:
            return 1.0
        theirs = gguf.quants.dequantize(held.data, held.tensor_type).reshape(-1)
        if theirs.size != mine.size:
            return 1.0
        off += float(((theirs - mine.reshape(-1)) ** 2).sum())
        size += float((mine**2).sum())
    return float((off / size) ** 0.5)


def _distance(whole: Any, other: Any, tokenizer: Any, rows: int) -> Any:
    """KL(other ‖ whole) in nats a token, on held-out texts and chats, with its interval."""
    if other.config.vocab_size != whole.config.vocab_size:
        raise MinimindError(
            "the two models have vocabularies of different sizes, so they are not one model; "
            "quantize or export the --model that you give."
        )
    kinds = [list(make_rows(kind, rows, 0, "test")) for kind in ("pretrain", "instructions")]
    return mean_interval([kl_to(whole, other, tokenizer, each) for each in kinds])


def _opened(folder: Path, device: str) -> tuple[Any, Any]:
    """Model and tokenizer. MinimindError where there is none."""
    model, tokenizer = open_model(folder, device, torch.float32)
    if tokenizer is None:
        raise MinimindError(f"{folder} has no tokenizer, so it cannot be asked.")
    return model.eval(), tokenizer
