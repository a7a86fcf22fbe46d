"""Number formats, activation checkpointing, prefetch: what they must keep, and what they save."""

import dataclasses
import math
import threading

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from minimind_wiki.data import Corpus, embedded_text
from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.model import Transformer, preset
from minimind_wiki.train import device as devices
from minimind_wiki.train.batches import Tokens
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.device import choose
from minimind_wiki.train.losses import LossModel
from minimind_wiki.train.prefetch import Prefetch
from minimind_wiki.train.pretrain import pretrain
from minimind_wiki.train.recompute import recompute_blocks

CORPUS = Corpus("village", (embedded_text(60),), "a test", "embedded")
CONFIG = TrainConfig(
    preset="nano", data="embedded", steps=8, batch_size=4, context_length=32, eval_every=8,
    eval_windows=8, sample_tokens=0, device="cpu", threads=1, learning_rate=3e-3,
)  # fmt: skip


def go(out=None, resume=False, **changes):
    return pretrain(dataclasses.replace(CONFIG, **changes), {}, out, resume, None, CORPUS)


@pytest.fixture(scope="module")
def exact():
    return go().state.train["loss"]


# --- formats --------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_sixteen_bits_learn_as_float32_does_and_keep_float32_weights(dtype, exact):
    outcome = go(dtype=dtype)
    assert outcome.state.train["loss"] == pytest.approx(exact, rel=0.01)
    assert outcome.state.train["loss"] != exact
    assert {p.dtype for p in outcome.model.parameters()} == {torch.float32}
    assert outcome.state.skipped == 0


def test_a_gradient_that_float16_cannot_hold_skips_the_step_and_halves_the_scale(monkeypatch):
    """The first backward pass overflows: nothing moves, the factor is halved, and on it goes."""
    seen = []
    real = torch.amp.GradScaler.unscale_

    def overflows(self, optimizer):
        if isinstance(optimizer, torch.optim.SGD):  # the trial before the run
            return real(self, optimizer)
        parameter = optimizer.param_groups[0]["params"][0]
        seen.append((self.get_scale(), parameter.detach().clone()))
        if len(seen) == 3:
            parameter.grad[0, 0] = math.inf
        return real(self, optimizer)

    monkeypatch.setattr(torch.amp.GradScaler, "unscale_", overflows)
    state = go(dtype="float16", steps=5).state
    scales, weights = zip(*seen, strict=True)
    assert scales == (65536.0,) * 3 + (32768.0,) * 2
    assert torch.equal(weights[2], weights[3]) and not torch.equal(weights[3], weights[4])
    assert (state.step, state.skipped) == (5, 1)


def test_a_resumed_run_goes_on_with_its_scale(tmp_path, monkeypatch):
    real, scales = torch.amp.GradScaler.unscale_, []

    def first_overflows(self, optimizer):
        if isinstance(optimizer, torch.optim.SGD):  # the trial before the run
            return real(self, optimizer)
        scales.append(self.get_scale())
        if len(scales) == 1:
            optimizer.param_groups[0]["params"][0].grad[0, 0] = math.inf
        return real(self, optimizer)

    monkeypatch.setattr(torch.amp.GradScaler, "unscale_", first_overflows)
    from minimind_wiki.train import loop

    record = loop.Loop.record

    def stops(self, *args):
        record(self, *args)
        if self.state.step == 2:
            self.stopping = lambda: True

    monkeypatch.setattr(loop.Loop, "record", stops)
    short = {"dtype": "float16", "steps": 3, "eval_windows": 2}
    assert not go(tmp_path / "run", **short).finished
    monkeypatch.setattr(loop.Loop, "record", record)
    resumed = go(tmp_path / "run", resume=True, **short)
    assert scales == [65536.0, 32768.0, 32768.0]
    assert resumed.state.skipped == 1


def test_a_format_that_does_not_work_is_refused_and_nothing_taken_in_its_place(monkeypatch):
    class Broken(torch.amp.GradScaler):
        def unscale_(self, optimizer):
            raise NotImplementedError("no such kernel on this device\nlong trace")

    monkeypatch.setattr(devices.torch.amp, "GradScaler", Broken)
    with pytest.raises(MinimindError, match=r"cpu cannot train in float16 .*no such kernel on this "
                       r"device\). Use --dtype float32"):  # fmt: skip
        choose("cpu", "float16")
    assert choose("cpu", "float32").dtype is torch.float32  # needs no scaler


