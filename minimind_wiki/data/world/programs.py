"""Small functions with their doc line, calls and outputs: a register like that of code.

Each function is put together from steps that are known three ways: as Python, as English in the doc
line, and as what it does. Outputs come from running the source in `interpreter`; `check` computes
them again from the doc line alone. The form is that of a doctest, so Python can run the rows, too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from minimind_wiki.data.world.chooser import Chooser
from minimind_wiki.data.world.interpreter import run
from minimind_wiki.data.world.shape import Row, chat
from minimind_wiki.data.world.words import split_of, words_of

Value = int | list[int]
_NAMES = ("count", "measure", "settle", "weigh", "share", "tally", "rate", "sort_out", "pack")
_THINGS = ("eggs", "apples", "coins", "nuts", "pears", "buttons", "candles", "carrots")
# how a step is written, and how the doc line says it; {n} is a number
_ON_NUMBER = {
    "add": ("x = x + {n}", "add {n}"),
    "take": ("x = x - {n}", "take away {n}"),
    "times": ("x = x * {n}", "multiply by {n}"),
    "rest": ("x = x % {n}", "keep the rest of dividing by {n}"),
    "least": ("if x < {n}:\n    x = {n}", "make it at least {n}"),
    "most": ("if x > {n}:\n    x = {n}", "make it at most {n}"),
}
_ON_LIST = {
    "all_add": ("xs = [x + {n} for x in xs]", "add {n} to each"),
    "all_times": ("xs = [x * {n} for x in xs]", "multiply each by {n}"),
    "above": ("xs = [x for x in xs if x > {n}]", "keep those above {n}"),
    "sort": ("xs = sorted(xs)", "sort them"),
}
_TO_NUMBER = {
    "sum": ("x = 0\nfor y in xs:\n    x += y", "add them up"),
    "how_many": ("x = len(xs)", "count them"),
}
# the first of the two could as well be left out
_IDLE = {("sort", "sum"), *((kind, "how_many") for kind in ("sort", "all_add", "all_times"))}
_SAID = {
    re.compile(re.escape(said).replace(r"\{n\}", r"(\d+)")): kind
    for table in (_ON_NUMBER, _ON_LIST, _TO_NUMBER)
    for kind, (_, said) in table.items()
}


@dataclass(frozen=True, slots=True)
class Program:
    """A function: its name, its source with the doc line, and whether it takes a list."""

    name: str
    source: str
    doc: str
    takes_list: bool


def program(c: Chooser, split: str) -> Program:
    """A function of a split: the checksum of its steps, numbers left out, decides.

    Steps after one another are of different kinds, and none makes the one before it idle.
    """
    words_of(split)
    while True:
        takes_list = c.pick((True, False))
        kinds: list[str] = []
        if takes_list:
            kinds += [c.pick(tuple(_ON_LIST)) for _ in range(c.pick((0, 1, 2)))]
            kinds += c.pick(([], [c.pick(tuple(_TO_NUMBER))]))
        if not takes_list or (kinds and kinds[-1] in _TO_NUMBER):
            kinds += [c.pick(tuple(_ON_NUMBER)) for _ in range(c.pick((0, 1, 2, 3)))]
        idle = any(pair in _IDLE or pair[0] == pair[1] for pair in pairwise(kinds))
        if len(kinds) > 1 and not idle and split_of(" ".join(kinds)) == split:
            return _write(c, kinds, takes_list)


def _write(c: Chooser, kinds: list[str], takes_list: bool) -> Program:
    table = _ON_NUMBER | _ON_LIST | _TO_NUMBER
    lines, said = [], []
    for kind in kinds:
        number = c.pick(range(2, 10))
        code, words = (part.format(n=number) for part in table[kind])
        lines += code.split("\n")
        said.append(words)
    doc = ", then ".join(said)
    doc = doc[0].upper() + doc[1:] + "."
    name = f"{c.pick(_NAMES)}_{c.pick(_THINGS)}"
    variable = "xs" if takes_list else "x"
    result = "xs" if kinds[-1] in _ON_LIST else "x"
    body = "\n".join(f"    {line}" for line in [f'"""{doc}"""', *lines, f"return {result}"])
    return Program(name, f"def {name}({variable}):\n{body}\n", doc, takes_list)


def _argument(c: Chooser, takes_list: bool) -> str:
    if not takes_list:
        return str(c.pick(range(21)))
    return str([c.pick(range(1, 16)) for _ in range(c.pick((2, 3, 4)))])


def by_doc(doc: str, value: Value) -> Value:
    """What a doc line says should come out for a value: the second way. ValueError if unclear.

    >>> by_doc("Multiply by 3, then take away 4.", 5)
    11
    """
    for part in doc.rstrip(".").split(", then "):
        said = part[0].lower() + part[1:]
        kind, number = "", 0
        for pattern, name in _SAID.items():
            found = pattern.fullmatch(said)
            if found:
                kind, number = name, int(found[1]) if found.groups() else 0
        value = _do(kind, value, number)
    return value


def _do(kind: str, value: Value, n: int) -> Value:
    if isinstance(value, list):
        if kind == "all_add":
            return [n + v for v in value]
        if kind == "all_times":
            return [n * v for v in value]
        if kind == "above":
            return [v for v in value if not v <= n]
        if kind in ("sum", "how_many"):
            return sum(v if kind == "sum" else 1 for v in value)
        if kind == "sort":
            return sorted(value, reverse=True)[::-1]
    else:
        if kind in ("add", "take"):
            return value + (n if kind == "add" else -n)
        if kind == "times":
            return sum([value] * n)
        if kind == "rest":
            return divmod(value, n)[1]
        if kind in ("least", "most"):
            return (max if kind == "least" else min)(value, n)
    raise ValueError(f"no step {kind!r} for {value}")


def code(c: Chooser, seed: str, split: str) -> Row:
    """A function and two calls with their outputs, as a doctest would write them."""
    made = program(c, split)
    shown = ""
    for _ in range(2):
        call = f"{made.name}({_argument(c, made.takes_list)})"
        shown += f">>> {call}\n{run(made.source, call)}\n"
    return {"text": f"{made.source}\n{shown.rstrip()}"}


def code_questions(c: Chooser, seed: str, split: str) -> Row:
    """What a call returns, what a function does, or the function for a description.

    A described function is right if `same` finds that it does what the description says.
    """
    made = program(c, split)
    call = f"{made.name}({_argument(c, made.takes_list)})"
    plain = re.sub(r' *""".*"""\n', "", made.source)
    kind = c.pick(("output", "output", "doc", "source"))
    if kind == "output":
        gold = str(run(made.source, call))
        return chat(f"{plain}\nWhat does {call} return?", gold, gt=[gold], doc=made.doc)
    if kind == "doc":
        return chat(f"{plain}\nWhat does {made.name} do?", made.doc, gt=[made.doc])
    variable = "xs, a list of numbers" if made.takes_list else "x, a number"
    asked = f"Write the function {made.name} of {variable}. {made.doc}"
    return chat(asked, made.source.rstrip(), gt=[str(run(made.source, call))], test=call)


def _reads(text: str) -> Value:
    numbers = [int(n) for n in re.findall(r"-?\d+", text)]
    return numbers if "[" in text else numbers[0]


def same(source: str, doc: str) -> bool:
    """Whether a program does what a doc line says, on a few values; the verifier for sources."""
    takes_list = "(xs" in source
    name = re.match(r"def (\w+)\(", source)
    tried: tuple[Value, ...] = (0, 1, 4, 7, 13, 20)
    if takes_list:
        tried = ([3], [9, 2, 5], [1, 12, 12, 7], [15, 1, 8])
    try:
        return name is not None and all(
            run(source, f"{name[1]}({value})") == by_doc(doc, value) for value in tried
        )
    except ValueError:  # the source cannot run, or the doc line is none
        return False


def check(row: Row) -> bool:
    """Whether source, doc line and outputs agree, the last two without running the source."""
    if "text" in row:
        source, shown = row["text"].split("\n\n", 1)
        doc = source.split('"""')[1]
        return same(source, doc) and all(
            by_doc(doc, _reads(call)) == _reads(output)
            for call, output in re.findall(r">>> \w+\((.*)\)\n(.*)", shown)
        )
    asked, answered = (m["content"] for m in row["conversations"])
    if asked.startswith("Write"):
        doc = asked.split(". ", 1)[1]
        argument = _reads(row["test"].split("(")[1])
        shown = f'"""{doc}"""' in answered
        return shown and same(answered, doc) and [str(by_doc(doc, argument))] == row["gt"]
    source, question = asked.rsplit("\n\n", 1)
    if question.endswith(" do?"):
        return same(source, answered) and row["gt"] == [answered]
    call = question.removeprefix("What does ").removesuffix(" return?")
    doc, argument = row["doc"], _reads(call.split("(")[1])
    return same(source, doc) and str(by_doc(doc, argument)) == answered == row["gt"][0]
