"""Small pictures of the world with captions and questions whose answers are counted, not judged.

A scene is 32 x 32 pixels: sky and ground, and up to four shapes of one colour each in a grid of
three columns and two rows. Every pixel gets a little noise; the palette is wide enough that the
nearest colour is still the right one, so `find_shapes` can read a picture back and the captions can
be checked against the pixels alone. As in CLEVR-CoGenT (Johnson et al. 2017, arXiv:1612.06890),
some pairs of shape and colour are met in the test split only.
Rows are those of MiniMind-V: a chat with `<image>` in the question; the picture is a PNG in base64.
Shapes: H = W = 32, 3 channels, uint8.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections import Counter
from dataclasses import dataclass

import numpy as np

from minimind_wiki.data.world.chooser import Chooser
from minimind_wiki.data.world.shape import Row, chat
from minimind_wiki.data.world.words import a, split_of, words_of

SIDE = 32
NOISE = 7  # each channel of each pixel moves by at most this
_ART = {
    "house": "...##... ..####.. .######. ######## .######. .##..##. .##..##. .##..##.",
    "tree": "..####.. .######. ######## ######## .######. ..####.. ...##... ...##...",
    "person": "...##... ...##... .######. ...##... ...##... ..####.. ..#..#.. .##..##.",
    "kite": "...#.... ..###... .#####.. #######. .#####.. ..###... ...#.... ...###..",
    "box": "........ ######## #......# #.####.# #.####.# #.####.# #......# ########",
    "cup": "........ #####... ######## #####..# #####..# ######## #####... .###....",
    "bell": "...##... ..####.. ..####.. .######. .######. ######## ........ ...##...",
    "ladder": "##....## ######## ##....## ######## ##....## ######## ##....## ##....##",
    "hat": "........ ........ ..####.. ..####.. ..####.. ..####.. ######## ########",
    "key": ".###.... #...#... #...#### #...#### .###..## ......## ........ ........",
    "chair": "##...... ##...... ##...... ##...... #######. #######. ##...##. ##...##.",
    "star": "...##... ...##... ######## .######. ..####.. .######. ##....## #......#",
}
MASKS = {
    name: np.array([[dot == "#" for dot in line] for line in art.split()])
    for name, art in _ART.items()
}
COLOURS = {
    "red": (220, 30, 40), "blue": (30, 60, 220), "yellow": (250, 220, 30), "purple": (130, 30, 150),
    "orange": (250, 130, 20), "black": (15, 15, 15), "pink": (250, 130, 190),
    "brown": (115, 65, 25),
}  # fmt: skip
_SKY = {"day": (150, 205, 250), "evening": (165, 135, 175), "night": (45, 55, 90)}
_GROUND = {"grass": (60, 150, 60), "snow": (240, 245, 250), "sand": (215, 195, 140)}
_RAIN = (95, 120, 140)
_PALETTE = {**COLOURS, **_SKY, **_GROUND, "rain": _RAIN}
_TABLE = np.array(list(_PALETTE.values()), dtype=np.int32)
COLUMNS, ROWS = ("left", "middle", "right"), ("upper", "lower")
_X, _Y, _HORIZON = (1, 12, 23), (2, 21), 17
PAIRS = tuple((look, shape) for look in COLOURS for shape in MASKS)
_COUNTS = ("no", "one", "two", "three", "four", "five", "six")


@dataclass(frozen=True, slots=True)
class Shape:
    """One shape: its kind, its colour, and its cell: column 0 to 2 from the left, row 0 above."""

    kind: str
    colour: str
    column: int
    row: int

    def __str__(self) -> str:
        return f"{self.colour} {self.kind}"


@dataclass(frozen=True, slots=True)
class Look:
    """A question about a scene with its gold answer as a sentence and in short."""

    kind: str
    text: str
    answer: str
    short: str


@dataclass(frozen=True)
class Scene:
    """A picture (H, W, 3) of uint8 and what is known of it."""

    pixels: np.ndarray
    objects: tuple[Shape, ...]
    time: str
    ground: str
    rain: bool
    caption: str
    questions: tuple[Look, ...]


def scene(seed: int | str, split: str = "train") -> Scene:
    """The scene of a seed. An unknown split raises WrongCall.

    In the splits but train, at least one pair of shape and colour is new.

    >>> picture = scene(1)
    >>> picture.pixels.shape, picture.pixels.dtype == np.uint8, len(picture.objects) > 0
    ((32, 32, 3), True, True)
    """
    words_of(split)
    c = Chooser(f"scene/{split}/{seed}")
    known = [p for p in PAIRS if split_of(" ".join(p)) == "train"]
    new = [p for p in PAIRS if split_of(" ".join(p)) == split]
    cells = [(x, y) for y in range(len(ROWS)) for x in range(len(COLUMNS))]
    objects: list[Shape] = []
    for number in range(c.pick((1, 2, 2, 3, 3, 4))):
        colour, kind = c.pick(new if number == 0 else known)
        if number and c.pick((True, False, False)):  # the same kind or colour again, to be counted
            alike = [p for p in known if objects[-1].kind == p[1] or objects[-1].colour == p[0]]
            colour, kind = c.pick(alike)
        column, row = cells.pop(c.pick(range(len(cells))))
        objects.append(Shape(kind, colour, column, row))
    objects.sort(key=lambda o: (o.row, o.column))
    time, ground = c.pick(tuple(_SKY)), c.pick(tuple(_GROUND))
    rain = ground != "snow" and c.pick((True, False, False))
    shift = [c.pick((0, 1)) for _ in range(2)]
    pixels = _paint(c, objects, time, ground, rain, shift)
    return Scene(pixels, tuple(objects), time, ground, rain, _caption(objects, time, ground, rain),
                 tuple(_questions(objects, time, ground, rain)))  # fmt: skip


def _paint(
    c: Chooser, objects: list[Shape], time: str, ground: str, rain: bool, shift: list[int]
) -> np.ndarray:
    pixels = np.empty((SIDE, SIDE, 3), dtype=np.int16)
    pixels[:_HORIZON], pixels[_HORIZON:] = _SKY[time], _GROUND[ground]
    if rain:
        for x in range(c.pick((0, 1, 2)), SIDE, 4):
            for y in range(x * 5 % 7, _HORIZON - 2, 7):
                pixels[y : y + 3, x] = _RAIN
    for shape in objects:
        x, y = _X[shape.column] + shift[0], _Y[shape.row] + shift[1]
        pixels[y : y + 8, x : x + 8][MASKS[shape.kind]] = COLOURS[shape.colour]
    seed = 4000 * c.pick(range(4000)) + c.pick(range(4000))
    # RandomState, unlike Generator, promises the same numbers in every version of numpy
    noise = np.random.RandomState(seed).randint(-NOISE, NOISE + 1, pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


def _list(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _caption(objects: list[Shape], time: str, ground: str, rain: bool) -> str:
    seen = [f"{a(str(o))} at the {ROWS[o.row]} {COLUMNS[o.column]}" for o in objects]
    weather = "It rains." if rain else "It does not rain."
    return f"One sees {_list(seen)}. It is {time}, and there is {ground} below. {weather}"


def _questions(objects: list[Shape], time: str, ground: str, rain: bool) -> list[Look]:
    """Everything that can be asked and has one answer."""
    found: list[Look] = []
    kinds, colours = Counter(o.kind for o in objects), Counter(o.colour for o in objects)
    alone = [o for o in objects if kinds[o.kind] == 1]
    for o in alone:
        found.append(Look("colour", f"What colour is the {o.kind}?", f"The {o.kind} is {o.colour}.",
                          o.colour))  # fmt: skip
        where = f"{ROWS[o.row]} {COLUMNS[o.column]}"
        found.append(Look("place", f"Where in the picture is the {o.kind}?",
                          f"The {o.kind} is at the {where}.", where))  # fmt: skip
    for one in alone:
        for other in alone:
            side = "left" if one.column < other.column else "right"
            if one.column != other.column:
                text = f"Is the {one.kind} left or right of the {other.kind}?"
                found.append(Look("side", text, f"It is {side} of the {other.kind}.", side))
            height = "above" if one.row < other.row else "below"
            if one.row != other.row:
                text = f"Is the {one.kind} above or below the {other.kind}?"
                found.append(Look("height", text, f"It is {height} the {other.kind}.", height))
    for colour in COLOURS:
        some = colours[colour]
        if some or colour in ("red", "black"):
            there = "is one" if some == 1 else f"are {_COUNTS[some] if some else 'none'}"
            found.append(Look("count", f"How many {colour} things are there?", f"There {there}.",
                              str(some)))  # fmt: skip
    pairs = {(o.colour, o.kind) for o in objects}
    absent = [kind for kind in MASKS if kind not in kinds][len(pairs) :: 5]
    some_pairs = {(colour, kind) for kind in [*kinds, *absent] for colour in colours}
    for colour, kind in some_pairs:
        yes = (colour, kind) in pairs
        answer, short = ("Yes, there is.", "yes") if yes else ("No, there is none.", "no")
        found.append(Look("there", f"Is there {a(colour)} {kind}?", answer, short))
    found.sort(key=lambda q: q.text)  # a set has no order that can be relied on
    found.append(Look("time", "Is it day, evening or night?", f"It is {time}.", time))
    found.append(Look("ground", "What is the ground?", f"The ground is {ground}.", ground))
    answer, short = ("Yes, it rains.", "yes") if rain else ("No, it does not.", "no")
    found.append(Look("rain", "Does it rain?", answer, short))
    return found


# ---- back from the pixels


def nearest(pixels: np.ndarray) -> np.ndarray:
    """The palette's colour nearest to each pixel, as its index: (H, W, 3) to (H, W)."""
    gaps = pixels.astype(np.int32)[:, :, None, :] - _TABLE
    return np.asarray((gaps * gaps).sum(-1).argmin(-1))


