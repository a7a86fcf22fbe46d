"""Recipes: stages in a row, each a model folder that a later one begins with.

A recipe is a YAML file. Nothing in it is a language of its own: a stage is a verb of the command
line with its flags, and where a flag wants a folder, the name of an earlier stage may stand.

    about: a base model that then learns to answer
    stages:
      - {name: base, verb: pretrain, preset: nano, data: world, steps: 400}
      - {name: sft, verb: sft, model: base, data: world/sft, steps: 100}

Everything is read and checked before the first stage begins: a slip of the pen in the fifth stage
must not show after the hours of the first four. What was done is kept by `ledger.py`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from minimind_wiki.errors import MinimindError, WrongCall, unknown

# Fields that want a folder, so that an earlier stage may stand there.
FOLDERS = ("model", "init", "teacher", "reward_model", "against", "tokenizer", "data", "replay")
# Folders that must exist when the recipe is read; `data` and `tokenizer` may be names of others.
MODELS = ("model", "init", "teacher", "reward_model", "against")
NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")

Fields = Callable[[str], Collection[str]]  # the fields of a verb; raises for a verb unknown to it


@dataclass(frozen=True, slots=True)
class Stage:
    """One verb with its fields. `places` says where each was written, for errors."""

    name: str
    verb: str
    fields: dict[str, Any]
    inputs: dict[str, str]  # field -> the earlier stage that it names
    place: str
    places: dict[str, str]

    def at(self, field: str) -> str:
        """Where a field was written; else where the stage begins."""
        return self.places.get(field, self.place)

    def folders(self, out: Path) -> dict[str, Path]:
        """The folders that the stage begins with: of earlier stages, and others that are there."""
        named = {name: Path(str(self.value(name, out))) for name in FOLDERS if name in self.fields}
        return {name: path for name, path in named.items() if name in self.inputs or path.is_dir()}

    def value(self, field: str, out: Path) -> Any:
        """What the verb is given: the name of a stage becomes its folder."""
        value = self.fields[field]
        return str(out / value) if field in self.inputs else value


@dataclass(frozen=True, slots=True)
class Recipe:
    """The stages of a file, in order."""

    path: Path
    about: str
    stages: tuple[Stage, ...]

    def stage(self, name: str) -> Stage:
        """The stage of that name. WrongCall, with the nearest names, if there is none."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise unknown("stage", name, [stage.name for stage in self.stages])


def read_recipe(
    path: Path, fields: Fields, changes: Sequence[str] = (), taken: Collection[str] = ()
) -> Recipe:
    """Read and check a recipe. WrongCall, with file and line, for what cannot be meant.

    `changes` are 'STAGE.FIELD=VALUE' and win over the file. `taken` are names of data sets and the
    like, which no stage may have, as the same field could then mean either.
    """
    top = _mapping(_compose(path), str(path))
    for key, (_, place) in top.items():
        if key not in ("about", "stages"):
            raise _wrong(place, unknown("entry of a recipe", key, ("about", "stages")))
    listed = top.get("stages", (None, str(path)))
    if not isinstance(listed[0], yaml.SequenceNode) or not listed[0].value:
        raise WrongCall(f"{listed[1]}: 'stages' must be a list of at least one stage.")
    stages: list[Stage] = []
    new = _changes(changes)
    names = []
    for node in listed[0].value:
        stage = _stage(node, path, new, [s.name for s in stages], fields, taken)
        stages.append(stage)
        names.append(stage.name)
    for name in new:
        if name not in names:
            raise _wrong("--set", unknown("stage", name, names))
    about = top["about"][0] if "about" in top else None
    return Recipe(path, str(about.value) if about else "", tuple(stages))


def _compose(path: Path) -> yaml.Node:
    """The file as nodes, which know their lines."""
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except FileNotFoundError as error:
        near = difflib.get_close_matches(path.name, [f.name for f in path.parent.glob("*.yaml")])
        hint = f" Did you mean {path.parent / near[0]}?" if near else " Check the path."
        raise MinimindError(f"{path} does not exist.{hint}") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        told = " ".join(str(error).split())
        raise WrongCall(f"{path} cannot be read as YAML ({told}).") from error
    if node is None:
        raise WrongCall(f"{path} is empty; a recipe has 'stages'.")
    return node