# --- activation checkpointing ---------------------------------------------------------------------
def kept(model, ids_BT, documents_BT=None):
    """Bytes that autograd keeps for backward, the weights not counted; and the gradients."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    sizes = {}

    def count(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        loss = LossModel(model)(ids_BT, ids_BT, documents_BT)
    return sum(sizes.values()), torch.autograd.grad(loss, list(model.parameters()))


@pytest.mark.parametrize("packed", [False, True])
def test_recomputed_blocks_have_the_same_gradients_and_keep_far_less(packed):
    ids_BT = torch.randint(259, (2, 64), generator=torch.Generator().manual_seed(0))
    documents_BT = torch.tensor([1] * 40 + [2] * 24).expand(2, 64) if packed else None
    model, again = (Transformer(preset("nano", vocab_size=259), seed=0) for _ in range(2))
    recompute_blocks(again)
    assert again.state_dict().keys() == model.state_dict().keys()
    much, gradients = kept(model, ids_BT, documents_BT)
    less, recomputed = kept(again, ids_BT, documents_BT)
    assert all(torch.equal(a, b) for a, b in zip(gradients, recomputed, strict=True))
    assert less < 0.5 * much


def test_a_run_with_recomputed_blocks_is_the_same_run(exact):
    assert go(activation_checkpointing=True).state.train["loss"] == exact


def test_recomputed_experts_compile_without_a_break_in_every_block():
    fields = {"num_experts": 4, "num_experts_per_tok": 2}
    ids = torch.randint(0, 259, (2, 12), generator=torch.Generator().manual_seed(0))
    graphs = []
    for recompute in (False, True):
        torch._dynamo.reset()
        model = Transformer(preset("nano", **fields))
        if recompute:
            recompute_blocks(model)
        counter = CompileCounterWithBackend("eager")
        forward, loss = torch.compile(LossModel(model), backend=counter), LossModel(model)
        for _ in range(2):
            compiled = forward(ids, ids)
            compiled.backward()
        torch.testing.assert_close(compiled, loss(ids, ids))
        graphs.append(counter.frame_count)
    assert graphs[1] == graphs[0]  # seven where each block breaks


def test_recomputed_blocks_compile_to_one_graph():
    torch._dynamo.reset()  # what other tests have compiled decides which sizes are fixed
    model = Transformer(preset("nano", vocab_size=259), seed=0)
    recompute_blocks(model)
    ids_BT = torch.zeros(2, 16, dtype=torch.int64)
    whole = torch.compile(LossModel(model), backend="eager", fullgraph=True)
    whole(ids_BT, ids_BT).backward()
    assert model.lm_head.weight.grad is not None


# --- prefetch -------------------------------------------------------------------------------------
def batch(step):
    return Tokens(torch.full((1, 2), step), torch.full((1, 2), step))


def test_batches_come_in_order_and_are_made_ahead_by_one_thread():
    made, ready = [], threading.Event()

    def make(step):
        made.append((step, threading.current_thread().name))
        if step == 2:
            ready.set()
        return batch(step)

    prefetch = Prefetch(make, last=5)
    assert prefetch.at(0).ids_BT[0, 0] == 0
    assert ready.wait(10)  # steps 1 and 2 are made although nobody asked
    assert [int(prefetch.at(step).ids_BT[0, 0]) for step in range(1, 5)] == [1, 2, 3, 4]
    prefetch.close()
    assert [step for step, _ in made] == [0, 1, 2, 3, 4]  # and none beyond the last
    assert len({name for _, name in made}) == 1 and made[0][1] != threading.current_thread().name


def test_an_error_in_the_thread_comes_at_its_own_step():
    def make(step):
        if step == 1:
            raise MinimindError("row 7 is bad")
        return batch(step)

    prefetch = Prefetch(make, last=5)
    assert prefetch.at(0).ids_BT[0, 0] == 0
    with pytest.raises(MinimindError, match="row 7 is bad"):
        prefetch.at(1)
    prefetch.close()


def test_prefetch_changes_nothing(exact):
    assert go(prefetch=0).state.train["loss"] == exact
    assert go(prefetch=5).state.train["loss"] == exact


def test_flex_attention_is_refused_where_it_cannot_train():
    with pytest.raises(WrongCall, match="flex attention needs a CUDA device and --compile"):
        go(attention="flex")


def test_the_way_of_computing_attention_can_be_chosen(exact):
    assert go(attention="plain").state.train["loss"] == pytest.approx(exact, rel=1e-5)
