import minimind_wiki.lite as torch


def swiglu(
    x: torch.Tensor,
    gate: torch.Tensor,
    up: torch.Tensor,
    down: torch.Tensor,
) -> torch.Tensor:
    """The gated feed-forward of Llama: (..., D) in and out; gate, up (F, D), down (D, F)."""
    g = x @ gate.T  # (..., F)
    silu = g / (1 + torch.exp(-g))  # g times sigmoid(g)
    return (silu * (x @ up.T)) @ down.T
