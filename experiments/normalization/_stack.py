"""The plain stack that `depth` measures: `Linear → (norm) → ReLU`, nothing around it."""

import math

import torch
from torch import Tensor, nn

from minimind_wiki.model.norm import LayerNorm, RMSNorm


class Stack(nn.Module):
    """`depth` layers of `width` units; arm: init "default" or "he", norm "none", "layernorm" or
    "rmsnorm", bias True or False (biases as PyTorch draws them)."""

    def __init__(self, arm: dict, depth: int, width: int) -> None:
        super().__init__()
        self.linears = nn.ModuleList(
            nn.Linear(width, width, bias=arm["bias"]) for _ in range(depth)
        )
        if arm["init"] == "he":
            for linear in self.linears:
                nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
        norm = {"none": lambda size: nn.Identity(), "layernorm": LayerNorm, "rmsnorm": RMSNorm}
        self.norms = nn.ModuleList(norm[arm["norm"]](width) for _ in range(depth))

    def forward(self, x_BD: Tensor) -> list[Tensor]:
        """The input and every layer's output, each (B, D)."""
        outputs = [x_BD]
        for linear, norm in zip(self.linears, self.norms, strict=True):
            outputs.append(torch.relu(norm(linear(outputs[-1]))))
        return outputs


def scale(x: Tensor) -> float:
    """Standard deviation, in float64: the squares of what has vanished would underflow."""
    return x.detach().double().std().item()


def similarity(output_BD: Tensor) -> float:
    """Mean cosine between the outputs of different inputs: 1 when the stack forgets its input."""
    unit = nn.functional.normalize(output_BD.detach().double(), dim=-1, eps=1e-300)
    count = len(unit)
    return ((unit.sum(0).pow(2).sum() - count) / (count * (count - 1))).item()


def scale_while_training(
    arm: dict, seed: int, depth: int, width: int, steps: int, learning_rate: float
) -> list[float]:
    """Scale of the stack's output before every step of SGD on a random tanh teacher, and after."""
    torch.manual_seed(seed)
    stack, head = Stack(arm, depth, width), nn.Linear(width, width)
    teacher = torch.randn(width, width) / math.sqrt(width)
    sgd = torch.optim.SGD([*stack.parameters(), *head.parameters()], lr=learning_rate)
    scales = []
    for _ in range(steps + 1):
        x = torch.randn(64, width)
        output = stack(x)[-1]
        scales.append(scale(output))
        sgd.zero_grad()
        (head(output) - torch.tanh(x @ teacher)).pow(2).mean().backward()
        sgd.step()
    return scales
