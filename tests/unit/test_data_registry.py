"""The registry: where a data set is looked for, and that a broken file is refused by name."""

import hashlib
import re

import pytest

from minimind_wiki.data import corpus, registry
from minimind_wiki.data.schemas import SCHEMAS
from minimind_wiki.errors import MinimindError, WrongCall

REAL = registry.REGISTRY

TEXT = ("All the world's a stage, and all the men and women merely players.\n" * 20).encode()


def make(source, **more):
    facts = {
        "name": "tinyshakespeare", "about": "a stage", "url": source.as_uri(), "bytes": len(TEXT),
        "sha256": hashlib.sha256(TEXT).hexdigest(), "licence": "none", "schema": "text",
        "citation": "nobody", "places": ("lm/tinyshakespeare.txt", "tinyshakespeare.txt"),
    }  # fmt: skip
    return registry.Entry(**{**facts, **more})


@pytest.fixture
def stage(tmp_path, monkeypatch):
    """One small data set in place of TinyShakespeare, an empty data folder and cache."""
    source = tmp_path / "source.txt"
    source.write_bytes(TEXT)
    item = make(source)
    monkeypatch.setattr(registry, "REGISTRY", {item.name: item})
    data = tmp_path / "data"
    data.mkdir()
    monkeypatch.setenv("MINIMIND_DATA", str(data))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return item


def put(tmp_path, content, place="lm/tinyshakespeare.txt", root="data"):
    path = tmp_path / root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_the_real_entry_is_the_published_file():
    item = registry.REGISTRY["tinyshakespeare"]
    assert (item.bytes, item.sha256[:8]) == (1_115_394, "86c4e6aa")
    assert "6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e" in item.url


@pytest.mark.parametrize("place", ["lm/tinyshakespeare.txt", "tinyshakespeare.txt"])
def test_found_in_the_data_folder(stage, tmp_path, place):
    path = put(tmp_path, TEXT, place)
    found = corpus.load_corpus("tinyshakespeare")
    assert found.documents == (TEXT.decode(),)
    assert str(path) in found.describe()
    assert found.sha256 == stage.sha256


def test_the_data_folder_wins_over_the_cache(stage, tmp_path):
    put(tmp_path, TEXT, root="cache/minimind/data")
    assert registry.find(stage) == tmp_path / "cache/minimind/data/lm/tinyshakespeare.txt"
    path = put(tmp_path, TEXT)
    assert registry.find(stage) == path


def test_fetched_into_the_cache_with_progress_and_kept(stage, tmp_path):
    calls = []
    path = registry.fetch(stage, lambda done, total: calls.append((done, total)))
    assert path == tmp_path / "cache/minimind/data/lm/tinyshakespeare.txt"
    assert path.read_bytes() == TEXT
    assert calls[-1] == (len(TEXT), len(TEXT))
    assert [f.name for f in path.parent.iterdir()] == [path.name]  # no temporary file is left
    (tmp_path / "source.txt").unlink()
    assert registry.fetch(stage) == path  # the second time nothing is fetched


def test_wrong_bytes_from_the_network_never_become_the_data_set(stage, tmp_path):
    (tmp_path / "source.txt").write_bytes(TEXT[:-1] + b"!")
    with pytest.raises(
        MinimindError, match=r"is not the file: 1,3\d\d bytes.* Put the file at .*cache"
    ):
        registry.fetch(stage)
    assert not list((tmp_path / "cache/minimind/data/lm").iterdir())


def test_asked_for_and_neither_here_nor_fetched(stage, tmp_path):
    (tmp_path / "source.txt").unlink()
    with pytest.raises(MinimindError) as caught:
        corpus.load_corpus("tinyshakespeare")
    for part in (
        "could not be had",
        "could not be fetched",
        "Put the file at",
        "MINIMIND_DATA",
        "without --data",
    ):
        assert part in str(caught.value)


def test_not_asked_for_and_not_here_is_the_embedded_corpus_said_aloud(stage):
    found = corpus.load_corpus()
    assert found.name == "the embedded village corpus"
    assert "because --data was not given and tinyshakespeare is neither" in found.describe()


def test_not_asked_for_but_here_is_used_said_aloud(stage, tmp_path):
    path = put(tmp_path, TEXT)
    found = corpus.load_corpus()
    assert found.name == "tinyshakespeare"
    assert f"because --data was not given and {path} is there" in found.describe()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"tinyshakespeare.txt is empty; tinyshakespeare has 1,3\d\d bytes\. Delete it and"),
        (TEXT[:500], r"is cut: 500 of 1,3\d\d bytes .* Delete it and run 'minimind data fetch"),
        (TEXT[:-1] + b"!", r"its sha256 is [0-9a-f]{12}…, expected .* give its path to --data"),
        (TEXT + b"more", r"its sha256 is"),
    ],
)
@pytest.mark.parametrize("spec", ["tinyshakespeare", None])
def test_a_broken_file_is_refused_and_never_replaced_in_silence(
    stage, tmp_path, content, message, spec
):
    put(tmp_path, content)
    with pytest.raises(MinimindError, match=message):
        corpus.load_corpus(spec)


