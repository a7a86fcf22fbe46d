"""The README prints what the record of the main run holds, and its commands exist."""

from __future__ import annotations

import re
from pathlib import Path

from minimind_wiki.book import record
from minimind_wiki.cli import VERBS

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
CHIP = re.compile(r"<!-- m (\S+) (\S+) -->(.*?)<!-- /m -->")


def test_every_measured_number_is_the_records() -> None:
    chips = CHIP.findall(README)
    assert len(chips) >= 10
    for key, spec, printed in chips:
        assert printed == format(measured(key), spec), key


def measured(key: str) -> float:
    """`metric` of the main run, `name#arm.metric` of another, `name#level/metric` of its levels."""
    name, _, rest = key.rpartition("#")
    run = record.load(f"pretrain-run/{name or 'tiny_shakespeare'}", ROOT)
    level, slash, metric = rest.partition("/")
    if slash:
        return run.level(level, metric)
    return run.lookup(rest if name else f"model.{rest}")


def test_the_parameters_are_the_presets() -> None:
    from minimind_wiki.model import Transformer, preset

    ((name, printed),) = re.findall(r"<!-- preset (\w+) -->(.*?)<!-- /preset -->", README)
    assert printed == f"{Transformer(preset(name)).num_parameters():,}"


def test_no_decimal_stands_in_the_readme_without_a_record() -> None:
    prose = re.sub(r"```.*?```", "", CHIP.sub("", README), flags=re.DOTALL)
    typed = re.findall(r"(?<![\w.])\d+\.\d+(?![\w.])", prose)
    assert set(typed) <= {"3.11"}


def test_its_commands_exist() -> None:
    called = set(re.findall(r"minimind (\w+)", " ".join(re.findall(r"```sh.*?```", README, re.S))))
    assert called
    assert called <= set(VERBS)
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in set(re.findall(r"make ([a-z]+)", README)) - {"the", "makes"}:
        assert re.search(rf"^{target}:", makefile, re.M), target
    for link in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (ROOT / link).exists(), link
