"""A stage of a recipe as a call of its verb: which fields it has, its words, and whether they fit.

The verb's own parser says which flags there are, so that a recipe knows each verb that the command
line knows, with the same names and the same errors.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from minimind_wiki.cli import VERBS, Parser
from minimind_wiki.data import registry
from minimind_wiki.data.manifest import Stored, read_manifest
from minimind_wiki.data.world.rows import KINDS
from minimind_wiki.errors import WrongCall, unknown
from minimind_wiki.train.config import TrainConfig, build
from minimind_wiki.train.flags import convert, field_types
from minimind_wiki.train.recipe import Recipe, Stage
from minimind_wiki.train.sources import SORTS
from minimind_wiki.verbs import _tuning

# In the order of a model's life; those that the command line has not are not offered.
STAGES = ("tokenizer train", "data shard", "pretrain", "sft", "lora", "reward", "dpo", "ppo",
          "grpo", "distill", "evaluate")  # fmt: skip
OWN = ("help", "out", "resume", "config")  # what the recipe gives itself
TEXT: tuple[str, ...] = ("text", "pretrain")  # schemas that can be read as text
MISSING = "NOT HERE"  # of data that no stage can fetch by itself
TAKEN = frozenset({"world", "embedded", "bytes", *registry.REGISTRY})


@cache
def flags(verb: str) -> dict[str, argparse.Action]:
    """Field -> what the verb's parser knows of it. WrongCall for a verb that is no stage."""
    known = [name for name in STAGES if name.split()[0] in VERBS]
    if verb not in known:
        raise unknown("verb of a stage", verb, known)
    parser: argparse.ArgumentParser = Parser(prog=f"minimind {verb}")
    module_of(verb).configure(parser)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            parser = action.choices[verb.split()[1]]
    return {action.dest: action for action in parser._actions if action.dest != "help"}


def fields(verb: str) -> set[str]:
    """What a stage of this verb may say."""
    return set(flags(verb)) - set(OWN)


def module_of(verb: str) -> ModuleType:
    """The module of a verb."""
    return importlib.import_module(f"minimind_wiki.verbs.{verb.split()[0]}")


def trains(stage: Stage) -> bool:
    """Whether the stage is a run of the loop: with checkpoints, and resumed from them."""
    return "resume" in flags(stage.verb)


def product(stage: Stage, out: Path) -> Path:
    """Where its result is: a folder, or for a verb without --out the text that it printed."""
    return out / (stage.name if "out" in flags(stage.verb) else f"{stage.name}.txt")


def words(stage: Stage, out: Path) -> list[str]:
    """The call of the verb, but for --out. WrongCall for a value that its flag cannot take."""
    found = stage.verb.split()
    for name in stage.fields:
        action = flags(stage.verb)[name]
        value = stage.value(name, out)
        try:
            found += _words(action, value)
        except WrongCall as error:
            raise WrongCall(f"{stage.at(name)}: {name} {error}") from error
    return found


def _words(action: argparse.Action, value: Any) -> list[str]:
    if action.nargs == 0:  # a switch
        if not isinstance(value, bool):
            raise WrongCall(f"is {value!r}, but it must be true or false.")
        off = [flag for flag in action.option_strings if flag.startswith("--no-")]
        return [action.option_strings[0]] if value else off
    if isinstance(value, bool):
        raise WrongCall(f"is {value!r}, but it must be a text or a number.")
    items = value if isinstance(value, list) else [value]
    if isinstance(value, list) and action.nargs not in ("+", "*"):
        raise WrongCall("is a list, but it takes one value.")
    for item in items:
        if callable(action.type):
            try:
                action.type(str(item))
            except (ValueError, argparse.ArgumentTypeError) as error:
                raise WrongCall(f"is {item!r}, which it cannot take.") from error
    if not action.option_strings:
        return [_path_of(str(item)) if action.dest == "files" else str(item) for item in items]
    flag, text = action.option_strings[0], str(value)
    return [f"{flag}={text}"] if text.startswith("-") else [flag, text]


def fetch(stage: Stage) -> None:
    """Get the data sets that a verb wants as files; verbs with --data get theirs themselves."""
    files = stage.fields.get("files", [])
    for name in files if isinstance(files, list) else [files]:
        item = registry.REGISTRY.get(str(name))
        if item and not registry.find(item):
            registry.fetch(item)


def _path_of(name: str) -> str:
    """The file of a data set, where a verb wants files."""
    item = registry.REGISTRY.get(name)
    path = registry.find(item) if item else None
    return str(path or name)


def check(recipe: Recipe, out: Path) -> dict[str, str]:
    """WrongCall, with file and line, for the first value that cannot work; stage -> its data's
    place.

    What a verb would say when its turn comes is said before the first stage begins.
    """
    lengths: dict[str, int] = {}
    places = {}
    for stage in recipe.stages:
        words(stage, out)
        for action in flags(stage.verb).values():
            if action.required and action.dest not in (*stage.fields, *OWN):
                raise WrongCall(f"{stage.place}: {stage.verb} needs a {action.dest}.")
        if trains(stage) and stage.verb != "pretrain" and "model" not in stage.fields:
            raise WrongCall(f"{stage.place}: {stage.verb} begins with a model; give 'model:'.")
        try:
            lengths[stage.name] = _check_values(stage, lengths)
        except WrongCall as error:
            named = [word for word in str(error).split() if word in stage.places]
            raise WrongCall(f"{stage.at(named[0] if named else '')}: {error}") from error
        places[stage.name] = _check_data(stage)
    return places


