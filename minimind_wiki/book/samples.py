"""Samples of the little world and the catalogue of data sets, made when the site is built.

What is shown is what the generator gives now: the pages hold no copied row that could grow old.
Texts are data, so everything is escaped. Long ones are folded into `<details>`, which a keyboard
opens; pictures carry their caption as alternative text.
"""

from __future__ import annotations

import json
import math
from itertools import islice
from typing import Any

from minimind_wiki.book import pages
from minimind_wiki.book.pages import esc
from minimind_wiki.data.registry import HUB, REGISTRY, Entry
from minimind_wiki.data.world import make_document, scenes
from minimind_wiki.data.world.chooser import log_sum
from minimind_wiki.data.world.rows import make_rows
from minimind_wiki.data.world.state import State
from minimind_wiki.data.world.story import Document, all_derivations
from minimind_wiki.errors import MinimindError, unknown

LONG = 420  # characters; a longer text is folded
_TEXT, _MONO = "mm-sample__text", "mm-sample__text mm-sample__text--mono"  # programs and JSON
_IGNORED = {"conversations", "chosen", "rejected", "text", "images", "passages", "query"}
_SIDE = {"labels": "the truth about it", "stock": "what the tool looks up"}


def _text(text: str, style: str = _TEXT, lang: str = "") -> str:
    """One line of HTML whatever the text holds, so that Markdown leaves it alone."""
    said = f' lang="{esc(lang)}"' if lang else ""
    return f'<div class="{style}"{said}>{_flat(text)}</div>'


def _flat(text: str) -> str:
    return esc(text).replace("\n", "&#10;")


def _folded(text: str, what: str, style: str = _TEXT, lang: str = "") -> str:
    """A text, behind a summary when it is long."""
    if len(text) <= LONG:
        return _text(text, style, lang)
    first = " ".join(text[:90].split())
    return (
        f'<details class="mm-sample__long"><summary>{esc(what)}, {len(text.split())} words: '
        f"“{esc(first)}…”</summary>{_text(text, style, lang)}</details>"
    )


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1)


# Rows ------------------------------------------------------------------------------------------


def world_rows(
    kind: str, rows: int = 1, seed: int = 0, split: str = "train", skip: int = 0, **options: float
) -> str:
    """`rows` rows of a kind of the little world, as they are made now, each in a box.

    `skip` leaves out the first ones; `options` are those of the kind (noise, length_bias). Begin
    the macro at the start of a line. Raises, naming the page, for what `make_rows` does not know.
    """
    try:
        stream = make_rows(kind, None, seed, split, **options)
    except MinimindError as error:
        raise pages.fault(f"world_rows('{kind}', …): {error}") from None
    if rows < 1 or skip < 0:
        raise pages.fault(f"world_rows('{kind}', {rows}): at least one row must be shown.")
    made = enumerate(islice(stream, skip, skip + rows), skip)
    return "\n".join(_row(kind, row, number, seed, split) for number, row in made)


def _row(kind: str, row: dict[str, Any], number: int, seed: int, split: str) -> str:
    head = (
        f'<p class="mm-sample__head"><code>{esc(kind)}</code> · row {number} of seed {seed}, '
        f"{esc(split)}</p>"
    )
    parts = []
    style = _MONO if kind.startswith("code") else _TEXT
    if "text" in row:
        language = row.get("labels", {}).get("language", "")
        parts.append(_folded(row["text"], "the text", style, language))
    parts += [_message(message, style) for message in row.get("conversations", ())]
    if "chosen" in row:
        parts += [_message(message) for message in row["chosen"][:-1]]
        for what in ("chosen", "rejected"):
            parts.append(_message({**row[what][-1], "role": what}))
    parts += [_side(key, value) for key, value in row.items() if key not in _IGNORED]
    body = "".join(parts)
    for image in row.get("images", ()):
        alt = scenes.scene(f"{seed}.{number}", split).caption
        picture = (
            f'<img class="mm-sample__picture" alt="{esc(alt)}" width="128" height="128" '
            f'src="data:image/png;base64,{esc(image)}">'
        )
        body = f'<div class="mm-sample__beside">{picture}<div>{body}</div></div>'
    return f'<div class="mm-sample" data-search-exclude>{head}{body}</div>\n'


