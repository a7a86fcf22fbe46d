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
from minimind_wiki.data.registry import REGISTRY, Entry
from minimind_wiki.data.world import make_document, scenes
from minimind_wiki.data.world.chooser import log_sum
from minimind_wiki.data.world.rows import make_rows
from minimind_wiki.data.world.state import State
from minimind_wiki.data.world.story import Document, all_derivations
from minimind_wiki.errors import MinimindError, unknown

LONG = 420  # characters; a longer text is folded
_BOX = ("border:1px solid var(--mm-rule);border-radius:var(--mm-radius);padding:.6rem .9rem;"
        "margin:1em 0;background:var(--mm-card);font:400 .72rem/1.5 var(--mm-sans)")  # fmt: skip
_HEAD = "margin:0 0 .4rem;color:var(--mm-muted);font-size:.66rem"
_TEXT = "white-space:pre-wrap;overflow-wrap:anywhere"
_ROLE = "margin:.45rem 0 0;color:var(--mm-muted);font-weight:600;font-size:.66rem"
_PICTURE = "width:128px;height:128px;image-rendering:pixelated;display:block;margin:.3rem 0"
_IGNORED = {"conversations", "chosen", "rejected", "text", "images", "passages"}
_SIDE = {"labels": "the truth about it", "stock": "what the tool looks up"}


def _text(text: str, style: str = _TEXT, lang: str = "") -> str:
    """One line of HTML whatever the text holds, so that Markdown leaves it alone."""
    said = f' lang="{esc(lang)}"' if lang else ""
    return f'<div style="{style}"{said}>{_flat(text)}</div>'


def _flat(text: str) -> str:
    return esc(text).replace("\n", "&#10;")


