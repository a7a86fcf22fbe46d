"""Constrained answers: a model that knows nothing writes what the form allows, and no more."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import jsonschema
import pytest
import torch

from minimind_wiki.errors import WrongCall
from minimind_wiki.infer.draw import Drawer, draw
from minimind_wiki.infer.engine import Engine
from minimind_wiki.infer.grammar import LONGEST, Constraint, from_grammar, from_regex, from_schema
from minimind_wiki.infer.request import Request, Sampling
from minimind_wiki.model import KVCache, Transformer, preset
from minimind_wiki.tokenizer import ByteTokenizer
from minimind_wiki.tokenizer.bpe import BPETokenizer, train
from minimind_wiki.tokenizer.layout import MINIMIND
from minimind_wiki.tokenizer.pretokenize import count_pieces

BYTES = ByteTokenizer()
LEARNED = BPETokenizer(
    *train(count_pieces(['{"name": "Mira", "age": 12, "tags": ["a", "b"]}\n'] * 3), 330,
           list(MINIMIND)), MINIMIND
)  # fmt: skip
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "home": {"enum": ["mill", "farm", None]},
        "tags": {"type": "array", "items": {"type": "boolean"}, "maxItems": 3},
    },
    "required": ["name", "age", "home"],
    "additionalProperties": False,
}


def answers(tokenizer, constraint: Constraint, count: int, **sampling) -> list[list[int]]:
    """`count` answers of a model with random weights, which is larger than the tokenizer."""
    size = tokenizer.vocab_size + 5
    model = Transformer(preset("nano", vocab_size=size, initializer_range=0.3), seed=1).eval()
    cache = KVCache(model.config, count, 100)
    requests = [
        Request([1], 99, Sampling(**{"seed": seed} | sampling), constraint=constraint)
        for seed in range(count)
    ]
    drawers = [Drawer(request, size) for request in requests]
    ids = torch.full((count, 1), 1)
    rows: list[list[int]] = [[] for _ in requests]
    with torch.no_grad():
        for _ in range(99):
            drawn = draw(model(ids, cache)[:, -1], drawers)
            for row, one in zip(rows, drawn, strict=True):
                assert not one.error
                row.append(one.id)
            ids = torch.tensor([[one.id] for one in drawn])
            if all(tokenizer.eos_id in row for row in rows):
                break
    return [row[: row.index(tokenizer.eos_id)] for row in rows]


@pytest.mark.parametrize("tokenizer", [BYTES, LEARNED], ids=["bytes", "learned"])
def test_a_model_with_random_weights_writes_json_of_the_schema(tokenizer):
    rows = answers(tokenizer, from_schema(tokenizer, PERSON), 50)
    texts = [tokenizer.decode(row, specials=True) for row in rows]
    for text, row in zip(texts, rows, strict=True):
        jsonschema.validate(json.loads(text), PERSON)
        assert all(tokenizer.token_bytes(token) for token in row)  # no reserved token
    assert len(set(texts)) > 25


def test_greedy_keeps_the_form_and_so_does_the_rule_against_runs():
    constraint = from_schema(BYTES, PERSON)
    for sampling in ({"temperature": 0}, {"no_repeat_ngram_size": 1, "temperature": 0}):
        text = BYTES.decode(answers(BYTES, constraint, 1, **sampling)[0])
        jsonschema.validate(json.loads(text), PERSON)


def test_a_regular_expression_is_matched_as_a_whole():
    pattern = r"[a-f]{2,4}(é|🙂)-\d{3}"
    for row in answers(BYTES, from_regex(BYTES, pattern), 20):
        assert re.fullmatch(pattern, BYTES.decode(row))


def test_a_grammar_can_count_brackets():
    rows = answers(LEARNED, from_grammar(LEARNED, 'start: "x" | "(" start ")" | "[" start "]"'), 20)
    for row in rows:
        text = LEARNED.decode(row)
        half = text[: len(text) // 2]
        assert text == half + "x" + half[::-1].translate(str.maketrans("([", ")]"))


def walk(constraint: Constraint, ids) -> Constraint:
    for token in ids:
        assert constraint.mask()[token], token
        constraint.accept(token)
    return constraint


def test_the_end_is_allowed_when_the_form_is_complete_and_then_alone():
    constraint = from_regex(BYTES, "ab?")
    assert constraint.mask().nonzero().tolist() == [[ord("a")]] and not constraint.ended
    walk(constraint, b"a")
    assert constraint.mask().nonzero().tolist() == [[ord("b")], [BYTES.eos_id]]
    copy = constraint.copy()
    walk(constraint, b"b")
    assert constraint.ended and constraint.mask().nonzero().tolist() == [[BYTES.eos_id]]
    assert not copy.ended and walk(copy, [BYTES.eos_id]).ended and not copy.error


def test_the_caller_says_which_tokens_end():
    constraint = walk(from_regex(BYTES, "a*", ends=[256, 258]), b"a")
    assert constraint.mask().nonzero().flatten().tolist() == [ord("a"), 256, 258]
    with pytest.raises(WrongCall, match=r"the end ids are \(259,\); give ids from 0 to 258"):
        from_regex(BYTES, "a", ends=[259])


def test_a_token_outside_the_form_is_an_error_and_the_others_go_on():
    bad, good = (Drawer(Request([1], 9, Sampling(0), constraint=from_regex(BYTES, "ab")), 259)
                 for _ in range(2))  # fmt: skip
    bad.accept(ord("z"))
    one, two = draw(torch.zeros(2, 259), [bad, good])
    assert one.id == -1 and "left its form" in one.error and not bad.constraint.ended
    assert two.id == ord("a") and not two.error


def test_a_grammar_cannot_ask_for_special_tokens():
    for text in ('start: "b" | <[258]>', 'start: "b" | <|im_end|>', 'start: "b" | <|258|>'):
        try:
            mask = from_grammar(BYTES, text, ends=[256]).mask()
        except WrongCall:
            continue
        assert mask.nonzero().tolist() == [[ord("b")]]


@pytest.mark.parametrize(
    "schema, message",
    [
        ({"type": "integer", "minimum": 5, "maximum": 3}, "Unsatisfiable.*minimum"),
        (False, "the schema is false; give an object"),
        ({"enum": []}, "Unsatisfiable"),
        ({"allOf": [{"type": "string"}, {"type": "integer"}]}, "Unsatisfiable"),
        ({"type": "blah"}, "Invalid type: blah"),
        ({"not": {}}, 'Unimplemented keys: \\["not"\\]'),
        ({"not": {}, "x-guidance": {"lenient": True}}, "Unimplemented"),
        ({"$ref": "http://example.org/schema"}, "does not fetch"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}, "no text fits"),
        ({"type": "string", "pattern": "("}, "regex parse error"),
        ({"enum": ["x" * LONGEST]}, "give at most 65,536"),
        ([1], "the schema is .1.; give an object"),
        ({"a": {1, 2}}, "cannot be written as JSON"),
        ({"minimum": float("nan")}, "cannot be written as JSON"),
        ({"enum": ["\ud800"]}, "no text that can be read"),
    ],
)
def test_a_schema_that_is_wrong_or_that_nothing_fits_is_refused(schema, message):
    with pytest.raises(WrongCall, match=message):
        from_schema(BYTES, schema)


def test_other_wrong_forms_are_refused():
    for make, text in [(from_regex, "a("), (from_regex, "(?=a)b"), (from_regex, "[a&&b]c"),
                       (from_grammar, "start: nobody"), (from_grammar, ""),
                       (from_regex, "\ud800"), (from_grammar, "start: " + "(" * 9999)]:  # fmt: skip
        with pytest.raises(WrongCall):
            make(BYTES, text)


DEEP = """
import threading
from minimind_wiki.errors import WrongCall
from minimind_wiki.infer.grammar import from_schema
from minimind_wiki.tokenizer import ByteTokenizer
inner, definitions = {"type": "null"}, {}
for link in range(60):
    for _ in range(95):
        inner = {"items": inner}
    definitions[f"{link}"] = inner
    inner = {"$ref": f"#/$defs/{link}"}
try:
    from_schema(ByteTokenizer(), {"$defs": definitions} | inner)
except WrongCall as error:
    print(error)
assert threading.stack_size() == 0
"""


def test_a_deep_schema_does_not_end_the_process():
    """Compiled on the usual stack of 8 MB, this one is a segmentation fault."""
    done = subprocess.run([sys.executable, "-c", DEEP], capture_output=True, text=True)
    assert done.returncode == 0 and "too big" in done.stdout, (done.returncode, done.stderr)


def test_the_engine_ends_an_answer_whose_form_is_complete():
    size = BYTES.vocab_size
    model = Transformer(preset("nano", vocab_size=size, initializer_range=0.3), seed=1)
    engine = Engine(model, BYTES)
    engine.add(Request([1], 40, Sampling(seed=1), constraint=from_regex(BYTES, "(yes|no)!")))
    told = []
    while engine.busy:
        told += [token for _, token in engine.step()]
    assert "".join(token.text for token in told) in ("yes!", "no!")
    assert [token.finish for token in told[:-1]] == [None] * (len(told) - 1)
    assert told[-1].finish == "stop" and len(told) <= 5  # at most one end token is drawn
