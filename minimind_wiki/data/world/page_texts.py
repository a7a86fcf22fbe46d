"""What stands on a page, good or bad, before anything is put around it or breaks it.

Good texts include hard ones: short, in lists, with a refrain, full of numbers or foreign names. Bad
ones are what machines leave behind; one of them, a good text with its words shuffled, looks right
to every rule that counts.
"""

from __future__ import annotations

from minimind_wiki.data.world.chooser import Chooser

_FOODS = ("lentils", "barley", "carrots", "leeks", "turnips", "dried pears", "butter", "rye bread",
          "eggs", "goat cheese", "thyme", "honey")  # fmt: skip
_DO = ("Wash the {} and cut them small.", "Put the {} into cold water over night.",
       "Stir in the {} and wait until it smells good.", "Fry the {} on a low fire.",
       "Lay the {} on top and close the lid.", "Take the {} out before it is soft.")  # fmt: skip
_REFRAIN = ("And the mill wheel turns, and the water runs low,", "And where have they gone to?",
            "Oh, the wind in the barley, the wind and the snow.")  # fmt: skip
_WHO = ("miller", "baker", "weaver", "shepherd", "ferryman", "widow", "fiddler", "tailor",
        "stranger", "blacksmith", "hunter", "doctor", "potter", "teacher")  # fmt: skip
_VERSES = (
    "The {} went out with a lamp in the night", "The {} looked long for the ford and the light",
    "The {} was up with two hands in the dough", "The {} heard the bell from the valley below",
    "The {} came home with a bucket of rain", "The {} was seen at the well on the lane",
    "The {} sat down by the loom and the thread", "The {} said a word and went early to bed",
)  # fmt: skip
_FOREIGN = ("Siobhán Ní Bhriain", "José Ángel Muñoz", "Zoë Brønsted", "Wojciech Łoś", "Nguyễn Văn "
            "Đức", "François Lefèvre", "Jürgen Großmann", "Dvořák", "Þórdís", "Aïcha")  # fmt: skip
_ABROAD = (
    "{} came to the village from far away and kept the small café by the bridge.",
    "People said the name of {} in ten different ways, and none of them was right.",
    "In the guest book the name {} stands on the first page, in blue ink.",
    "When {} spoke of the fjords and the fêtes at home, everybody was quiet.",
    "The letters that {} wrote were naïve, witty and far too short.",
)
_SHORT = ("Ask for it at the school.", "It will be mended before the winter.",
          "Please close the gate.", "We use the other door now.")  # fmt: skip
_KEYS = ("cheap", "boots", "buy", "online", "free", "shipping", "best", "price", "sale",
         "lamp", "kettle", "deal", "discount", "store", "review", "2024", "top", "new",
         "offer")  # fmt: skip
_LOREM = (
    "Lorem ipsum dolor sit amet, consectetur adipiscing elit.",
    "Sed do eiusmod tempor incididunt ut labore et dolore magna aliqua.",
    "Ut enim ad minim veniam, quis nostrud exercitation ullamco laboris.",
    "Duis aute irure dolor in reprehenderit in voluptate velit esse.",
)
_CALLS = ("Click here to win a new kettle today.", "Buy now and save on every order in the shop.",
          "This page is loading, please wait for it.")  # fmt: skip


def short(c: Chooser, story: str) -> str:
    """A notice of three or four sentences."""
    sentences = story.replace("\n\n", " ").split(". ")
    at = int(c._random() * max(1, len(sentences) - 2))
    return ". ".join(sentences[at : at + 2]).strip().removesuffix(".") + ". " + c.pick(_SHORT)


