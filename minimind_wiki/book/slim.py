"""A figure's picture for inlining: the same picture with a third of the bytes and of the elements.

matplotlib wraps each tick in four groups, names every group, and draws each grid line, tick and
marker by itself. A page of six figures spends half its bytes and half its elements on that. Here
names that nothing refers to go, what one path can draw becomes one path, and numbers keep a tenth
of a unit (a sixth of a pixel at the widest). Texts, colours, order and places stay.

What the style sheets ask for is said with classes: `mm-t` a text, with `mm-t-x` along an axis or
`mm-t-y` at a tick of the upright one; `mm-line` a line or a band, `mm-name` a text among them.
"""

from __future__ import annotations

import html
import itertools
import re
import xml.etree.ElementTree as ET
from functools import lru_cache

from minimind_wiki.errors import MinimindError

NAMESPACE = re.compile(r"^\{[^}]*\}")
REFERENCE = re.compile(r"url\(#([^)]+)\)")
NO_TURN = re.compile(r"rotate\(-?0(?:\.0*)?[ )][^)]*\)?")
FALLBACK = re.compile(r"(var\(--[\w-]+),[^)]*\)")
TOKEN = re.compile(r"[MLCQZz]|-?\d+\.?\d*(?:e-?\d+)?")
# What holds where nothing is said: `slim` gives the picture itself the colour of its text.
INHERITED = (("fill", "currentColor"), ("text-anchor", "start"), ("stroke-dashoffset", "0"))
CIRCLE = re.compile(r"^M 0 ([\d.]+)\s+(?:C [-\d. ]+){8}z\s*$")
POINTS = {"M": 1, "L": 1, "Q": 2, "C": 3, "Z": 0}
AXIS, TICK, DRAWN = "matplotlib.axis_", re.compile(r"([xy])tick_\d+$"), re.compile("line2d|Fill")

Style = dict[str, str]
Pieces = list[tuple[str, list[tuple[float, float]]]]  # commands with their points


@lru_cache(maxsize=256)
def slim(svg: str) -> str:
    """The picture in fewer words. svg: what `figure_svg` writes, in one `<svg>` element.

    >>> slim('<svg><g id="p_1"><path d="M 0 0 L 9.04 0 L 9.04 4" style="fill: red"/></g></svg>')
    '<svg fill="currentColor"><path d="M0 0h9v4" style="fill:red"/></svg>'
    """
    try:
        root = ET.fromstring(svg.replace("xlink:href", "href"))
    except ET.ParseError as error:
        raise MinimindError(
            f"a picture is no valid SVG ({error}): render its experiment again, with "
            "'minimind experiment render NAME'."
        ) from None
    for node in root.iter():
        node.tag = NAMESPACE.sub("", node.tag)
        _restyle(node)
    root.set("fill", "currentColor")
    _classes(root)
    _merge_ticks(root)
    _merge_uses(root)
    _tidy(root)
    _names(root)
    return _text(root)


def _style(node: ET.Element) -> Style:
    pairs = (part.partition(":") for part in node.get("style", "").split(";"))
    return {name.strip(): value.strip() for name, _, value in pairs if value.strip()}


def _restyle(node: ET.Element) -> None:
    """Without what is inherited anyway, blanks, and the colours for pictures outside the site."""
    style = _style(node)
    if node.tag in ("text", "tspan", "g"):
        style.pop("font-family", None)
    for name, value in INHERITED:
        if style.get(name) == value:
            del style[name]
    said = ";".join(f"{name}:{value}" for name, value in style.items())
    if node.tag != "svg":
        said = FALLBACK.sub(r"\1)", said)
        said = re.sub(r"(?<=,)\s+", "", said)
        if "style" in node.attrib:
            del node.attrib["style"]
        if said:
            node.set("style", said)
    if turn := node.attrib.pop("transform", ""):
        turn = NO_TURN.sub("", turn).strip()
        if turn:
            node.set("transform", re.sub(r"-?\d+\.\d+", lambda m: _short(float(m[0]), 2), turn))
    for name in ("x", "y"):
        if name in node.attrib:
            node.set(name, _short(float(node.attrib[name]), 2))


def _classes(root: ET.Element) -> None:
    """Names that styles ask for become classes of the texts and of the drawn lines."""

    def walk(node: ET.Element, place: str, deep: int) -> None:
        ident = node.get("id", "")
        if node.tag == "g" and deep == 3 and DRAWN.search(ident):
            node.set("class", "mm-line")
        if node.tag == "g" and "-text_" in ident:
            node.set("class", f"mm-t{place or ' mm-name' * (deep == 3)}")
        if AXIS in ident:
            place = " mm-t-x"
        tick = TICK.search(ident)
        if tick and tick[1] == "y":
            place = " mm-t-y"
        for child in node:
            walk(child, place, deep + 1)

    walk(root, "", 0)