def find_shapes(pixels: np.ndarray) -> tuple[tuple[Shape, ...], str, str, bool]:
    """Shapes, time, ground and rain, from the pixels (H, W, 3) alone.

    For each colour and cell of the grid, the pixels of the colour are compared with every mask.
    ValueError where they fit none.
    """
    index, names = nearest(pixels), list(_PALETTE)
    shapes = []
    for number, colour in enumerate(COLOURS):
        hits = index == number
        if not hits.any():
            continue
        for row, y in enumerate(_Y):
            for column, x in enumerate(_X):
                cell = hits[y : y + 9, x : x + 9]
                if cell.any():
                    shapes.append(Shape(_fit(cell), colour, column, row))
    shapes.sort(key=lambda o: (o.row, o.column))
    sky = Counter(names[i] for i in index[:_HORIZON].ravel() if names[i] in _SKY)
    ground = Counter(names[i] for i in index[_HORIZON:].ravel() if names[i] in _GROUND)
    rain = bool((index[:_HORIZON] == names.index("rain")).sum() > 5)
    return tuple(shapes), sky.most_common(1)[0][0], ground.most_common(1)[0][0], rain


def _fit(cell: np.ndarray) -> str:
    """The kind whose mask the set pixels of a cell (9, 9) are, wherever it stands in it."""
    for name, mask in MASKS.items():
        for y in (0, 1):
            for x in (0, 1):
                if cell.sum() == mask.sum() and (cell[y : y + 8, x : x + 8] == mask).all():
                    return name
    raise ValueError("the pixels of one colour have the form of no known shape")


