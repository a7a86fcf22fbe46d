"""Checks `decoder(ids, embedding, blocks, last_norm)` against a float64 oracle on small parts,
where an answer names the mistake, and then with models/world-nano in its parts.

The small parts commute with nothing: each norm has its own gain, attention mixes the places, and
the embedding is large enough that a missing norm is seen.
"""

import json

import numpy as np

from minimind_wiki.lite.checks import array, ask, close

T, D, V, EPS = 5, 4, 7, 1e-6
IDS = np.array([3, 0, 6, 3, 1])


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def small(depth):
    """Weights of a small model: the table, a gain and a matrix for each branch, the last gain."""
    blocks = [
        {"gain_1": 1 + 0.5 * draw(D, seed=10 + n), "attention": draw(D, D, seed=30 + n),
         "gain_2": 1 + 0.5 * draw(D, seed=50 + n), "feed_forward": draw(D, D, seed=70 + n)}
        for n in range(depth)
    ]  # fmt: skip
    return {"embedding": 2 * draw(V, D), "blocks": blocks, "last": 1 + 0.5 * draw(D, seed=90)}


def norm(x, gain):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + EPS) * gain


MEAN = np.tril(np.ones((T, T))) / np.arange(1, T + 1)[:, None]  # of each place and those before it


def mixed(x, w):
    return MEAN @ np.tanh(x @ w.T)


def bent(x, w):
    return np.tanh(x @ w.T)


def standard(x, b):
    x = x + mixed(norm(x, b["gain_1"]), b["attention"])
    return x + bent(norm(x, b["gain_2"]), b["feed_forward"])


def oracle(weights, block=standard, first=lambda x, w: x, last=norm, which=slice(None)):
    """The scores, with any of the steps replaced."""
    x = first(weights["embedding"][IDS], weights)
    for b in weights["blocks"][which]:
        x = block(x, b)
    return last(x, weights["last"]) @ weights["embedding"].T


def post_norm(x, b):
    x = norm(x + mixed(x, b["attention"]), b["gain_1"])
    return norm(x + bent(x, b["feed_forward"]), b["gain_2"])


def first_norm_twice(x, b):
    x = x + mixed(norm(x, b["gain_1"]), b["attention"])
    return x + bent(norm(x, b["gain_1"]), b["feed_forward"])


def norms_swapped(x, b):
    x = x + mixed(norm(x, b["gain_2"]), b["attention"])
    return x + bent(norm(x, b["gain_1"]), b["feed_forward"])


def normed_stream(x, b):
    x = norm(x, b["gain_1"])
    x = norm(x + mixed(x, b["attention"]), b["gain_2"])
    return x + bent(x, b["feed_forward"])


def attention_bare(x, b):
    x = x + mixed(x, b["attention"])
    return x + bent(norm(x, b["gain_2"]), b["feed_forward"])


def feed_forward_bare(x, b):
    x = x + mixed(norm(x, b["gain_1"]), b["attention"])
    return x + bent(x, b["feed_forward"])


def bare(x, b):
    x = x + mixed(x, b["attention"])
    return x + bent(x, b["feed_forward"])


def parallel(x, b):
    return (x + mixed(norm(x, b["gain_1"]), b["attention"])
            + bent(norm(x, b["gain_2"]), b["feed_forward"]))  # fmt: skip


def parallel_one_norm(x, b):
    y = norm(x, b["gain_1"])
    return x + mixed(y, b["attention"]) + bent(y, b["feed_forward"])


def swapped(x, b):
    x = x + bent(norm(x, b["gain_2"]), b["feed_forward"])
    return x + mixed(norm(x, b["gain_1"]), b["attention"])


def no_sums(x, b):
    x = mixed(norm(x, b["gain_1"]), b["attention"])
    return bent(norm(x, b["gain_2"]), b["feed_forward"])


def no_first_sum(x, b):
    x = mixed(norm(x, b["gain_1"]), b["attention"])
    return x + bent(norm(x, b["gain_2"]), b["feed_forward"])


