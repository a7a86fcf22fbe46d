"""The page's engine, in Node, against torch on the same int8 weights."""

from __future__ import annotations

import json
import math

import pytest
import torch
from page_engine import LAYOUTS, ROOT, run_engine, same_weights, some_ids, write_site

from minimind_wiki.infer import generate, load_model_folder
from minimind_wiki.infer.adapter import read_adapter
from minimind_wiki.infer.export.browser import export_adapter
from minimind_wiki.infer.export.bundle import read_bundle, read_file
from minimind_wiki.infer.folder import save_model_folder
from minimind_wiki.model import Transformer, attention, preset
from minimind_wiki.model.masks import causal_mask
from minimind_wiki.model.positions import alibi_bias
from minimind_wiki.tokenizer.bytes import ByteTokenizer

WHOLE = ("world-nano", "world-tiny", "world-tiny-chat")
ADAPTERS = ("world-tiny-dpo", "world-tiny-grpo")
ALL = (*WHOLE, *ADAPTERS, *LAYOUTS)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site") / "lm"
    write_site(folder)
    return folder


@pytest.fixture(scope="module")
def torch_model(site):
    """The model of an id, adapters merged."""
    made = {}

    def get(name):
        if name not in made:
            adapter = name in ADAPTERS
            made[name] = same_weights(site / ("world-tiny-chat" if adapter else name))
            if adapter:
                add_adapter(made[name], site / name / "adapter.bin")
        return made[name]

    return get


def add_adapter(model, file, times=1.0):
    header, tensors = read_file(file)
    scale, modules = header["adapter"]["scale"] * times, dict(model.named_modules())
    for name in {key.rpartition(".")[0] for key in tensors}:
        a_RI, b_OR = (torch.tensor(tensors[f"{name}.lora_{letter}"]) for letter in "AB")
        modules[name].weight.data += scale * b_OR @ a_RI


@pytest.fixture(scope="module")
def answered(site, torch_model, tmp_path_factory):
    """Scores of every model, in one run."""
    calls = []
    for name in ALL:
        ids = some_ids(torch_model(name).config.vocab_size)
        calls += [("load", [{"kind": "shipped", "id": name}]), ("logits", [name, ids])]
        calls += [("distribution", [name, ids]), ("trace", [name, ids, {"top": 3}])]
        greedy = {"ids": ids[:9], "maxTokens": 24, "sampling": {}}
        calls += [("generate", [name, greedy])]
    answers = run_engine(site, calls, tmp_path_factory.mktemp("run"))
    assert not [answer for answer in answers if "error" in answer]
    return {name: answers[5 * at : 5 * at + 5] for at, name in enumerate(ALL)}


def nearly(found, wanted_TV, scale=None):
    """At most 1e-5 of the largest size away."""
    wanted = wanted_TV.detach().flatten()
    found = torch.tensor(found, dtype=torch.float64)
    assert found.shape == wanted.shape
    largest = wanted.abs().max().item() if scale is None else scale
    assert (found - wanted).abs().max().item() <= 1e-5 * largest


@pytest.mark.parametrize("name", ALL)
def test_scores_are_torchs(name, torch_model, answered):
    model = torch_model(name)
    ids = some_ids(model.config.vocab_size)
    with torch.no_grad():
        logits_TV = model(torch.tensor([ids]))[0]
    info, logits, distribution, trace, _ = answered[name]
    nearly(logits["value"], logits_TV)
    nearly(distribution["value"]["raw"], logits_TV[-1].softmax(-1))
    assert info["value"]["parameters"] == model.num_parameters()
    probability_TV = logits_TV.softmax(-1)
    for place, told in enumerate(trace["value"]["next"]):
        p_V = probability_TV[place]
        best = p_V.topk(3)
        assert [c["id"] for c in told["top"]] == best.indices.tolist()
        assert told["entropyBits"] == pytest.approx(
            -(p_V * p_V.log2().nan_to_num(neginf=0)).sum().item(), abs=1e-3
        )
        if place + 1 < len(ids):
            actual = told["actual"]
            assert actual["id"] == ids[place + 1]
            assert actual["rank"] == int((p_V > p_V[actual["id"]]).sum())


