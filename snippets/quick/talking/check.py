"""Runs models/world-nano with the reader's three functions, and compares each with numpy's.

The model is trained weights and forty lines of numpy. It writes with the reader's functions before
anything is judged: what it says is the first sign of what is wrong.
"""

import json
import textwrap

import numpy as np

from minimind_wiki.lite.checks import Wrong, ask

LENGTH, TEMPERATURE = 90, 0.6
NAMES = ("rms_norm", "turn", "causal_attention")


def norm_oracle(x, weight, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight


def turn_oracle(x, cos, sin):
    left, right = np.split(x, 2, -1)
    return x * cos + np.concatenate([-right, left], -1) * sin


def attention_oracle(q, k, v, scale=None, mask=True, past=0):
    scores = q @ k.swapaxes(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if mask:
        scores = np.where(np.triu(np.ones(scores.shape[-2:]), 1 + past) > 0, -1e30, scores)
    power = np.exp(scores - scores.max(-1, keepdims=True))
    return power / power.sum(-1, keepdims=True) @ v


ORACLES = dict(zip(NAMES, (norm_oracle, turn_oracle, attention_oracle), strict=True))


class Model:
    """The trained weights; `parts` are the functions that a pass uses."""

    def __init__(self, data):
        by_name = {name.split("/")[-1]: bytes(raw) for name, raw in data.items()}
        self.config = json.loads(by_name["config.json"])
        self.weights = self.read(by_name["model.safetensors"])
        tokens = json.loads(by_name["tokenizer.json"])
        names = {i: token for token, i in tokens["model"]["vocab"].items()}
        names |= {token["id"]: "" for token in tokens["added_tokens"]}
        self.pieces = [names[i] for i in range(len(names))]

    @staticmethod
    def read(raw):
        """bfloat16 is the upper half of a float32."""
        start = 8 + int.from_bytes(raw[:8], "little")
        weights = {}
        for name, about in json.loads(raw[8:start]).items():
            if name != "__metadata__":
                first, last = about["data_offsets"]
                halves = np.frombuffer(raw[start + first : start + last], np.uint16)
                wide = (halves.astype(np.uint32) << 16).view(np.float32)
                weights[name.removeprefix("model.")] = wide.reshape(about["shape"])
        return weights

    def rotation(self, T):
        D = self.config["head_dim"]
        rate = self.config["rope_theta"] ** (-np.arange(0, D, 2) / D)
        angle = np.concatenate([np.outer(np.arange(T), rate)] * 2, -1).astype(np.float32)
        return np.cos(angle), np.sin(angle)

    def logits(self, ids, parts):
        """Scores of the next token after each of the ids, (T, V)."""
        norm, turn, attend = (parts[name] for name in NAMES)
        w, eps = self.weights, self.config["rms_norm_eps"]
        H, D = self.config["num_attention_heads"], self.config["head_dim"]
        x, turns = w["embed_tokens.weight"][ids], self.rotation(len(ids))
        for i in range(self.config["num_hidden_layers"]):
            layer = {n.removeprefix(f"layers.{i}."): v for n, v in w.items() if f"layers.{i}." in n}
            y = norm(x, layer["input_layernorm.weight"], eps)
            q, k, v = (
                (y @ layer[f"self_attn.{n}_proj.weight"].T).reshape(-1, H, D).swapaxes(0, 1)
                for n in "qkv"
            )
            q = turn(norm(q, layer["self_attn.q_norm.weight"], eps), *turns)
            k = turn(norm(k, layer["self_attn.k_norm.weight"], eps), *turns)
            y = attend(q, k, v).swapaxes(0, 1).reshape(len(ids), H * D)
            x = x + y @ layer["self_attn.o_proj.weight"].T
            y = norm(x, layer["post_attention_layernorm.weight"], eps)
            gate, up = (y @ layer[f"mlp.{n}_proj.weight"].T for n in ("gate", "up"))
            x = x + (gate / (1 + np.exp(-gate)) * up) @ layer["mlp.down_proj.weight"].T
        return norm(x, w["norm.weight"], eps) @ w["embed_tokens.weight"].T

    def story(self, parts):
        """What the model says; every draw's luck is fixed, so that only the parts decide."""
        ids, luck = [self.config["bos_token_id"]], np.random.default_rng(5)
        for _ in range(LENGTH):
            scores = self.logits(ids, parts)[-1] / TEMPERATURE
            ids.append(int(np.argmax(scores + luck.gumbel(size=len(scores)))))
            if ids[-1] == self.config["eos_token_id"]:
                break
        text = "".join(self.pieces[i] for i in ids)
        lines = text.replace("Ġ", " ").replace("Ċ", "\n").strip().split("\n")
        return "\n".join(textwrap.fill(line, 60) for line in lines)


def as_numpy(function, torch):
    """The reader's function on numpy's arrays."""

    def call(*given):
        arguments = [
            torch.tensor(np.ascontiguousarray(x, np.float32)) if isinstance(x, np.ndarray) else x
            for x in given
        ]
        y = function(*arguments)
        if not hasattr(y, "detach"):
            raise Wrong(f"{function.__name__} returns a {type(y).__name__}, not a tensor.")
        return np.asarray(y.detach(), np.float32)

    return call


def compare(got, want, mistakes):
    """None if equal; else the mistake that gives these numbers, or where they differ."""
    if got.shape != want.shape:
        return f"The result has shape {got.shape}; it should be {want.shape}."
    if np.allclose(got, want, rtol=1e-3, atol=1e-4):
        return None
    for wrong, says in mistakes:
        if wrong.shape == got.shape and np.allclose(got, wrong, rtol=1e-3, atol=1e-4):
            return says
    place = np.unravel_index(np.nanargmax(np.abs(got - want)), want.shape)
    at = ", ".join(str(int(i)) for i in place)
    return f"Number [{at}] of the result should be {want[place]:.4f} and is {got[place]:.4f}."


def draw(*shape):
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def the_norm(parts, model):
    x, g, eps = draw(3, 8) + 0.5, draw(8), 0.1
    square = (x * x).mean(-1, keepdims=True)
    return compare(parts["rms_norm"](x, g, eps), norm_oracle(x, g, eps), [
        (norm_oracle(x, 1, eps),
         "The gain is missing: multiply by weight."),
        (x / (np.sqrt(square) + eps) * g,
         "eps stands outside the root: add it to the mean of squares."),
        (x / np.sqrt(8 * square + eps) * g,
         "Take the mean of squares, not their sum."),
        (norm_oracle(x - x.mean(-1, keepdims=True), g, eps),
         "You subtract the mean, as LayerNorm does; RMSNorm does not."),
        (x * np.sqrt(square + eps) * g,
         "You multiply by the root: divide."),
    ])  # fmt: skip


def the_rotation(parts, model):
    rate = 10.0 ** -np.arange(4)
    angle = np.concatenate([np.outer(np.arange(5), rate)] * 2, -1).astype(np.float32)
    x, cos, sin = draw(2, 5, 8), np.cos(angle), np.sin(angle)
    left, right = np.split(x, 2, -1)
    pairs = x.reshape(2, 5, 4, 2)
    neighbours = np.stack([-pairs[..., 1], pairs[..., 0]], -1).reshape(x.shape)
    return compare(parts["turn"](x, cos, sin), turn_oracle(x, cos, sin), [
        (turn_oracle(x, cos, -sin),
         "You turn backwards: the minus belongs to the right half, which moves left."),
        (x * cos + np.concatenate([right, left], -1) * sin,
         "A minus is missing: new left = left · cos − right · sin."),
        (x * cos + neighbours * sin,
         "You turn neighbours; this model's planes are left half and right half."),
        (x * cos + x * sin,
         "The halves must change places before they meet sin."),
    ])  # fmt: skip


def the_attention(parts, model):
    q, k, v = 2 * draw(2, 5, 8), np.roll(draw(2, 5, 8), 1), draw(2, 5, 8)[::-1]
    return compare(parts["causal_attention"](q, k, v), attention_oracle(q, k, v), [
        (attention_oracle(q, k, v, mask=False),
         "Tokens see the future: hide it before the softmax."),
        (attention_oracle(q, k, v, scale=1.0),
         "The scores are not divided by the root of D."),
        (attention_oracle(q, k, v, scale=1 / 8),
         "You divide by D; it is the root of D."),
        (attention_oracle(q, k, v, past=1),
         "Each token sees one later token: the mask begins one place too late."),
    ])  # fmt: skip


def the_model(parts, model):
    ids = [model.config["bos_token_id"], *range(300, 340)]
    got, want = (model.logits(ids, p) for p in (parts, ORACLES))
    worst = np.abs(got - want).max()
    return None if worst < 1e-2 else f"The model's scores are off by up to {worst:.3g}."


def check(found, data):
    """The questions, after the story."""
    missing = [name for name in NAMES if not callable(found.get(name))]
    if missing:
        return ask([("the functions", lambda: f"Define a function named {missing[0]}.")])
    parts = {name: as_numpy(found[name], found["torch"]) for name in NAMES}
    model = Model(data)
    try:
        print(f"The model, with your parts:\n\n{model.story(parts)}\n")
    except Exception:  # noqa: BLE001 - the reader's code; the questions below say what is wrong
        print("The model cannot speak yet.")
    questions = [("the norm", the_norm), ("the rotation", the_rotation),
                 ("the attention", the_attention), ("the whole model", the_model)]  # fmt: skip
    return ask(questions, parts, model)
