"""A small Llama and the loop that trains it.

Shapes: B rows in a batch, T tokens in a row, D width, H heads, G heads of keys and values, W width
of a head, V tokens in the vocabulary.
"""

import math

import minimind_wiki.lite as torch

nn, F = torch.nn, torch.nn.functional
D, LAYERS, H, G, W, INNER = 64, 4, 4, 2, 16, 176
THETA, EPS = 10_000.0, 1e-5
BATCH, CONTEXT = 4, 256


def rotation(T):
    """Cosines and sines of the angles by which token t is turned (Su et al. 2021)."""
    rate_W = THETA ** (-torch.arange(0, W, 2) / W)
    angle_TW = torch.cat([torch.arange(T).outer(rate_W)] * 2, -1)
    return angle_TW.cos(), angle_TW.sin()


def turn(x_BHTW, rotation):
    """Turn each pair of values by its token's angle."""
    cos_TW, sin_TW = rotation
    left, right = x_BHTW.chunk(2, -1)
    return x_BHTW * cos_TW + torch.cat([-right, left], -1) * sin_TW


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q_proj = nn.Linear(D, H * W, bias=False)
        self.k_proj = nn.Linear(D, G * W, bias=False)
        self.v_proj = nn.Linear(D, G * W, bias=False)
        self.o_proj = nn.Linear(H * W, D, bias=False)

    def forward(self, x_BTD, rotation):
        q_BHTW = self.q_proj(x_BTD).unflatten(-1, (H, W)).transpose(1, 2)
        k_BGTW = self.k_proj(x_BTD).unflatten(-1, (G, W)).transpose(1, 2)
        v_BGTW = self.v_proj(x_BTD).unflatten(-1, (G, W)).transpose(1, 2)
        y_BHTW = F.scaled_dot_product_attention(
            turn(q_BHTW, rotation), turn(k_BGTW, rotation), v_BGTW, is_causal=True, enable_gqa=True
        )
        return self.o_proj(y_BHTW.transpose(1, 2).flatten(-2))


class MLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate_proj = nn.Linear(D, INNER, bias=False)
        self.up_proj = nn.Linear(D, INNER, bias=False)
        self.down_proj = nn.Linear(INNER, D, bias=False)

    def forward(self, x_BTD):
        return self.down_proj(F.silu(self.gate_proj(x_BTD)) * self.up_proj(x_BTD))


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.self_attn, self.mlp = Attention(), MLP()
        self.input_layernorm = nn.RMSNorm(D, EPS)
        self.post_attention_layernorm = nn.RMSNorm(D, EPS)

    def forward(self, x_BTD, rotation):
        x_BTD = x_BTD + self.self_attn(self.input_layernorm(x_BTD), rotation)
        return x_BTD + self.mlp(self.post_attention_layernorm(x_BTD))


class Llama(nn.Module):
    def __init__(self, vocabulary):
        super().__init__()
        self.embed_tokens = nn.Embedding(vocabulary, D)
        self.layers = nn.ModuleList([Layer() for _ in range(LAYERS)])
        self.norm = nn.RMSNorm(D, EPS)
        for name, p in self.named_parameters():
            if p.ndim == 2:
                # Layers that write to the stream start smaller: there are 2 * LAYERS of them.
                last = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(p, std=0.02 / math.sqrt(2 * LAYERS) if last else 0.02)

    def forward(self, ids_BT):
        x_BTD, turns = self.embed_tokens(ids_BT), rotation(ids_BT.shape[1])
        for layer in self.layers:
            x_BTD = layer(x_BTD, turns)
        return self.norm(x_BTD) @ self.embed_tokens.weight.T


def config(vocabulary):
    """What other programs must know of this model, by the names of Hugging Face's Llama."""
    return {
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": vocabulary,
        "hidden_size": D, "num_hidden_layers": LAYERS, "num_attention_heads": H,
        "num_key_value_heads": G, "head_dim": W, "intermediate_size": INNER,
        "max_position_embeddings": 1024, "rope_theta": THETA, "rms_norm_eps": EPS,
        "tie_word_embeddings": True, "hidden_act": "silu", "dtype": "float32",
    }  # fmt: skip


def make_optimizers(model):
    """Muon for the matrices inside the layers, AdamW for the embedding and the gains."""
    inside = [p for p in model.layers.parameters() if p.ndim == 2]
    others = [p for p in model.layers.parameters() if p.ndim == 1]
    others += [model.embed_tokens.weight, model.norm.weight]
    return [
        torch.optim.Muon(inside, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, betas=(0.9, 0.99), weight_decay=0.0),
    ]


def bits_per_byte(model, rows_BT, bytes_in_rows):
    """What the model needs to say the text of these rows, in bits for each byte of it."""
    nats = 0.0
    with torch.no_grad():
        for ids_BT in rows_BT.split(8):
            logits_NV = model(ids_BT[:, :-1].clamp(min=0)).flatten(0, 1)
            targets_N = ids_BT[:, 1:].flatten()  # -1 where a story has ended
            nats += F.cross_entropy(logits_NV, targets_N, ignore_index=-1, reduction="sum").item()
    return nats / math.log(2) / bytes_in_rows


def sample(model, begin, end, temperature, most=100):
    """A new story, token by token, as far as it is."""
    ids = [begin]
    while len(ids) < most and (len(ids) == 1 or ids[-1] != end):
        with torch.no_grad():
            logits_V = model(torch.tensor([ids]))[0, -1]
        ids.append(torch.multinomial((logits_V / temperature).softmax(-1), 1).item())
        yield ids


def train(model, text, knobs):
    """Yields what the page shows. `knobs` may change at any time, and count from the next step."""
    stream_N, starts = torch.from_numpy(text.train), torch.from_numpy(text.starts)
    held_out_BT = torch.from_numpy(text.held_out)
    optimizers = make_optimizers(model)
    step = 0
    while True:
        if step % 50 == 0:
            yield {"step": step, "held_out": bits_per_byte(model, held_out_BT, text.held_out_bytes)}
        if step % 100 == 0:
            for ids in sample(model, text.begin, text.end, knobs["temperature"]):
                yield {"step": step, "sample": ids}
        step += 1
        for optimizer in optimizers:
            for group in optimizer.param_groups:  # small steps first: the averages are young
                group["lr"] = knobs["learning_rate"] * min(1.0, step / 20)
        rows = starts[torch.randint(0, len(starts), (BATCH,))]  # each row begins with a story
        ids_BT = stream_N[rows[:, None] + torch.arange(CONTEXT + 1)]
        logits_NV = model(ids_BT[:, :-1]).flatten(0, 1)
        loss = F.cross_entropy(logits_NV, ids_BT[:, 1:].flatten())
        model.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        yield {"step": step, "loss": loss.item()}