@pytest.mark.parametrize("name", ALL)
def test_greedy_tokens_are_torchs(name, torch_model, answered):
    model = torch_model(name)
    ids = some_ids(model.config.vocab_size)[:9]
    eos = model.config.eos_token_id
    wanted = generate(model, torch.tensor([ids]), 24, temperature=0)[0].tolist()[9:]
    wanted = wanted[: wanted.index(eos) + 1] if eos in wanted else wanted
    drawn = answered[name][4]["drawn"]
    assert [token["id"] for token in drawn] == wanted
    assert all(token["rank"] == 0 and token["top"][0]["id"] == token["id"] for token in drawn)


def test_what_the_engine_does_not_compute_is_refused_by_name(site, tmp_path):
    strange = {
        "mamba": {"model_type": "mamba"},
        "attention_bias": {"attention_bias": True},
        "partial_rotary_factor": {"rope_parameters": {"partial_rotary_factor": 0.5}},
    }  # fmt: skip
    calls = []
    for name, change in strange.items():
        folder = save_model_folder(tmp_path / name, Transformer(preset("nano")), ByteTokenizer())
        about = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(about | change))
        files = [{"name": file.name, "path": str(file)} for file in folder.iterdir()]
        calls.append(("load", [{"kind": "files", "name": name, "files": files}]))
    for name, answer in zip(strange, run_engine(site, calls, tmp_path), strict=True):
        assert answer["code"] == "unsupported" and name in answer["error"].lower()


@pytest.mark.parametrize(
    "name", ["qwen3", "sinks", "odd", "world-tiny-dpo", "gpt2", "gpt2-odd", "sinusoidal",
             "alibi-window", "dynamic", "no-positions"]
)  # fmt: skip
def test_a_trace_is_what_torch_computes_inside(name, site, torch_model, tmp_path, monkeypatch):
    model = torch_model(name)
    ids = some_ids(model.config.vocab_size, seed=2)
    (_, answer) = run_engine(site, [
        ("load", [{"kind": "shipped", "id": name}]),
        ("trace", [name, ids, {"attention": True, "stream": True, "lens": True, "top": 2}]),
    ], tmp_path)  # fmt: skip
    trace, seen = answer["value"], Watch(model, monkeypatch, len(ids))
    with torch.no_grad():
        model(torch.tensor([ids]))
    for layer in range(model.config.num_hidden_layers):
        nearly(trace["attention"][layer], seen.weights[layer], scale=1)
        nearly(trace["valueWeighted"][layer], seen.shared[layer], scale=1)
        nearly(trace["added"][layer], torch.stack(seen.added[layer], -1))
    for layer, x_TD in enumerate(seen.stream):
        nearly(trace["stream"][layer], x_TD)
        with torch.no_grad():
            p_TV = model.lm_head(model.model.norm(x_TD)).softmax(-1)
        told = trace["lens"][layer]
        assert [c["id"] for place in told for c in place["top"]] == p_TV.topk(
            2
        ).indices.flatten().tolist()
        nearly([place["actual"]["probability"] for place in told[:-1]],
               p_TV[:-1].gather(1, torch.tensor(ids)[1:, None]), scale=1)  # fmt: skip


