"""What a run begins with: the checks that cost nothing first, then shape, tokenizer and weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.infer.adapter import whole_folder
from minimind_wiki.model import ModelConfig, preset
from minimind_wiki.tokenizer import ByteTokenizer, Tokenizer, load_tokenizer
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.continued import shape_of, weights_hash
from minimind_wiki.train.folder import refuse_used
from minimind_wiki.train.loggers import chosen
from minimind_wiki.train.parallel import Alone
from minimind_wiki.train.resume import Found, find_whole


@dataclass(frozen=True, slots=True)
class Beginning:
    """Shape and tokenizer; the checkpoint that a resumed run goes on from; where weights lie."""

    shape: ModelConfig
    tokenizer: Tokenizer
    found: Found | None
    weights: Path | None
    init: dict[str, str] | None  # for run.json: which model a run began with


def begin(
    config: TrainConfig,
    fields: dict[str, Any],
    out: Path | None,
    resume: bool,
    tokenizer: Tokenizer | None,
    group: Alone,
) -> Beginning:
    """Find what the run begins with. WrongCall and MinimindError where it cannot."""
    if chosen(config.log_to) and out is None:
        raise WrongCall("log_to needs a run folder to write to; give --out.")
    if out and not resume:
        refuse_used(out)
    found = None
    if out and resume:
        found = group.in_turn(lambda: find_whole(out))  # the first renames what is damaged
    group.wait()  # before any process writes to the folder that the others still look at
    weights, init = None, None
    if config.init:
        weights = Path(config.init)
        other = open_tokenizer(config.tokenizer) if config.tokenizer != "bytes" else None
        shape, tokenizer = shape_of(found.folder if found else weights, fields, tokenizer or other)
        init = found.about["init"] if found else {
            "folder": config.init, "sha256": weights_hash(weights)}  # fmt: skip
    else:
        tokenizer = tokenizer or open_tokenizer(config.tokenizer)
        shape = preset(config.preset, **{
            "vocab_size": tokenizer.vocab_size, "pad_token_id": tokenizer.pad_id,
            "bos_token_id": tokenizer.bos_id, "eos_token_id": tokenizer.eos_id,
        } | fields)  # fmt: skip
    if config.context_length > shape.max_position_embeddings:
        raise WrongCall(
            f"context_length is {config.context_length}, but {config.init or config.preset} "
            f"accepts at most {shape.max_position_embeddings} (max_position_embeddings); change "
            "one of them."
        )
    if tokenizer.vocab_size > shape.vocab_size:
        raise WrongCall(
            f"the {tokenizer.name} tokenizer has {tokenizer.vocab_size:,} tokens, but the model's "
            f"vocabulary is {shape.vocab_size:,}; leave vocab_size out, or make it larger."
        )
    return Beginning(shape, tokenizer, found, found.folder if found else weights, init)


def open_tokenizer(spec: str) -> Tokenizer:
    """The tokenizer that `--tokenizer spec` means, or that of a model folder."""
    return ByteTokenizer() if spec == "bytes" else load_tokenizer(whole_folder(Path(spec)))


def refuse_other(saved: dict[str, Any], about: dict[str, Any], out: Path) -> None:
    """MinimindError when a run is to be resumed with other data or another tokenizer."""
    was, now = saved["data"], about["data"]
    if was["sha256"] != now["sha256"]:
        raise MinimindError(
            f"the run in {out} read {was['name']} ({was['bytes']:,} bytes), but {now['name']} now "
            f"has other text ({now['bytes']:,} bytes). Give the same data."
        )
    was, now = (some["data"].get("replay", {}).get("sha256") for some in (saved, about))
    if was != now:
        raise MinimindError(
            f"the run in {out} mixed in other old data than --replay names now. Give the same."
        )
    was, now = saved["tokenizer"], about["tokenizer"]
    if was["fingerprint"] != now["fingerprint"]:
        raise MinimindError(
            f"the run in {out} used another {was['name']} tokenizer than the {now['name']} "
            "tokenizer given now: the same id would mean another text. Give the run's own."
        )


def check_init(start: Beginning, config: TrainConfig) -> None:
    """MinimindError when the model that a resumed run adapts is no longer the one it began with."""
    if start.found and start.init and start.init["sha256"] != weights_hash(Path(config.init)):
        raise MinimindError(
            f"the weights in {config.init} are not those that the run began with, and its adapters "
            "fit no others. Put them back, or start again in another --out."
        )


def check_cycle(config: TrainConfig, cycle: int) -> None:
    """WrongCall when a run would measure, save or end while samples are still in use."""
    for name, steps in (("steps", config.steps), ("eval_every", config.eval_interval),
                        ("save_every", config.save_interval)):  # fmt: skip
        if steps % cycle:
            raise WrongCall(
                f"{name} is {steps}, but {cycle} steps share their samples; give a multiple of "
                f"{cycle}."
            )
