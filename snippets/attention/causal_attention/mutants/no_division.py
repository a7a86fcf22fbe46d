"""Does not divide."""
# expect: root of D
# says: not divided by the root

import minimind_wiki.lite as torch


def causal_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    places = range(q.shape[-2])
    scores = q @ k.transpose(-1, -2)
    hide = torch.tensor([[0.0 if s <= t else -1e9 for s in places] for t in places])
    return torch.softmax(scores + hide, -1) @ v