def _check_values(stage: Stage, lengths: Mapping[str, int]) -> int:
    """What the verb would check; the row's length in tokens, which later stages take over."""
    from minimind_wiki.model import preset

    module = module_of(stage.verb)
    if stage.verb == "pretrain":
        types = module.TYPES
        config, shape = build(_converted(stage, types), types)
        preset(config.preset, **shape)
        return config.context_length
    if not trains(stage):
        for task in str(stage.fields.get("tasks", "")).split(","):
            if task and task not in module.TASKS:
                raise unknown("task", task, module.TASKS)
        return 0
    verb: _tuning.Verb = module._verb()
    own = field_types(verb.settings)
    given = _converted(stage, field_types(TrainConfig) | own)
    model = stage.fields["model"]
    length = lengths[stage.inputs["model"]] if "model" in stage.inputs else _tuning.context_of(
        _tuning_model(model))  # fmt: skip
    usual = {"context_length": length, **_tuning.USUAL, **verb.usual}
    config = TrainConfig(init=model, **usual | {n: v for n, v in given.items() if n not in own})
    config.validate()
    settings = verb.settings(**{n: v for n, v in given.items() if n in own})
    asked = inspect.signature(settings.validate).parameters
    settings.validate(**{n: config if n == "config" else getattr(config, n) for n in asked})
    return config.context_length


def _tuning_model(folder: str) -> Path:
    from minimind_wiki.verbs.generate import find_model

    return find_model(Path(folder))


def _converted(stage: Stage, types: dict[str, type]) -> dict[str, Any]:
    return {name: convert(name, value, types) for name, value in stage.fields.items()
            if name in types}  # fmt: skip


def _check_data(stage: Stage) -> str:
    """Where the stage's data lies, or how it will come. WrongCall for data that it cannot read."""
    known, reads_text = flags(stage.verb), stage.verb in ("pretrain", "tokenizer train")
    usual, schemas = "", TEXT
    if "files" in known:
        schemas = (*TEXT, "sft")
    elif "data" in known and not reads_text:
        usual = module_of(stage.verb)._verb().data
        schemas = (KINDS[usual.split("/")[1]][1],)
    told = []
    for field in ("data", "files", "replay"):
        specs = stage.fields.get(field, usual)
        if field not in known or field in stage.inputs or (field == "replay" and not specs):
            continue
        for spec in specs if isinstance(specs, list) else [specs]:
            try:
                told.append(_place(str(spec), schemas, reads_text))
            except WrongCall as error:
                raise WrongCall(f"{stage.at(field)}: {field} {error}") from error
    return "; ".join(told)


def _place(spec: str, schemas: tuple[str, ...], reads_text: bool) -> str:
    if "," in spec and not reads_text:  # a mixture
        parts = [part.partition("=")[0].strip() for part in spec.split(",")]
        return "; ".join(_place(part, schemas, reads_text) for part in parts)
    if spec.split("/")[0] == "world":
        kind, _, sort = spec.partition("/")[2].partition("/")
        if sort and (kind != "rl" or sort not in SORTS):
            raise WrongCall(f"is {spec}: {unknown('sort of rows of world/rl', sort, SORTS)}")
        if kind and kind not in KINDS:
            raise WrongCall(f"is {spec}: {unknown('kind of row', kind, KINDS)}")
        if kind and not reads_text and KINDS[kind][1] not in schemas:
            fitting = [name for name, (_, schema) in KINDS.items() if schema in schemas]
            raise WrongCall(f"is {spec}, but rows of {' or '.join(schemas)} are needed: "
                            f"world/{', world/'.join(fitting)}.")  # fmt: skip
        return f"{spec}: generated"
    if spec in ("", "embedded") and reads_text:
        return "embedded: part of the package" if spec else "tinyshakespeare, else embedded"
    if spec in registry.REGISTRY:
        return _registered(registry.REGISTRY[spec], schemas)
    stored = [] if reads_text else [f for f in _stored() if f.name == spec]
    if stored:
        if stored[0].unfit or stored[0].schema not in schemas:
            raise WrongCall(f"is {spec}, {stored[0].unfit or 'of ' + stored[0].schema}, but rows "
                            f"of {' or '.join(schemas)} to train on are needed.")  # fmt: skip
        return f"{spec}: {stored[0].path}"
    if not Path(spec).exists():
        if "/" not in spec and "." not in spec:
            raise WrongCall(f"is {spec}: {unknown('data set', spec, TAKEN)}")
        raise WrongCall(f"is {spec}, which is neither a file, a data set nor world/KIND.")
    return f"{spec}: here"


def _stored() -> list[Stored]:
    return [file for folder in registry.data_folders() for file in read_manifest(folder)]


def _registered(item: registry.Entry, schemas: tuple[str, ...]) -> str:
    if item.schema not in schemas:
        raise WrongCall(f"is {item.name}, whose rows are of {item.schema}, but rows of "
                        f"{' or '.join(schemas)} are needed.")  # fmt: skip
    if item.benchmark:
        raise WrongCall(f"is {item.name}, a benchmark: a model must not train on it.")
    if item.refused:
        raise WrongCall(f"is {item.name}, which cannot be had: {item.refused}")
    if path := registry.find(item):
        return f"{item.name}: {path}"
    if not item.url:
        return (f"{item.name}: {MISSING}, and as it is streamed it must be fetched first: "
                f"minimind data fetch {item.name} --rows N")  # fmt: skip
    return f"{item.name}: not here; {item.size_text} are fetched when the stage begins"
