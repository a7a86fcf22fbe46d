"""The panels that more than one figure of this module draws."""

from minimind_wiki.lite.plot import Axis, Level, Line, Panel


def swept(record, arms: dict[str, tuple[str, str, str]], title: str, top: float) -> Panel:
    """Loss on selection text against the learning rate. arms: name to (title, role, dash). A cross
    at the top is a run that diverged or ended above `top`; arms that were not run are left out."""
    lines = []
    for arm, (said, role, dash) in arms.items():
        if arm not in record.arms:
            continue
        sweep = record.sweep(arm)
        shown = [v if v is not None and v < top else None for v in sweep["scores"]]
        if any(v is not None for v in shown):
            lines.append(Line(sweep["values"], shown, said, role, dash=dash, marker="circle"))
        if lost := [r for r, v in zip(sweep["values"], shown, strict=True) if v is None]:
            at = [top - 0.08] * len(lost)
            lines.append(Line(lost, at, f"{said}: lost", role, dash="dot", marker="x"))
    pairs = Level(record.level("baseline", "held_out_loss"), "table of pairs", "baseline")
    low = min((y for line in lines for y in line.y if y is not None), default=2.4)
    y = Axis("nats a character", range=(low - 0.05, top))
    return Panel(Axis("learning rate", "log"), y, lines, levels=[pairs], title=title)


def by_depth(record, kinds: dict[str, tuple[str, str, str]], depths, metric: str, title: str):
    """A metric against the number of layers, with bands of seeds. kinds: the first part of the name
    of an arm, which ends with its depth, to (title, role, dash)."""
    drawn = []
    for name, (said, role, dash) in kinds.items():
        found = [d for d in depths if f"{name}_{d}" in record.arms]
        seeds = [record.seeds(f"{name}_{d}", metric) for d in found]
        mean = [sum(s) / len(s) for s in seeds]
        drawn.append(
            Line(found, mean, said, role, map(min, seeds), map(max, seeds), dash, "circle")
        )
    pairs = Level(record.level("baseline", metric), "table of pairs", "baseline")
    layers = Axis("layers", "log", ticks=list(depths))
    return Panel(layers, "nats a character", drawn, levels=[pairs], title=title)


def by_layer(record, kinds: dict[str, tuple[str, str, str]], depth: int, curve: str) -> list[Line]:
    """A curve of every kind at one depth; kinds as in `by_depth`."""
    return [record.line(f"{name}_{depth}", curve, said, dash, role=role)
            for name, (said, role, dash) in kinds.items()
            if f"{name}_{depth}" in record.arms]  # fmt: skip
