"""A base of facts about people and shops, the articles that state them, and queries.

For retrieval one must know three things that real corpora do not tell: which passage states a fact,
that no other does, and that the model has not seen it. So a base is a set of triples (subject,
relation, value); each is stated in one or two articles, and the checksum of the triple decides its
split. A fact of the train split is *known*; the others, about two in ten, are *withheld*: their
articles are in the corpus, but in no training row. Distractors tell of people of similar names.
The splits share their people and places on purpose, unlike those of the stories: a withheld fact is
a new fact about known people, so that a model that answers it has read the passage, and one that
fails has not merely met an odd name. What is disjoint is the facts. For new people and places, ask
about documents (`questions`).

The shapes are those of BEIR (Thakur et al. 2021, arXiv:2104.08663), which retrieval tools read:
`corpus` rows {_id, title, text}, `queries` rows {_id, text} and `qrels` (query, document, score).
A base is never larger than what one can look through by hand; more rows come from more bases.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from minimind_wiki.data.world.chooser import Chooser
from minimind_wiki.data.world.shape import Row, chat
from minimind_wiki.data.world.tools import DAYS
from minimind_wiki.data.world.words import (
    JOBS,
    THINGS,
    TRAITS,
    a,
    split_of,
    words_of,
)
from minimind_wiki.errors import WrongCall

Fact = tuple[str, str, str]
SIZE = 24  # people of a base that rows are made from
PASSAGES = 4  # in a row of kind `retrieval`
MOST_PEOPLE = 200
# relation: how an article states it (two ways), how a query asks, how an answer says it
_FORMS: dict[str, tuple[str, str, str, str]] = {
    "job": ("{s} works as {v}.", "{s} earns a living as {v}.", "What does {s} work as?",
            "{s} works as {v}."),
    "home": ("{s} lives at {v}.", "The house of {s} stands at {v}.", "Where does {s} live?",
             "{s} lives at {v}."),
    "born": ("{s} was born in the year {v}.", "The year of birth of {s} is {v}.",
             "In which year was {s} born?", "{s} was born in {v}."),
    "collects": ("{s} collects {v}.", "On the shelves of {s} stand {v}.",
                 "What does {s} collect?", "{s} collects {v}."),
    "teacher": ("{s} learned the craft from {v}.", "The teacher of {s} was {v}.",
                "Who taught {s}?", "{v} taught {s}."),
    "nature": ("{s} is known to be {v}.", "Everyone calls {s} {v}.", "What is {s} known to be?",
               "{s} is known to be {v}."),
    "owner": ("{s} belongs to {v}.", "The owner of {s} is {v}.", "Who owns {s}?",
              "{s} belongs to {v}."),
    "stands": ("{s} stands at {v}.", "One finds {s} at {v}.", "Where does {s} stand?",
               "{s} stands at {v}."),
    "sells": ("{s} sells {v}.", "On the counter of {s} lie {v}.", "What does {s} sell?",
              "{s} sells {v}."),
    "price": ("At {s} the best piece costs {v} coins.", "{v} coins buy the best piece at {s}.",
              "How many coins does the best piece at {s} cost?", "It costs {v} coins."),
    "closed": ("{s} is closed on {v}.", "On {v} nobody opens the door of {s}.",
               "On which day is {s} closed?", "{s} is closed on {v}."),
}  # fmt: skip
OF_PEOPLE = ("job", "home", "born", "collects", "teacher", "nature")
OF_SHOPS = ("owner", "stands", "sells", "price", "closed")
_FILLER = (
    "This was written down by the clerk of the village.", "More is told at the market.",
    "The neighbours read this and nodded.", "A copy hangs beside the well.",
    "So it stands in the old book.",
)  # fmt: skip
_GOODS = tuple(f"{thing}s" for thing in THINGS if not thing.endswith(("x", "sh", "f")))


@dataclass(frozen=True, slots=True)
class Article:
    """A passage of the corpus with the facts that it states."""

    id: str
    title: str
    text: str
    facts: tuple[Fact, ...]
    withheld: bool


@dataclass(frozen=True, slots=True)
class Query:
    """A question for one fact: its gold answer and the ids of all articles that state it."""

    id: str
    text: str
    answer: str
    short: str
    fact: Fact
    positives: tuple[str, ...]
    withheld: bool


@dataclass(frozen=True, slots=True)
class FactBase:
    """Facts with the articles that state them. `withheld` are those that training never sees."""

    facts: tuple[Fact, ...]
    documents: tuple[Article, ...]
    queries: tuple[Query, ...]
    withheld: frozenset[Fact]

    def corpus(self) -> list[dict[str, str]]:
        """The rows of BEIR's corpus.jsonl."""
        return [{"_id": d.id, "title": d.title, "text": d.text} for d in self.documents]

    def qrels(self) -> list[tuple[str, str, int]]:
        """The rows of BEIR's qrels: query id, document id, 1."""
        return [(q.id, document, 1) for q in self.queries for document in q.positives]


