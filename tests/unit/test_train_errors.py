"""What can go wrong in a step says so in one sentence, and leaves weights and optimizer alone."""

import dataclasses
import math
import re
import weakref

import pytest
import torch

from minimind_wiki.data import Corpus, embedded_text
from minimind_wiki.data.packing import IGNORE
from minimind_wiki.errors import WrongCall
from minimind_wiki.model import Transformer, preset
from minimind_wiki.tokenizer import ByteTokenizer
from minimind_wiki.train import activations, faults, loop
from minimind_wiki.train.batches import Tokens
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.device import choose
from minimind_wiki.train.faults import BadBatch, NonFinite, OutOfMemory, check_batch
from minimind_wiki.train.feeds import corpus_feed
from minimind_wiki.train.losses import LossModel
from minimind_wiki.train.optim import make_optimizer
from minimind_wiki.train.pretrain import pretrain
from minimind_wiki.train.recompute import recompute_blocks
from minimind_wiki.train.report import Quiet
from minimind_wiki.train.state import State

CORPUS = Corpus("village", (embedded_text(60),), "a test", "embedded")
CONFIG = TrainConfig(
    preset="nano", data="embedded", steps=6, batch_size=4, context_length=32, eval_every=6,
    eval_windows=8, sample_tokens=0, device="cpu", threads=1, learning_rate=3e-3,
)  # fmt: skip


def make_loop(spoil=None, optimizer="adamw", **changes):
    """A run whose batches `spoil(step, batch)` may change."""
    config, tokenizer, place = (
        dataclasses.replace(CONFIG, **changes),
        ByteTokenizer(),
        choose("cpu"),
    )
    feed = corpus_feed(CORPUS, config, tokenizer)
    if spoil:
        good = feed.at
        feed = dataclasses.replace(feed, at=lambda step: spoil(step, good(step)))
    model = Transformer(preset("nano", vocab_size=259), seed=0)
    moved = make_optimizer(optimizer, model, 0.1, (0.9, 0.99))
    return loop.Loop(config, model, LossModel(model), moved, place.scaler(), tokenizer, feed, place,
                     State(), Quiet())  # fmt: skip


def snapshot(run):
    states = run.optimizer.state
    return [p.detach().clone() for p in run.model.parameters()] + [
        value.clone() for p in run.model.parameters() for value in states[p].values()
    ]


def fails_at_step_3(run, kind, message):
    """The run fails in its third step; all is as after its second, and no gradient is left."""
    real, seen = loop.Loop.step, []

    def watched(self, batch):
        if self.state.step == 2:
            seen.append(snapshot(self))
        return real(self, batch)

    run.__class__.step = watched
    try:
        with pytest.raises(kind, match=message) as caught:
            run.run()
    finally:
        run.__class__.step = real
    before = seen[0] if seen else snapshot(run)
    assert run.state.step == 2
    assert all(torch.equal(a, b) for a, b in zip(before, snapshot(run), strict=True))
    assert all(p.grad is None for p in run.model.parameters())
    assert "\n" not in str(caught.value)


def spoiled(change):
    return lambda step, batch: change(batch) if step == 2 else batch


# --- batches --------------------------------------------------------------------------------------
def with_id(where, number):
    def change(batch):
        rows_BT = getattr(batch, where).clone()
        rows_BT[1, 3] = number
        return dataclasses.replace(batch, **{where: rows_BT})

    return change


def all_masked(batch):
    return dataclasses.replace(batch, labels_BT=torch.full_like(batch.labels_BT, IGNORE))


def too_long(batch):
    return Tokens(batch.ids_BT.repeat(1, 40), batch.labels_BT.repeat(1, 40))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_id("ids_BT", 259), r"batch of step 3 has the token id 259, .* ends at 258"),
        (with_id("ids_BT", -1), r"has the token id -1"),
        (with_id("ids_BT", IGNORE), r"has the token id -100"),
        (with_id("labels_BT", 5000), r"has the label id 5,000, .*another tokenizer"),
        (with_id("labels_BT", -7), r"has the label id -7"),
        (all_masked, r"batch of step 3 has no token to predict in its 4 rows"),
        (too_long, r"rows of 1,280 tokens, but the model accepts at most 1,024"),
    ],
)
@pytest.mark.parametrize("prefetch", [0, 2])
def test_a_bad_batch_is_named_before_the_model_reads_it(change, message, prefetch):
    fails_at_step_3(make_loop(spoiled(change), prefetch=prefetch), BadBatch, message)


def test_a_good_batch_passes_unchanged():
    batch = make_loop().feed.at(0)
    hidden = dataclasses.replace(batch, labels_BT=batch.labels_BT.masked_fill(
        batch.ids_BT % 2 == 0, IGNORE))  # fmt: skip
    config = preset("nano", vocab_size=259)
    assert check_batch(batch, config, 0) is batch and check_batch(hidden, config, 0) is hidden


