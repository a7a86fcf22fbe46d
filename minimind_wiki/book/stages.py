"""One prompt, answered by a model after each stage of its training: the playground's recorded run.

`scripts/record_stages.py` writes snippets/playground/stages.json: each answer token by token, the
likeliest one each time, with the odds of the next token before it. The weights are rounded to eight
bits a row as in the bundle for the page, so that the page computes the same answers again. The
untrained model is the exception: the page draws its weights with dice of its own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minimind_wiki.book import pages
from minimind_wiki.errors import MinimindError

COMMAND = "python scripts/record_stages.py"
PROMPT = (
    "Minda has 34 coins. Pedert has 5 coins more than Minda. How many coins do they have together?"
)
MOST, TOP = 40, 8  # tokens of an answer, and of the odds shown before each
BASE = "world-tiny"
STAGES = [  # id, stage, name, what it was trained on, in the order of training
    ("random", "random", "Random", "Weights drawn by chance. It has read nothing."),
    ("world-tiny", "pretrained", "Pretrained", "Read stories and lessons. It goes on with a text."),
    (
        "world-tiny-chat",
        "sft",
        "SFT",
        "Shown questions with answers, half of them without steps. It imitates.",
    ),
    (
        "world-tiny-dpo",
        "dpo",
        "DPO",
        "Shown pairs of answers about stories, and which one is better.",
    ),
    (
        "world-tiny-grpo",
        "rl",
        "RL",
        "Rewarded when a program found its sums right, and for nothing else.",
    ),
]
PLAIN = ("random", "pretrained")  # these go on with a text; the others answer in a chat


def hashes(root: Path) -> dict[str, str]:
    """SHA-256 of each shipped model's weights, by its id."""
    found = {}
    for name, stage, *_ in STAGES:
        if stage != "random":
            file = next((root / "models" / name).glob("*.safetensors"))
            found[name] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found


def load(name: str = "stages") -> dict[str, Any]:
    """The recorded run. MinimindError where it is missing, or older than the models."""
    path = pages.root() / "snippets" / "playground" / f"{name}.json"
    if not path.is_file():
        raise MinimindError(f"there is no recorded run {path.name}; make it: {COMMAND}")
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    fault = stale(record, pages.root())
    if fault and pages.strict():
        raise MinimindError(fault)
    return record


def stale(record: dict[str, Any], root: Path) -> str:
    """Why the record is out of date and what to do, or nothing."""
    if record["models"] != hashes(root):
        return f"the playground's recorded run is older than the models; make it anew: {COMMAND}"
    if record["prompt"] != PROMPT:
        return f"the playground's recorded run has another prompt; make it anew: {COMMAND}"
    return ""


def made(root: Path, most: int = MOST) -> dict[str, Any]:
    """Ask every stage; about ten seconds. Needs torch."""
    stages = [
        {"id": name, "stage": stage, "name": title, "was": was, "chat": stage not in PLAIN}
        | _answer(root, name, stage, most)
        for name, stage, title, was in STAGES
    ]  # fmt: skip
    return {"schema": 1, "command": COMMAND, "prompt": PROMPT, "most": most, "top": TOP,
            "models": hashes(root), "stages": stages}  # fmt: skip


def _answer(root: Path, name: str, stage: str, most: int) -> dict[str, Any]:
    import torch

    from minimind_wiki.tokenizer.chat import render

    model, tokenizer = _rounded(root, name)
    if stage in PLAIN:
        ids = list(tokenizer.encode(PROMPT))
    else:
        said = [{"role": "user", "content": PROMPT}]
        ids = list(render(said, tokenizer, add_generation_prompt=True).ids)
    stops = {tokenizer.eos_id, tokenizer.pad_id}
    text = _texts(tokenizer)
    answer: dict[str, Any] = {"reads": [text(i) for i in ids], "drawn": [], "reason": "length"}
    for _ in range(most):
        with torch.no_grad():
            odds_V = model(torch.tensor([ids]))[0, -1].float().softmax(-1)
        best = odds_V.topk(TOP)
        top = [
            [i, text(i), _three_digits(p)]
            for i, p in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]
        answer["drawn"].append(top)  # the first of them was taken
        ids.append(top[0][0])
        if ids[-1] in stops:
            answer["reason"] = "stop"
            break
    return answer


def _texts(tokenizer: Any) -> Callable[[int], str]:
    names = {i: name for name, i in tokenizer.special_ids.items()}
    return lambda token: names.get(token) or str(tokenizer.decode([token]))


def _three_digits(probability: float) -> float:
    return float(f"{probability:.3g}")


def _rounded(root: Path, name: str) -> tuple[Any, Any]:
    """The model as the page has it: matrices in eight bits a row, an adapter in full beside."""
    import torch

    from minimind_wiki.book.views.trace import round_weights
    from minimind_wiki.infer import load_model_folder
    from minimind_wiki.infer.adapter import is_adapter, whole_folder
    from minimind_wiki.model import Transformer

    folder = root / "models" / (BASE if name == "random" else name)
    model, tokenizer = load_model_folder(folder, dtype=torch.float32)
    if name == "random":
        return round_weights(Transformer(model.config, seed=0).eval()), tokenizer
    if not is_adapter(folder):
        return round_weights(model.eval()), tokenizer
    base, _ = load_model_folder(whole_folder(folder), dtype=torch.float32)
    whole = {key: value.clone() for key, value in base.state_dict().items()}
    rounded = round_weights(base).state_dict()
    with torch.no_grad():
        for key, value in model.state_dict().items():
            value.add_(rounded[key] - whole[key])  # in place: the state shares the model's memory
    return model.eval(), tokenizer
