"""Pretraining: a decoder learns to predict the next token of a corpus, from random weights.

`pretrain` joins the rooms: corpus, tokenizer, model, loop, checkpoints. With `out` it leaves a
model folder whose `run.json` holds everything needed to repeat the run; without, it only measures,
which is what experiments use.
"""

from __future__ import annotations

import dataclasses
import math
import platform
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from minimind_wiki import __version__
from minimind_wiki.data import Corpus
from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.infer import load_model_folder
from minimind_wiki.model import Transformer, preset
from minimind_wiki.tokenizer import ByteTokenizer, Tokenizer, load_tokenizer
from minimind_wiki.train.bigram import bigram_loss
from minimind_wiki.train.checkpoint import load_training_state, save_checkpoint
from minimind_wiki.train.config import TrainConfig, command
from minimind_wiki.train.continued import freeze, mix, shape_of, weights_hash
from minimind_wiki.train.device import Place, choose, hardware
from minimind_wiki.train.faults import size
from minimind_wiki.train.feeds import Feed, make_feed
from minimind_wiki.train.folder import publish, refuse_used
from minimind_wiki.train.generators import seed_generators
from minimind_wiki.train.interrupt import until_signal
from minimind_wiki.train.loggers import chosen, make_loggers
from minimind_wiki.train.loop import Loop
from minimind_wiki.train.losses import LossModel, chunk_tokens
from minimind_wiki.train.optim import make_optimizer
from minimind_wiki.train.recompute import recompute_blocks
from minimind_wiki.train.report import Quiet, Report
from minimind_wiki.train.resume import find_whole
from minimind_wiki.train.state import State


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run gave. `finished` is False when a signal ended it early."""

    state: State
    model: Transformer
    bigram: float  # held-out nats per token of the bigram model
    finished: bool
    run: dict[str, Any]


def pretrain(
    config: TrainConfig,
    model_fields: dict[str, Any] | None = None,
    out: Path | None = None,
    resume: bool = False,
    report: Report | None = None,
    corpus: Corpus | None = None,
    tokenizer: Tokenizer | None = None,
    feed: Feed | None = None,
) -> Outcome:
    """Train the preset with the given model fields, or go on with the run in `out`.

    `corpus`, `tokenizer` and `feed` take the place of what `config` names, for an experiment that
    has its own. With `resume`, `config` and `model_fields` must be the run's own (see `saved_run`);
    they are not read from `out` here. Errors: WrongCall for settings that cannot work,
    MinimindError for data, disk and device faults and for a run folder in use, `NonFinite` when the
    loss blows up.
    """
    report = report or Quiet()
    config.validate()
    found = find_whole(out) if out and resume else None
    if config.init:
        folder = found.folder if found else Path(config.init)
        other = open_tokenizer(config.tokenizer) if config.tokenizer != "bytes" else None
        shape, tokenizer = shape_of(folder, model_fields or {}, tokenizer or other)
    else:
        tokenizer = tokenizer or open_tokenizer(config.tokenizer)
        shape = preset(config.preset, **{
            "vocab_size": tokenizer.vocab_size, "pad_token_id": tokenizer.pad_id,
            "bos_token_id": tokenizer.bos_id, "eos_token_id": tokenizer.eos_id,
        } | (model_fields or {}))  # fmt: skip
    named = config.init or config.preset
    if config.context_length > shape.max_position_embeddings:
        raise WrongCall(
            f"context_length is {config.context_length}, but {named} accepts at most "
            f"{shape.max_position_embeddings} (max_position_embeddings); change one of them."
        )
    if tokenizer.vocab_size > shape.vocab_size:
        raise WrongCall(
            f"the {tokenizer.name} tokenizer has {tokenizer.vocab_size:,} tokens, but the model's "
            f"vocabulary is {shape.vocab_size:,}; leave vocab_size out, or make it larger."
        )
    if chosen(config.log_to) and out is None:
        raise WrongCall("log_to needs a run folder to write to; give --out.")
    if out and not resume:
        refuse_used(out)
    place = choose(config.device, config.dtype)
    if config.threads:
        torch.set_num_threads(config.threads)
    feed = feed or make_feed(config, tokenizer, corpus)
    if config.replay:
        old = make_feed(dataclasses.replace(config, data=config.replay), tokenizer)
        feed = mix(feed, old, config.replay_share, config.batch_size)
    report.line(feed.line)
    report.line(place.describe())
    model = Transformer(shape, seed=config.seed).to(place.device)
    seed_generators(config.seed)
    state, last = State(), ""
    config = dataclasses.replace(config, data=feed.about["source"])  # what "" meant this time
    about = {
        "command": command(config, model_fields or {}),
        "settings": dataclasses.asdict(config),
        "model": dict(model_fields or {}),
        "data": feed.about,
        "tokenizer": {"name": tokenizer.name, "fingerprint": tokenizer.fingerprint},
    }
    if config.init and not found:
        about["init"] = {"folder": config.init, "sha256": weights_hash(Path(config.init))}
        model.load_state_dict(load_model_folder(Path(config.init), place.device)[0].state_dict())
    if config.freeze:
        report.line(freeze(model, config.freeze))
    chunk, told = loss_chunk(config, model, place)
    if told:
        report.line(told)
    forward: Any = LossModel(model, chunk, config.z_loss, config.label_smoothing)
    balancer = forward.balancer
    if config.activation_checkpointing:
        recompute_blocks(model)
    if config.compile:
        forward = torch.compile(forward)
    betas = (config.beta1, config.beta2)
    optimizer = make_optimizer(config.optimizer, model, config.weight_decay, betas, place.dtype)
    scaler = place.scaler()
    if found:
        about |= {name: found.about[name] for name in ("init",) if name in found.about}
        state, last = found.state, str(found.folder)
        refuse_other(found.about, about, found.folder.parent.parent)
        model.load_state_dict(load_model_folder(found.folder, place.device)[0].state_dict())
        load_training_state(found.folder, model, optimizer, scaler)
        for warning in found.warnings:
            report.line(warning)
        report.line(f"Resuming from {last}, step {state.step:,} of {config.steps:,}: {found.why}.")
    report.line(
        f"Model: {named} ({shape.layout}), {model.num_parameters():,} parameters, "
        f"{tokenizer.name} of {tokenizer.vocab_size:,} tokens."
    )
    report.line(feed.held_out_line)
    bigram = bigram_loss(feed.sample_ids, *feed.bigram_pairs(), tokenizer.vocab_size)
    report.line(
        f"The bar: a bigram model has {bigram:.3f} nats/token ({bigram / math.log(2):.3f} bits), "
        f"chance {math.log(tokenizer.vocab_size):.3f}."
    )

    def save() -> str:
        if out is None:
            return ""
        keep = config.keep_checkpoints
        return str(save_checkpoint(out, model, optimizer, tokenizer, state, about, keep, scaler))

    loggers = make_loggers(config.log_to, out, about, state.step)
    # without a folder there is nothing to keep: a signal then ends the process as usual
    with until_signal() if out else nullcontext(lambda: False) as stopping:
        loop = Loop(config, model, forward, optimizer, scaler, tokenizer, feed, place, state,
                    report, save, stopping, last, state.step if resume else -1,
                    loggers, chunk, balancer)  # fmt: skip
        try:
            finished = loop.run()
        finally:
            for logger in loggers:
                logger.close()
    windows = sum(len(part.ids_BT) for part in feed.held_out)
    known = {"document_begin": list(feed.begin), "floor_bits_per_byte": feed.floor}
    run = about | known | describe(state, bigram, model, place, windows, finished)
    run["throughput"] = loop.meter.summary()
    if finished and state.best_loss is not None:
        report.line(loop.summary())
        report.line(
            f"Held-out loss {state.best_loss:.4f} nats/token at step {state.best_step:,}, "
            f"{abs(bigram - state.best_loss):.3f} "
            f"{'below' if state.best_loss < bigram else 'ABOVE'} the bigram model."
        )
    if out and finished:
        model = publish(out, model, tokenizer, state, run, place.device, report.line)
    return Outcome(state, model, bigram, finished, run)


def open_tokenizer(spec: str) -> Tokenizer:
    """The tokenizer that `--tokenizer spec` means."""
    return ByteTokenizer() if spec == "bytes" else load_tokenizer(spec)


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


def corpus_bigram(config: TrainConfig) -> tuple[float, dict[str, Any]]:
    """The bigram model's held-out nats per token for a run with this configuration, and its data.

    The same number that `pretrain` prints, without a model.
    """
    tokenizer = open_tokenizer(config.tokenizer)
    feed = make_feed(config, tokenizer)
    return bigram_loss(feed.sample_ids, *feed.bigram_pairs(), tokenizer.vocab_size), feed.about


def loss_chunk(config: TrainConfig, model: Transformer, place: Place) -> tuple[int, str]:
    """Tokens of a chunk of the loss, 0 for all at once, and the line that says so where it is not.

    See `losses.chunk_tokens`.
    """
    tokens = (config.micro_batch_size or config.batch_size) * config.context_length
    vocabulary = model.config.vocab_size
    chunk = config.loss_chunk or chunk_tokens(tokens, vocabulary, place.device.type)
    if not 0 < chunk < tokens:
        return 0, ""
    return chunk, (
        f"Loss: in chunks of {chunk:,} tokens; {tokens:,} x {vocabulary:,} scores would be "
        f"{size(4 * tokens * vocabulary)}, several times over."
    )


def describe(
    state: State, bigram: float, model: Transformer, place: Place, windows: int, finished: bool
) -> dict[str, Any]:
    """The measured half of run.json; the other half is the settings."""
    return {
        "status": "finished" if finished else f"unfinished, at step {state.step}",
        "parameters": model.num_parameters(),
        "curve": {"train": state.train, "held_out": state.held_out},
        "held_out": {"loss": state.best_loss, "bits_per_byte": state.best_bits,
                     "step": state.best_step, "last_loss": state.held_out["loss"][-1],
                     "windows": windows},
        "bigram_loss": bigram,
        "exams": state.exams,
        "samples": state.samples,
        "seconds": round(state.seconds, 1),
        "tokens": {"read": state.tokens, "predicted": state.predicted},
        "skipped_steps": state.skipped,
        "device": place.describe(),
        "hardware": hardware(place),
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__,
                     "numpy": np.__version__, "minimind_wiki": __version__},
    }  # fmt: skip