def _merge_ticks(root: ET.Element) -> None:
    """All grid lines of an axis as one path, and all its ticks as another."""
    shapes = {node.get("id", ""): node for node in root.iter("path") if node.get("id")}
    for axis in [node for node in root.iter("g") if AXIS in node.get("id", "")]:
        drawn: dict[tuple[str, ...], list[str]] = {}
        for tick in [node for node in axis if TICK.search(node.get("id", ""))]:
            for group in list(tick):
                if "line2d" not in group.get("id", ""):
                    continue
                for node in list(group.iter()):
                    if node.tag == "path" and not node.get("id"):
                        key = (node.get("clip-path", ""), node.get("style", ""))
                        drawn.setdefault(key, []).append(_path(_pieces(node.get("d", ""))))
                    elif node.tag == "use":
                        shape = shapes[node.get("href", "")[1:]]
                        key = ("", _joined(node, shape))
                        drawn.setdefault(key, []).append(_placed(node, shape))
                tick.remove(group)
        for at, ((clip, style), paths) in enumerate(drawn.items()):
            made = ET.Element("path", {"clip-path": clip} if clip else {})
            made.attrib.update({"style": style, "d": "".join(paths)})
            axis.insert(at, made)


def _merge_uses(root: ET.Element) -> None:
    """Shapes put at many places (markers, bands) as one path where nothing shines through."""
    shapes = {node.get("id", ""): node for node in root.iter("path") if node.get("id")}
    for group in list(root.iter("g")):
        uses = [node for node in group if node.tag == "use"]
        if not uses or len(uses) != len(group):
            continue
        found = [(node, shapes[node.get("href", "")[1:]]) for node in uses]
        styles = {_joined(node, shape) for node, shape in found}
        if len(styles) > 1 or (len(uses) > 1 and "opacity" in str(styles)):
            continue
        for node in uses:
            group.remove(node)
        d = "".join(_placed(node, shape) for node, shape in found)
        ET.SubElement(group, "path", {"style": styles.pop(), "d": d})
    wanted = {node.get("href", "")[1:] for node in root.iter("use")}
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag == "path" and child.get("id") and child.get("id") not in wanted:
                parent.remove(child)


def _joined(use: ET.Element, shape: ET.Element) -> str:
    """The style of a shape where it is put: its own, and what it inherits."""
    both = _style(use) | _style(shape)
    return ";".join(f"{name}:{value}" for name, value in both.items())


def _placed(use: ET.Element, shape: ET.Element) -> str:
    """The path of a shape where it is put; a circle, which matplotlib makes of curves, as arcs."""
    dx, dy = float(use.get("x", 0)), float(use.get("y", 0))
    d = shape.get("d", "")
    if circle := CIRCLE.match(d):
        r = _short(float(circle[1]), 2)
        start, wide = _numbers([(dx, dy - float(r))], 1), _numbers([(0, 2 * float(r))], 2)
        back = _numbers([(0, -2 * float(r))], 2)
        return f"M{start}a{r} {r} 0 1 1 {wide}a{r} {r} 0 1 1 {back}z"
    return _path([(sign, [(x + dx, y + dy) for x, y in ends]) for sign, ends in _pieces(d)])


def _tidy(root: ET.Element) -> None:
    """Shorter paths and texts; no empty groups, none around nothing but itself."""
    for node in list(root.iter()):
        kept: list[ET.Element] = []
        for child in node:
            if child.tag == "path" and " " in child.get("d", "") and "M " in child.get("d", ""):
                child.set("d", _path(_pieces(child.get("d", ""))))
            style = _style(child)
            unseen = child.tag == "path" and style.get("fill") == "none" and "stroke" not in style
            if child.tag == "text":
                _join_spans(child)
            if not unseen or child.get("id"):
                kept.append(child)
        node[:] = kept
    _unwrap(root)


def _unwrap(node: ET.Element) -> None:
    """No empty groups, none around one thing that can bear what it says, one clip for all."""
    kept: list[ET.Element] = []
    for child in node:
        _unwrap(child)
        said = {name: value for name, value in child.attrib.items() if name != "id"}
        if child.tag in ("g", "defs") and not len(child):
            continue
        if child.tag == "g" and not said:
            kept.extend(child)
        elif child.tag == "g" and len(child) == 1 and _can_bear(child[0], said):
            child[0].attrib.update(said)
            kept.append(child[0])
        else:
            kept.append(child)
    node[:] = _clipped_together(kept)
    clips = {child.get("clip-path") for child in node}
    if node.tag == "g" and len(clips) == 1 and None not in clips and "clip-path" not in node.attrib:
        node.set("clip-path", clips.pop() or "")
        for child in node:
            del child.attrib["clip-path"]


def _can_bear(only: ET.Element, said: Style) -> bool:
    """Whether these attributes may move from a group to the one thing in it.

    Not to a text that is placed by `transform`: the style sheet scales what has the class.
    """
    if said.keys() & only.attrib.keys() or only.tag not in ("text", "path", "g"):
        return False
    return only.tag != "text" or not only.get("transform")