def recipe(c: Chooser, story: str) -> str:
    """A list of things, a list of steps, and a sentence at either end."""
    foods = [c.pick(_FOODS) for _ in range(6)]
    lines = [f"A soup of {foods[0]} and {foods[1]} for the cold days, as my aunt made it.", ""]
    lines += [f"- {c.pick(range(1, 9)) * 50} g of {food}" for food in dict.fromkeys(foods)]
    lines += ["", *(f"- {c.pick(_DO).format(food)}" for food in dict.fromkeys(foods)), ""]
    return "\n".join([*lines, "It is best on the second day, when it has been heated again."])


def poem(c: Chooser, story: str) -> str:
    """Verses of two lines, each with the same refrain of two."""
    refrain, left = f"{c.pick(_REFRAIN[:2])}\n{_REFRAIN[2]}", list(_VERSES)
    lines = [left.pop(int(c._random() * len(left))).format(c.pick(_WHO)) for _ in _VERSES]
    return "\n\n".join(
        f"{a},\n{b};\n{refrain}" for a, b in zip(lines[::2], lines[1::2], strict=True)
    )


def foreign_names(c: Chooser, story: str) -> str:
    """English about people with names from elsewhere."""
    frames = list(_ABROAD)
    paragraphs = story.split("\n\n")[:3]
    for at in range(len(paragraphs)):
        frame = frames.pop(int(c._random() * len(frames)))
        paragraphs[at] += " " + frame.format(c.pick(_FOREIGN))
    return "\n\n".join(paragraphs)


def numbers(c: Chooser, story: str) -> str:
    """A gauge's readings with a remark: half of the words are numbers."""
    lines = ["The gauge at the bridge was read each morning, and these are the heights in feet."]
    for day in range(1, 1 + c.pick(range(8, 15))):
        lines.append(f"Day {day}: {c.pick(range(20, 90)) / 10} at 7:30, {c.pick(range(9))} mm.")
    return "\n".join([*lines, "Nobody knows what happened to the readings that are missing."])


def keywords(c: Chooser, story: str) -> str:
    """Search words without a sentence."""
    return ", ".join(" ".join(c.pick(_KEYS) for _ in range(3)) for _ in range(40))


def repeated(c: Chooser, story: str) -> str:
    """One call, over and over, between other lines."""
    call, rest = c.pick(_CALLS), story.split(". ")
    return "\n".join(x for s in rest[:10] for x in (s.strip().replace("\n", " ") + ".", call, call))


def lorem(c: Chooser, story: str) -> str:
    """Filling text."""
    return " ".join(c.pick(_LOREM) for _ in range(12))


def symbols(c: Chooser, story: str) -> str:
    """What is left of a file that is no text."""
    soup = "#$%^&*|<>{}[]~=+_/\\0123456789abcdef"
    return " ".join("".join(c.pick(soup) for _ in range(c.pick(range(2, 9)))) for _ in range(90))


def stub(c: Chooser, story: str) -> str:
    """A page without a text on it."""
    return c.pick(("404 Not Found", "Page moved.", "Loading...", "Untitled 1", "test test", "| | |",
                   "Please enable JavaScript to view the comments."))  # fmt: skip


def gibberish(c: Chooser, story: str) -> str:
    """Letters in words' clothes."""
    word = lambda: "".join(c.pick("bcdfgklmnprstvz") + c.pick("aeiou") for _ in range(c.pick((1, 2, 3))))  # noqa: E731,E501  # fmt: skip
    return " ".join(" ".join(word() for _ in range(8)).capitalize() + "." for _ in range(12))


def shuffled(c: Chooser, story: str) -> str:
    """The words of a good text in no order."""
    words = story.split()
    for at in range(len(words) - 1, 0, -1):
        other = int(c._random() * (at + 1))
        words[at], words[other] = words[other], words[at]
    return " ".join(words)


HARD = {"short": short, "recipe": recipe, "poem": poem, "foreign names": foreign_names,
        "numbers": numbers}  # fmt: skip
JUNK = {"keywords": keywords, "repeated": repeated, "lorem": lorem, "symbols": symbols,
        "stub": stub, "gibberish": gibberish, "shuffled": shuffled}  # fmt: skip
