"""A task that is nothing but order: copy a row of letters, each of them another one.

    o j h e a f c d | o j h e a f c d

Only the letters behind the bar are predicted. Who knows which letters stand before it and not in
which order can do no better than `blind`: guess among those that have not come yet. No row comes
twice: there are more than a thousand billion. Shapes: B rows, N letters, T = 2 N tokens.
"""

import math

import numpy as np
import torch
from torch import Tensor

from minimind_wiki.data.packing import IGNORE
from minimind_wiki.model import Transformer
from minimind_wiki.tokenizer import ByteTokenizer
from minimind_wiki.train.batches import Tokens
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.feeds import Feed
from minimind_wiki.train.pretrain import pretrain

SELECT, REPORT = 1, 2  # streams of rows beside those of training, which are numbered from 1000


def rows(count: int, letters: int, *stream: int) -> Tensor:
    """Ids (B, T): the letters, a bar, the letters again; a stream always gives the same rows."""
    rng = np.random.default_rng(stream)
    text_BN = ord("a") + rng.permuted(np.tile(np.arange(26), (count, 1)), axis=1)[:, :letters]
    bar_B1 = np.full((count, 1), ord("|"))
    return torch.from_numpy(np.concatenate((text_BN, bar_B1, text_BN), axis=1))


def labelled(ids_BT: Tensor) -> Tokens:
    """The second half is to be predicted, and nothing else."""
    labels_BT = ids_BT[:, 1:].clone()
    labels_BT[:, : labels_BT.shape[1] // 2] = IGNORE
    return Tokens(ids_BT[:, :-1], labels_BT)


def feed_of(letters: int, batch: int, seed: int) -> Feed:
    """Fresh rows at every step."""
    select = labelled(rows(512, letters, SELECT))
    return Feed(
        lambda step: labelled(rows(batch, letters, 1000 + seed, step)),
        (select,), np.empty(0, np.int64), (), {"name": "copying", "source": "copying", "bytes": 0,
        "sha256": ""}, "", "",
    )  # fmt: skip


def trained(fields: dict, layers: int, seed: int, settings) -> tuple[Transformer, float]:
    """A model of these fields after training, and its loss on rows that only pick the rate."""
    config = TrainConfig(
        preset="nano", data="copying", steps=settings.steps, batch_size=settings.batch,
        context_length=2 * settings.letters, learning_rate=settings.learning_rate, seed=seed,
        eval_every=settings.steps, sample_tokens=0, device="cpu", dtype="float32", threads=1,
        prefetch=0, weight_decay=0.0,
    )  # fmt: skip
    shape = {"hidden_size": settings.width, "num_hidden_layers": layers,
             "num_attention_heads": settings.heads, "num_key_value_heads": settings.heads,
             "intermediate_size": 2 * settings.width, "max_position_embeddings": 64,
             "initializer_range": settings.width**-0.5, "tie_word_embeddings": False}  # fmt: skip
    feed = feed_of(settings.letters, settings.batch, seed)
    outcome = pretrain(config, shape | fields, tokenizer=ByteTokenizer(), feed=feed)
    return outcome.model, outcome.state.held_out["loss"][-1]


def blind(letters: int) -> dict[str, float]:
    """Share right and nats per letter of the best reader who knows the letters, not their order."""
    left = range(1, letters + 1)
    return {"right": sum(1 / n for n in left) / letters,
            "loss": sum(map(math.log, left)) / letters}  # fmt: skip


@torch.no_grad()
def answers(model: Transformer, count: int, letters: int) -> tuple[Tensor, Tensor]:
    """For rows never seen, the place in the first half of the letter that the model writes at each
    place of the copy, (B, N), and the place of the right one, (N). -1: a letter of no place."""
    tokens = labelled(rows(count, letters, REPORT))
    said_BN = model(tokens.ids_BT).argmax(-1)[:, -letters:]
    same_BNN = said_BN[:, :, None] == tokens.ids_BT[:, None, :letters]
    place_BN = torch.where(same_BNN.any(-1), same_BNN.int().argmax(-1), -1)
    return place_BN, torch.arange(letters)


def right(model: Transformer, count: int, letters: int) -> tuple[float, list[float]]:
    """Share of right letters, and the same for each place of the copy."""
    place_BN, right_N = answers(model, count, letters)
    hit_BN = (place_BN == right_N).float()
    return hit_BN.mean().item(), hit_BN.mean(0).tolist()


def offsets(model: Transformer, count: int, letters: int, most: int) -> list[float]:
    """Share of letters written that stand -most … +most places from the right one."""
    place_BN, right_N = answers(model, count, letters)
    off_BN = torch.where(place_BN < 0, letters, place_BN - right_N)
    return [(off_BN == off).float().mean().item() for off in range(-most, most + 1)]