def _clipped_together(nodes: list[ET.Element]) -> list[ET.Element]:
    """Neighbours that are cut at the same edge, in one group that is cut there."""
    out: list[ET.Element] = []
    for clip, run in itertools.groupby(nodes, lambda node: node.get("clip-path")):
        alike = list(run)
        if clip is None or len(alike) == 1:
            out.extend(alike)
            continue
        group = ET.Element("g", {"clip-path": clip})
        for node in alike:
            del node.attrib["clip-path"]
            group.append(node)
        out.append(group)
    return out


def _join_spans(text: ET.Element) -> None:
    """Letters that are placed one by one share an element where they share their line and size."""
    text.text = (text.text or "").strip() if len(text) else text.text
    kept: list[ET.Element] = []
    for span in text:
        span.tail = None
        last = kept[-1] if kept else None
        alike = last is not None and all(
            last.get(name) == span.get(name) for name in ("y", "style", "transform")
        )
        if last is not None and alike and len(span.text or "") == 1:
            last.set("x", f"{last.get('x')} {span.get('x')}")
            last.text = f"{last.text}{span.text}"
        else:
            kept.append(span)
    text[:] = kept


def _names(root: ET.Element) -> None:
    """Names that are referred to, in few letters after the figure's own; no others."""
    wanted: dict[str, str] = {}
    idents = [node.get("id", "") for node in root.iter() if node.get("id")]
    for node in root.iter():
        for value in (*REFERENCE.findall(" ".join(node.attrib.values())), node.get("href", "")[1:]):
            if value in idents and value not in wanted:
                start = re.sub(r"[pm][0-9a-f]{10}$", "", value)
                wanted[value] = f"{start}{len(wanted)}"
    for node in root.iter():
        ident = node.attrib.pop("id", "")
        if ident in wanted:
            node.set("id", wanted[ident])
        for name, value in list(node.attrib.items()):
            node.set(name, REFERENCE.sub(lambda m: f"url(#{wanted.get(m[1], m[1])})", value))
        if node.get("href", "")[1:] in wanted:
            node.set("href", f"#{wanted[node.attrib['href'][1:]]}")


def _pieces(d: str) -> Pieces:
    """The commands of a path, which must be absolute, with their points."""
    out: Pieces = []
    tokens = TOKEN.findall(d)
    at = 0
    sign = "M"
    while at < len(tokens):
        if tokens[at].isalpha():
            sign = tokens[at].upper()
            at += 1
        count = 2 * POINTS[sign]
        numbers = [float(token) for token in tokens[at : at + count]]
        out.append((sign, list(zip(numbers[::2], numbers[1::2], strict=True))))
        at += count
        if sign == "Z":
            sign = "M"
    return out


def _path(pieces: Pieces) -> str:
    """A path in relative steps of a tenth of a unit; curves, which are small, of a hundredth."""
    out: list[str] = []
    x = y = 0.0
    last = ""
    for sign, points in pieces:
        digits = 2 if sign in "CQ" else 1
        ends = [(round(px, digits), round(py, digits)) for px, py in points] or [(x, y)]
        steps = [(px - x, py - y) for px, py in ends]
        dx, dy = (round(value, 2) for value in steps[-1])
        letter, said = sign.lower(), _numbers(steps, 2)
        if sign == "Z":
            said = ""
        elif sign == "M":
            letter, said = "M", _numbers(ends, 1)
        elif sign == "L" and not dx and not dy:
            continue
        elif sign == "L" and not (dx and dy):
            letter, said = ("h", _short(dx, 2)) if dx else ("v", _short(dy, 2))
        if letter == last and letter in "lcq":  # the same again: its letter may stay away
            out.append(said if said.startswith("-") else f" {said}")
        else:
            out.append(f"{letter}{said}")
        (x, y), last = ends[-1], letter
    return "".join(out)


def _numbers(points: list[tuple[float, float]], digits: int) -> str:
    """Coordinates one after another; a minus parts two of them as well as a blank does."""
    said = ""
    for value in (part for point in points for part in point):
        word = _short(value, digits)
        said += word if not said or word.startswith("-") else f" {word}"
    return said


def _short(value: float, digits: int = 1) -> str:
    """A number without zeros that say nothing.

    >>> _short(12.0), _short(-0.25, 2), _short(-0.04)
    ('12', '-.25', '0')
    """
    said = f"{value:.{digits}f}".rstrip("0").rstrip(".")
    said = re.sub(r"^(-?)0\.", r"\1.", said)
    return "0" if said in ("-0", "") else said


def _text(node: ET.Element) -> str:
    """Markup without line breaks between elements."""
    said = "".join(f' {name}="{html.escape(value)}"' for name, value in node.attrib.items())
    inner = (
        html.escape(node.text or "", quote=False) if node.tag in ("text", "tspan", "title") else ""
    )
    inner += "".join(_text(child) for child in node)
    if node.tag == "svg" and "viewBox" in node.attrib:
        said = f' xmlns="http://www.w3.org/2000/svg"{said}'
    return f"<{node.tag}{said}>{inner}</{node.tag}>" if inner else f"<{node.tag}{said}/>"
