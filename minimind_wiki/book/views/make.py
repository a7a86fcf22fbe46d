"""Makes the recorded looks: runs a shipped model over a text and keeps what the pages draw.

Numbers are kept as the pages show them: weights of attention to a thousandth, other shares to a
tenth of that.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minimind_wiki.book import pages
from minimind_wiki.book.views import measures, recorded
from minimind_wiki.book.views.trace import Cuts, Traced, round_weights, trace
from minimind_wiki.errors import WrongCall
from minimind_wiki.infer.export.browser import export_browser
from minimind_wiki.infer.folder import load_model_folder
from minimind_wiki.model import PRESETS, ModelConfig, Transformer, preset

TOP, LENS_TOP = 10, 5
NEURONS, RAISED = 8, 3  # of each layer, and words of each; as web/src/views/neurons.ts


def open_shipped(name: str) -> tuple[Transformer, Any, int]:
    """A shipped model with weights of eight bits, its tokenizer, and the bytes of its bundle."""
    model, tokenizer = load_model_folder(pages.root() / "models" / name, dtype=torch.float32)
    with tempfile.TemporaryDirectory() as place:
        bundle = export_browser(model, tokenizer, Path(place) / name)
        size = sum(file.stat().st_size for file in bundle.iterdir())
    return round_weights(model), tokenizer, size


def look(name: str, prompt: str, other: str = "") -> dict[str, Any]:
    """Everything the views show of a model on a prompt, ready for JSON."""
    model, tokenizer, size = open_shipped(name)
    data: dict[str, Any] = {
        "model": name, "prompt": prompt, "other": other, "command": recorded.COMMAND,
        "files": recorded.fingerprint(name), "weights": "int8 rows, as the page runs them",
        "bytes": size, "shape": shape(name, model.config),
    }  # fmt: skip
    if not prompt:
        return data
    ids = tokenizer.encode(prompt)
    seen = trace(model, ids)
    answer = int(seen.odds[-1][-1].argmax())
    say = [tokenizer.decode([token]) for token in range(model.config.vocab_size)]
    data |= {
        "ids": ids,
        "texts": [say[token] for token in ids],
        "answer": [answer, say[answer], _four_places(seen.odds[-1][-1][answer])],
        "next": _best(seen.odds[-1][-1], say, TOP),
        "attention": [[_rows(head_TT) for head_TT in layer] for layer in seen.weights],
        "measures": [[_measured(head_TT, ids) for head_TT in layer] for layer in seen.weights],
        **_without(model, ids, answer),
        "lens": _lens(seen, [*ids[1:], answer], say),
        "added": [[[round(x, 2) for x in pair] for pair in layer.tolist()] for layer in seen.added],
        "neurons": _neurons(model, seen, say),
        "length": [[round(float(x), 2) for x in layer.norm(dim=-1)] for layer in seen.stream],
    }
    if other:
        data["patch"] = patch(model, ids, tokenizer.encode(other), say)
    return data


def shape(name: str, config: ModelConfig, title: str = "") -> dict[str, Any]:
    """What decides the size of a cache."""
    layers = config.num_hidden_layers
    return {
        "id": name, "title": title or name, "layers": layers, "heads": config.num_attention_heads,
        "kvHeads": config.num_key_value_heads, "headSize": config.head_dim,
        "context": config.max_position_embeddings,
        "windows": [config.window(layer) or None for layer in range(layers)],
    }  # fmt: skip


def compared() -> list[dict[str, Any]]:
    """One preset with all key heads, with shared ones, and with a window; and larger presets."""
    heads = PRESETS["26m"]["num_attention_heads"]
    every_other = ",".join(str(layer) for layer in range(0, PRESETS["26m"]["num_hidden_layers"], 2))
    windowed = preset("26m", sliding_window=512, full_layers=every_other)
    return [
        shape("26m-mha", preset("26m", num_key_value_heads=heads), "26m, a key head each"),
        shape("26m", preset("26m"), "26m, shared key heads"),
        shape("26m-window", windowed, "26m, every other layer a window of 512"),
        shape("64m", preset("64m"), "64m"),
        shape("104m", preset("104m"), "104m"),
    ]


def patch(model: Transformer, ids: list[int], other: list[int], say: list[str]) -> dict[str, Any]:
    """The probability of the other prompt's answer, with one vector of its pass put into this one.

    `map` is (L + 1, T): after which layer (first the embedding), at which position.
    """
    if len(ids) != len(other):
        raise WrongCall(
            f"the two prompts have {len(ids)} and {len(other)} tokens; give two of one length, "
            "so that each position has its partner."
        )
    plain, theirs = trace(model, ids), trace(model, other)
    answer = int(theirs.odds[-1][-1].argmax())
    rows = []
    for layer, stream_TD in enumerate(theirs.stream):
        row = []
        for position in range(len(ids)):
            cut = Cuts(patch=(layer - 1, position, stream_TD[position]))
            row.append(_four_places(trace(model, ids, cut).odds[-1][-1][answer]))
        rows.append(row)
    return {
        "ids": other, "texts": [say[token] for token in other], "answer": [answer, say[answer]],
        "before": _four_places(plain.odds[-1][-1][answer]),
        "after": _four_places(theirs.odds[-1][-1][answer]),
        "map": rows,
    }  # fmt: skip


def _without(model: Transformer, ids: list[int], answer: int) -> dict[str, Any]:
    """The answer's probability with one head, or one part of a layer, switched off."""

    def left(cuts: Cuts) -> float:
        return _four_places(trace(model, ids, cuts).odds[-1][-1][answer])

    layers, heads = range(model.config.num_hidden_layers), range(model.config.num_attention_heads)
    return {
        "without_head": [
            [left(Cuts(heads=frozenset([(layer, head)]))) for head in heads] for layer in layers
        ],
        "without_part": [
            [left(Cuts(parts=frozenset([(layer, part)]))) for part in ("attention", "mlp")]
            for layer in layers
        ],
    }


