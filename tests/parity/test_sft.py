"""The loss of fine-tuning is TRL's on the same chats, though ours are packed and theirs padded.

Tolerances, float32: 1e-5 relative for the loss, 1e-4 for gradients, whose sums have another order.
"""

from pathlib import Path

import pytest
import torch

from minimind_wiki.data.packing import IGNORE
from minimind_wiki.data.sft_rows import examples
from minimind_wiki.data.world.rows import make_rows
from minimind_wiki.infer import load_model_folder
from minimind_wiki.train.losses import LossModel
from minimind_wiki.train.sft import packed

MODEL = Path(__file__).parents[2] / "models" / "world-nano"


@pytest.fixture(scope="module")
def chats():
    """Chats of one turn and of several."""
    rows = [*make_rows("dialogue", 2, seed=1), *make_rows("instructions", 3, seed=2)]
    tokenizer = load_model_folder(MODEL, "cpu")[1]
    found = list(examples(rows, tokenizer, 1024))
    assert len(found) == 5
    return found


@pytest.fixture(scope="module")
def theirs(chats, tmp_path_factory):
    """TRL's loss of the chats, and the gradients that it leaves, by our names."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    rows = [{"input_ids": chat.ids.tolist(),
             "labels": [int(i) if f else IGNORE for i, f in zip(chat.ids, chat.flags, strict=True)]}
            for chat in chats]  # fmt: skip
    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
    args = SFTConfig(output_dir=str(tmp_path_factory.mktemp("trl")), use_cpu=True, report_to=[],
                     max_length=None, bf16=False)  # fmt: skip
    trainer = SFTTrainer(model, args, train_dataset=Dataset.from_list(rows),
                         processing_class=AutoTokenizer.from_pretrained(MODEL))  # fmt: skip
    batch = trainer.data_collator([dict(row) for row in trainer.train_dataset])
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    named = trainer.model.named_parameters()
    return loss.item(), {name: p.grad for name, p in named if p.grad is not None}


def test_loss_and_gradients_are_trls(chats, theirs):
    model = load_model_folder(MODEL, "cpu", torch.float32)[0].train()
    rows = packed(chats, 1024, 0)
    assert len(rows.ids_BT) < len(chats)  # several in a row, which do not see each other
    loss = LossModel(model, 0)(rows.ids_BT, rows.labels_BT, rows.documents_BT) / rows.divisor
    loss.backward()
    assert loss.item() == pytest.approx(theirs[0], rel=1e-5)
    ours = dict(model.named_parameters())
    assert len(theirs[1]) >= 20
    for name, gradient in theirs[1].items():
        torch.testing.assert_close(ours[name].grad, gradient, rtol=1e-4, atol=1e-6, msg=name)