def _mapping(node: yaml.Node, path: str) -> dict[str, tuple[yaml.Node, str]]:
    """key -> (node, file:line) of a mapping. YAML would let the second of two equal keys win."""
    place = f"{path}:{node.start_mark.line + 1}"
    if not isinstance(node, yaml.MappingNode):
        raise WrongCall(f"{place}: 'name: value' lines were expected here.")
    found: dict[str, tuple[yaml.Node, str]] = {}
    for key, value in node.value:
        name, here = str(key.value), f"{path}:{key.start_mark.line + 1}"
        if name in found:
            raise WrongCall(f"{here}: {name!r} stands twice; it was given at {found[name][1]}.")
        found[name] = (value, here)
    return found


def _stage(
    node: yaml.Node,
    path: Path,
    changes: dict[str, dict[str, Any]],
    before: list[str],
    fields: Fields,
    taken: Collection[str],
) -> Stage:
    given = _mapping(node, str(path))
    place = f"{path}:{node.start_mark.line + 1}"
    values = {key.replace("-", "_"): (_plain(value, here), here)
              for key, (value, here) in given.items()}  # fmt: skip
    for key in ("name", "verb"):
        if not isinstance(values.get(key, ("",))[0], str):
            raise WrongCall(f"{values[key][1]}: {key} must be a text.")
        if key not in values:
            raise WrongCall(f"{place}: the stage has no {key}; give one, as in '{key}: sft'.")
    (name, name_at), (verb, verb_at) = values.pop("name"), values.pop("verb")
    if not NAME.fullmatch(name):
        raise WrongCall(f"{name_at}: {name!r} is no name for a folder; use a-z, 0-9, - and _.")
    if name in before or name in taken:
        why = "an earlier stage" if name in before else "data or a tokenizer"
        raise WrongCall(f"{name_at}: {name!r} is the name of {why}; choose another.")
    try:
        known = fields(verb)
    except WrongCall as error:
        raise _wrong(verb_at, error) from error
    for field, value in changes.get(name, {}).items():
        values[field] = (value, f"--set {name}.{field}")
    for field, (_, here) in values.items():
        if field not in known:
            raise _wrong(here, unknown(f"field of {verb}", field, known))
    places = {field: here for field, (_, here) in values.items()}
    plain = {field: value for field, (value, _) in values.items()}
    inputs = _inputs(plain, places, before)
    return Stage(name, verb, plain, inputs, place, places)


def _plain(node: yaml.Node, place: str) -> Any:
    """A text, number or truth value, or a list of them."""
    value = yaml.SafeLoader("").construct_object(node, deep=True)
    for item in value if isinstance(value, list) else [value]:
        if not isinstance(item, str | int | float | bool):
            raise WrongCall(f"{place}: a text, a number, true or false was expected.")
    return value


def _inputs(fields: dict[str, Any], places: dict[str, str], before: list[str]) -> dict[str, str]:
    """Which fields name an earlier stage. WrongCall where neither stage nor folder is named."""
    inputs = {}
    for field in FOLDERS:
        value = fields.get(field)
        if not isinstance(value, str) or not value:
            continue
        first = value.split("/")[0]
        if first in before:
            inputs[field] = first
        elif field in MODELS and not Path(value).is_dir():
            raise WrongCall(
                f"{places[field]}: {field} is {value!r}, which is neither an earlier stage "
                f"({', '.join(before) or 'there is none'}) nor a folder."
            )
    return inputs


def _changes(texts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """stage -> field -> value.

    >>> _changes(["sft.steps=9", "sft.learning-rate=1e-4"])
    {'sft': {'steps': 9, 'learning_rate': '1e-4'}}
    """
    found: dict[str, dict[str, Any]] = {}
    for text in texts:
        match = re.fullmatch(r"([^.=]+)\.([^.=]+)=(.*)", text, re.DOTALL)
        if not match:
            raise WrongCall(f"--set {text!r} is not of the form STAGE.FIELD=VALUE.")
        stage, field = match[1], match[2].replace("-", "_")
        try:
            value = yaml.safe_load(match[3]) if match[3] else ""
        except yaml.YAMLError as error:
            raise WrongCall(f"--set {text!r} has no value that can be read.") from error
        if not isinstance(value, str | int | float | bool):
            raise WrongCall(f"--set {text!r} must give a text, a number, true or false.")
        found.setdefault(stage, {})[field] = value
    return found


def _wrong(place: str, error: Exception) -> WrongCall:
    """The same error, with its place."""
    return WrongCall(f"{place}: {error}")
