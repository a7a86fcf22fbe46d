"""The recorded looks as HTML: pictures that are tables wherever a table can be the picture.

Colours are steps of the one scale (`data-step`, styles/views.css), so that both palettes and a
print work. The live views (web/src/views/) write the same markup.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from minimind_wiki.book.pages import esc
from minimind_wiki.book.views import measures, recorded
from minimind_wiki.book.views.cache import FORMATS, cache_bytes, in_words
from minimind_wiki.book.views.scale import STEPS, bounds, percent, step
from minimind_wiki.errors import MinimindError

Told = dict[str, float | None]  # measures of a head
CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
EDGES = re.compile("^ +| +$")
NEURON_COLUMNS = ("neuron", "here", "largest on", "largest", "its value raises there")
CELL, LEFT, TOP = 20, 74, 66  # of a large pattern, in the picture's own units


def token(text: str) -> str:
    """A token as pictures show it: what is no letter gets a sign, so that " a" and "a" differ.

    >>> token(" the"), token(chr(10))
    ('␣the', '⏎')
    """
    text = text.replace("\n", "⏎").replace("\t", "⇥").replace("\r", "␍")
    text = CONTROLS.sub(lambda sign: f"\\x{ord(sign.group()):02X}", text)
    return EDGES.sub(lambda spaces: "␣" * len(spaces.group()), text) or "∅"


def legend(what: str) -> str:
    """The steps of the scale, with where each begins."""
    marks = "".join(
        f'<span class="mm-key__step" data-step="{k}">{"0" if k == 0 else f"{100 * low:.0f}"}</span>'
        for k, low in enumerate(bounds())
    )
    return f'<p class="mm-key"><span>{esc(what)}, from … %</span>{marks}</p>'


def pattern(rows: Sequence[Sequence[float]]) -> str:
    """A head's weights as six shapes of one colour each, a row a line; one unit a cell."""
    shapes = [""] * STEPS
    for i, row in enumerate(rows):
        j = 0
        while j <= i:
            level, start = step(row[j]), j
            while j <= i and step(row[j]) == level:
                j += 1
            shapes[level] += f"M{start} {i}h{j - start}v1H{start}z"
    return "".join(
        f'<path data-step="{k}" d="{path}"/>' for k, path in enumerate(shapes) if path and k
    )


def attention(data: dict[str, Any], layer: int, head: int) -> str:
    """All heads small, one of them large, and what each does as a table."""
    size = len(data["ids"])
    heads = [
        [[[x / 1000 for x in row] for row in rows] for rows in layer_rows]
        for layer_rows in data["attention"]
    ]
    told = [
        [dict(zip(measures.NAMES, values, strict=True)) for values in of_layer]
        for of_layer in data["measures"]
    ]
    cells = []
    for at, of_layer in enumerate(heads):
        cells.append(f'<span class="mm-heads__layer">layer {at}</span>')
        for number, rows in enumerate(of_layer):
            name, value = measures.strongest(told[at][number])
            chosen = " mm-head--chosen" if (at, number) == (layer, head) else ""
            cells.append(
                f'<span class="mm-head{chosen}"><svg viewBox="0 0 {size} {size}" '
                f'aria-hidden="true">{pattern(rows)}</svg>'
                f'<span class="mm-head__name">{name}<b>{percent(value)}</b></span></span>'
            )
    grid = (
        f'<div class="mm-heads" role="img" style="--mm-heads:{len(heads[0])}" '
        f'aria-label="The patterns of all heads; the table below has their measures">'
        f"{''.join(cells)}</div>"
    )
    name = f"layer {layer}, head {head}"
    large = _large(heads[layer][head], data["texts"], name)
    line = f'<p class="mm-view__line"><b>L{name[1:]}</b>. {_without(data, layer, head)}</p>'
    return (
        f'<div class="mm-view__pair"><div>{grid}</div><div>{line}{large}</div></div>'
        f"{legend('weight')}{_measures_table(data, told)}"
    )


def _without(data: dict[str, Any], layer: int, head: int) -> str:
    """What becomes of the answer when a head is off."""
    _, text, share = data["answer"]
    left = data["without_head"][layer][head]
    said = f"<code>{esc(token(text))}</code> has {percent(share)} with it"
    return f"The next token {said}, {percent(left)} without."


def _large(rows: Sequence[Sequence[float]], texts: Sequence[str], name: str) -> str:
    size = len(texts)
    said = [esc(token(text)) for text in texts]
    middle = CELL / 2 + 4
    down = "".join(
        f'<text x="{LEFT - 7}" y="{TOP + i * CELL + middle}" text-anchor="end">{t}</text>'
        for i, t in enumerate(said)
    )
    across = "".join(
        f'<text transform="translate({LEFT + i * CELL + middle} {TOP - 7}) rotate(-90)">{t}</text>'
        for i, t in enumerate(said)
    )
    width, height = LEFT + size * CELL + 2, TOP + size * CELL + 2
    return (
        f'<svg class="mm-pattern" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="Where each token (row) looks (column), {esc(name)}">{down}{across}'
        f'<g transform="translate({LEFT} {TOP}) scale({CELL})">'
        f'<path class="mm-pattern__field" d="{_stairs(size)}"/>{pattern(rows)}</g></svg>'
    )