def write_png(pixels: np.ndarray) -> bytes:
    """A picture (H, W, 3) of uint8 as PNG: colour type 2, no row filter (PNG specification 11.2).

    >>> bool((read_png(write_png(scene(2).pixels)) == scene(2).pixels).all())
    True
    """
    height, width, _ = pixels.shape
    lines = b"".join(b"\0" + line.tobytes() for line in np.ascontiguousarray(pixels))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(lines, 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


def read_png(data: bytes) -> np.ndarray:
    """The pixels (H, W, 3) of a PNG that `write_png` wrote; ValueError for any other PNG."""
    width, height = struct.unpack(">II", data[16:24])
    size = struct.unpack(">I", data[33:37])[0]
    lines = np.frombuffer(zlib.decompress(data[41 : 41 + size]), dtype=np.uint8)
    lines = lines.reshape(height, 1 + 3 * width)
    if data[24:29] != bytes((8, 2, 0, 0, 0)) or lines[:, 0].any():
        raise ValueError("this PNG is not one of the little world's; open it with Pillow")
    return lines[:, 1:].reshape(height, width, 3).copy()


def scenes(c: Chooser, seed: str, split: str) -> Row:
    """A caption or one to three questions about a picture, which is in `images`."""
    made = scene(seed, split)
    image = base64.b64encode(write_png(made.pixels)).decode()
    if c.pick((True, False, False)):
        return chat("<image>\nDescribe the picture.", made.caption, images=[image])
    kinds: dict[str, list[Look]] = {}
    for look in made.questions:
        kinds.setdefault(look.kind, []).append(look)
    asked = []
    for _ in range(c.pick((1, 1, 2, 3))):
        asked.append(c.pick(kinds.pop(c.pick(list(kinds)))))
    row = chat(f"<image>\n{asked[0].text}", asked[0].answer, images=[image])
    for look in asked[1:]:
        row["conversations"] += chat(look.text, look.answer)["conversations"]
    return row


def check(row: Row) -> bool:
    """Whether everything said is what the shapes found in the pixels give."""
    objects, time, ground, rain = find_shapes(read_png(base64.b64decode(row["images"][0])))
    right = {q.text: q.answer for q in _questions(list(objects), time, ground, rain)}
    right["Describe the picture."] = _caption(list(objects), time, ground, rain)
    said = [m["content"].removeprefix("<image>\n") for m in row["conversations"]]
    return all(right.get(q) == r for q, r in zip(said[::2], said[1::2], strict=True))
