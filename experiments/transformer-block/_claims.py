"""What the claims and figures of this module's experiments have in common."""

from minimind_wiki.lite.plot import Axis, Bars, Figure, Level, Line, Panel


def spans(record, metric: str, *arms: str) -> tuple[list[list[float]], str]:
    """Each arm's seeds, and their ranges in words."""
    found = [record.seeds(arm, metric) for arm in arms]
    said = [f"{record.arms[a]['title']}: {min(s):.3f} to {max(s):.3f}"
            for a, s in zip(arms, found, strict=True)]  # fmt: skip
    return found, "; ".join(said)


def below(record, low: str, high: str, metric: str = "held_out_loss") -> tuple[bool, str]:
    """Whether one arm ends below another with every seed, seed by seed on the same batches."""
    (a, b), said = spans(record, metric, low, high)
    return all(x < y for x, y in zip(a, b, strict=True)), said


def gap(record, arm: str, other: str, metric: str = "held_out_loss") -> list[float]:
    """How far an arm ends above another, seed by seed."""
    pairs = zip(record.seeds(arm, metric), record.seeds(other, metric), strict=True)
    return [a - b for a, b in pairs]


def mean(numbers: list[float]) -> float:
    return sum(numbers) / len(numbers)


def rises(record, arms: list[str], whole: str, metric: str = "held_out_loss") -> Bars:
    """A lying bar for each arm: how far it ends above `whole`; whiskers are the seeds."""
    cells = [gap(record, name, whole, metric) for name in arms]
    titles = [record.arms[name]["title"] for name in arms]
    return Bars(titles, list(map(mean, cells)), role="model", lo=map(min, cells),
                hi=map(max, cells))  # fmt: skip


def rates(record, groups: dict[str, list[str]], top: float | None = None) -> Figure:
    """Loss on the text that selects against the learning rate; a panel for each group of arms."""
    panels = []
    dashes = ("solid", "dash", "dot", "dashdot", "longdash", "dash", "dot")
    for title, arms in groups.items():
        lines = []
        for name, dash in zip(arms, dashes, strict=False):
            if name in record.arms:
                s = record.sweep(name)
                scores = [None if v is None or (top and v > top) else v for v in s["scores"]]
                arm = record.arms[name]
                lines.append(
                    Line(s["values"], scores, arm["title"], arm["role"], dash=dash, marker="circle")
                )
        pairs = Level(record.level("baseline", "held_out_loss"), "table of pairs", "baseline")
        if lines:
            panels.append(Panel(Axis("learning rate", "log"), "nats a character", lines,
                                levels=[pairs], title=title))  # fmt: skip
    return Figure(panels)
