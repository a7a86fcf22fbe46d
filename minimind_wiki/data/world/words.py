"""The words of the little world, and who may be met in which split.

Names of people and places are built from parts, and a checksum of the name decides the split. So
the three splits share no person and no place, yet a held-out name looks like the known ones: what
is new is the individual, not the spelling. A plot is a pair of a quest and the kind of thing that
it is about; the pairs are split in the same way.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from minimind_wiki.errors import unknown

SPLITS = ("train", "validation", "test")


def split_of(name: str) -> str:
    """The split that a name belongs to: a tenth each for validation and test.

    >>> {split_of(name) for name in NAMES} == set(SPLITS)
    True
    """
    share = zlib.crc32(name.encode()) % 10
    return "validation" if share == 0 else "test" if share == 1 else "train"


def _split(text: str) -> list[str]:
    return text.split()


_FIRST = _split("Mi Lo Ta Be Ru Ka No Sa Vi Ha Jo Pe Fa Te Li Da Ro Ma Lu Ni")  # codespell:ignore
_MIDDLE = _split("l r n m d v s nn ll rr lm nd")  # codespell:ignore
_HER = _split("a ie ena ina ela etta ora")
_HIS = _split("o en as ik us on ert")
HER_NAMES = tuple(a + b + c for a in _FIRST for b in _MIDDLE for c in _HER)
HIS_NAMES = tuple(a + b + c for a in _FIRST for b in _MIDDLE for c in _HIS)
NAMES = HER_NAMES + HIS_NAMES
IS_HER = dict.fromkeys(HER_NAMES, True) | dict.fromkeys(HIS_NAMES, False)

_WHERE = _split(
    """Willow Fox Stone Hazel Raven Otter Maple Swan Bramble Clover Heron Juniper Acorn Badger
    Silver Thistle Owl Poppy Copper Larch Robin Fern Winter Golden"""
)
_WHAT = _split(
    """Bridge Hill Well Barn Mill Meadow Orchard Market School Garden Harbour Inn Forge Tower Pond
    Farm"""
)
PLACES = tuple(f"{a} {b}" for a in _WHERE for b in _WHAT)

THINGS = _split(
    """lamp basket key drum kettle rope hat book shovel bell blanket bucket candle mirror ladder
    hammer spoon flute kite map comb ribbon saddle net clock jug broom scarf chair cup box doll
    whistle coin feather lantern violin pot bowl rake needle cushion purse stool sledge puppet
    brush"""
)
LOOKS = _split(
    """red blue green yellow white black grey brown purple old new small big heavy plain pretty
    fine worn shiny dusty little painted silver crooked"""
)

QUESTS = ("lost", "gift", "loan", "repair", "errand", "moved", "swap", "found")
PLOTS = tuple((quest, thing) for quest in QUESTS for thing in THINGS)

_TRAITS = _split(
    """patient cheerful shy clever kind careful forgetful brave curious quiet stubborn honest
    gentle lively proud thoughtful funny busy generous restless"""
)
_JOBS = _split(
    """baker miller farmer weaver teacher potter fisher gardener carpenter shepherd doctor tailor
    musician beekeeper cook painter student clockmaker storyteller singer"""
)


def a(word: str) -> str:
    """The word with its indefinite article.

    >>> a("honest"), a("old"), a("fine")
    ('an honest', 'an old', 'a fine')
    """
    return ("an " if word[0] in "aeiou" or word == "honest" else "a ") + word


TRAITS, JOBS = tuple(_TRAITS), tuple(_JOBS)
A_TRAIT = tuple(a(word) for word in _TRAITS)
HIS_RELATIONS = ("brother", "cousin", "friend", "neighbour", "uncle", "nephew", "grandfather")
HER_RELATIONS = ("sister", "cousin", "friend", "neighbour", "aunt", "niece", "grandmother")


@dataclass(frozen=True, slots=True)
class Words:
    """What a world of one split may be made of."""

    split: str
    names: tuple[str, ...]
    places: tuple[str, ...]
    plots: tuple[tuple[str, str], ...]


def _words(split: str) -> Words:
    return Words(
        split,
        tuple(n for n in NAMES if split_of(n) == split),
        tuple(p for p in PLACES if split_of(p) == split),
        tuple(p for p in PLOTS if split_of(" ".join(p)) == split),
    )


WORDS = {split: _words(split) for split in SPLITS}


def words_of(split: str) -> Words:
    """The words of a split; an unknown split raises with the nearest one."""
    if split not in WORDS:
        raise unknown("split", split, SPLITS)
    return WORDS[split]