def _folded(text: str, what: str, lang: str = "") -> str:
    """A text, behind a summary when it is long."""
    if len(text) <= LONG:
        return _text(text, lang=lang)
    first = " ".join(text[:90].split())
    return (
        f'<details class="mm-sample__long"><summary>{esc(what)}, {len(text.split())} words: '
        f"“{esc(first)}…”</summary>{_text(text, lang=lang)}</details>"
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
    parts = [f'<p style="{_HEAD}"><code>{esc(kind)}</code> · row {number} of seed {seed}, '
             f"{esc(split)}</p>"]  # fmt: skip
    for image in row.get("images", ()):
        alt = scenes.scene(f"{seed}.{number}", split).caption
        parts.append(f'<img style="{_PICTURE}" alt="{esc(alt)}" width="128" height="128" '
                     f'src="data:image/png;base64,{esc(image)}">')  # fmt: skip
    labels = row.get("labels", {})
    if "text" in row:
        parts.append(_folded(row["text"], "the text", labels.get("language", "")))
    parts += [_message(message) for message in row.get("conversations", ())]
    if "chosen" in row:
        parts += [_message(message) for message in row["chosen"][:-1]]
        for what in ("chosen", "rejected"):
            parts.append(_message({**row[what][-1], "role": what}))
    parts += [_side(key, value) for key, value in row.items() if key not in _IGNORED]
    body = "".join(parts)
    return f'<div class="mm-sample" style="{_BOX}" data-search-exclude>{body}</div>\n'


def _message(message: dict[str, Any]) -> str:
    """One turn: who speaks, then what; a document before a question is folded alone."""
    content = str(message["content"]).removeprefix("<image>\n")
    document, gap, question = content.rpartition("\n\n")
    if len(content) > LONG and gap:
        said = _folded(document, "a text") + _text(question)
    else:
        said = _folded(content, "a text") if content else ""
    if message.get("tools"):
        said += _folded(_json(json.loads(message["tools"])), "the tools")
    if message.get("tool_calls"):
        said += f"<code>{_flat(message['tool_calls'])}</code>"
    return f'<p style="{_ROLE}">{esc(message["role"])}</p>{said}'


def _side(key: str, value: Any) -> str:
    """A key beside the text: what a checker or a judge needs."""
    shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    name = f'<p style="{_ROLE}"><code>{esc(key)}</code></p>'
    if len(shown) <= LONG / 2:
        return name + _text(shown)
    text = value if isinstance(value, str) else _json(value)
    inside = f"<summary>{esc(_SIDE.get(key, key))}</summary>{_text(text)}"
    return f'{name}<details class="mm-sample__long">{inside}</details>'


# A story with its truth -------------------------------------------------------------------------


def world_story(seed: str, split: str = "train", counted: bool = True) -> str:
    """A story sentence by sentence with its events, the state at the end, and its probability.

    `seed` is that of `make_document`: "0.5" is row 5 of `--kind pretrain --seed 0`. The parser
    counts the derivations while the page is built (`counted=False`: it does not).
    """
    try:
        document = make_document(seed, split)
    except MinimindError as error:
        raise pages.fault(f"world_story('{seed}', '{split}'): {error}") from None
    start = done = 0
    lines = []
    for end, events in document.sentences:
        said = " ".join(document.text[start:end].split())
        happened = ", ".join(" ".join(event) for event in document.events[done:events])
        code = f"<br><code>{esc(happened)}</code>" if happened else ""
        lines.append(f"<li>{esc(said)}{code}</li>")
        start, done = end, events
    rest = " ".join(document.text[start:].split())
    lines += [f"<li>{esc(rest)}</li>"] if rest else []
    listed = f'<ol style="margin-top:0">{"".join(lines)}</ol>'
    return (
        f'<div class="mm-sample" style="{_BOX}" data-search-exclude>{listed}'
        f"{_end(document.state())}{_probability(document, counted)}</div>\n"
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
    return f'<p style="margin-bottom:0" title="{title}">{esc(text)}</p>'


# The exam ---------------------------------------------------------------------------------------


def world_exam(items: int = 50) -> str:
    """The sections of the world exam: an item of each, its chance, and how far the tricks get.

    The tricks are tried on the first `items` items of each section while the page is built.
    """
    from minimind_wiki.evaluate.tricks import TRICKS, by_trick
    from minimind_wiki.evaluate.world_exam import SECTIONS, exam_items

    rows = []
    for section in SECTIONS:
        asked = list(exam_items(section, items))
        chance = sum(1 / len(item.options) for item in asked) / items
        best = max(TRICKS, key=lambda name: sum(by_trick(TRICKS[name], item) for item in asked))
        share = sum(by_trick(TRICKS[best], item) for item in asked) / items
        item = asked[0]
        document, gap, question = item.prompt.rpartition("\n\n")
        prompt = (
            _folded(document, "a text") + _text(question) if gap else _folded(question, "a text")
        )
        options = "".join(
            f"<li>{esc(option)}{' <strong>(right)</strong>' if number == 0 else ''}</li>"
            for number, option in enumerate(item.options)
        )
        rows.append(
            f'<tr><th scope="row">{esc(section)}</th>'
            f'<td><details class="mm-sample__long"><summary>an item</summary>{prompt}'
            f'<ul style="overflow-wrap:anywhere">{options}</ul></details></td>'
            f"<td>{chance:.0%}</td><td>{share:.0%} ({esc(best)})</td></tr>"
        )
    return _table(
        f"The sections of the world exam, tricks tried on {items} items each",
        ("section", "example", "chance", "best trick"), rows,
    )  # fmt: skip


def _table(label: str, head: tuple[str, ...], rows: list[str]) -> str:
    cells = "".join(f'<th scope="col">{esc(name)}</th>' for name in head)
    return (
        f'<div class="mm-table-scroll" tabindex="0" role="region" aria-label="{esc(label)}" '
        f'data-search-exclude><table class="mm-claims"><thead><tr>{cells}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>\n"
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
    """The data sets of a group of `GROUPS` as a table, from the catalogue of the package."""
    if group not in GROUPS:
        raise pages.fault(f"data_sets('{group}'): {unknown('group of data sets', group, GROUPS)}")
    rows = []
    for item in REGISTRY.values():
        if _group(item) != group:
            continue
        note = item.refused or item.note
        more = f'<br><span style="color:var(--mm-muted)">{esc(note)}</span>' if note else ""
        link = item.link or (f"https://huggingface.co/datasets/{item.hub.split(':')[0]}"
                             if item.hub else "")  # fmt: skip
        name = f"<code>{esc(item.name)}</code>"
        name = f'<a href="{esc(link)}">{name}</a>' if link else name
        rows.append(
            f'<tr><th scope="row">{name}</th><td>{esc(item.about)}{more}</td>'
            f"<td>{esc(item.licence)}</td><td>{esc(item.size_text)}</td></tr>"
        )
    return _table(f"Data sets: {group}", ("name", "what it is", "licence", "size"), rows)
