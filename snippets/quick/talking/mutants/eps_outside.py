"""eps is added after the root."""

# expect: the norm
# says: eps stands outside the root
import minimind_wiki.lite as torch  # on a laptop: import torch


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    """Each vector of x (..., D) over its root mean square, times weight (D,)."""
    return x / (torch.sqrt((x * x).mean(-1, keepdim=True)) + eps) * weight


def turn(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """The planes of x (H, T, D), left half and right half, turned; cos and sin are (T, D)."""
    left, right = x.chunk(2, -1)
    return x * cos + torch.cat([-right, left], -1) * sin


def causal_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """What each token gathers from itself and those before it; all (H, T, D)."""
    T, D = q.shape[-2:]
    scores = q @ k.transpose(-1, -2) / D**0.5
    later = torch.ones(T, T).triu(1) > 0
    return scores.masked_fill(later, -1e9).softmax(-1) @ v