def no_second_sum(x, b):
    x = x + mixed(norm(x, b["gain_1"]), b["attention"])
    return bent(norm(x, b["gain_2"]), b["feed_forward"])


def no_attention(x, b):
    return x + bent(norm(x, b["gain_2"]), b["feed_forward"])


def no_feed_forward(x, b):
    return x + mixed(norm(x, b["gain_1"]), b["attention"])


def softmax(scores):
    power = np.exp(scores - scores.max(-1, keepdims=True))
    return power / power.sum(-1, keepdims=True)


def last_in_every_block(w):
    return oracle(w, lambda x, b: norm(standard(x, b), w["last"]), last=lambda x, gain: x)


# Every wrong model that we know, as a function of the weights, and what to say about it.
MISTAKES = [
    ("The last norm is missing: the head must not see the bare stream.",
     lambda w: oracle(w, last=lambda x, gain: x)),
    ("The norms stand after the sums (post-norm): norm what a branch reads, not the stream.",
     lambda w: oracle(w, post_norm)),
    ("The norms stand after the sums (post-norm), and there the last norm is missing too.",
     lambda w: oracle(w, post_norm, last=lambda x, gain: x)),
    ("Both branches use norm_1: the feed-forward has a norm of its own, norm_2.",
     lambda w: oracle(w, first_norm_twice)),
    ("The two norms have changed places: norm_1 belongs to attention, norm_2 to the feed-forward.",
     lambda w: oracle(w, norms_swapped)),
    ("The normed stream is added: add to x as it was, and give the normed one to the branch alone.",
     lambda w: oracle(w, normed_stream)),
    ("Attention reads the stream without its norm.", lambda w: oracle(w, attention_bare)),
    ("The feed-forward reads the stream without its norm.", lambda w: oracle(w, feed_forward_bare)),
    ("The branches read the stream without their norms.", lambda w: oracle(w, bare)),
    ("Both branches read the same x (a parallel block): the second reads what the first wrote.",
     lambda w: oracle(w, parallel)),
    ("Both branches read the same normed x: the second reads what the first wrote, by norm_2.",
     lambda w: oracle(w, parallel_one_norm)),
    ("The feed-forward runs before attention.", lambda w: oracle(w, swapped)),
    ("Nothing is added: the branches have taken the stream's place.",
     lambda w: oracle(w, no_sums)),
    ("The sum around attention is missing.", lambda w: oracle(w, no_first_sum)),
    ("The sum around the feed-forward is missing.", lambda w: oracle(w, no_second_sum)),
    ("Attention is not in the result.", lambda w: oracle(w, no_attention)),
    ("The feed-forward is not in the result.", lambda w: oracle(w, no_feed_forward)),
    ("Only the first block runs.", lambda w: oracle(w, which=slice(1))),
    ("Only the last block runs.", lambda w: oracle(w, which=slice(-1, None))),
    ("The blocks run in reverse.", lambda w: oracle(w, which=slice(None, None, -1))),
    ("The last norm runs in every block: it stands once, behind all of them.", last_in_every_block),
    ("The embedding is multiplied by the root of D. Some models do; this one was not trained so.",
     lambda w: oracle(w, first=lambda x, weights: x * np.sqrt(D))),
    ("The embedding is normed before the first block: it enters the stream as it is.",
     lambda w: oracle(w, first=lambda x, weights: norm(x, weights["last"]))),
    ("You return chances: return the scores, without a softmax.", lambda w: softmax(oracle(w))),
]  # fmt: skip


def tensor(torch, a, **how):
    return torch.tensor(np.ascontiguousarray(a, np.float32), **how)


def rms(gain, eps=EPS):
    return lambda x: x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * gain


def tanh(torch, w, mean=None):
    if mean is None:
        return lambda x: torch.tanh(x @ w.T)
    return lambda x: mean @ torch.tanh(x @ w.T)


