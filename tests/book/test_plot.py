"""Figures: one spec, two pictures; no colour is hard-wired; same in, same out."""

import itertools
import json
import math
import re
import xml.etree.ElementTree as ET

import pytest

from minimind_wiki.book.svg import COLOURS, figure_svg, spread
from minimind_wiki.lite.plot import ROLES, Axis, Bars, Figure, Level, Line, Panel


def example() -> Figure:
    lines = [
        Line([1, 2, 3], [1.0, 0.1, math.nan], "no norm", "none", [0.9, 0.05, 0], [1.1, 0.2, 0]),
        Line([1, 2, 3], [1, 1, 1], "RMSNorm", "rmsnorm", dash="dash", marker="circle"),
    ]
    level = Level(0.5, "chance <level>", "chance")
    bars = [Bars(["a", "b"], [1, 2], "LayerNorm", "layernorm", [0.5, 1.5], [1.5, 2.5])]
    lying = [Bars(["one", "two"], [1e-3, 1], "", "a")]
    return Figure(
        [
            Panel("layer", Axis("std", "log"), lines, levels=[level], title="first"),
            Panel("", "time", bars=bars, legend="top"),
            Panel(Axis("error", "log"), Axis("", "category"), bars=lying),
        ]
    )


def test_plotly_has_roles_and_no_colours():
    plotly = example().to_plotly()
    text = json.dumps(plotly, allow_nan=False)
    assert not re.search(r"#[0-9a-fA-F]{3,6}\b|rgb\(|\"color\"", text)
    assert all(trace["meta"]["role"] in ROLES for trace in plotly["data"])
    assert plotly["layout"]["yaxis"]["type"] == "log"
    assert plotly["data"][1]["y"] == [1.0, 0.1, None]  # what is not finite is a gap


def test_panels_stack_without_overlap():
    layout = example().to_plotly()["layout"]
    domains = [layout[name]["domain"] for name in ("yaxis", "yaxis2", "yaxis3")]
    assert domains[0][1] == 1 and domains[2][0] == 0
    assert all(lower[1] < upper[0] for upper, lower in itertools.pairwise(domains))


def test_lying_bars_swap_their_axes():
    trace = example().to_plotly()["data"][-1]
    assert trace["orientation"] == "h" and trace["y"] == ["one", "two"]


def test_dict_round_trip():
    figure = example()
    assert (
        Figure.from_dict(json.loads(json.dumps(figure.to_dict()))).to_plotly() == figure.to_plotly()
    )


@pytest.mark.parametrize(
    "make",
    [lambda: Line([1], [1], role="blue"), lambda: Line([1, 2], [1]), lambda: Axis("x", "logg"),
     lambda: Line([1], [1], dash="dotted"), lambda: Bars(["a"], [1, 2]), lambda: Level(1, "", "x")],
)  # fmt: skip
def test_a_wrong_spec_is_refused(make):
    with pytest.raises(ValueError):
        make()


def test_svg_is_for_the_page():
    svg = figure_svg(example(), ident="fig-x", alt='falls "fast" & far')
    root = ET.fromstring(svg.replace("xlink:href", "href"))
    texts = ["".join(node.itertext()).strip() for node in root.iter() if node.tag.endswith("text")]
    assert {"layer", "std", "no norm", "RMSNorm", "chance <level>", "two"} <= set(texts)
    assert "var(--mm-role-none, " in svg and "currentColor" in svg
    # Every colour is a variable with a fallback, or the colour of the text around it.
    bare = re.sub(r"var\(--mm-role-\w+, #\w+\)|url\(#[^)]*\)|href=\"#[^\"]*\"", "", svg)
    assert not re.search(r"#[0-9a-f]{6}\b", bare)
    assert "<style" not in svg and "DejaVu" not in svg and "<metadata" not in svg
    ids = re.findall(r'\bid="([^"]+)"', svg)
    assert len(ids) == len(set(ids)) and all(i.startswith("fig-x-") for i in ids)
    assert set(re.findall(r"url\(#([^)]+)\)", svg)) <= set(ids)


def test_svg_is_the_same_for_the_same_figure():
    assert figure_svg(example(), "a") == figure_svg(example(), "a")
    assert figure_svg(example(), "a") != figure_svg(example(), "b")


def test_every_role_has_its_own_fallback_colour():
    assert set(COLOURS) == set(ROLES) and len(set(COLOURS.values())) == len(ROLES)


def test_names_at_line_ends_do_not_overlap():
    places = spread([90.0, 91.0, 92.0], 10, 0, 100)
    assert places[-1] <= 100
    assert all(b - a >= 10 for a, b in itertools.pairwise(places))