def split_of_fact(fact: Fact) -> str:
    """The split of a fact; whatever is not of the train split is withheld."""
    return split_of(" | ".join(fact))


def _people(c: Chooser, size: int) -> list[str]:
    """Names, half of them beside one that differs in the last letters only."""
    names = words_of("train").names
    chosen: dict[str, None] = {}
    while len(chosen) < size:
        name = c.pick(names)
        chosen[name] = None
        like = [n for n in names if n[:4] == name[:4] and n not in chosen]
        if like and len(chosen) < size:
            chosen[c.pick(like)] = None
    return list(chosen)


@lru_cache(maxsize=16)
def fact_base(seed: int | str, size: int = SIZE) -> FactBase:
    """The base of `size` people and half as many shops for a seed. WrongCall beyond 2 to 200.

    >>> base = fact_base(0)
    >>> len(base.facts), 0.1 < len(base.withheld) / len(base.facts) < 0.3
    (204, True)
    """
    if not 2 <= size <= MOST_PEOPLE:
        raise WrongCall(f"a base of {size} people; give 2 to {MOST_PEOPLE}.")
    c = Chooser(f"facts/{seed}/{size}")
    people, places = _people(c, size), words_of("train").places
    shops: dict[str, None] = {}
    while len(shops) < size // 2:
        shops[f"the shop of the {c.pick(('Red', 'Blue', 'Old', 'New', 'Golden', 'Silver'))} "
              f"{c.pick(THINGS).title()}"] = None  # fmt: skip
    facts: list[Fact] = []
    for person in people:
        values = (a(c.pick(JOBS)), c.pick(places), str(c.pick(range(1801, 1900))), c.pick(_GOODS),
                  c.pick([p for p in people if p != person]), c.pick(TRAITS))  # fmt: skip
        facts += [(person, r, v) for r, v in zip(OF_PEOPLE, values, strict=True)]
    for shop in shops:
        about = (c.pick(people), c.pick(places), c.pick(_GOODS), str(c.pick(range(2, 100))),
                 c.pick(DAYS))  # fmt: skip
        facts += [(shop, r, v) for r, v in zip(OF_SHOPS, about, strict=True)]
    withheld = frozenset(fact for fact in facts if split_of_fact(fact) != "train")
    documents = _documents(c, str(seed), [*people, *shops], facts)
    queries: list[Query] = []
    for fact in facts:
        subject, relation, value = fact
        _, _, ask, answer = _FORMS[relation]
        positives = tuple(d.id for d in documents if fact in d.facts)
        text = answer.format(s=subject, v=value)
        queries.append(Query(
            f"q{seed}.{len(queries)}", ask.format(s=subject), text[0].upper() + text[1:],
            value.removeprefix("an ").removeprefix("a "), fact, positives, fact in withheld,
        ))  # fmt: skip
    return FactBase(tuple(facts), tuple(documents), tuple(queries), withheld)


def _documents(c: Chooser, seed: str, subjects: list[str], facts: list[Fact]) -> list[Article]:
    """For each subject an article of the known facts and one of the withheld; some facts twice."""
    made: list[Article] = []
    by_subject: dict[str, list[Fact]] = {subject: [] for subject in subjects}
    for fact in facts:
        by_subject[fact[0]].append(fact)
    for subject, all_of in by_subject.items():
        for hidden in (False, True):
            some = [f for f in all_of if (split_of_fact(f) != "train") == hidden]
            again = [f for f in some if c.pick((True, False, False))]
            for number, told in enumerate((some, again)):
                if told:
                    title = f"{('About', 'A note on')[number]} {subject}"
                    text = _article(c, told, number)
                    made.append(Article(f"d{seed}.{len(made)}", title, text, tuple(told), hidden))
    return made


def _article(c: Chooser, facts: list[Fact], form: int) -> str:
    sentences = []
    for subject, relation, value in facts:
        text = _FORMS[relation][form].format(s=subject, v=value)
        sentences.append(text[0].upper() + text[1:])
    sentences.append(c.pick(_FILLER))
    return " ".join(sentences)


