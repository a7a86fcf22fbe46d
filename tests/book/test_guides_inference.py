"""What the guides on inference and on quantization work out by hand and show as code is right."""

from __future__ import annotations

import argparse
import importlib.util
import math
import re
import shlex
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import torch

from minimind_wiki.cli import VERBS
from minimind_wiki.infer.filters import keep_min_p, keep_typical
from minimind_wiki.infer.quantize.round import bits_per_weight, encode, grid_of
from minimind_wiki.infer.sampling import keep_top_k, keep_top_p
from minimind_wiki.model import Transformer, preset

ROOT = Path(__file__).resolve().parents[2]
PAGES = {name: (ROOT / f"docs/en/guides/{name}.md").read_text("utf-8")
         for name in ("inference", "quantization")}  # fmt: skip
GIVEN = re.compile(r'\{\{ given\("([^"]*)", "[^"]*"\) \}\}')


def row(page: str, first: str) -> list[str]:
    """The numbers of the table row whose first cell is `first`."""
    (line,) = re.findall(rf"^\| {re.escape(first)} \|.*$", PAGES[page], re.M)
    return GIVEN.findall(line)


@pytest.mark.parametrize("name", ["tiny", "26m", "64m", "gpt2-124m"])
def test_the_memory_of_the_cache_is_the_presets(name: str) -> None:
    config = preset(name)
    with torch.device("meta"):
        parameters = Transformer(config, seed=None).num_parameters()
    layers, shared, size = config.num_hidden_layers, config.num_key_value_heads, config.head_dim
    numbers = 2 * layers * shared * size
    assert row("inference", name) == [
        f"{layers}", f"{shared} of {config.num_attention_heads}", f"{size}",
        f"{numbers:,}", f"{2 * numbers:,}", f"{parameters // numbers:,}",
    ]  # fmt: skip


SCORES = torch.tensor([[0.5, 0.25, 0.15, 0.1]]).log()


@pytest.mark.parametrize(
    ("rule", "scores"),
    [
        ("temperature 1/2", SCORES / 0.5),
        ("temperature 2", SCORES / 2),
        ("top-k, 2", keep_top_k(SCORES, 2)),
        ("top-p, 4/5", keep_top_p(SCORES, 0.8)),
        ("min-p, 2/5", keep_min_p(SCORES, 0.4)),
        ("typical, 1/5", keep_typical(SCORES, 0.2)),
    ],
)
def test_the_four_probabilities_are_the_rules(rule: str, scores: torch.Tensor) -> None:
    shown = ", ".join(f"{p:.2f}" for p in scores.softmax(-1)[0].tolist())
    assert row("inference", rule) == [shown]


def test_bits_and_codes_are_those_of_the_package() -> None:
    page = PAGES["quantization"]
    told = [float(text) for text in re.findall(r'given\("(\d\.\d\d)", "4 \+', page)]
    groups = ((0, True), (32, True), (32, False))
    assert told == [round(bits_per_weight(4, group, 512, even), 2) for group, even in groups]
    weights = [0.7, -0.2, 0.04, 0.1]
    for more, codes in (([], "7, −2, 0, 1"), ([7.0], "1, 0, 0, 0, 7")):
        row_1I = torch.tensor([weights + more])
        found = encode(row_1I, grid_of(row_1I, 4), 4)[0].tolist()
        assert ", ".join(map(str, found)).replace("-", "−") == codes
        assert f'"{codes}"' in page


def test_the_tokens_of_a_pass() -> None:
    assert f'"{(1 - 0.8**5) / 0.2:.1f}", "(1 - 0.8^5) / 0.2"' in PAGES["inference"]


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_are_understood(page: str) -> None:
    blocks = re.findall(r"```bash\n(.*?)```", PAGES[page], re.S)
    calls = "".join(blocks).replace("\\\n", " ").splitlines()
    assert len(calls) > 5
    for call in calls:
        program, verb, *words = shlex.split(call)
        assert program == "minimind" and verb in VERBS
        parser = argparse.ArgumentParser(exit_on_error=False, allow_abbrev=False)
        import_module(f"minimind_wiki.verbs.{verb}").configure(parser)
        read = parser.parse_args(words)
        model = getattr(read, "model", None)
        assert model is None or model.parts[0] == "runs" or (ROOT / model).is_dir()


def snippet(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location("shown", ROOT / "snippets" / path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_engine_answers_and_keeps_a_form() -> None:
    ask, nano = snippet("inference/ask.py").answers, ROOT / "models" / "world-nano"
    prompts = ["This story began", "From Bennie to"]
    together = ask(nano, prompts)
    assert together == [ask(nano, [prompt])[0] for prompt in prompts]
    for text, prompt in zip(together, prompts, strict=True):
        assert text.startswith(prompt) and len(text) > len(prompt) + 3 and "\n\n" not in text
    form = re.search(r'r"(.*?)"', (ROOT / "snippets/inference/ask.py").read_text("utf-8"))
    assert form
    (day,) = ask(nano, prompts[:1], form[1])
    assert re.fullmatch(prompts[0] + form[1], day)


def test_torchao_rounds_the_exported_folder() -> None:
    pytest.importorskip("torchao.quantization")
    by_torchao = snippet("quantization/by_torchao.py").rounded_by_torchao
    before, after = by_torchao(ROOT / "models" / "world-nano", "This story began")
    moved = float((after - before).norm() / before.norm())
    assert 1e-5 < moved < 0.05  # rounded, and hardly moved
    assert math.isfinite(moved)