# --- numbers --------------------------------------------------------------------------------------
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_loss_that_is_not_finite_moves_nothing(optimizer):
    run = make_loop(optimizer=optimizer)
    good = run.forward
    run.forward = lambda *batch: good(*batch) * (math.nan if run.state.step == 2 else 1.0)
    fails_at_step_3(run, NonFinite, r"loss is nan at step 3 of 6, so training stopped")


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_gradient_that_is_not_finite_moves_nothing(optimizer):
    run = make_loop(optimizer=optimizer)
    weight = run.model.model.norm.weight
    weight.register_hook(lambda grad: grad * (math.inf if run.state.step == 2 else 1.0))
    fails_at_step_3(run, NonFinite, r"gradient norm is (inf|nan) at step 3 of 6")


def test_the_causes_fit_the_format():
    for dtype, cause in (("bfloat16", "try --dtype float32"), ("float16", "try --dtype bfloat16")):
        told = faults.non_finite("loss is nan", 0, 1e-3, CONFIG, choose("cpu", dtype), "")
        assert cause in str(told)


# --- sizes ----------------------------------------------------------------------------------------
def test_a_tokenizer_larger_than_the_model_is_refused_before_anything_is_read():
    with pytest.raises(WrongCall, match=r"has 259 tokens, but the model's vocabulary is 200"):
        ids = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), 0)
        pretrain(CONFIG, {"vocab_size": 200} | ids, corpus=CORPUS)


def out_of(memory_error, run):
    good = run.forward

    def forward(*batch):
        loss = good(*batch)
        if run.state.step == 2:
            loss.backward()  # a gradient is half there already
            memory_error()
        return loss

    run.forward = forward


def real_error():
    torch.empty(1 << 52)


def cuda_error():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nMore lines")


def library_error():
    raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")


def python_error():
    raise MemoryError


@pytest.mark.parametrize("error", [real_error, cuda_error, library_error, python_error])
def test_out_of_memory_says_what_would_fit(error, monkeypatch):
    run = make_loop()
    config = run.model.config
    row = activations.row_bytes(config, 32, torch.float32)
    weights = 4 * run.model.num_parameters()
    # room for the gradients and for two of the four rows, not for three
    monkeypatch.setattr(faults, "free_bytes", lambda device: weights + int(2.5 * row / 0.9))
    out_of(error, run)
    fails_at_step_3(
        run, OutOfMemory, rf"out of memory at step 3 with 4 rows of 32 tokens .*A row needs about "
        rf"{re.escape(faults.size(row))} .*Try --micro-batch-size 2 .*or --activation-checkpoin",
    )  # fmt: skip


def test_out_of_memory_in_the_optimizers_first_step_is_told_too(monkeypatch):
    run = make_loop()
    start = snapshot(run)
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda *_, **__: cuda_error())
    with pytest.raises(OutOfMemory, match="out of memory at step 1 "):
        run.run()
    assert all(torch.equal(a, b) for a, b in zip(start, snapshot(run), strict=True))


def test_what_filled_the_memory_is_let_go_before_it_is_counted(monkeypatch):
    """The logits of the failed step are gone when what is free is asked for."""
    run, alive = make_loop(), []
    good = run.forward

    def forward(*batch):
        loss = good(*batch)
        alive.append(weakref.ref(loss))
        cuda_error()

    def free(device):
        assert alive and all(ref() is None for ref in alive)
        return 0

    run.forward = forward
    monkeypatch.setattr(faults, "free_bytes", free)
    with pytest.raises(OutOfMemory):
        run.run()


def test_where_no_row_fits_other_ways_are_named(monkeypatch):
    run = make_loop(activation_checkpointing=True)
    monkeypatch.setattr(faults, "free_bytes", lambda device: 0)
    out_of(cuda_error, run)
    fails_at_step_3(run, OutOfMemory, r"Try a smaller --context-length or --preset\.$")


def test_an_error_of_another_kind_is_not_taken_for_want_of_memory():
    run = make_loop()

    def wrong():
        raise RuntimeError("shapes cannot be multiplied")

    out_of(wrong, run)
    fails_at_step_3(run, RuntimeError, "shapes cannot be multiplied")


@pytest.mark.parametrize("chunk", [0, 32])
@pytest.mark.parametrize("recompute", [False, True])
def test_the_estimate_is_what_autograd_keeps(recompute, chunk):
    """Counted on fake tensors, and on real ones."""
    config = preset("nano", vocab_size=259)
    model = Transformer(config, seed=0)
    if recompute:
        recompute_blocks(model)
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    found = []
    for rows in (1, 2):
        sizes, alive = {}, []

        def count(tensor, sizes=sizes, alive=alive):
            storage = tensor.untyped_storage()
            alive.append(storage)
            if storage.data_ptr() not in own:
                sizes[storage.data_ptr()] = storage.nbytes()
            return tensor

        ids_BT = torch.zeros(rows, 64, dtype=torch.int64)
        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            LossModel(model, chunk)(ids_BT, ids_BT)
        found.append(sum(sizes.values()))
    real = found[1] - found[0]
    estimate = activations.row_bytes(config, 64, torch.float32, recompute, chunk)
    assert estimate == pytest.approx(real, rel=0.02)
