"""Scene pictures: what is said of a picture is found again in its pixels."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest

from minimind_wiki.data.world.rows import check_row, make_rows
from minimind_wiki.data.world.scenes import (
    COLOURS,
    MASKS,
    NOISE,
    PAIRS,
    SIDE,
    find_shapes,
    nearest,
    read_png,
    scene,
    write_png,
)
from minimind_wiki.data.world.words import SPLITS, split_of
from minimind_wiki.errors import WrongCall

SCENES = {split: [scene(n, split) for n in range(200)] for split in SPLITS}


@pytest.mark.parametrize("split", SPLITS)
def test_the_pixels_hold_what_the_scene_says(split: str) -> None:
    for made in SCENES[split]:
        assert made.pixels.shape == (SIDE, SIDE, 3) and made.pixels.dtype == np.uint8
        assert find_shapes(made.pixels) == (made.objects, made.time, made.ground, made.rain)
        assert scene(0, split).pixels.tobytes() == SCENES[split][0].pixels.tobytes()
    seen = {(o.colour, o.kind) for made in SCENES[split] for o in made.objects}
    wanted = {"train", split}
    assert {split_of(" ".join(pair)) for pair in seen} == wanted
    if split != "train":
        assert all(any(split_of(str(o)) == split for o in made.objects) for made in SCENES[split])


def _count(pixels: np.ndarray, colour: str) -> int:
    """How many patches of a colour there are, by filling them: nothing is known of cells."""
    todo = {tuple(p) for p in np.argwhere(nearest(pixels) == list(COLOURS).index(colour))}
    patches = 0
    while todo:
        patches += 1
        edge = [todo.pop()]
        while edge:
            y, x = edge.pop()
            near = {(y + dy, x + dx) for dy in range(-2, 3) for dx in range(-2, 3)} & todo
            todo -= near
            edge += near
    return patches


def test_gold_answers_agree_with_counts_and_positions_of_pixels() -> None:
    asked = {}
    for made in SCENES["train"]:
        index = nearest(made.pixels)
        middle = {
            o.kind: np.argwhere(index == list(COLOURS).index(o.colour)).mean(0)
            for o in made.objects
            if sum(o.colour == p.colour for p in made.objects) == 1
        }
        for q in made.questions:
            asked.setdefault(q.kind, set()).add(q.short)
            words = q.text.rstrip("?").split()
            if q.kind in ("colour", "place"):
                (one,) = (o for o in made.objects if o.kind == words[-1])
                assert q.kind == "place" or q.short == one.colour
                if q.kind == "place" and one.kind in middle:
                    y, x = middle[one.kind]
                    side = ("left", "middle", "right")[int(3 * x // SIDE)]
                    assert q.short == f"{'upper' if y < SIDE / 2 else 'lower'} {side}"
            if q.kind not in ("count", "there", "rain"):
                assert f" {q.short}" in q.answer
            if q.kind == "there":
                pair = (words[3], words[4])
                assert q.short == ("yes" if pair in {(o.colour, o.kind) for o in made.objects}
                                   else "no")  # fmt: skip
            if q.kind == "count":
                assert int(q.short) == sum(o.colour == words[2] for o in made.objects)
                if q.short in "01":
                    assert int(q.short) == _count(made.pixels, words[2])
            if q.kind in ("side", "height") and {words[2], words[-1]} <= set(middle):
                one, other = middle[words[2]], middle[words[-1]]
                axis, names = (
                    (1, ("left", "right")) if q.kind == "side" else (0, ("above", "below"))
                )
                assert q.short == names[int(one[axis] > other[axis])]
        for o in made.objects:
            article = "an" if o.colour == "orange" else "a"
            place = f"{('upper', 'lower')[o.row]} {('left', 'middle', 'right')[o.column]}"
            assert f" {article} {o.colour} {o.kind} at the {place}" in made.caption
        assert f"It is {made.time}, and there is {made.ground} below." in made.caption
        assert ("It rains." in made.caption) == made.rain
    assert asked["count"] >= {"0", "1", "2", "3"} and asked["there"] == {"yes", "no"}
    assert asked["side"] == {"left", "right"} and asked["height"] == {"above", "below"}
    assert asked["colour"] == set(COLOURS) and len(asked["place"]) == 6
    assert {len(asked[k]) for k in ("time", "ground")} == {3} and asked["rain"] == {"yes", "no"}


def test_every_shape_and_colour_can_be_told_apart() -> None:
    assert len({mask.tobytes() for mask in MASKS.values()}) == len(MASKS)
    assert all(mask.shape == (8, 8) for mask in MASKS.values())
    from minimind_wiki.data.world.scenes import _TABLE

    gaps = np.abs(_TABLE[:, None] - _TABLE[None]).astype(float)
    length = np.sqrt((gaps**2).sum(-1)) + 1e9 * np.eye(len(_TABLE))
    assert length.min() > 2 * NOISE * 3**0.5  # so that noise never crosses the middle
    per_shape = {shape: {split_of(f"{c} {s}") for c, s in PAIRS if s == shape} for shape in MASKS}
    assert all("train" in splits for splits in per_shape.values())
    bad = scene(3).pixels.copy()
    bad[5, 5] = COLOURS["red"]
    with pytest.raises(ValueError, match="no known shape"):
        find_shapes(bad)


def test_the_png_opens_elsewhere() -> None:
    image = pytest.importorskip("PIL.Image")
    for made in SCENES["train"][:20]:
        data = write_png(made.pixels)
        assert (np.asarray(image.open(io.BytesIO(data))) == made.pixels).all()
        assert (read_png(data) == made.pixels).all()
    other = io.BytesIO()
    image.fromarray(made.pixels[..., 0]).save(other, "PNG")
    with pytest.raises(ValueError, match=r"not one of|reshape"):
        read_png(other.getvalue())


def test_rows_show_their_picture_once_and_wrong_words_are_found() -> None:
    pictures = {}
    for split in SPLITS:
        rows = list(make_rows("scenes", 150, seed=4, split=split))
        pictures[split] = {row["images"][0] for row in rows}
        for row in rows:
            said = [m["content"] for m in row["conversations"]]
            assert [s.count("<image>") for s in said] == [1] + [0] * (len(said) - 1)
            assert check_row("scenes", row)
            wrong = {**row, "images": [base64.b64encode(write_png(scene("x").pixels)).decode()]}
            if "Describe" in said[0]:
                assert not check_row("scenes", wrong)
            row["conversations"][-1]["content"] += " Or not."
            assert not check_row("scenes", row)
    assert not pictures["train"] & pictures["test"] and len(pictures["train"]) == 150
    with pytest.raises(WrongCall, match="unknown split"):
        scene(1, "tset")
