"""Two processes learn by reinforcement as one does: each samples its part, the gradient is joint.

Two processes are started once and do three runs (`grpo_worker.py`); the tests read what they noted.
"""

from __future__ import annotations

import json

import pytest
import torch
from grpo_worker import RUNS, STEPS, Watched, config, main
from processes import in_two
from safetensors.torch import load_file
from torch.nn.functional import pad

from minimind_wiki.data.packing import IGNORE
from minimind_wiki.infer import save_model_folder
from minimind_wiki.model import Transformer, preset
from minimind_wiki.tokenizer import ByteTokenizer
from minimind_wiki.train.batches import Tokens
from minimind_wiki.train.grpo import grpo

NAMES = ("ids_BT", "labels_BT", "advantage_B1", "old_BT")
ROUNDING = 1e-6  # of a tensor's largest gradient, and of a loss


@pytest.fixture(scope="module")
def begin(tmp_path_factory):
    folder = tmp_path_factory.mktemp("begin")
    rows = [{"conversations": [{"role": "user", "content": f"{i} and 1?"}], "gt": [str(i + 1)]}
            for i in range(50)]  # fmt: skip
    data = folder / "sums.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    model = Transformer(preset("nano"), seed=0)
    return save_model_folder(folder / "model", model, ByteTokenizer()), data


@pytest.fixture(scope="module")
def seen(begin, tmp_path_factory):
    """What each process noted of each run: its numbers, and its tensors."""
    out = tmp_path_factory.mktemp("two")
    in_two(main, *begin, out)
    return {name: [(json.loads((out / f"{name}-{rank}.json").read_text()),
                    load_file(out / f"{name}-{rank}.safetensors")) for rank in range(2)]
            for name in RUNS}  # fmt: skip


def prompts(tensors, step):
    """The prompts of a process's rows."""
    ids_BT, labels_BT = tensors[f"{step}.ids_BT"], tensors[f"{step}.labels_BT"]
    first = (labels_BT != IGNORE).int().argmax(1)
    return [tuple(ids[: int(at) + 1].tolist()) for ids, at in zip(ids_BT, first, strict=True)]


@pytest.mark.parametrize("name", RUNS)
def test_the_weights_are_the_same_to_the_bit_after_all_steps(seen, name):
    (told, one), (other_told, other) = seen[name]
    kept = [key for key in one if ".gradient." in key or key.startswith("weight.")]
    assert len([key for key in kept if key.startswith("weight.")]) > 10
    assert all(torch.equal(one[key], other[key]) for key in kept)
    assert told == other_told  # curves, units, steps passed over
    start = Transformer(preset("nano"), seed=0).state_dict()
    assert not torch.equal(one["weight.model.embed_tokens.weight"],
                           start["model.embed_tokens.weight"])  # fmt: skip


def test_each_samples_answers_to_its_own_prompts(seen):
    (told, one), (_, other) = seen["dapo"]
    for step in range(STEPS):
        mine, theirs = prompts(one, step), prompts(other, step)
        assert len(mine) == len(theirs) == 8  # two groups of four each
        assert not set(mine) & set(theirs) and len(set(mine)) == 2
        labels = [tensors[f"{step}.labels_BT"] != IGNORE for tensors in (one, other)]
        assert told["units"][step] == sum(int(mask_BT.sum()) for mask_BT in labels)
    first = [tensors["0.labels_BT"][tensors["0.labels_BT"] != IGNORE][:20].tolist()
             for tensors in (one, other)]  # fmt: skip
    assert first[0] != first[1]  # not the same numbers behind other prompts


def test_one_process_with_the_same_answers_makes_the_same_updates(seen, begin):
    (told, one), (_, other) = seen["dapo"]

    def both(step):
        """The rows of both processes, padded to one length."""
        batches = [{name: tensors[f"{step}.{name}"] for name in NAMES} for tensors in (one, other)]
        longest = max(batch["ids_BT"].shape[1] for batch in batches)
        for batch in batches:
            missing = longest - batch["ids_BT"].shape[1]
            for name in ("ids_BT", "labels_BT", "old_BT"):
                fill = IGNORE if name == "labels_BT" else 0
                batch[name] = pad(batch[name], (0, missing), value=fill)
        ids_BT, labels_BT, *more = (torch.cat([b[name] for b in batches]) for name in NAMES)
        return Tokens(ids_BT, labels_BT, more=dict(zip(NAMES[2:], more, strict=True)),
                      units=told["units"][step])  # fmt: skip

    alone = Watched()
    with alone.watching(replay=both):
        state = grpo(config(*begin), RUNS["dapo"]).state
    assert state.train["loss"] == pytest.approx(told["train"]["loss"], rel=ROUNDING, abs=ROUNDING)
    keys = [key for key in alone.tensors if key.startswith("0.gradient.")]
    assert len(keys) > 10
    for key in keys:
        difference = (alone.tensors[key] - one[key]).abs().max()
        assert difference <= ROUNDING * one[key].abs().max(), key


def test_one_process_measures_the_same_before_the_first_step(seen, begin):
    with Watched().watching():
        state = grpo(config(*begin), RUNS["dapo"]).state
    told = seen["dapo"][0][0]
    for name, values in state.held_out.items():
        assert told["held_out"][name][:1] == pytest.approx(values[:1])