def _stairs(size: int) -> str:
    """The outline of what can be seen: each token and all before it."""
    return "M0 0" + "".join(f"H{i + 1}V{i + 1}" for i in range(size)) + "H0z"


def _measures_table(data: dict[str, Any], heads: Sequence[Sequence[Told]]) -> str:
    def cells(told: Told) -> str:
        return "".join(
            f"<td>{'–' if value is None else percent(value)}</td>" for value in told.values()
        )

    rows = [
        f'<tr><th scope="row">layer {at}, head {number}</th>{cells(told)}'
        f"<td>{percent(data['without_head'][at][number])}</td></tr>"
        for at, of_layer in enumerate(heads)
        for number, told in enumerate(of_layer)
    ]
    even = cells(measures.even_measures(data["ids"]))
    rows.insert(0, f'<tr><th scope="row">an even spread</th>{even}<td>–</td></tr>')
    answer = f"{token(data['answer'][1])} without it"
    return _folded("What each head does on this text", ("head", *measures.NAMES, answer), rows)


def lens(data: dict[str, Any]) -> str:
    """Layers by positions: the likeliest token if the model ended there."""
    last = len(data["ids"]) - 1
    head = "".join(
        f'<th scope="col"><span>{esc(token(text))}</span></th>' for text in data["texts"]
    )
    following = [*data["texts"][1:], data["answer"][1]]
    nexts = "".join(
        f'<td class="mm-lens__next{" mm-lens__own" if i == last else ""}">{esc(token(text))}</td>'
        for i, text in enumerate(following)
    )
    body = "".join(
        f'<tr><th scope="row">{_layer_name(at)}</th>'
        + "".join(
            f'<td data-step="{step(cell["actual"])}" title="{esc(token(cell["top"][0][1]))} '
            f'{percent(cell["top"][0][2])}; the next token {percent(cell["actual"])}">'
            f"{esc(token(cell['top'][0][1]))}</td>"
            for cell in row
        )
        + "</tr>"
        for at, row in enumerate(data["lens"])
    )
    table = _scrolled(
        "The likeliest token after each layer",
        f'<table class="mm-lens"><thead><tr><th scope="col">after</th>{head}</tr></thead>'
        f'<tbody><tr class="mm-lens__truth"><th scope="row">next is</th>{nexts}</tr>{body}'
        "</tbody></table>",
    )
    lengths = []
    for at, pair in enumerate(zip(data["length"][1:], data["added"], strict=True)):
        length, (said, thought) = pair[0][last], pair[1][last]
        lengths.append(
            f'<tr><th scope="row">layer {at}</th><td>{said:.2f}</td><td>{thought:.2f}</td>'
            f"<td>{length:.2f}</td></tr>"
        )
    return (
        f"{table}{legend('probability of the token that is next')}"
        + _folded(
            "What each layer adds at the last token, as lengths",
            ("layer", "attention adds", "MLP adds", "stream after it"), lengths,
        )
    )  # fmt: skip


def patch(data: dict[str, Any]) -> str:
    """Layers by positions: the probability of the other answer, with one vector put in."""
    found = data["patch"]
    pairs = zip(data["texts"], found["texts"], strict=True)
    head = "".join(
        f'<th scope="col"><span>{esc(token(mine))}'
        + (f" <i>{esc(token(theirs))}</i>" if mine != theirs else "")
        + "</span></th>"
        for mine, theirs in pairs
    )
    body = "".join(
        f'<tr><th scope="row">{_layer_name(at)}</th>'
        + "".join(f'<td data-step="{step(share)}">{_plain(share)}</td>' for share in row)
        + "</tr>"
        for at, row in enumerate(found["map"])
    )
    answer = esc(token(found["answer"][1]))
    return (
        f'<p class="mm-view__line">Probability of <code>{answer}</code>: '
        f"{percent(found['before'])} with the prompt as it is, {percent(found['after'])} with the "
        "other prompt; each cell: as it is, but with one vector of the other pass.</p>"
        + _scrolled(
            "Probability of the other answer, by layer and position of the patch",
            f'<table class="mm-lens mm-lens--numbers"><thead><tr><th scope="col">after</th>{head}'
            f"</tr></thead><tbody>{body}</tbody></table>",
        )
        + legend(f"probability of {token(found['answer'][1])}")
    )


def _plain(share: float) -> str:
    return f"{100 * share:.0f}"


