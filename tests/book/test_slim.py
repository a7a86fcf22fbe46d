"""Slim pictures: nothing that can be seen or heard changes, and the weight is a third."""

import re
import xml.etree.ElementTree as ET

import pytest

from minimind_wiki.book import records
from minimind_wiki.book.record import repo_root
from minimind_wiki.book.slim import slim
from minimind_wiki.book.svg import figure_svg
from minimind_wiki.errors import MinimindError
from minimind_wiki.lite.plot import Axis, Bars, Figure, Level, Line, Panel

PICTURES = sorted((repo_root() / "experiments").glob("*/records/*.svg"))
STEP = re.compile(r"[MLHVCQAZmlhvcqaz]|-?(?:\d+\.?\d*|\.\d+)")


def read(svg: str) -> ET.Element:
    root = ET.fromstring(svg.replace("xlink:href", "href"))
    for node in root.iter():
        node.tag = node.tag.partition("}")[2] or node.tag
    return root


def words(root: ET.Element) -> list[str]:
    return [
        "".join("".join(n.itertext()).split()) for n in root.iter() if n.tag in ("text", "title")
    ]


def corners(d: str) -> list[tuple[float, float]]:
    """The ends of all steps of a path, absolute or relative."""
    tokens, out, x, y, sign = STEP.findall(d), [], 0.0, 0.0, ""
    while tokens:
        if tokens[0].isalpha():
            sign = tokens.pop(0)
            if sign in "zZ":
                continue
        count = {"h": 1, "v": 1, "c": 6, "q": 4, "a": 7}.get(sign.lower(), 2)
        numbers = [float(tokens.pop(0)) for _ in range(count)]
        base = (0.0, 0.0) if sign.isupper() else (x, y)
        x = x if sign == "v" else base[0] + numbers[0 if sign == "h" else -2]
        y = y if sign == "h" else base[1] + numbers[-1]
        out.append((x, y))
    return out


def example() -> Figure:
    panel = Panel(
        lines=[Line([1, 2, 3], [0.5, 4, 2], "rises", role="none", lo=[0.4, 3, 1], hi=[1, 5, 3],
                    marker="circle")],
        levels=[Level(1.0, "chance <1>", "chance")], x=Axis("step"), y=Axis("loss", scale="log"),
    )  # fmt: skip
    return Figure([panel, Panel(bars=[Bars(["a", "b"], [1, 2], role="b")])])


@pytest.mark.parametrize("file", PICTURES, ids=lambda file: file.stem)
def test_a_recorded_picture_says_the_same_in_less(file):
    before, said = file.read_text(encoding="utf-8"), slim(file.read_text(encoding="utf-8"))
    old, new = read(before), read(said)
    assert words(new) == words(old) and new.get("viewBox") == old.get("viewBox")
    styles = set(re.findall(r"var\((--mm-role-\w+)", before))
    assert set(re.findall(r"var\((--mm-role-\w+)\)", said)) == styles
    ids = [node.get("id") for node in new.iter() if node.get("id")]
    wanted = set(re.findall(r"url\(#([^)]+)\)|href=\"#([^\"]+)\"", said))
    assert len(ids) == len(set(ids)) and set(ids) == {a or b for a, b in wanted}
    assert all(i.startswith(old[1].get("id").removesuffix("figure_1")) for i in ids)
    assert len(list(new.iter())) < 0.6 * len(list(old.iter()))


def test_all_of_them_together_weigh_a_third():
    texts = [file.read_text(encoding="utf-8") for file in PICTURES]
    assert sum(len(slim(text)) for text in texts) < 0.35 * sum(map(len, texts))


def test_lines_stay_where_they_are():
    svg = figure_svg(example(), "fig-x", "two panels")
    old, new = read(svg), read(slim(svg))
    points = [p for node in new.iter("path") for p in corners(node.get("d"))]
    drawn = [n for n in old.iter("path") if "role-none" in n.get("style", "") and not n.get("id")]
    for x, y in (p for node in drawn for p in corners(node.get("d"))):
        assert any(abs(x - px) <= 0.051 and abs(y - py) <= 0.051 for px, py in points)
    shapes = {node.get("id"): node for node in old.iter("path")}
    for use in old.iter("use"):  # ticks, markers and bands: each begins at its place
        x, y = corners(shapes[use.get("href")[1:]].get("d"))[0]
        x, y = x + float(use.get("x")), y + float(use.get("y"))
        assert any(abs(x - px) <= 0.051 and abs(y - py) <= 0.051 for px, py in points)


def test_texts_bear_the_classes_that_the_styles_ask_for():
    new = read(slim(figure_svg(example(), "fig-x")))
    kinds = {
        "".join(n.itertext()).strip(): n.get("class", "") for n in new.iter() if n.get("class")
    }
    assert kinds["rises"] == kinds["chance <1>"] == "mm-t mm-name"
    assert kinds["step"] == "mm-t mm-t-x" and "mm-t mm-t-y" in kinds.values()
    assert sum("mm-line" in n.get("class", "") for n in new.iter()) >= 2
    assert not [n for n in new.iter("text") if n.get("transform") and "mm-t" in n.get("class", "")]


def test_it_goes_into_a_page_as_it_is():
    said = records.for_page('<?xml version="1.0"?>\n' + figure_svg(example(), "fig-x", 'a "b" <c>'))
    assert said.startswith("<svg ") and "<use href=" not in said
    assert '<title>a "b" &lt;c&gt;</title>' in said


def test_a_broken_picture_is_refused():
    with pytest.raises(MinimindError, match="minimind experiment render"):
        slim("<svg><g></svg>")