class Watch:
    """What torch computes on the way."""

    def __init__(self, model, monkeypatch, length):
        config = model.config
        self.weights, self.shared, self.stream = [], [], []
        self.added = [[] for _ in model.model.layers]

        def attend(q_BHTD, k_BKSD, v_BKSD, view):
            layer, group = len(self.weights), q_BHTD.shape[1] // k_BKSD.shape[1]
            k_HSD, v_HSD = (x[0].repeat_interleave(group, 0) for x in (k_BKSD, v_BKSD))
            mask = causal_mask(length, length, None, config.window(layer), config.attention_sinks)
            score_HTS = q_BHTD[0] @ k_HSD.transpose(-1, -2) / math.sqrt(config.head_dim)
            if config.positions == "alibi":
                score_HTS = score_HTS + alibi_bias(q_BHTD.shape[1], length, length)
            weight_HTS = score_HTS.masked_fill(~mask, -math.inf).softmax(-1)
            out_OHD = model.model.layers[layer].self_attn.o_proj.weight.unflatten(
                1, (-1, config.head_dim)
            )
            brought_HS = torch.einsum("hsd,ohd->hso", v_HSD, out_OHD).norm(dim=-1)
            part_HTS = weight_HTS * brought_HS[:, None]
            self.weights.append(weight_HTS)
            self.shared.append(part_HTS / part_HTS.sum(-1, keepdim=True))
            return (weight_HTS @ v_HSD)[None]

        monkeypatch.setattr(attention, "attend", attend)
        decoder = model.model
        first = decoder.layers[0]  # positions may be added to the embedding
        first.register_forward_pre_hook(lambda *a: self.stream.append(a[1][0][0]))
        for number, layer in enumerate(decoder.layers):
            layer.register_forward_hook(lambda *a: self.stream.append(a[2][0]))
            for part in (layer.self_attn, layer.mlp):
                part.register_forward_hook(
                    lambda *a, number=number: self.added[number].append(a[2][0].norm(dim=-1))
                )


def edited(model, ids, *hooks):
    """Scores of a pass with hooks, each a module and what is done after it (or before, as pre)."""
    handles = []
    for module, kind, change in hooks:
        register = (
            module.register_forward_pre_hook if kind == "pre" else module.register_forward_hook
        )
        handles.append(register(change))
    with torch.no_grad():
        logits_TV = model(torch.tensor([ids]))[0]
    for handle in handles:
        handle.remove()
    return logits_TV


@pytest.mark.parametrize("name", ["qwen3", "gpt2", "gpt2-sinusoidal", "alibi", "dynamic"])
def test_edits_are_hooks(name, site, torch_model, tmp_path):
    ids, other = some_ids(259, seed=3), some_ids(259, seed=4, length=17)
    model = torch_model(name)
    layers, size = model.model.layers, model.config.head_dim
    stream, embedded = [], []
    edited(model, other, (layers[1], "post", lambda m, i, out: stream.append(out[0])),
           (layers[0], "pre", lambda m, given: embedded.append(given[0][0])))  # fmt: skip

    def without_head(module, given):
        x = given[0].clone()
        x[..., 2 * size : 3 * size] = 0
        return (x,)

    def patched(module, given, out):
        out = out.clone()
        out[0, 31] = stream[0][11]
        return out

    def begun(module, given):
        x = given[0].clone()
        x[0, 0] = embedded[0][3]
        return (x, *given[1:])

    def nothing(module, given, out):
        return torch.zeros_like(out)

    head = {"kind": "head", "layer": 1, "head": 2}
    part = {"kind": "part", "layer": 0, "part": "attention"}
    both = {"kind": "part", "layer": 2, "part": "both"}
    patch = {"kind": "patch", "layer": 1, "position": 31, "fromIds": other, "fromPosition": 11}
    begin = patch | {"layer": -1, "position": 0, "fromPosition": 3}
    cases = [
        ([head], [(layers[1].self_attn.o_proj, "pre", without_head)]),
        ([part], [(layers[0].self_attn, "post", nothing)]),
        ([both], [(layers[2].self_attn, "post", nothing), (layers[2].mlp, "post", nothing)]),
        ([patch], [(layers[1], "post", patched)]),
        ([begin], [(layers[0], "pre", begun)]),
        ([head, part, patch], [(layers[1].self_attn.o_proj, "pre", without_head),
                               (layers[0].self_attn, "post", nothing),
                               (layers[1], "post", patched)]),
    ]  # fmt: skip
    calls = [("load", [{"kind": "shipped", "id": name}])]
    for edits, _ in cases:
        calls.append(("logits", [name, ids, edits]))
        calls.append(("distribution", [name, ids, {}, edits]))
    answers = run_engine(site, calls, tmp_path)
    plain_TV = edited(model, ids)
    for at, (_, hooks) in enumerate(cases):
        wanted_TV = edited(model, ids, *hooks)
        assert (wanted_TV[-1] - plain_TV[-1]).abs().max() > 0.01
        nearly(answers[1 + 2 * at]["value"], wanted_TV)
        nearly(answers[2 + 2 * at]["value"]["raw"], wanted_TV[-1].softmax(-1), scale=1)


