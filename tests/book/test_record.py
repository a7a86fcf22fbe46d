"""Records: summaries, lookups with near names, and that nothing non-finite is dropped."""

import json
import math

import pytest

from minimind_wiki.book.record import Record, load, read, rounded, summary
from minimind_wiki.errors import MinimindError, WrongCall


def example(**more) -> Record:
    values = {"he_none": {"output_std": summary([1.0, 2.0, 3.0]), "loss": summary([math.nan, 2.0])}}
    curves = {"he_none": {"forward": {"x": [0, 1], "mean": [1, 2], "lo": [1, 1], "hi": [1, 3]}}}
    data = {
        "schema": 1, "experiment": "normalization/depth", "arms": {"he_none": {"role": "he"}},
        "seeds": [0, 1, 2], "values": values, "curves": curves, "sweeps": {}, "settings": {},
        "chance": {"loss": 4.0}, "floor": {}, "quick": False,
    }  # fmt: skip
    return Record({**data, **more})


def test_a_seed_that_diverged_is_null_and_counted():
    cell = summary([1.0, math.nan, 3.0, math.inf])
    assert cell["seeds"] == [1.0, None, 3.0, None]
    assert (cell["n"], cell["diverged"], cell["mean"]) == (2, 2, 2.0)
    assert cell["std"] == pytest.approx(math.sqrt(2))


def test_a_metric_that_always_diverged_is_nan_and_its_chip_is_refused():
    record = example(values={"he_none": {"loss": summary([math.nan, math.nan])}})
    assert math.isnan(record.value("he_none", "loss"))
    assert not record.value("he_none", "loss") < 10  # no claim can pass on it
    with pytest.raises(MinimindError, match="every seed diverged"):
        record.lookup("he_none.loss")


def test_lookup_reads_means_parts_and_levels():
    record = example()
    assert record.lookup("he_none.output_std") == 2.0
    assert record.lookup("he_none.output_std.std") == 1.0
    assert record.lookup("he_none.output_std.n") == 3
    assert record.lookup("he_none.output_std.max") == 3.0
    assert record.lookup("he_none.loss.diverged") == 1
    assert record.lookup("chance.loss") == 4.0


@pytest.mark.parametrize(
    ("key", "near"),
    [("he_non.output_std", "he_none"), ("he_none.output_sdt", "output_std"),
     ("he_none.output_std.sdt", "std"), ("chance.los", "loss"), ("he_none", "he_none")],
)  # fmt: skip
def test_a_wrong_key_names_the_nearest(key, near):
    with pytest.raises(WrongCall, match=near):
        example().lookup(key)


def test_lines_carry_role_and_band():
    line = example().line("he_none", "forward", "He", "dash")
    assert (line.role, line.dash, line.hi) == ("he", "dash", [1.0, 3.0])


def test_spans_say_the_range_of_each_arm():
    found, said = example().spans("output_std", "he_none", "he_none")
    assert found == [[1.0, 2.0, 3.0]] * 2
    assert said == "he_none: 1.000 to 3.000; he_none: 1.000 to 3.000"
    with pytest.raises(WrongCall, match="he_none"):
        example().spans("output_std", "he_non")


def test_json_is_sorted_rounded_and_reads_back(tmp_path):
    record = example(seconds=1.23456789, note=math.inf)
    path = record.save(tmp_path)
    text = path.read_text()
    assert '"seconds": 1.23457' in text and '"note": null' in text
    assert list(json.loads(text)) == sorted(json.loads(text))
    assert read(path).data == rounded(record.data)


def test_a_file_of_another_schema_or_no_json_is_refused(tmp_path):
    (tmp_path / "a.json").write_text('{"schema": 99}')
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(MinimindError, match="schema 99"):
        read(tmp_path / "a.json")
    with pytest.raises(MinimindError, match=r"b\.json is not a record"):
        read(tmp_path / "b.json")


def test_load_names_the_nearest_experiment():
    with pytest.raises(WrongCall, match="normalization/depth"):
        load("normalization/dept")