def _pattern(template: str) -> re.Pattern[str]:
    escaped = re.escape(template).replace(r"\{s\}", "(?P<s>{S})").replace(r"\{v\}", "(?P<v>{V})")
    subject = r"[A-Z][a-z]+|[Tt]he shop of the [A-Z][a-z]+ [A-Z][a-z]+"
    return re.compile(escaped.replace("{S}", subject).replace("{V}", r"[\w ]+?"))


_PATTERNS = [(r, _pattern(form)) for r, forms in _FORMS.items() for form in forms[:2]]


def read_facts(text: str) -> set[Fact]:
    """The facts that a text states, found by matching sentences: the second way to them.

    >>> sorted(read_facts("Loena lives at Fox Hill. The teacher of Loena was Tamus."))
    [('Loena', 'home', 'Fox Hill'), ('Loena', 'teacher', 'Tamus')]
    """
    found = set()
    for sentence in re.split(r"(?<=[.?])\s+", text):
        for relation, pattern in _PATTERNS:
            match = pattern.fullmatch(sentence)
            if match:
                subject = match["s"]
                subject = "t" + subject[1:] if subject.startswith("The shop") else subject
                found.add((subject, relation, match["v"]))
    return found


def _base_of(seed: str, per_base: int) -> tuple[FactBase, int]:
    """The base for a row, and the row's number in it: `per_base` rows come from each base."""
    base, number = seed.rsplit(".", 1)
    block, index = divmod(int(number), per_base)
    return fact_base(f"{base}.{block}"), index


_ROWS_OF_BASE = 48


def facts(c: Chooser, seed: str, split: str) -> Row:
    """An article as plain text: of known facts for the train split, of facts of this one else."""
    base, index = _base_of(seed, _ROWS_OF_BASE)
    wanted = [d for d in base.documents if {split_of_fact(f) for f in d.facts} & {split}]
    article = wanted[index % len(wanted)]
    if split != "train":  # a withheld article may state facts of both held-out splits
        own = [f for f in article.facts if split_of_fact(f) == split]
        return {"text": _article(c, own, int(article.title.startswith("A note"))),
                "_id": article.id, "title": article.title}  # fmt: skip
    return {"text": article.text, "_id": article.id, "title": article.title}


def retrieval(c: Chooser, seed: str, split: str) -> Row:
    """A query with passages of which some are right, and its gold answer.

    A row of the train split asks for a known fact and shows only articles of known facts; a row of
    the others asks for a withheld one, so the answer is in the passages or nowhere. Wrong passages
    are hard ones first: of the same subject, then of the most similar names.
    """
    base, _ = _base_of(seed, _ROWS_OF_BASE)
    query = c.pick([q for q in base.queries if split_of_fact(q.fact) == split])
    known = [d for d in base.documents if not (d.withheld and split == "train")]
    gold = [d for d in known if d.id in query.positives]
    wrong = [d for d in known if d.id not in query.positives]
    subject = query.fact[0]
    wrong.sort(key=lambda d: (-_alike(d.facts[0][0], subject), d.id))
    chosen = [*gold, *wrong[: PASSAGES - len(gold)]]
    passages: list[Article] = []
    while chosen:
        passages.append(chosen.pop(c.pick(range(len(chosen)))))
    shown = "\n".join(f"[{n}] {d.title}: {d.text}" for n, d in enumerate(passages, start=1))
    return chat(
        f"{shown}\n\n{query.text}", query.answer, gt=[query.short], query_id=query.id,
        query=query.text, positives=[d.id for d in gold], withheld=query.withheld,
        passages=[{"_id": d.id, "title": d.title, "text": d.text} for d in passages],
    )  # fmt: skip


def _alike(one: str, other: str) -> int:
    """The length of the common beginning."""
    return next((n for n, (x, y) in enumerate(zip(one, other, strict=False)) if x != y), 99)


def check(row: Row) -> bool:
    """Whether the sentences, read as facts, give the gold: in the gold passages and no others."""
    if "passages" not in row:
        return bool(read_facts(row["text"])) and all(
            subject in row["title"] for subject, _, _ in read_facts(row["text"])
        )
    asked = {}
    for relation, forms in _FORMS.items():
        match = re.fullmatch(_pattern(forms[2]), row["query"])
        if match:
            asked[relation] = match["s"]
    ((relation, subject),) = asked.items()
    stating = {
        passage["_id"]: value
        for passage in row["passages"]
        for who, what, value in read_facts(passage["text"])
        if (who, what) == (subject, relation)
    }
    values = {re.sub(r"^an? ", "", value) for value in stating.values()}
    return (
        set(stating) == set(row["positives"])
        and [*values] == row["gt"]
        and row["gt"][0] in row["conversations"][-1]["content"]
    )
