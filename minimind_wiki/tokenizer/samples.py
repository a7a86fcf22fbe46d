"""Four small texts of our own, each of another kind, to see what a vocabulary is good at.

English and Chinese prose, Python and numbers. They are the default of `minimind tokenizer compare`
and, mixed, the corpus on which the trainers are held equal.
"""

from __future__ import annotations

import random

ENGLISH = """\
The mill stands by the river, and the river never asks who it grinds for. Ana carries the
flour home before the rain; she doesn't hurry, because the road is known and the bag is light.
"You're late," says her brother. "I've been here since noon, and the kettle's gone cold."
They laugh, they sit down, and nobody speaks of the broken wheel until the morning comes.
"""

CHINESE = """\
河边有一座磨坊，河水从不问它为谁转动。下雨之前，安娜把面粉背回家；她不着急，因为路很熟，袋子也不重。
“你来晚了，”弟弟说，“我中午就到了，水壶早就凉了。”他们笑了起来，坐下喝茶，直到天亮，谁也没有提起坏掉的轮子。
语言模型读的不是汉字，而是编号；一个常用的字是一个编号，一个少见的字要用三个。
"""

CODE = '''\
def merge_pairs(ids: list[int], pair: tuple[int, int], new: int) -> list[int]:
    """Replace each occurrence of pair."""
    out, i = [], 0
    while i < len(ids):
        if i + 1 < len(ids) and (ids[i], ids[i + 1]) == pair:
            out.append(new)
            i += 2
        else:
            out.append(ids[i])
            i += 1
    return out  # ---------------- done ----------------
'''

NUMBERS = """\
1, 2, 3, 5, 8, 13, 21, 34, 55, 89; 3.14159 and 2.71828; 12 + 7 = 19, 48 * 25 = 1200.
On 2024-05-17 at 09:45 the room had 21.5 degrees, 1013 hPa and 47% humidity. Call 555-0199.
"""

SAMPLES = {"English": ENGLISH, "Chinese": CHINESE, "code": CODE, "numbers": NUMBERS}


def mixed_text(lines: int = 2000, seed: int = 1) -> str:
    """`lines` lines in random order, each shuffled by its words: much text from little, in which
    the counts of pairs differ and many tie.

    >>> mixed_text(3) == mixed_text(3) != mixed_text(3, seed=2)
    True
    """
    rng = random.Random(seed)
    source = [line for text in SAMPLES.values() for line in text.splitlines()]
    made = []
    for _ in range(lines):
        words = source[int(rng.random() * len(source))].split(" ")
        start = int(rng.random() * len(words))
        made.append(" ".join(words[start:] + words[:start]))
    return "\n".join(made) + "\n"
