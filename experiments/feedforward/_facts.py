"""Three kinds of facts about the little world, as rows of words for a small decoder.

- one word: a person's job. The name alone decides it: `Mila is baker`.
- two words: where a person keeps a thing. Neither word decides it alone: `Mila keeps lamp Garden`,
  and she keeps the drum elsewhere, and others keep their lamps elsewhere.
- told: where the row takes place. It says so at its beginning and asks twice, and another row says
  otherwise: `here Garden … here Garden`.

The first two are drawn once for a seed and never change, so they can only be known by heart. Only
the last word of a fact is to be predicted. Shapes: B rows, T words.
"""

from dataclasses import dataclass

import numpy as np
import torch

from minimind_wiki.data.packing import IGNORE
from minimind_wiki.data.world.words import HER_NAMES, HIS_NAMES, JOBS, PLACES, THINGS
from minimind_wiki.train.batches import Tokens

KINDS = ("one_word", "two_words", "told")
PEOPLE = [*HER_NAMES[::40], *HIS_NAMES[::40]]
WHAT = list(dict.fromkeys(place.split()[1] for place in PLACES))
VERBS = ["is", "keeps", "here"]
KEPT = THINGS[::4]
WORDS = [*VERBS, *PEOPLE, *WHAT, *JOBS, *KEPT]
ID = {word: number for number, word in enumerate(WORDS)}
OPTIONS = {
    "one_word": [ID[word] for word in JOBS],
    "two_words": [ID[word] for word in WHAT],
    "told": [ID[word] for word in WHAT],
}
"""The words that may stand last, of which a reader who knows nothing takes any."""
LENGTH = 2 + 4 * 3 + 2 + 4 * 4 + 2


@dataclass(frozen=True, slots=True)
class World:
    """job[person] and keeps[person, thing], as word ids."""

    job: np.ndarray
    keeps: np.ndarray

    @staticmethod
    def draw(seed: int) -> "World":
        rng = np.random.default_rng(seed)
        jobs = rng.choice(OPTIONS["one_word"], len(PEOPLE))
        return World(jobs, rng.choice(OPTIONS["two_words"], (len(PEOPLE), len(KEPT))))


def ids(words: list[str]) -> np.ndarray:
    return np.array([ID[word] for word in words])


def rows(world: World, count: int, rng: np.random.Generator) -> tuple[Tokens, np.ndarray]:
    """Rows that tell their place, then have 4 jobs, the place, 4 things kept and the place again;
    and the kind of each label as its number in KINDS, -1 where there is none; (B, T) each."""
    people, kept = ids(PEOPLE), ids(KEPT)
    words, kinds = [], []

    def say(number: int, *parts: np.ndarray, kind: int) -> None:
        words.append(np.stack(parts, axis=-1).reshape(count, -1))
        kinds.extend(([-1] * (len(parts) - 1) + [kind]) * number)

    def verb(word: str, number: int) -> np.ndarray:
        return np.full((count, number), ID[word])

    here = rng.choice(OPTIONS["told"], (count, 1))
    say(1, verb("here", 1), here, kind=-1)
    person = rng.integers(len(people), size=(count, 4))
    say(4, people[person], verb("is", 4), world.job[person], kind=0)
    say(1, verb("here", 1), here, kind=2)
    who, what = (rng.integers(len(of), size=(count, 4)) for of in (people, kept))
    say(4, people[who], verb("keeps", 4), kept[what], world.keeps[who, what], kind=1)
    say(1, verb("here", 1), here, kind=2)
    words_BT = np.concatenate(words, axis=1)
    kinds_BT = np.broadcast_to(np.array(kinds), words_BT.shape)
    # the label of a position is the word after it, where that is the last word of a fact
    labels_BT = np.where(kinds_BT[:, 1:] >= 0, words_BT[:, 1:], IGNORE)
    tokens = Tokens(torch.from_numpy(words_BT[:, :-1].copy()), torch.from_numpy(labels_BT))
    return tokens, kinds_BT[:, 1:]


@torch.no_grad()
def recall(model: torch.nn.Module, tokens: Tokens, kinds_BT: np.ndarray) -> dict[str, float]:
    """Share of each kind's facts whose last word is the model's first choice."""
    model.eval()
    hit_BT = (model(tokens.ids_BT).argmax(-1) == tokens.labels_BT).numpy()
    model.train()
    return {kind: float(hit_BT[kinds_BT == k].mean()) for k, kind in enumerate(KINDS)}
