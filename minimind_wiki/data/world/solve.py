"""The answers of tasks from the words of their prompts alone: the second way to each gold answer.

Nothing here knows how a prompt was made; so a row whose prompt and answer do not belong together is
found, also if the answer and the steps to it agree with each other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from minimind_wiki.data.world.tools import DAYS

Stock = Mapping[str, Mapping[str, int]]


def solve(prompt: str, stock: Stock | None = None) -> str:
    """The answer of a word problem, an instruction or a task for a tool; ValueError if unknown.

    `stock` is what each shop has, for tasks that ask for it.

    >>> solve("Mila has 3 eggs. Tano has 4 eggs more than Mila. How many eggs do they have "
    ...       "together?"), solve("Write the word cup 2 times.")
    ('10', 'cup cup')
    """
    for solver in (_sum, _order, _listed, _day, _stock):
        answer = solver(prompt, stock or {})
        if answer:
            return answer
    raise ValueError(f"{prompt[:80]!r} is no task that is known here")


def _sum(prompt: str, stock: Stock) -> str:
    numbers = [int(number) for number in re.findall(r"\d+", prompt)]
    if " together?" in prompt and len(numbers) == 2:
        return str(2 * numbers[0] + numbers[1])
    if " gives " in prompt and len(numbers) == 4:
        have, packs, each, away = numbers
        return str(have + packs * each - away)
    if " times " in prompt and " plus " in prompt and len(numbers) == 3:
        return str(numbers[0] * numbers[1] + numbers[2])
    if " walks for " in prompt and len(numbers) == 3:
        minutes = numbers[0] * 60 + numbers[1] + numbers[2]
        return f"{minutes // 60}:{minutes % 60:02d}"
    return ""


def _order(prompt: str, stock: Stock) -> str:
    pairs = re.findall(r"(\w+) is older than (\w+)\.", prompt)
    older, younger = {a for a, _ in pairs}, {b for _, b in pairs}
    ends = older - younger if prompt.endswith("oldest of the three?") else younger - older
    return ends.pop() if len(pairs) == 2 and len(ends) == 1 else ""


def _listed(prompt: str, stock: Stock) -> str:
    words = prompt.rpartition(": ")[2].split(", ")
    if "alphabetical" in prompt:
        return ", ".join(sorted(words))
    if "capital letters" in prompt:
        return ", ".join(words).upper()
    if "backwards" in prompt:
        return ", ".join(reversed(words))
    if "last word" in prompt:
        return words[-1]
    if letters := re.search(r"letters has the word (\w+)\?", prompt):
        return str(len(letters[1]))
    if repeated := re.search(r"the word (\w+) (\d) times", prompt):
        return " ".join([repeated[1]] * int(repeated[2]))
    return ""


def _day(prompt: str, stock: Stock) -> str:
    days = re.search(r"(\d+) days?\b", prompt)
    today = [n for n, day in enumerate(DAYS) if day in prompt]
    return DAYS[(today[0] + int(days[1])) % 7] if days and len(today) == 1 else ""


def _stock(prompt: str, stock: Stock) -> str:
    counts = [
        str(count)
        for shop, items in stock.items()
        for item, count in items.items()
        if shop in prompt and re.search(rf"\b{item}\b", prompt)
    ]
    return counts[0] if len(counts) == 1 else ""
