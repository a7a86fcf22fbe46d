"""A reward model as the judge of sampled answers, by the ids that were sampled.

The texts are not decoded and read again: another spelling of the same words would be another text
to the reward model, and its last token need not be the one that ended the answer.
Shapes: B answers, T tokens, S = T + 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from minimind_wiki.errors import WrongCall
from minimind_wiki.infer.rollout import Rollout
from minimind_wiki.tokenizer import load_tokenizer
from minimind_wiki.train.method import Workshop
from minimind_wiki.train.reward import RewardModel
from minimind_wiki.train.reward_folder import load_reward_folder


def open_rater(folder: str, work: Workshop) -> RewardModel:
    """The reward model. WrongCall if it reads other ids, or shorter texts, than the policy."""
    rater = load_reward_folder(folder, work.place.device).requires_grad_(False)
    if load_tokenizer(folder).fingerprint != work.tokenizer.fingerprint:
        raise WrongCall(
            f"the reward model in {folder} has another tokenizer than the model, so it would read "
            "other words than were said; give one that was trained from the same model."
        )
    length, most = work.config.context_length, rater.config.max_position_embeddings
    if most < length:
        raise WrongCall(
            f"context_length is {length}, but the reward model in {folder} reads at most {most} "
            "tokens; make it smaller."
        )
    return rater


@torch.no_grad()
def rate(rater: RewardModel, drawn: Rollout, at_once: int = 32) -> Tensor:
    """The reward of prompt and answer together, (B,) float32, read at each answer's last token."""
    ids_BS = torch.cat([drawn.ids_BT[:, :1], drawn.next_BT], dim=1)
    place_T = torch.arange(2, ids_BS.shape[1] + 1, device=ids_BS.device)
    lengths_B = (drawn.mask_BT * place_T).amax(dim=1)
    parts = zip(ids_BS.split(at_once), lengths_B.split(at_once), strict=True)
    return torch.cat([rater(ids, lengths) for ids, lengths in parts])