def _message(message: dict[str, Any], style: str = _TEXT) -> str:
    """One turn: who speaks, then what; a document before a question is folded alone."""
    content = str(message["content"]).removeprefix("<image>\n")
    style = _MONO if message["role"] == "tool" else style
    document, gap, question = content.rpartition("\n\n")
    if len(content) > LONG and gap:
        said = _folded(document, "a text", style) + _text(question, style)
    else:
        said = _folded(content, "a text", style) if content else ""
    if message.get("tools"):
        said += _folded(_json(json.loads(message["tools"])), "the tools", _MONO)
    if message.get("tool_calls"):
        said += _text(message["tool_calls"], _MONO)
    return f'<p class="mm-sample__role">{esc(message["role"])}</p>{said}'


def _side(key: str, value: Any) -> str:
    """A key beside the text: what a checker or a judge needs."""
    shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if len(shown) <= LONG / 2:
        return f'<p class="mm-sample__key"><code>{esc(key)}</code> {_flat(shown)}</p>'
    text = value if isinstance(value, str) else _json(value)
    what = f"<code>{esc(key)}</code> {esc(_SIDE.get(key, ''))}".strip()
    return (
        f'<details class="mm-sample__long"><summary>{what}</summary>{_text(text, _MONO)}</details>'
    )


# A story with its truth -------------------------------------------------------------------------


def world_story(seed: str, split: str = "train", expect: str = "", counted: bool = True) -> str:
    """A story sentence by sentence with its events, the state at the end, and its probability.

    `seed` is that of `make_document`: "0.5" is row 5 of `--kind pretrain --seed 0`. The parser
    counts the derivations while the page is built (`counted=False`: it does not). Raises when the
    end does not hold the words `expect`, which the prose around it speaks of.
    """
    try:
        document = make_document(seed, split)
    except MinimindError as error:
        raise pages.fault(f"world_story('{seed}', '{split}'): {error}") from None
    end_state = _end(document.state())
    if expect not in end_state:
        raise pages.fault(
            f"world_story('{seed}', '{split}'): the end of this story does not say '{expect}'. "
            "The world has changed; choose another seed."
        )
    start = done = 0
    lines = []
    for end, events in document.sentences:
        said = " ".join(document.text[start:end].split())
        happened = ", ".join(" ".join(event) for event in document.events[done:events])
        code = f"<br><code>{esc(happened)}</code>" if happened else ""
        if said or happened:  # a story may end without a last word
            lines.append(f"<li>{esc(said)}{code}</li>")
        start, done = end, events
    rest = " ".join(document.text[start:].split())
    lines += [f"<li>{esc(rest)}</li>"] if rest else []
    listed = f"<ol>{''.join(lines)}</ol>"
    return (
        f'<div class="mm-sample" data-search-exclude>{listed}'
        f"{end_state}{_probability(document, counted)}</div>\n"
    )


def _end(state: State) -> str:
    people = []
    for person, place in state.at.items():
        held = "".join(f", with the {thing}" for thing in state.held_by(person))
        people.append(f"{person} is at {place}{held}")
    lies = [f"the {thing} lies at {place}" for thing, place in state.lies.items()]
    false = [
        f"{person} believes that the {thing} is at {believed}, which is false"
        for person, beliefs in state.belief.items()
        for thing, believed in beliefs.items()
        if believed not in (state.place_of(thing), state.holder.get(thing))
    ]
    return f"<p><strong>At the end</strong> {esc('; '.join(people + lies + false))}.</p>"


def _probability(document: Document, counted: bool) -> str:
    size = len(document.text.encode())
    any_split = -document.logp_any / math.log(2)
    text = (
        f"The choices cost {-document.logp:.1f} nats, which is {-document.logp / math.log(2):.1f} "
        f"bits for {size} bytes: {document.bits_per_byte:.3f} bits per byte. A reader who does not "
        f"know which split it is needs {any_split:.1f} bits: {any_split / size:.3f} per byte."
    )
    if counted:
        logs = all_derivations(document.text, document.split)
        ways = "one derivation" if len(logs) == 1 else f"{len(logs)} derivations"
        text += f" The parser finds {ways}; together they cost {-log_sum(logs):.1f} nats."
    title = "computed while this page was built"
    return f'<p title="{title}">{esc(text)}</p>'