def test_a_hash_that_nobody_states_is_pinned_by_the_first_download(stage, tmp_path, monkeypatch):
    item = make(tmp_path / "source.txt", bytes=None, sha256=None)
    monkeypatch.setattr(registry, "REGISTRY", {item.name: item})
    assert registry.pinned() == {}
    path = registry.fetch(item)
    assert registry.pinned()[item.name]["sha256"] == hashlib.sha256(TEXT).hexdigest()
    assert registry.verify(path, item) == "its sha256 is that of the first download"
    assert registry.fetch(item) == path
    path.write_bytes(TEXT[:-1] + b"!")
    with pytest.raises(MinimindError, match="is not the tinyshakespeare of the first download"):
        corpus.load_corpus(item.name)
    path.unlink()
    (tmp_path / "source.txt").write_bytes(TEXT.upper())  # the publisher changed it
    with pytest.raises(MinimindError, match="is not the file"):
        registry.fetch(item)


def test_a_file_without_any_known_hash_is_used_and_that_is_said(stage, tmp_path, monkeypatch):
    item = make(tmp_path / "source.txt", bytes=None, sha256=None)
    monkeypatch.setattr(registry, "REGISTRY", {item.name: item})
    put(tmp_path, b"my own file")
    found = corpus.load_corpus(item.name)
    assert "its hash is not known, so it could not be verified" in found.describe()


def test_a_damaged_lock_file_is_told(stage):
    registry.lock_file().parent.mkdir(parents=True)
    registry.lock_file().write_text("[")
    with pytest.raises(MinimindError, match=r"catalogue.lock.json is damaged .* Delete it"):
        registry.pinned()


def test_the_catalogue_is_whole():
    """Every entry can be had or says why not, and what it says of its rows is known elsewhere."""
    for item in registry.REGISTRY.values():
        assert bool(item.url) + bool(item.hub) + bool(item.refused) == 1, item.name
        assert item.schema in {"text", "code", *SCHEMAS}, item.name
        assert item.licence and item.citation and item.about, item.name
        assert item.bytes or item.size or item.url, item.name
        assert bool(item.places) != bool(item.refused), item.name
        if item.sha256:
            assert re.fullmatch(r"[0-9a-f]{64}", item.sha256), item.name
            assert re.search(r"[0-9a-f]{40}", item.url), (
                f"{item.name}: a hash needs a fixed version"
            )
        if item.schema in ("choice", "answer", "code"):
            assert item.benchmark, item.name
        if item.hub:
            assert re.fullmatch(r"[\w.-]+/[\w.-]+:[\w.-]+:\w+", item.hub), item.name
    places = [p for item in registry.REGISTRY.values() for p in item.places]
    assert len(set(places)) == len(places)


def test_the_catalogue_refuses_doubles_and_unknown_fields():
    row = "- {name: a, about: b, licence: c, schema: text, citation: d, places: []"
    assert registry.read_catalogue(row + "}")["a"].about == "b"
    with pytest.raises(ValueError, match="two entries are called a"):
        registry.read_catalogue(f"{row}}}\n{row}}}")
    with pytest.raises(TypeError):
        registry.read_catalogue(row + ", colour: red}")


def test_legal_status_is_told_and_nothing_is_fetched(stage):
    for name in ("the_pile", "redpajama_1t"):
        with pytest.raises(MinimindError, match=r"cannot be fetched by this command.*Books3"):
            registry.fetch(REAL[name])


def test_terms_come_with_licence_and_citation():
    text = "\n".join(registry.terms(REAL["ceval"]))
    for part in ("CC-BY-NC-SA-4.0", "Huang et al. 2023", "non-commercial", "do not train on it"):
        assert part in text


def test_a_mirror_of_the_hub(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example/")
    assert REAL["dolly"].link.startswith("https://mirror.example/datasets/databricks/")
    assert REAL["gsm8k"].link == REAL["gsm8k"].url  # not on the hub
    monkeypatch.delenv("HF_ENDPOINT")
    assert REAL["dolly"].link == REAL["dolly"].url


def test_stories_are_parted_where_the_file_says(stage, tmp_path, monkeypatch):
    text = b"Once.\n<|endoftext|>\nTwice.\n<|endoftext|>\n"
    sha = hashlib.sha256(text).hexdigest()
    item = make(tmp_path / "x", bytes=len(text), sha256=sha, split_on="<|endoftext|>")
    monkeypatch.setattr(registry, "REGISTRY", {item.name: item})
    put(tmp_path, text)
    assert corpus.load_corpus(item.name).documents == ("Once.", "Twice.")


def test_rows_of_another_schema_are_no_corpus():
    with pytest.raises(MinimindError, match="alpaca has rows of the schema sft"):
        corpus.load_corpus("alpaca")


def test_data_folder_that_is_none(stage, monkeypatch):
    monkeypatch.setenv("MINIMIND_DATA", "/no/such/folder")
    with pytest.raises(MinimindError, match="MINIMIND_DATA names /no/such/folder"):
        corpus.load_corpus()


def test_unknown_name_gets_the_nearest(stage):
    with pytest.raises(WrongCall, match="did you mean 'tinyshakespeare'"):
        corpus.load_corpus("tinyshakspeare")
    with pytest.raises(WrongCall, match="did you mean 'embedded'"):
        registry.entry("embeded")