def test_an_expert_can_be_refused_and_the_chosen_are_told(site, torch_model, tmp_path):
    name = "dense-between"
    model, ids = torch_model(name), some_ids(259, seed=5)
    edit = {"kind": "expert", "layer": 3, "expert": 2}
    _, traced, logits, wrong = run_engine(site, [
        ("load", [{"kind": "shipped", "id": name}]), ("trace", [name, ids]),
        ("logits", [name, ids, [edit]]), ("logits", [name, ids, [edit | {"layer": 0}]]),
    ], tmp_path)  # fmt: skip
    plain_TV = edited(model, ids)
    routing = model.model.layers[3].mlp.routing.expert_Nk
    told = torch.tensor(traced["value"]["experts"][3]).unflatten(0, (-1, 2))
    assert torch.equal(told.sort(-1).values, routing.sort(-1).values)
    assert set(traced["value"]["experts"][0]) == {-1}

    def refuse(module, given, out):
        out = out.clone()
        out[:, 2] = -math.inf
        return out

    mixture = model.model.layers[3].mlp
    scores = mixture.scores
    mixture.scores = lambda x_ND: refuse(None, None, scores(x_ND))
    wanted_TV = edited(model, ids)
    del mixture.scores
    assert (wanted_TV - plain_TV).abs().max() > 0.01
    nearly(logits["value"], wanted_TV)
    assert wrong["code"] == "input"


def test_adapters_go_on_and_off(site, tmp_path):
    name, ids = "world-tiny-grpo", some_ids(2048, seed=6)
    base = "world-tiny-chat"
    scaled = [{"kind": "adapter", "id": name, "scale": scale} for scale in (0, 0.5, 1)]
    calls = [("load", [{"kind": "shipped", "id": name}])]
    calls += [("logits", [name, ids, [edit]]) for edit in scaled]
    calls += [("logits", [base, ids]), ("logits", [name, ids]), ("logits", [base, ids, scaled[2:]])]
    _, *found = [answer["value"] for answer in run_engine(site, calls, tmp_path)]
    wanted = []
    for times in (0.0, 0.5, 1.0):
        model = same_weights(site / base)
        add_adapter(model, site / name / "adapter.bin", times)
        wanted.append(edited(model, ids))
    assert (wanted[1] - wanted[0]).abs().max() > 0.01
    for scores, wanted_TV in zip(found[:3], wanted, strict=True):
        nearly(scores, wanted_TV)
    assert found[3] == found[0] and found[4] == found[2] == found[5]


def test_text_read_in_pieces_gives_the_same_bits(site, tmp_path):
    """The cache, the order of the kernel's sums, and what was read before, change nothing."""
    for name in ("odd", "sinks", "alibi-window", "gpt2", "dynamic"):
        ids = some_ids(259, seed=7)
        calls = [("load", [{"kind": "shipped", "id": name}])]
        calls += [("distribution", [name, ids[:end]]) for end in (3, 4, 20, 41)]
        calls += [("distribution", [name, again]) for again in (ids[::-1], ids, ids[:20])]
        answers = [a["value"] for a in run_engine(site, calls, tmp_path)]
        assert answers[4]["raw"] == answers[6]["raw"] != answers[5]["raw"]
        assert answers[3]["raw"] == answers[7]["raw"]