def parts(torch, weights):
    """The weights as tensors that want a gradient, by name, and the parts made of them."""
    leaf = {"embedding": tensor(torch, weights["embedding"], requires_grad=True),
            "last_norm": tensor(torch, weights["last"], requires_grad=True)}  # fmt: skip
    mean, blocks = tensor(torch, MEAN), []
    for n, b in enumerate(weights["blocks"]):
        w = {name: tensor(torch, a, requires_grad=True) for name, a in b.items()}
        leaf |= {f"{name} of block {n + 1}": x for name, x in w.items()}
        blocks.append((rms(w["gain_1"]), tanh(torch, w["attention"], mean),
                       rms(w["gain_2"]), tanh(torch, w["feed_forward"])))  # fmt: skip
    return leaf, blocks


def run(decoder, torch, depth):
    leaf, blocks = parts(torch, small(depth))
    return leaf, decoder(torch.tensor(IDS), leaf["embedding"], blocks, rms(leaf["last_norm"]))


def judge(decoder, torch, depth):
    """None if the reader's scores are the oracle's, otherwise the mistake that explains them."""
    weights = small(depth)
    got, want = array(run(decoder, torch, depth)[1]), oracle(weights)
    if close(got, want):
        return None
    if got.shape != want.shape:
        return f"For {T} tokens of {V} the result has shape {got.shape}; it should be {want.shape}."
    for text, mistake in MISTAKES:
        if close(got, mistake(weights)):
            return text
    place = tuple(map(int, np.unravel_index(np.argmax(np.abs(got - want)), want.shape)))
    return f"Score {place} should be {want[place]:.4f} and is {got[place]:.4f}."


def no_blocks(decoder, torch, data):
    answer = judge(decoder, torch, 0)
    if answer is None or not answer.startswith("Score"):
        return answer
    return (f"{answer} With no blocks a score is the product of a normed embedding and a row of "
            "the same table: is the head that table?")  # fmt: skip


def one_block(decoder, torch, data):
    return judge(decoder, torch, 1)


def three_blocks(decoder, torch, data):
    return judge(decoder, torch, 3)


def every_gradient(decoder, torch, data):
    """Every part must be reached, and the table from both of its ends."""
    weights = small(1)
    leaf, scores = run(decoder, torch, 1)
    array(scores)
    c = draw(T, V, seed=9)
    if scores.requires_grad:
        (scores * tensor(torch, c)).sum().backward()
    for name, x in leaf.items():
        if x.grad is None or not np.any(array(x.grad)):
            return f"No gradient reaches {name}: do not detach, and do not leave the tensors."
    want, table = np.zeros((V, D)), weights["embedding"]
    for place in np.ndindex(V, D):
        ends = []
        for step in (1e-5, -1e-5):
            moved = table.copy()
            moved[place] += step
            ends.append((oracle(weights | {"embedding": moved}) * c).sum())
        want[place] = (ends[0] - ends[1]) / 2e-5
    if close(array(leaf["embedding"].grad), want, 1e-3):
        return None
    return "The table's gradient lacks one of its ends: it reads tokens, and it scores them."


def safetensors(raw):
    """Tensors by name; bfloat16 is the upper half of a float32."""
    start = 8 + int.from_bytes(raw[:8], "little")
    found = {}
    for name, about in json.loads(raw[8:start]).items():
        if name != "__metadata__":
            first, last = about["data_offsets"]
            halves = np.frombuffer(raw[start + first : start + last], np.uint16)
            wide = (halves.astype(np.uint32) << 16).view(np.float32)
            found[name.removeprefix("model.")] = wide.reshape(about["shape"])
    return found


def turn(torch, x, theta):
    """RoPE of (heads, T, size), as Llama and Qwen lay it out."""
    half = x.shape[-1] // 2
    angle = np.outer(np.arange(x.shape[1]), theta ** (-np.arange(half) / half))
    cos, sin = tensor(torch, np.cos(angle)), tensor(torch, np.sin(angle))
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def attention(torch, w, config):
    """Causal attention with normed queries and keys (Qwen3), all heads at once."""
    eps, theta = config["rms_norm_eps"], config["rope_theta"]

    def attend(x):
        heads = {
            n: (x @ w[f"self_attn.{n}_proj.weight"].T)
            .unflatten(-1, (-1, config["head_dim"]))
            .transpose(0, 1)
            for n in "qkv"
        }
        q, k = (
            turn(torch, rms(w[f"self_attn.{n}_norm.weight"], eps)(heads[n]), theta) for n in "qk"
        )
        whole = torch.nn.functional.scaled_dot_product_attention
        y = whole(q[None], k[None], heads["v"][None], is_causal=True)[0]
        return y.transpose(0, 1).flatten(1) @ w["self_attn.o_proj.weight"].T

    return attend


