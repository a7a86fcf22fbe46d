"""The server with the real engine: a small random model, whose greedy tokens `generate` tells."""

from __future__ import annotations

import argparse
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("fastapi")
pytest.importorskip("openai")

import openai
from serve_double import HTTP, Running, serving
from stirred import needs_kernels

from minimind_wiki.errors import WrongCall
from minimind_wiki.infer import engine, generate, save_model_folder
from minimind_wiki.infer.native.decoder import NativeDecoder
from minimind_wiki.infer.request import Request, Sampling
from minimind_wiki.model import Transformer, preset
from minimind_wiki.tokenizer.bytes import ByteTokenizer
from minimind_wiki.tokenizer.chat import render
from minimind_wiki.train.lora import LoraConfig
from minimind_wiki.train.lora_folder import save_adapter
from minimind_wiki.train.lora_model import add_adapter, lora_layers
from minimind_wiki.verbs import _answer, serve

TOKENIZER = ByteTokenizer()


def small() -> Transformer:
    """Larger weights than a fresh model has, or it would say the same whatever it is asked."""
    config = preset("nano", max_position_embeddings=128, tie_word_embeddings=False)
    model = Transformer(config, seed=1)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() == 2:
                weight.mul_(8)
    return model.eval()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    place = tmp_path_factory.mktemp("models")
    model = small()
    save_model_folder(place / "small", model, TOKENIZER)
    add_adapter(model, LoraConfig("q_proj,lm_head", rank=2), "poet")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for layer in lora_layers(model).values():
            layer.lora_B["poet"].normal_(generator=generator)
    save_adapter(place / "poet", model, "poet", base=str(place / "small"))
    return place / "small", place / "poet"


def models(folders: tuple[Path, Path]) -> dict[str, Any]:
    args = argparse.Namespace(model=folders[0], name=None, device="cpu", dtype="auto", room=2048)
    return serve.served_models(args, {"poet": folders[1]})


@pytest.fixture(scope="module")
def server(folders: tuple[Path, Path]) -> Iterator[Running]:
    with serving(models(folders)) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as made:
        yield made


def greedy(model: Transformer, prompt: str, most: int) -> list[int]:
    ids = TOKENIZER.encode(prompt)
    out = generate(model, torch.tensor([ids]), most, temperature=0, stop_ids=(258,))
    new = out[0, len(ids) :].tolist()
    return new[: new.index(258)] if 258 in new else new


def test_many_streams_give_the_greedy_tokens_of_single_runs(server: Running) -> None:
    model, got = small(), {}

    def ask(number: int) -> None:
        body = {"model": "small", "prompt": f"{number}: once", "temperature": 0, "max_tokens": 20,
                "stream": True, "logprobs": 0}  # fmt: skip
        tokens: list[str] = []
        with HTTP.stream("POST", f"{server.url}/v1/completions", json=body) as response:
            for line in response.iter_lines():
                if line.startswith("data: {"):
                    logprobs = json.loads(line[6:])["choices"][0]["logprobs"]
                    tokens += logprobs["tokens"] if logprobs else []
        got[number] = tokens

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for number in range(12):
        want = greedy(model, f"{number}: once", 20)
        assert got[number] == [TOKENIZER.decode([token], specials=True) for token in want]
    assert len({tuple(tokens) for tokens in got.values()}) > 1  # else a mix would not show


def test_a_seed_decides_the_draws(client: Any) -> None:
    def say(seed: int | None) -> list[str]:
        answer = client.completions.create(
            model="small", prompt="once", max_tokens=12, seed=seed, n=2, temperature=2, logprobs=0
        )
        return [" ".join(choice.logprobs.tokens) for choice in answer.choices]

    first = say(5)
    assert first[0] != first[1] and say(5) == first
    assert say(6)[0] == first[1]  # the second choice has the next seed
    assert say(None) != say(None)


def test_the_likeliest_tokens_are_told(client: Any) -> None:
    messages: Any = [{"role": "user", "content": "Hi"}]
    answer = client.chat.completions.create(
        model="small", messages=messages, max_tokens=1, temperature=0, logprobs=True, top_logprobs=3
    )
    ids = render(messages, TOKENIZER, add_generation_prompt=True).ids
    with torch.no_grad():
        scores = small()(torch.tensor([ids]))[0, -1].log_softmax(-1).topk(3)
    first = answer.choices[0].logprobs.content[0]
    told = [likely.logprob for likely in first.top_logprobs]
    assert told == pytest.approx(scores.values.tolist(), abs=1e-4) and first.logprob == told[0]
    assert first.token == TOKENIZER.decode([int(scores.indices[0])], specials=True)


def test_an_answer_keeps_its_schema(client: Any) -> None:
    pytest.importorskip("llguidance")
    schema = {
        "type": "object", "properties": {"right": {"type": "boolean"}, "n": {"enum": [1, 2]}},
        "required": ["right", "n"], "additionalProperties": False,
    }  # fmt: skip
    form: Any = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    ask: Any = {"model": "small", "messages": [{"role": "user", "content": "Hi"}], "n": 3}
    answer = client.chat.completions.create(
        **ask, response_format=form, seed=1, temperature=2, extra_body={"open_thinking": True}
    )
    for choice in answer.choices:
        found = json.loads(choice.message.content)
        assert set(found) == {"right", "n"} and isinstance(found["right"], bool)
        assert found["n"] in (1, 2) and choice.finish_reason == "stop"
    mode = client.chat.completions.create(
        **ask, response_format={"type": "json_object"}, max_tokens=4, temperature=0
    )
    assert all(choice.message.content.startswith("{") for choice in mode.choices)
    for wrong in ({"type": "nothing"}, {"allOf": [{"type": "string"}, {"type": "integer"}]}):
        bad: Any = {"type": "json_schema", "json_schema": {"name": "x", "schema": wrong}}
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(**ask, response_format=bad)
        assert caught.value.param == "response_format"