def test_with_a_draft_greedy_stays_and_chances_stay(site, torch_model, tmp_path):
    prompt = some_ids(2048, seed=8, length=12)
    greedy = {"ids": prompt, "maxTokens": 60, "sampling": {}}
    guessed = greedy | {"draft": {"model": "world-nano", "tokens": 4}}
    small = some_ids(259, seed=9, length=6)
    # three tokens are left to both models, which like them differently
    sampling, draws = {"temperature": 1.5, "bias": {str(token): 100 for token in THREE}}, 4000
    request = {"ids": small, "maxTokens": 3, "sampling": sampling,
               "draft": {"model": "llama", "tokens": 2}}  # fmt: skip
    loads = [
        ("load", [{"kind": "shipped", "id": i}])
        for i in ("world-tiny", "world-nano", "llama", "qwen3")
    ]
    answers = run_engine(site, [
        *loads, ("generate", ["world-tiny", greedy]), ("generate", ["world-tiny", guessed]),
        ("pairs", ["qwen3", request, draws]),
        ("generate", ["world-tiny", guessed | {"draft": {"model": "llama", "tokens": 4}}]),
    ], tmp_path)[4:]  # fmt: skip
    tokens = [[token["id"] for token in answer["drawn"]] for answer in answers[:2]]
    assert tokens[0] == tokens[1]
    done, drafted = answers[1]["value"], [t for t in answers[1]["drawn"] if t.get("drafted")]
    assert 0 < len(drafted) == done["accepted"] < done["drafted"]
    assert answers[3]["code"] == "input"  # another tokenizer

    model, wanted = torch_model("qwen3"), {}
    for first, p_first in of_three(model, small):
        for second, p_second in of_three(model, [*small, first]):
            wanted[f"{first} {second}"] = p_first * p_second * draws
    counts = answers[2]["value"]
    assert set(counts) <= set(wanted) and sum(counts.values()) == draws
    surprise = sum((counts.get(pair, 0) - n) ** 2 / n for pair, n in wanted.items())
    # 99.99 % of chi-square with 8 degrees of freedom lie below 31.8
    assert len(wanted) == 9 and surprise < 31.8


THREE = (10, 20, 30)


def of_three(model, ids):
    with torch.no_grad():
        scores_V = model(torch.tensor([ids]))[0, -1]
    return list(zip(THREE, (scores_V[list(THREE)] / 1.5).softmax(-1).tolist(), strict=True))


def test_an_adapter_comes_back_from_its_bundle(site, tmp_path):
    model, _ = load_model_folder(ROOT / "models" / "world-tiny-chat", with_tokenizer=False)
    stored = read_adapter(ROOT / "models" / "world-tiny-dpo", model)
    folder = export_adapter(stored, site / "world-tiny-chat", tmp_path / "adapter")
    header, tensors = read_file(folder / "adapter.bin")
    assert header["adapter"]["scale"] == stored.scale == 2.0
    assert header["adapter"]["base"] == read_bundle(site / "world-tiny-chat")[0]["sha256"]
    assert len(tensors) == 2 * len(stored.layers)
    for name, (a_RI, b_OR) in stored.layers.items():
        assert torch.equal(torch.tensor(tensors[f"{name}.lora_A"]), a_RI.float())
        assert torch.equal(torch.tensor(tensors[f"{name}.lora_B"]), b_OR.float())
    # and the site's own step, which does without torch, writes the same bytes
    assert (folder / "adapter.bin").read_bytes() == (
        site / "world-tiny-dpo" / "adapter.bin"
    ).read_bytes()