def feed_forward(torch, w):
    gate, up, down = (w[f"mlp.{n}_proj.weight"] for n in ("gate", "up", "down"))
    return lambda x: (torch.nn.functional.silu(x @ gate.T) * (x @ up.T)) @ down.T


def shipped(torch, data):
    """The parts of models/world-nano: its table, its blocks, its last norm."""
    by_name = {name.split("/")[-1]: bytes(raw) for name, raw in data.items()}
    config = json.loads(by_name["config.json"])
    weights = {n: tensor(torch, a) for n, a in safetensors(by_name["model.safetensors"]).items()}
    blocks = []
    for n in range(config["num_hidden_layers"]):
        w = {k.removeprefix(f"layers.{n}."): v for k, v in weights.items() if f"layers.{n}." in k}
        blocks.append((rms(w["input_layernorm.weight"], config["rms_norm_eps"]),
                       attention(torch, w, config),
                       rms(w["post_attention_layernorm.weight"], config["rms_norm_eps"]),
                       feed_forward(torch, w)))  # fmt: skip
    last = rms(weights["norm.weight"], config["rms_norm_eps"])
    return weights["embed_tokens.weight"], blocks, last


def the_scores(torch, table, blocks, last, ids):
    """What the package says, from the same parts; a test holds it to the package itself."""
    x = table[torch.tensor(ids)]
    for norm_1, attend, norm_2, mlp in blocks:
        x = x + attend(norm_1(x))
        x = x + mlp(norm_2(x))
    return array(last(x) @ table.T)


def the_model(decoder, torch, data):
    table, blocks, last = shipped(torch, data)
    ids = [1, *range(300, 330)]
    got = array(decoder(torch.tensor(ids), table, blocks, last))
    want = the_scores(torch, table, blocks, last, ids)
    if got.shape != want.shape:
        return f"The model's scores have shape {got.shape}; they should be {want.shape}."
    worst = np.abs(got - want).max()
    return None if worst < 1e-2 else f"The model's scores are off by up to {worst:.3g}."


def story(decoder, torch, data, length=40):
    """What the model says, always the likeliest token; only a sign, nothing is judged by it."""
    (raw,) = (bytes(raw) for name, raw in data.items() if name.endswith("tokenizer.json"))
    about, (table, blocks, last) = json.loads(raw), shipped(torch, data)
    piece = {i: text for text, i in about["model"]["vocab"].items()}
    ids = [1]
    for _ in range(length):
        scores = array(decoder(torch.tensor(ids), table, blocks, last))
        ids.append(int(np.argmax(scores[-1])))
    return "".join(piece.get(i, "") for i in ids[1:]).replace("Ġ", " ").replace("Ċ", "\n").strip()


QUESTIONS = [
    ("no blocks", no_blocks),
    ("one block", one_block),
    ("three blocks", three_blocks),
    ("every gradient", every_gradient),
    ("a trained model", the_model),
]


def check(ns, data):
    """The answers for the namespace `ns` that the reader's code made."""
    if not callable(ns.get("decoder")):
        return ask([("function", lambda: "Define a function decoder with the arguments ids, "
                                         "embedding, blocks, last_norm.")])  # fmt: skip
    try:
        print(f"The model, assembled by you:\n\n{story(ns['decoder'], ns['torch'], data)}\n")
    except Exception:  # noqa: BLE001 - the reader's code; the questions below say what is wrong
        print("The model cannot speak yet.")
    return ask(QUESTIONS, ns["decoder"], ns["torch"], data)
