"""Does a stack without position encodings know the order of its words?

Stacks as drawn, without training, read a row of tokens and the same row with all but its last token
in another order. How far does the last token's state move? With a causal mask and without one, from
one layer to six, with and without rotary positions. And can a place be read from a state at all: a
linear readout is fitted on some rows and judged on others.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from minimind_wiki.book.experiment import Experiment, Measurement
from minimind_wiki.lite.plot import Axis, Figure, Panel
from minimind_wiki.model import ModelConfig, Transformer
from minimind_wiki.model.attention import View

DASHES = {"unmasked_none": "dot", "causal_none": "solid", "causal_rotary": "dash",
          "unmasked_rotary": "dashdot"}  # fmt: skip
ROUNDING = 1e-5  # states are computed in float32; what is equal on paper differs by less


@dataclass(frozen=True, slots=True)
class Settings:
    """Rows of `length` tokens, the first of which opens every row; a readout sees half of them."""

    depths: tuple[int, ...] = (1, 2, 3, 4, 6)
    width: int = 64
    heads: int = 4
    vocab: int = 64
    length: int = 32
    rows: int = 400


def arm(title: str, role: str, mask: str, positions: str) -> dict:
    return {"title": title, "role": role, "mask": mask, "positions": positions}


experiment = Experiment(
    name="position-encoding/order",
    factors=("mask", "positions"),
    arms={
        "unmasked_none": arm("no mask, no positions", "chance", "none", "none"),
        "causal_none": arm("causal mask, no positions", "none", "causal", "none"),
        "unmasked_rotary": arm("no mask, RoPE", "b", "none", "rotary"),
        "causal_rotary": arm("causal mask, RoPE", "model", "causal", "rotary"),
    },
    settings=Settings(),
    quick=Settings(depths=(1, 2), rows=60),
    primary="moved_2_layers",
    repeat=(("unmasked_none", 0), ("causal_rotary", 1)),
)  # fmt: skip


def states(model: Transformer, ids_BT: Tensor, mask: str) -> Tensor:
    """Hidden states (B, T, D) under a causal mask, or with every token looking at all."""
    length, decoder = ids_BT.shape[1], model.model
    view = View() if mask == "causal" else View(torch.ones(length, length, dtype=torch.bool))
    rope = decoder.rotary(0, length) if decoder.rotary else None
    x_BTD = decoder.embed_tokens(ids_BT)
    for layer in decoder.layers:
        x_BTD = layer(x_BTD, rope, None, view)
    return decoder.norm(x_BTD)


def readout(state_BTD: Tensor) -> float:
    """Share of the variance of log(place) that a linear map of the state explains on unseen rows,
    0 where it explains nothing."""
    rows, length, width = state_BTD.shape
    place_N = torch.log1p(torch.arange(length, dtype=torch.float64)).repeat(rows)
    ones = torch.ones(rows, length, 1, dtype=torch.float64)
    x_ND = torch.cat((state_BTD.double(), ones), dim=-1).flatten(0, 1)
    half = rows // 2 * length
    gram = x_ND[:half].T @ x_ND[:half] + 1e-3 * half * torch.eye(width + 1, dtype=torch.float64)
    weight_D = torch.linalg.solve(gram, x_ND[:half].T @ place_N[:half])
    miss = (x_ND[half:] @ weight_D - place_N[half:]).var()
    return max(0.0, 1 - (miss / place_N.var()).item())


@experiment.measure
@torch.no_grad()
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    random = torch.Generator().manual_seed(seed)
    size = (settings.rows, settings.length - 1)
    ids_BT = torch.randint(1, settings.vocab, size, generator=random)
    ids_BT = torch.cat((torch.zeros(settings.rows, 1, dtype=torch.long), ids_BT), dim=1)
    order_T = torch.arange(settings.length)
    order_T[:-1] = torch.randperm(settings.length - 1, generator=random)
    values = {}
    for depth in settings.depths:
        config = ModelConfig(
            vocab_size=settings.vocab, hidden_size=settings.width, num_hidden_layers=depth,
            num_attention_heads=settings.heads, intermediate_size=2 * settings.width,
            max_position_embeddings=settings.length, rope_theta=1e4, positions=arm["positions"],
            initializer_range=settings.width**-0.5,
        )  # fmt: skip
        model = Transformer(config, seed=seed)
        as_is = states(model, ids_BT, arm["mask"])
        mixed = states(model, ids_BT[:, order_T], arm["mask"])
        moved_B = (as_is - mixed)[:, -1].norm(dim=-1) / as_is[:, -1].norm(dim=-1)
        follow_BT = (as_is[:, order_T] - mixed).norm(dim=-1) / mixed.norm(dim=-1)
        values |= {f"moved_{depth}_layers": moved_B.mean().item(),
                   f"not_permuted_{depth}_layers": follow_BT.mean().item(),
                   f"readout_{depth}_layers": readout(as_is)}  # fmt: skip
    curves = {name: (settings.depths, [values[f"{name}_{d}_layers"] for d in settings.depths])
              for name in ("moved", "readout")}  # fmt: skip
    return Measurement(values, curves)


def found(record, arm: str, name: str) -> list[float]:
    return [record.value(arm, f"{name}_{depth}_layers") for depth in record.settings["depths"]]


@experiment.claim(quick=True)
def permutation_equivariant(record):
    """Without mask and positions a stack of any depth is permutation-equivariant: permuted tokens
    give the same states, permuted."""
    worst = max(found(record, "unmasked_none", "not_permuted"))
    return worst < ROUNDING, f"relative difference at most {worst:.0e}"


@experiment.claim(quick=True)
def one_causal_layer_is_blind(record):
    """One causal layer without positions does not see the order of what came before."""
    moved = record.value("causal_none", "moved_1_layers")
    return moved < ROUNDING, f"the state moves by {moved:.0e} of its length"


@experiment.claim(quick=True)
def two_causal_layers_see_order(record):
    """Two or more causal layers without positions see it: the state moves by over a tenth."""
    moved = found(record, "causal_none", "moved")[1:]
    return min(moved) > 0.1, f"from two layers on {', '.join(f'{x:.2f}' for x in moved)}"


@experiment.claim()
def one_layer_knows_how_many(record):
    """A place can be read from the states of one causal layer without positions, which tells how
    many tokens came before: a linear map explains over half of the variance of its logarithm."""
    share = record.value("causal_none", "readout_1_layers")
    return share > 0.5, f"{share:.2f} of the variance"


@experiment.claim()
def nothing_without_a_mask(record):
    """Without a mask and positions nothing can be read of a place: under 5 % of the variance."""
    share = record.value("unmasked_none", "readout_1_layers")
    return share < 0.05, f"{share:.2f} of the variance"


@experiment.claim(quick=True)
def rotary_sees_at_once(record):
    """With rotary positions one layer is enough, with a mask or without."""
    moved = [record.value(arm, "moved_1_layers") for arm in ("unmasked_rotary", "causal_rotary")]
    return min(moved) > 0.1, f"{moved[0]:.2f} without a mask, {moved[1]:.2f} with one"


@experiment.figure()
def by_depth(record):
    """How far the last token's state moves when the tokens before it are put in another order, by
    number of layers. No mask and no positions: zero at every depth. Causal mask and no positions:
    zero with one layer, large from two layers on. With RoPE large from one layer on."""
    roles = {"unmasked_rotary": "a"}  # "b" and "none" have one colour
    lines = [record.line(arm, "moved", dash=DASHES[arm], marker="circle",
                         role=roles.get(arm, record.arms[arm]["role"]))
             for arm in DASHES]  # fmt: skip
    ticks = list(record.settings["depths"])
    return Figure(Panel(Axis("layers", ticks=ticks), Axis("movement of the last state"), lines,
                        legend="top"))  # fmt: skip
