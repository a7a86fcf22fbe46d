"""Two processes learn by PPO as one: own answers, joint gradient, one scale, one end of a cycle."""

from __future__ import annotations

import json

import pytest
import torch
from ppo_worker import main
from processes import in_two
from safetensors.torch import load_file

from minimind_wiki.infer import save_model_folder
from minimind_wiki.model import Transformer, preset
from minimind_wiki.tokenizer import ByteTokenizer


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What each process noted: its numbers, and its tensors."""
    folder = tmp_path_factory.mktemp("two")
    rows = [{"conversations": [{"role": "user", "content": f"{i} and 1?"}], "gt": [str(i + 1)]}
            for i in range(50)]  # fmt: skip
    data = folder / "sums.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    base = save_model_folder(folder / "base", Transformer(preset("nano"), seed=0), ByteTokenizer())
    in_two(main, base, data, folder)
    return [(json.loads((folder / f"{rank}.json").read_text()),
             load_file(folder / f"{rank}.safetensors")) for rank in range(2)]  # fmt: skip


def test_model_critic_and_curves_are_the_same_to_the_bit(seen):
    (told, one), (other_told, other) = seen
    kept = [key for key in one if key.startswith(("weight.", "critic."))]
    assert len(kept) > 15 and "critic.score.weight" in kept
    assert all(torch.equal(one[key], other[key]) for key in kept)
    assert one["critic.score.weight"].any()
    start = Transformer(preset("nano"), seed=0).state_dict()["model.embed_tokens.weight"]
    assert not torch.equal(one["weight.model.embed_tokens.weight"], start)
    assert told["train"] == other_told["train"]


def test_each_samples_its_own_answers(seen):
    (_, one), (_, other) = seen
    assert len(one["0.labels_BT"]) == len(other["0.labels_BT"]) == 4
    assert one["0.labels_BT"].tolist() != other["0.labels_BT"].tolist()


def test_rewards_are_scaled_by_those_of_all_processes(seen):
    raw = torch.tensor([told["raw"][:2] for told, _ in seen]).flatten()  # the two cycles' answers
    assert len(raw) == 32 and len(set(raw.tolist())) > 4
    count, mean, squares = seen[0][1]["critic.rewards_3"].tolist()
    assert count == 32
    assert mean == pytest.approx(float(raw.mean()), rel=1e-5)
    assert squares / 31 == pytest.approx(float(raw.var()), rel=1e-5)


def test_both_pass_over_the_same_steps(seen):
    told, other = seen[0][0], seen[1][0]
    assert told["passed_over"] == other["passed_over"]
    assert 0 < sum(told["passed_over"]) == told["skipped"] < 8
