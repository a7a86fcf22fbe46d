"""A small decoder put together from parts: which shapes pass through it, and what is learned?

Shapes: B batch, T time, D hidden, H heads, K key-value heads, S size of a head, F inside, V bytes.
"""

import minimind_wiki.lite as torch
from minimind_wiki.lite.plot import Axis, Bars, Figure, Line, Panel

nn, fn = torch.nn, torch.nn.functional
TEXT, D, S, V, LAYERS = "To be, or not to be", 48, 12, 256, 8
NORMS = {"rms": nn.RMSNorm, "layer": nn.LayerNorm}


class Attention(nn.Module):
    def __init__(self, shared):
        super().__init__()
        self.q, self.o = (nn.Linear(D, D, bias=False) for _ in "qo")
        self.k, self.v = (nn.Linear(D, shared * S, bias=False) for _ in "kv")

    def forward(self, x):
        heads = [p(x).unflatten(-1, (-1, S)).transpose(1, 2) for p in (self.q, self.k, self.v)]
        self.seen = f"queries {tuple(heads[0].shape)}, keys and values {tuple(heads[1].shape)}"
        y_BHTS = fn.scaled_dot_product_attention(*heads, is_causal=True, enable_gqa=True)
        return self.o(y_BHTS.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    def __init__(self, inside, gated):
        super().__init__()
        self.gate = nn.Linear(D, inside, bias=False) if gated else None
        self.up, self.down = nn.Linear(D, inside, bias=False), nn.Linear(inside, D, bias=False)

    def forward(self, x):
        up_BTF = self.up(x)
        self.seen = f"inside the feed-forward {tuple(up_BTF.shape)}"
        return self.down(fn.silu(self.gate(x)) * up_BTF if self.gate else fn.gelu(up_BTF))


def block(x, order, norm_1, attention, norm_2, feed_forward):
    if order == "post":
        x = norm_1(x + attention(x))
        return norm_2(x + feed_forward(x))
    if order == "parallel":
        return x + attention(norm_1(x)) + feed_forward(norm_2(x))
    x = x + attention(norm_1(x))
    return x + feed_forward(norm_2(x))


def run(shared=2, inside="gated", norm="rms", order="sequential"):
    torch.manual_seed(0)
    wide, embed = 4 * D if inside == "plain" else 8 * D // 3, nn.Embedding(V, D)
    x, sizes = embed(torch.tensor([list(TEXT.encode())])), []
    for _ in range(LAYERS):
        sizes.append(x.square().mean().sqrt().item())
        parts = {"norm 1": NORMS[norm](D), "attention": Attention(shared), "norm 2": NORMS[norm](D),
                 "feed-forward": FeedForward(wide, inside == "gated")}  # fmt: skip
        x = block(x, order, *parts.values())
    logits = (x if order == "post" else NORMS[norm](D)(x)) @ embed.weight.T
    sizes.append(x.square().mean().sqrt().item())

    many = [sum(w.numel() for w in part.parameters()) for part in parts.values()]
    bars = Bars(list(parts), many, role="model")
    counts = Panel(Axis("numbers in one block"), Axis("", "category"), bars=[bars], legend="none")
    line = Line(range(LAYERS + 1), sizes, "stream", "prenorm", marker="circle")
    size = Axis("size of the stream", range=(0, 1.1 * max(sizes)))
    stream = Panel(Axis("after block"), size, [line], legend="none")
    seen = f"{parts['attention'].seen}\n{parts['feed-forward'].seen}\nlogits {tuple(logits.shape)}"
    text = f"stream {tuple(x.shape)}, before and after every block\n{seen}\n"
    text += f"one block: {sum(many):,} numbers; embeddings: {embed.weight.numel():,}"
    return {"figure": Figure([counts, stream]), "text": text}