def _neurons(model: Transformer, seen: Traced, say: list[str]) -> list[dict[str, Any]]:
    """For each layer the neurons that fire most at the last token, whatever their sign, with what
    they hold at every token, and the words that their value raises where they are largest: the
    column of the projection, with that sign, read by the last norm's gain and the head."""
    layers: list[dict[str, Any]] = []
    decoder: Any = model.model
    for block, fired_TF in zip(decoder.layers, seen.fired, strict=True):
        if not fired_TF.shape[1]:  # a layer of experts
            layers.append({"width": 0, "most": 0.0, "rows": []})
            continue
        rows = []
        for neuron in fired_TF[-1].abs().topk(NEURONS).indices.tolist():
            own_T = fired_TF[:, neuron]
            value_D = block.mlp.down_proj.weight[:, neuron] * decoder.norm.weight
            score_V = model.lm_head.weight @ value_D * own_T[own_T.abs().argmax()].sign()
            raises = [say[token] for token in score_V.topk(RAISED).indices.tolist()]
            rows.append([neuron, [round(float(x), 2) for x in own_T], raises])
        most = round(float(fired_TF.abs().max()), 2)
        layers.append({"width": fired_TF.shape[1], "most": most, "rows": rows})
    return layers


def _measured(head_TT: Tensor, ids: list[int]) -> list[float | None]:
    told = measures.head_measures(head_TT.tolist(), ids)
    return [None if value is None else _four_places(value) for value in told.values()]


def _four_places(share: Tensor | float) -> float:
    return round(float(share), 4)


def _rows(head_TT: Tensor) -> list[list[int]]:
    """The lower triangle in thousandths."""
    return [[round(1000 * float(x)) for x in row[: place + 1]] for place, row in enumerate(head_TT)]


def _best(odds_V: Tensor, say: list[str], count: int) -> list[list[Any]]:
    shares, tokens = odds_V.topk(count)
    return [[int(i), say[int(i)], _four_places(p)] for p, i in zip(shares, tokens, strict=True)]


def _lens(seen: Traced, following: list[int], say: list[str]) -> list[list[dict[str, Any]]]:
    """For each layer and position the likeliest tokens, and the share of the one that follows."""
    return [
        [
            {"top": _best(odds_V, say, LENS_TOP), "actual": _four_places(odds_V[token])}
            for odds_V, token in zip(layer_TV, following, strict=True)
        ]
        for layer_TV in seen.odds
    ]