# The exam ---------------------------------------------------------------------------------------


# what each section asks for, as the page says it
ASKS = {
    "grammar": "which of two sentences follows the rules",
    "facts": "what was said once, such as a job",
    "near": "where someone or something is, or who has it, soon after it moved",
    "far": "the same, eight sentences or more after the last move",
    "hops": "two facts joined, such as the job of someone's uncle",
    "belief": "where someone thinks that a thing is",
    "arithmetic": "the result of a word problem",
    "instructions": "the result of an instruction",
    "tools": "which call fits a question",
    "refusal": "an answer, or that the text does not say",
}


def world_exam(items: int = 50) -> str:
    """The sections of the world exam: chance, how far the tricks get, and an item of each.

    The tricks are tried on the first `items` items of each section while the page is built.
    """
    from minimind_wiki.evaluate.tricks import TRICKS, by_trick
    from minimind_wiki.evaluate.world_exam import SECTIONS, exam_items

    rows, examples = [], []
    for section in SECTIONS:
        asked = list(exam_items(section, items))
        chance = sum(1 / len(item.options) for item in asked) / items
        right = {n: sum(by_trick(trick, item) for item in asked) for n, trick in TRICKS.items()}
        best = max(right, key=lambda name: right[name])
        rows.append(
            f'<tr><th scope="row">{esc(section)}</th><td>{chance:.0%}</td>'
            f"<td>{right[best] / items:.0%} ({esc(best)})</td><td>{esc(ASKS[section])}</td></tr>"
        )
        options = "".join(
            f"<li>{esc(option)}{' <strong>(right)</strong>' if number == 0 else ''}</li>"
            for number, option in enumerate(asked[0].options)
        )
        examples.append(
            f'<details class="mm-sample__long"><summary>An item of {esc(section)}</summary>'
            f"{_text(asked[0].prompt)}<ul>{options}</ul></details>"
        )
    table = _table(
        f"The sections of the world exam, tricks tried on {items} items each",
        ("section", "chance", "best trick", "what it asks"), rows,
    )  # fmt: skip
    box = '<div class="mm-sample" data-search-exclude>'
    return f"{table}{box}{''.join(examples)}</div>\n"


def _table(label: str, head: tuple[str, ...], rows: list[str]) -> str:
    cells = "".join(f'<th scope="col">{esc(name)}</th>' for name in head)
    return (
        f'<div class="mm-table-scroll" tabindex="0" role="region" aria-label="{esc(label)}" '
        f'data-search-exclude><table class="mm-claims"><thead><tr>{cells}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


# The catalogue ----------------------------------------------------------------------------------

GROUPS = ("text", "chats", "preferences", "reinforcement", "benchmarks", "refused")


def _group(item: Entry) -> str:
    if item.refused:
        return "refused"
    if item.benchmark:
        return "benchmarks"
    return {"text": "text", "pretrain": "text", "sft": "chats", "preference": "preferences"}.get(
        item.schema, "reinforcement"
    )


def data_sets(group: str) -> str:
    """The data sets of a group of `GROUPS` as a list, from the catalogue of the package."""
    if group not in GROUPS:
        raise pages.fault(f"data_sets('{group}'): {unknown('group of data sets', group, GROUPS)}")
    rows = []
    for item in REGISTRY.values():
        if _group(item) != group:
            continue
        hub = f"{HUB}/datasets/{item.hub.split(':')[0]}" if item.hub else ""
        name = f"<code>{esc(item.name)}</code>"
        if item.url or hub:
            name = f'<a href="{esc(item.url or hub)}">{name}</a>'
        why = f"<br>{esc(item.refused)}" if item.refused else ""
        rows.append(
            f"<li>{name} {esc(item.about)}<br>"
            f'<span class="mm-sample__muted">{esc(item.size_text)} · licence: '
            f"{esc(item.licence)}</span>{why}</li>"
        )
    listed = f"<ul>{''.join(rows)}</ul>"
    return f'<div class="mm-sample">{listed}</div>\n'