def following(data: dict[str, Any]) -> str:
    """The likeliest next tokens as bars."""
    rows = "".join(
        f'<tr><th scope="row"><code>{esc(token(text))}</code></th><td class="mm-bars__bar">'
        f'<span style="--mm-share:{share}"></span></td><td>{percent(share)}</td></tr>'
        for _, text, share in data["next"]
    )
    return (
        '<table class="mm-bars"><thead><tr><th scope="col">next token</th><th scope="col" '
        'colspan="2">probability</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def tokens(data: dict[str, Any]) -> str:
    """How the text is cut."""
    items = "".join(
        f'<li><span class="mm-token__text">{esc(token(text))}</span>'
        f'<span class="mm-token__id">{number}</span></li>'
        for number, text in zip(data["ids"], data["texts"], strict=True)
    )
    size = len(data["prompt"].encode())
    return (
        f'<ol class="mm-tokens" aria-label="Tokens and their numbers">{items}</ol>'
        f'<p class="mm-view__line">{len(data["ids"])} tokens for {size} bytes. '
        "␣ is a space.</p>"
    )


def neurons(data: dict[str, Any], layer: int) -> str:
    """The neurons of a layer that fire most at the last token, by token."""
    found, last = data["neurons"][layer], len(data["ids"]) - 1
    if not found["rows"]:
        raise MinimindError(f"layer {layer} has experts; choose a layer with one feed-forward.")
    heads = [f'<th scope="col">{esc(token(text))}</th>' for text in data["texts"]]
    heads[last] = heads[last].replace("<th", '<th class="mm-neurons__at"')
    body: list[str] = []
    lines: list[str] = []
    for neuron, values, raises in found["rows"]:
        cells = "".join(
            f'<td data-step="{step(abs(value) / found["most"])}">{_number(value)}</td>'
            for value in values
        )
        body.append(f'<tr><th scope="row">{neuron}</th>{cells}</tr>')
        most = max(range(len(values)), key=lambda i: abs(values[i]))
        told = (_number(values[-1]), esc(token(data["texts"][most])), _number(values[most]),
                ", ".join(esc(token(text)) for text in raises))  # fmt: skip
        said = "".join(f"<td>{cell}</td>" for cell in told)
        lines.append(f'<tr><th scope="row">{neuron}</th>{said}</tr>')
    at = esc(token(data["texts"][last]))
    return (
        f'<p class="mm-view__line">Layer {layer}: {found["width"]} neurons; the {len(body)} that '
        f"fire most at <code>{at}</code>.</p>"
        + _scrolled(
            "Neurons that fire most, by token",
            '<table class="mm-lens mm-lens--numbers mm-neurons"><thead><tr><th scope="col">neuron'
            f"</th>{''.join(heads)}</tr></thead><tbody>{''.join(body)}</tbody></table>",
        )
        + legend("size, of the layer's largest on this text")
        + _folded("Each neuron in one line", NEURON_COLUMNS, lines)
    )


def _number(value: float) -> str:
    return f"{value:.1f}".replace("-0.0", "0.0").replace("-", "−")


def cache(data: dict[str, Any], length: int) -> str:
    """Bytes of the cache at a length: of this model and of some presets, in three formats."""
    rows = []
    for shape in [data["shape"], *recorded.shapes()]:
        cells = "".join(
            f"<td>{in_words(sum(cache_bytes(shape, length, kind)))}</td>" for kind in FORMATS
        )
        heads = f"{shape['kvHeads']} of {shape['heads']}"
        rows.append(f'<tr><th scope="row">{esc(shape["title"])}</th><td>{heads}</td>{cells}</tr>')
    titles = ("model", "key heads", *FORMATS)
    return f'<p class="mm-view__line">At {length:,} tokens.</p>' + _scrolled(
        f"Bytes of the cache at {length:,} tokens", _table(titles, rows)
    )


def _layer_name(row: int) -> str:
    return "embedding" if row == 0 else f"layer {row - 1}"


def _scrolled(label: str, table: str) -> str:
    return (
        f'<div class="mm-table-scroll" tabindex="0" role="group" aria-label="{esc(label)}">'
        f"{table}</div>"
    )


def _table(titles: Sequence[str], rows: Sequence[str]) -> str:
    head = "".join(f'<th scope="col">{esc(title)}</th>' for title in titles)
    return (
        f'<table class="mm-view__table"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _folded(label: str, titles: Sequence[str], rows: Sequence[str]) -> str:
    return (
        f'<details class="mm-figure__table"><summary>{esc(label)}</summary>'
        f"{_scrolled(label, _table(titles, rows))}</details>"
    )


PICTURES: dict[str, Callable[..., str]] = {
    "attention": attention, "lens": lens, "patch": patch, "cache": cache, "next": following,
    "tokens": tokens, "neurons": neurons,
}  # fmt: skip
