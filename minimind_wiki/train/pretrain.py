"""Pretraining: a decoder learns to predict the next token of a corpus.

`pretrain` joins the rooms: corpus, tokenizer, model, loop, checkpoints. With `out` it leaves a
model folder whose `run.json` holds everything needed to repeat the run; without, it only measures,
which is what experiments use. Started by torchrun, several processes train together.
"""

from __future__ import annotations

import dataclasses
import math
import platform
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from minimind_wiki import __version__
from minimind_wiki.data import Corpus
from minimind_wiki.errors import WrongCall
from minimind_wiki.evaluate.manner import text_begin
from minimind_wiki.infer import load_model_folder
from minimind_wiki.model import Transformer
from minimind_wiki.tokenizer import Tokenizer
from minimind_wiki.train.begin import (
    Beginning,
    begin,
    check_cycle,
    check_init,
    open_tokenizer,
    refuse_other,
)
from minimind_wiki.train.bigram import bigram_loss
from minimind_wiki.train.checkpoint import load_training_state, save_checkpoint, save_together
from minimind_wiki.train.config import TrainConfig, command
from minimind_wiki.train.continued import freeze, mix
from minimind_wiki.train.device import Place, choose, hardware
from minimind_wiki.train.extra import adapt, attach, plain
from minimind_wiki.train.faults import size
from minimind_wiki.train.feeds import Feed, make_feed
from minimind_wiki.train.folder import publish
from minimind_wiki.train.generators import seed_generators
from minimind_wiki.train.interrupt import until_signal
from minimind_wiki.train.loggers import make_loggers
from minimind_wiki.train.loop import Loop
from minimind_wiki.train.losses import LossModel, chunk_tokens
from minimind_wiki.train.method import Tuning, Workshop
from minimind_wiki.train.optim import make_optimizer
from minimind_wiki.train.parallel import Alone, joined
from minimind_wiki.train.recompute import recompute_blocks
from minimind_wiki.train.report import Quiet, Report
from minimind_wiki.train.state import State


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run gave. `finished` is False when a signal ended it early."""

    state: State
    model: Transformer
    bigram: float | None  # held-out nats per token of the bigram model, where there is one
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
    tuning: Tuning | None = None,
) -> Outcome:
    """Train the preset with the given model fields, or go on with the run in `out`.

    With `tuning`, its loss, batches and measurements take the place of pretraining's.

    `corpus`, `tokenizer` and `feed` take the place of what `config` names, for an experiment that
    has its own. With `resume`, `config` and `model_fields` must be the run's own (see `saved_run`);
    they are not read from `out` here. Errors: WrongCall for settings that cannot work,
    MinimindError for data, disk and device faults and for a run folder in use; those of
    `faults.py` when a step cannot be done.
    """
    config.validate()
    if config.replay and tuning:
        raise WrongCall(
            f"replay is pretraining's; for {tuning.name} mix texts into data: "
            "'world/arithmetic=3,world/pretrain=1'."
        )
    fields = model_fields or {}
    with joined(config.parallel, config.timeout) as group:
        told = report if report is not None and group.first else Quiet()
        start = begin(config, fields, out, resume, tokenizer, group)
        place = choose(config.device, config.dtype)
        if config.threads:
            torch.set_num_threads(config.threads)
        # a file that is not here yet is fetched by one process, then found by the others
        feed = feed or group.in_turn(partial(make_feed, config, start.tokenizer, corpus))
        old = None
        if config.replay:
            replay = dataclasses.replace(config, data=config.replay)
            old = group.in_turn(partial(make_feed, replay, start.tokenizer))
            feed = mix(feed, old, config.replay_share, config.batch_size)
        return _train(config, fields, out, told, start, place, feed, old, group, tuning)


def _train(
    config: TrainConfig,
    fields: dict[str, Any],
    out: Path | None,
    report: Report,
    start: Beginning,
    place: Place,
    feed: Feed,
    old: Feed | None,
    group: Alone,
    tuning: Tuning | None,
) -> Outcome:
    tokenizer, found = start.tokenizer, start.found
    report.line(feed.line)
    report.line(place.describe())
    config = dataclasses.replace(config, data=feed.about["source"])  # what "" meant this time
    about = {
        "command": command(config, fields, tuning),
        "settings": dataclasses.asdict(config),
        "model": dict(fields),
        "data": feed.about,
        "tokenizer": {"name": tokenizer.name, "fingerprint": tokenizer.fingerprint},
    } | ({"init": start.init} if start.init else {})
    if tuning:
        about["method"] = {"name": tuning.name, **dataclasses.asdict(tuning.settings)}
    if found and out:
        refuse_other(found.about, about, out)

    # the model, its loss, its optimizer
    model = Transformer(start.shape, seed=config.seed).to(place.device)
    seed_generators(config.seed)
    weights = Path(config.init) if config.lora_rank else start.weights  # not with them merged in
    if weights:
        model.load_state_dict(load_model_folder(weights, place.device)[0].state_dict())
    report.line(
        f"Model: {config.init or config.preset} ({start.shape.layout}), "
        f"{model.num_parameters():,} parameters, {tokenizer.name} of {tokenizer.vocab_size:,} "
        "tokens."
    )
    if config.freeze:
        report.line(freeze(model, config.freeze))
    if config.lora_rank:
        check_init(start, config)
        report.line(adapt(model, config))
    if group.size > 1:
        report.line(f"Processes: {group.size} ({group.kind}), started by torchrun.")
    if group.apart and place.dtype is torch.float16:
        raise WrongCall(f"float16 does not go with {group.kind}: use --dtype bfloat16.")
    if group.kind == "tensor" and config.optimizer == "muon":
        raise WrongCall("muon does not go with tensor, which cuts its matrices: use ddp or fsdp.")
    if config.attention == "flex" and not (place.device.type == "cuda" and config.compile):
        raise WrongCall("flex attention needs a CUDA device and --compile; use --attention auto.")
    model.model.attention_backend = config.attention
    if config.activation_checkpointing:
        recompute_blocks(model)
    chunk, told = (0, "") if group.apart else loss_chunk(config, model, place, group)
    if told:
        report.line(told)
    loss: Any = LossModel(model, chunk, config.z_loss, config.label_smoothing)
    method = None
    if tuning:
        work = Workshop(model, tokenizer, place, feed, config, chunk, group)
        method = tuning.make(work, tuning.settings)
        loss = method.loss
        check_cycle(config, method.cycle)
        if method.head is not None:
            attach(model, method.head)
    if group.apart and (config.lora_rank or (method and method.head)):
        raise WrongCall(f"adapters and heads do not go with {group.kind}; use --parallel ddp.")
    forward: Any = group.spread(loss)
    if config.compile:
        forward = torch.compile(forward)
    betas = (config.beta1, config.beta2)
    narrow = config.base_width / start.shape.hidden_size if config.base_width else 1.0
    optimizer = make_optimizer(config.optimizer, model, config.weight_decay, betas, place.dtype,
                               narrow)  # fmt: skip
    scaler, state = place.scaler(), State()
    if found:
        state = found.state
        load_training_state(found.folder, model, optimizer, scaler)
        for warning in found.warnings:
            report.line(warning)
        report.line(f"Resuming from {found.folder}, step {state.step:,} of {config.steps:,}: "
                    f"{found.why}.")  # fmt: skip

    # the bar to pass
    report.line(feed.held_out_line)
    bigram = None
    if len(feed.sample_ids):  # else the loss is no text's
        bigram = bigram_loss(feed.sample_ids, *feed.bigram_pairs(), tokenizer.vocab_size)
        report.line(
            f"The bar: a bigram model has {bigram:.3f} nats/token ({bigram / math.log(2):.3f} "
            f"bits), chance {math.log(tokenizer.vocab_size):.3f}."
        )

    def save() -> str:
        if out is None:
            return ""
        what = (out, model, optimizer, tokenizer, state, about, config.keep_checkpoints, scaler)
        if group.apart:
            return str(save_together(group, *what))
        folder = save_checkpoint(*what) if group.first else ""
        group.wait()
        return str(folder)

    loggers = make_loggers(config.log_to, out, about, state.step) if group.first else []
    # without a folder there is nothing to keep: a signal then ends the process as usual
    with until_signal() if out else nullcontext(lambda: False) as stopping:
        loop = Loop(config, model, forward, optimizer, scaler, tokenizer, feed, place, state,
                    report, save, stopping, str(found.folder) if found else "",
                    state.step if found else -1, loggers, chunk, group=group, old=old,
                    balancer=getattr(loss, "balancer", None),
                    method=method)  # fmt: skip
        try:
            finished = loop.run()
        finally:
            for logger in loggers:
                logger.close()
    windows = sum(len(part.ids_BT) for part in feed.held_out)
    first = list(feed.begin) if feed.begin or not config.init else [*text_begin(Path(config.init))]
    known = {"document_begin": first, "floor_bits_per_byte": feed.floor}
    with plain(model):
        run = about | known | describe(state, bigram, model, place, windows, finished)
    run |= {"throughput": loop.meter.summary(), "processes": group.size, "parallel": group.kind}
    if finished and state.best_loss is not None:
        report.line(loop.summary())
        bar = "" if bigram is None else (
            f", {abs(bigram - state.best_loss):.3f} "
            f"{'below' if state.best_loss < bigram else 'ABOVE'} the bigram model"
        )  # fmt: skip
        report.line(f"Held-out loss {state.best_loss:.4f} at step {state.best_step:,}{bar}.")
    if group.apart and out and finished:
        model = load_model_folder(Path(loop.last_saved), place.device)[0]
    if out and finished and group.first:
        finish = method.finish if method else None
        publish(out, model, tokenizer, state, run, report.line, finish)
    group.wait()
    return Outcome(state, model, bigram, finished, run)


def corpus_bigram(config: TrainConfig) -> tuple[float, dict[str, Any]]:
    """The bigram model's held-out nats per token for a run with this configuration, and its data.

    The same number that `pretrain` prints, without a model.
    """
    tokenizer = open_tokenizer(config.tokenizer)
    feed = make_feed(config, tokenizer)
    return bigram_loss(feed.sample_ids, *feed.bigram_pairs(), tokenizer.vocab_size), feed.about


def loss_chunk(
    config: TrainConfig, model: Transformer, place: Place, group: Alone
) -> tuple[int, str]:
    """Tokens of a chunk of the loss, 0 for all at once, and the line that says so where it is not.

    See `losses.chunk_tokens`.
    """
    rows = config.micro_batch_size or max(1, config.batch_size // group.size)
    tokens, vocabulary = rows * config.context_length, model.config.vocab_size
    chunk = config.loss_chunk or chunk_tokens(tokens, vocabulary, place.device.type)
    if not 0 < chunk < tokens:
        return 0, ""
    return chunk, (
        f"Loss: in chunks of {chunk:,} tokens; {tokens:,} x {vocabulary:,} scores would be "
        f"{size(4 * tokens * vocabulary)}, several times over."
    )


def describe(
    state: State,
    bigram: float | None,
    model: Transformer,
    place: Place,
    windows: int,
    finished: bool,
) -> dict[str, Any]:  # fmt: skip
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
