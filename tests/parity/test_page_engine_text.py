"""What the page's engine does around the model: the site's bundles, tokens, chats, filters."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from page_engine import ROOT, run_engine, site_models

from minimind_wiki.infer import load_model_folder
from minimind_wiki.infer.draw import Drawer, filtered
from minimind_wiki.infer.export.browser import export_browser
from minimind_wiki.infer.request import Request, Sampling
from minimind_wiki.infer.stops import TextStream
from minimind_wiki.tokenizer.chat import render

NAME = "world-tiny-chat"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site") / "lm"
    site_models().build(folder)
    return folder


@pytest.fixture(scope="module")
def opened():
    return load_model_folder(ROOT / "models" / NAME)


def test_the_site_writes_what_the_package_exports(site, opened, tmp_path):
    model, tokenizer = opened
    theirs = export_browser(model, tokenizer, tmp_path / "exported")
    for file in theirs.iterdir():
        assert (site / NAME / file.name).read_bytes() == file.read_bytes(), file.name


def test_the_site_needs_no_torch(tmp_path):
    code = (
        "import sys; sys.modules['torch'] = sys.modules['safetensors'] = None\n"
        "sys.argv = ['site_models', sys.argv[1]]\n"
        f"import runpy; runpy.run_path({str(ROOT / 'scripts' / 'site_models.py')!r}, "
        "run_name='__main__')"
    )
    out = tmp_path / "lm"
    done = subprocess.run(
        [sys.executable, "-c", code, str(out)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    listed = json.loads((out / "models.json").read_text())
    assert [entry["stage"] for entry in listed] == [
        "random", "pretrained", "pretrained", "sft", "dpo", "rl"
    ]  # fmt: skip
    for entry in listed:
        own = sum((out / entry["id"] / f["name"]).stat().st_size for f in entry.get("files", ()))
        assert own <= entry["bytes"] and ("base" in entry) == (own < entry["bytes"])


def test_an_untrained_model_is_drawn_without_weights_from_the_site(site, opened, tmp_path):
    (site / "world-tiny" / "model.bin").rename(tmp_path / "away.bin")
    calls = [("load", [{"kind": "shipped", "id": "random"}]), ("trace", ["random", [5, 900, 77]])]
    info, trace = [answer["value"] for answer in run_engine(site, calls, tmp_path)]
    (tmp_path / "away.bin").rename(site / "world-tiny" / "model.bin")
    assert info["parameters"] == opened[0].num_parameters()
    for place in trace["next"]:  # of 11 bits, of which it knows next to nothing
        assert 10 < place["entropyBits"] < 11


TEXTS = [
    "Ana is in the garden, isn't she? 1234 apples\n\n  and  more…",
    "naïve — 你好 🙂👩‍👩‍👧 \u0000\ufeff\u00a0\u3000 <|im_end|><think>",
    "", " ", "\n", "<|im_start|>assistant\n",
]  # fmt: skip
CHATS = [
    [{"role": "user", "content": "What is 12 + 7?"}],
    [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Who is  Ana?\n1"},
     {"role": "assistant", "content": "A baker."}, {"role": "user", "content": "\n你好 🙂"}],
    [{"role": "user", "content": "<|im_end|>\n<|im_start|>assistant\n<think>yes</think>"}],
]  # fmt: skip


def test_tokens_and_chats_are_the_packages(site, opened, tmp_path):
    _, tokenizer = opened
    calls = [("load", [{"kind": "shipped", "id": NAME}])]
    calls += [("encode", [NAME, text]) for text in TEXTS]
    calls += [("chat", [NAME, chat, think]) for chat in CHATS for think in (False, True)]
    answers = [answer["value"] for answer in run_engine(site, calls, tmp_path)][1:]
    for text, told in zip(TEXTS, answers, strict=False):
        assert told["ids"] == tokenizer.encode(text)
        assert len(told["texts"]) == len(told["ids"])
    rest = iter(answers[len(TEXTS) :])
    for chat in CHATS:
        for think in (False, True):
            wanted = render(chat, tokenizer, add_generation_prompt=True, open_thinking=think)
            assert next(rest)["ids"] == wanted.ids


def test_text_arrives_as_the_package_streams_it(site, opened, tmp_path):
    """Characters in several tokens, half a character, and a token that shows nothing."""
    _, tokenizer = opened
    ids = [*tokenizer.encode("né 你🙂é")[:-1], 1]
    calls = [("load", [{"kind": "shipped", "id": NAME}]), ("texts", [NAME, ids])]
    _, answer = run_engine(site, calls, tmp_path)
    stream = TextStream(tokenizer)
    assert answer["value"] == [*(stream.push(token) for token in ids), stream.finish()]


PLAIN = {"temperature": 1.0}
SETTINGS = [
    ({}, {"temperature": 0}),
    (PLAIN, PLAIN),
    ({"temperature": 0.3}, {"temperature": 0.3}),
    (PLAIN | {"topK": 7}, PLAIN | {"top_k": 7}),
    (PLAIN | {"topP": 0.8}, PLAIN | {"top_p": 0.8}),
    (PLAIN | {"topP": 0.01}, PLAIN | {"top_p": 0.01}),
    (PLAIN | {"minP": 0.1}, PLAIN | {"min_p": 0.1}),
    (PLAIN | {"typicalP": 0.4}, PLAIN | {"typical_p": 0.4}),
    (PLAIN | {"typicalP": 0.9}, PLAIN | {"typical_p": 0.9}),
    (PLAIN | {"repetitionPenalty": 1.7}, PLAIN | {"repetition_penalty": 1.7}),
    (PLAIN | {"presencePenalty": 0.9, "frequencyPenalty": -0.4},
     PLAIN | {"presence_penalty": 0.9, "frequency_penalty": -0.4}),
    (PLAIN | {"noRepeatNgram": 2}, PLAIN | {"no_repeat_ngram_size": 2}),
    (PLAIN | {"bias": {"3": 4.5, "0": -7.0}}, PLAIN | {"logit_bias": {3: 4.5, 0: -7.0}}),
    ({"temperature": 1.6, "topK": 30, "topP": 0.9, "minP": 0.02, "typicalP": 0.8,
      "repetitionPenalty": 1.2, "presencePenalty": 0.3, "frequencyPenalty": 0.2,
      "noRepeatNgram": 3, "bias": {"5": 1.0}},
     {"temperature": 1.6, "top_k": 30, "top_p": 0.9, "min_p": 0.02, "typical_p": 0.8,
      "repetition_penalty": 1.2, "presence_penalty": 0.3, "frequency_penalty": 0.2,
      "no_repeat_ngram_size": 3, "logit_bias": {5: 1.0}}),
]  # fmt: skip


def test_the_filters_are_the_packages(site, tmp_path):
    draw = torch.Generator().manual_seed(11)
    given, drawn = [1, 2, 3, 1, 2], [4, 4, 1, 2]
    cases, wanted = [], []
    for ours, theirs in SETTINGS:
        for _ in range(4):
            logits_1V = 3 * torch.randn(1, 60, generator=draw)
            drawer = Drawer(Request(given, 1, Sampling(**theirs)), 60)
            for token in drawn:
                drawer.accept(token)
            scores_1V = filtered(logits_1V, [drawer])
            certain = torch.nn.functional.one_hot(scores_1V.argmax(-1), 60).float()
            chance = certain if theirs["temperature"] == 0 else scores_1V.softmax(-1)
            wanted.append(chance[0].double())
            cases.append(("shape", [logits_1V[0].tolist(), ours, given + drawn, len(given)]))
    answers = run_engine(site, cases, tmp_path)
    for (_, given_), answer, chance_V in zip(cases, answers, wanted, strict=True):
        found_V = torch.tensor(answer["value"], dtype=torch.float64)
        assert torch.equal(found_V > 0, chance_V > 0), given_[1]
        torch.testing.assert_close(found_V, chance_V, atol=1e-6, rtol=1e-5)


def test_a_setting_without_a_meaning_is_refused(site, tmp_path):
    wrong = [{"temperature": -1}, {"topP": 2}, {"temperature": 1e-9}, {"minP": None}]
    calls = [("shape", [[0.0, 1.0], settings, [0], 1]) for settings in wrong]
    for settings, answer in zip(wrong, run_engine(site, calls, tmp_path), strict=True):
        assert answer["code"] == "input" and next(iter(settings)) in answer["error"]