def test_an_adapter_answers_under_its_own_name(client: Any, folders: tuple[Path, Path]) -> None:
    from minimind_wiki.infer import load_model_folder

    def said(name: str) -> str:
        return client.completions.create(
            model=name, prompt="once", max_tokens=20, temperature=0
        ).choices[0].text  # fmt: skip

    merged, _ = load_model_folder(folders[1])
    assert said("poet") == TOKENIZER.decode(greedy(merged, "once", 20))
    assert said("small") == TOKENIZER.decode(greedy(small(), "once", 20)) != said("poet")


def test_an_adapter_shares_what_it_does_not_change(folders: tuple[Path, Path]) -> None:
    model = small()
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    adapted = serve.with_adapter(model, folders[1])
    for name, weight in model.named_parameters():
        assert torch.equal(weight, before[name])
        changes = "q_proj" in name or name == "lm_head.weight"
        assert (adapted.get_parameter(name) is weight) == (not changes), name


def test_embeddings_are_of_length_one_and_those_of_the_model(client: Any) -> None:
    answer = client.embeddings.create(model="small", input=["once", "upon a time"])
    with torch.no_grad():
        hidden_TD = small().model(torch.tensor([TOKENIZER.encode("once")]))[0]
    mean_D = hidden_TD.mean(0)
    vector = torch.tensor(answer.data[0].embedding)
    assert float(vector.norm()) == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(vector, mean_D / mean_D.norm(), atol=1e-5, rtol=1e-5)


def test_a_prompt_must_leave_room(client: Any) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model="small", prompt="x" * 128)
    assert caught.value.code == "context_length_exceeded"
    full = client.completions.create(model="small", prompt="x" * 127, temperature=0)
    assert full.usage.completion_tokens == 1
    cut = client.completions.create(model="small", prompt="x" * 120, max_tokens=999, temperature=0)
    assert cut.usage.completion_tokens <= 8


def test_names_of_adapters() -> None:
    for wrong in (["poet"], ["=."], ["a/b=."], ["a=.", "a=."], ["a="]):
        with pytest.raises(WrongCall, match=r"is not NAME=FOLDER|two adapters are called a"):
            serve.named_adapters(wrong)
    with pytest.raises(WrongCall, match="there is no folder nowhere"):
        serve.named_adapters(["a=nowhere"])


@pytest.mark.parametrize("word", ["ngram", "small"])
def test_a_draft_changes_no_answer_and_is_counted(folders: tuple[Path, Path], word: str) -> None:
    draft = word if word == "ngram" else str(folders[0])
    args = argparse.Namespace(model=folders[0], name=None, device="cpu", dtype="auto", room=2048,
                              draft=draft, ahead=3)  # fmt: skip
    with serving(serve.served_models(args, {})) as running:
        body = {"model": "small", "prompt": "once once", "temperature": 0, "max_tokens": 24}
        said = HTTP.post(f"{running.url}/v1/completions", json=body).json()["choices"][0]
        assert said["text"] == TOKENIZER.decode(greedy(small(), "once once", 24))
        lines = HTTP.get(f"{running.url}/metrics").text.splitlines()
    counted = {name: float(value) for name, value in
               (line.split() for line in lines if line.startswith("minimind_draft"))}  # fmt: skip
    proposed, accepted = (counted[f"minimind_draft_tokens_{kind}_total"]
                          for kind in ("proposed", "accepted"))  # fmt: skip
    assert accepted == proposed > 0 if word == "small" else accepted <= proposed


@needs_kernels
def test_kernels_change_no_answer(folders: tuple[Path, Path]) -> None:
    args = argparse.Namespace(model=folders[0], name=None, device="cpu", dtype="auto", room=2048,
                              native=True)  # fmt: skip
    served = serve.served_models(args, {"poet": folders[1]})
    assert all(isinstance(one.make_engine().decode, NativeDecoder) for one in served.values())
    with serving(served) as running:
        body = {"model": "small", "prompt": "once once", "temperature": 0, "max_tokens": 24, "n": 3}
        said = HTTP.post(f"{running.url}/v1/completions", json=body).json()["choices"]
    exact = TOKENIZER.decode(greedy(small(), "once once", 24))
    assert [choice["text"] for choice in said] == [exact] * 3


def test_only_the_thread_that_answers_has_a_team(folders: tuple[Path, Path], monkeypatch) -> None:
    """Reading the folders and making the engines start no threads, and leave the number alone."""
    before, counted = torch.get_num_threads(), []
    for name, place in (("open_model", _answer), ("Engine", engine)):
        kept = getattr(place, name)
        monkeypatch.setattr(
            place,
            name,
            lambda *a, kept=kept, **k: counted.append(torch.get_num_threads()) or kept(*a, **k),
        )
    torch.set_num_threads(2)
    try:
        made = models(folders)["poet"].make_engine()
        assert counted == [1, 1] and torch.get_num_threads() == 2
        made.add(Request([1, 2], 1, Sampling(temperature=0)))
        assert len(made.step()) == 1
    finally:
        torch.set_num_threads(before)


def test_a_draft_of_another_tokenizer_is_refused(folders: tuple[Path, Path]) -> None:
    other = Path(__file__).resolve().parents[2] / "models" / "world-nano"
    args = argparse.Namespace(model=folders[0], name=None, device="cpu", dtype="auto", room=2048,
                              draft=str(other), ahead=3)  # fmt: skip
    with pytest.raises(WrongCall, match="another tokenizer"):
        serve.served_models(args, {})
