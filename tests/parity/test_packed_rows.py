"""The loader against torch: DataLoader reads the same rows; packed rows are separate documents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.utils.data import DataLoader, Dataset  # noqa: E402

from minimind_wiki.data.loader import Loader  # noqa: E402
from minimind_wiki.data.packing import IGNORE, Batch  # noqa: E402
from minimind_wiki.data.shards import Shard, ShardWriter  # noqa: E402
from minimind_wiki.model import Transformer, preset  # noqa: E402
from minimind_wiki.model.rope import apply_rope  # noqa: E402

ROW, PAD = 48, 258


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards of random documents, some longer than a row."""
    path, rng = tmp_path_factory.mktemp("shards"), np.random.default_rng(0)
    for number in range(2):
        with ShardWriter(path / f"{number:05d}.tokens", "t", 259, loss=True) as shard:
            for size in rng.integers(1, 70, 60):
                shard.add(rng.integers(0, 256, size), rng.integers(0, 2, size))
    return path


class Rows(Dataset):
    """Row (shard, row), put together token by token from the shard, as one would without us."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader
        self.places = [(s, int(r)) for s in range(2) for r in range(loader._packing(s).rows)]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        shard_number, row = self.places[number]
        shard: Shard = self.loader.shards[shard_number]
        packing = self.loader._packing(shard_number)
        ids, labels = [], []
        for piece in range(int(packing.first[row]), int(packing.first[row + 1])):
            document = shard.document(int(packing.document[piece])).tolist()
            start = int(packing.place[piece])
            tokens = document[start : start + ROW]
            assert shard.flags is not None
            begin = int(shard.offsets[int(packing.document[piece])]) + start
            learned = shard.flags[begin : begin + len(tokens)].tolist()
            following = zip(tokens[1:], learned[1:], strict=True)
            ids += tokens
            labels += [t if f else IGNORE for t, f in following] + [IGNORE]
        rest = ROW - len(ids)
        return torch.tensor(ids + [PAD] * rest), torch.tensor(labels + [IGNORE] * rest)


def test_a_dataloader_gives_the_same_rows(folder: Path) -> None:
    loader = Loader(folder, ROW, 4, seed=2, pad_id=PAD)
    rows = Rows(loader)
    number = {place: n for n, place in enumerate(rows.places)}
    steps = loader.rows // 4
    order = [
        [number[shard, int(row)] for shard, some in loader.places(step) for row in some]
        for step in range(steps)
    ]
    batches = DataLoader(rows, batch_sampler=order)
    for step, (ids, labels) in enumerate(batches):
        ours = loader.at(step)
        assert (ids.numpy() == ours.ids).all() and (labels.numpy() == ours.labels).all()
    assert step == steps - 1 > 5


class Steps(Dataset):
    """A step a item: how a DataLoader reads ahead of the training in its own processes."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def __len__(self) -> int:
        return 12

    def __getitem__(self, step: int) -> np.ndarray:
        return self.loader.at(step).ids


def test_processes_of_a_dataloader_read_the_same_batches(folder: Path) -> None:
    loader = Loader(folder, ROW, 4, seed=2)
    ahead = DataLoader(Steps(loader), batch_size=None, num_workers=2)
    for step, ids in enumerate(ahead):
        assert (ids.numpy() == loader.at(step).ids).all()


def packed_logits(model: Transformer, batch: Batch) -> Tensor:
    """The model's own parts with the batch's mask and positions, written out; (B, T, V)."""
    decoder = model.model
    ids, positions = torch.from_numpy(batch.ids), torch.from_numpy(batch.positions)
    allowed = torch.from_numpy(batch.mask())
    allowed = (allowed | torch.eye(ids.shape[1], dtype=torch.bool))[:, None]  # padding sees itself
    cos, sin = (table[positions][:, None] for table in (decoder.rotary.cos, decoder.rotary.sin))
    x = decoder.embed_tokens(ids)
    for layer in decoder.layers:
        attention, normed = layer.self_attn, layer.input_layernorm(x)
        q = apply_rope(attention._heads(attention.q_proj(normed), attention.q_norm), cos, sin)
        k = apply_rope(attention._heads(attention.k_proj(normed), attention.k_norm), cos, sin)
        v = attention._heads(attention.v_proj(normed), None)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed, enable_gqa=True)
        x = x + attention.o_proj(out.transpose(1, 2).flatten(2))
        x = x + layer.mlp(layer.post_attention_layernorm(x))
    return model.lm_head(decoder.norm(x))


@torch.no_grad()
def test_packed_rows_are_as_separate_passes_of_each_document(folder: Path) -> None:
    model = Transformer(preset("nano"), seed=0)
    for parameter in model.parameters():  # far from the start's tiny scores
        parameter.mul_(4.0 if parameter.dim() > 1 else 1.0)
    batch = Loader(folder, ROW, 6, seed=1, pad_id=PAD).at(0)
    together = packed_logits(model, batch)
    by_model = model(torch.from_numpy(batch.ids), documents_BT=torch.from_numpy(batch.documents))
    mixed = model(torch.from_numpy(batch.ids))
    pieces = 0
    for line in range(6):
        for number in range(1, batch.documents[line].max() + 1):
            places = np.flatnonzero(batch.documents[line] == number)
            alone = model(torch.from_numpy(batch.ids[line, places])[None])[0]
            for packed in (together, by_model):
                assert torch.allclose(packed[line, places], alone, atol=1e-5, rtol=1e-5)
            # Without mask and positions a later document would see the earlier ones.
            assert number == 1 or not torch.allclose(mixed[line, places], alone, atol=1e-2)
            pieces += 1
    assert pieces > 8
