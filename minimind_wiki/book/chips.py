"""Numbers in prose: measured ones, settings, verdicts, and the page that lists every record."""

from __future__ import annotations

import numbers
from typing import Any

from minimind_wiki.book import pages, record, records
from minimind_wiki.book.pages import esc, slug
from minimind_wiki.errors import unknown

PARTS = {"std": "standard deviation", "n": "number of seeds", "min": "smallest seed",
         "max": "largest seed", "diverged": "seeds that diverged"}  # fmt: skip
VERDICTS = ("supported", "not supported", "inconclusive")


def m(name: str, key: str, spec: str = ".3g", unit: str = "") -> str:
    """A measured number: m("normalization/depth", "he_none.grad_ratio", ".1e").

    `key` is "arm.metric", or with .std, .n, .min, .max after it; `spec` a Python number format.
    Raises for an unknown record, arm or metric, and for a record older than its code.
    """
    value = records.lookup(name, key)
    data = records.load(name)
    part = (key.split(".")[2:] or ["mean"])[0]
    kind = PARTS.get(part, part)
    if part == "mean":
        count = len(data["seeds"])
        kind = f"mean of {count} seed{'s' * (count != 1)}{_spread(name, key)}"
    return records.chip(name, value, spec, unit, kind)


def _spread(name: str, key: str) -> str:
    try:
        return f" ± {records.get(name).lookup(key + '.std'):.2g}"
    except Exception:  # noqa: BLE001 (a level has no spread; the number itself was found)
        return ""


def setting(name: str, key: str, spec: str = "") -> str:
    """A setting that a record was measured with, such as its width."""
    settings = records.load(name)["settings"]
    value: Any = settings
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            known = value if isinstance(value, dict) else settings
            raise pages.fault(f"setting('{name}', '{key}'): {unknown('setting', part, known)}")
        value = value[part]
    if isinstance(value, list | tuple):
        text = ", ".join(str(item) for item in value)
    elif isinstance(value, numbers.Real) and not isinstance(value, bool):
        text = records.formatted(float(value), spec) if spec else f"{value:,}"
    else:
        text = str(value)
    return (
        f'<a class="mm-chip mm-chip--setting" href="{records.address(name)}" '
        f'title="a setting of the run">{esc(text)}</a>'
    )


def seconds(name: str) -> str:
    """How long the recorded run took, in words."""
    data = records.load(name)
    about = f"{data['device']} · {data['command']}"
    return (
        f'<a class="mm-chip" href="{records.address(name)}" title="{esc(about)}">'
        f"{duration(float(data['seconds']))}</a>"
    )


def duration(time: float) -> str:
    """Seconds in words.

    >>> duration(0.4), duration(48), duration(250), duration(8000)
    ('under a second', '48 seconds', '4 minutes', '2.2 hours')
    """
    if time < 1:
        return "under a second"
    number, unit = amount(time)
    return f"{number} {unit}{'s' * (number != '1')}"


def amount(time: float) -> tuple[str, str]:
    """Seconds as a number and the unit in which it reads best.

    >>> amount(48), amount(250), amount(8000)
    (('48', 'second'), ('4', 'minute'), ('2.2', 'hour'))
    """
    if time < 90:
        return f"{time:.0f}", "second"
    if time < 5400:
        return f"{time / 60:.0f}", "minute"
    return f"{time / 3600:.1f}", "hour"


def _badge(verdict: str) -> str:
    return f'<span class="mm-verdict mm-verdict--{verdict.replace(" ", "-")}">{esc(verdict)}</span>'


def verdict(name: str, claim: str, expect: str) -> str:
    """The computed verdict of a claim; raises when it is not what the prose around it expects."""
    known = records.load(name)["claims"]
    if claim not in known:
        raise pages.fault(f"verdict('{name}', …): {unknown('claim', claim, known)}")
    if expect not in VERDICTS:
        raise pages.fault(f"verdict('{name}', '{claim}'): {unknown('verdict', expect, VERDICTS)}")
    found = known[claim]["verdict"]
    if found != expect:
        raise pages.fault(
            f"verdict('{name}', '{claim}'): the record says '{found}' and the page expects "
            f"'{expect}' ({known[claim].get('evidence', '')}). Correct the prose, then expect."
        )
    link = records.address(name)
    evidence = esc(known[claim].get("evidence", ""))
    return f'<a class="mm-verdict-link" href="{link}" title="{evidence}">{_badge(found)}</a>'


def claim(name: str, key: str) -> str:
    """A claim in its own words with the verdict that the record gives now, and the evidence.

    For prose that says what each verdict would mean. Where the prose needs one, use `verdict`.
    """
    known = records.load(name)["claims"]
    if key not in known:
        raise pages.fault(f"claim('{name}', …): {unknown('claim', key, known)}")
    item = known[key]
    return (
        f'{esc(item["text"])} <a class="mm-verdict-link" href="{records.address(name)}">'
        f"{_badge(item['verdict'])}</a> <small>({esc(item.get('evidence', ''))})</small>"
    )


def claims(name: str) -> str:
    """All claims of a record with verdict and evidence, as a table."""
    return _claims_table(records.load(name)["claims"])


def _claims_table(known: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{esc(item['text'])}</td><td>{_badge(item['verdict'])}</td>"
        f"<td>{esc(item.get('evidence', ''))}</td></tr>"
        for item in known.values()
    )
    return (
        '<div class="mm-table-scroll" tabindex="0" role="region" aria-label="Claims and verdicts">'
        '<table class="mm-claims"><thead><tr><th scope="col">Claim</th><th scope="col">Verdict</th>'
        f'<th scope="col">Evidence</th></tr></thead><tbody>{rows}</tbody></table></div>'
    )


def given(text: str, why: str) -> str:
    """A number that is a setting or belongs to a worked example, with the reason as its title."""
    if not str(why).strip():
        raise pages.fault(f"given('{text}', …): say why this number is typed and not measured.")
    return f'<span class="mm-given" title="{esc(why)}">{esc(text)}</span>'


def records_table() -> str:
    """Every record: question, command, seeds, device, duration, date, versions, verdicts.

    Each stands under the anchor that chips point to, for example #normalization-depth. Markdown, so
    that the headings come into the page's table of contents.
    """
    parts = []
    for found in record.all_records(pages.root()):
        data = records.load(found.name)
        anchor = slug(found.name)
        versions = ", ".join(f"{k} {v}" for k, v in data["versions"].items())
        facts = [
            ("Command", f"<code>{esc(data['command'])}</code>"),
            ("Seeds", esc(", ".join(map(str, data["seeds"])))),
            ("Device", esc(data["device"])),
            ("Duration", duration(float(data["seconds"]))),
            ("Recorded", esc(str(data["created"])[:10])),
            ("Versions", esc(versions)),
            ("Code", f"<code>{esc(data['code_hash'][:12])}</code>"),
        ]
        if confirmed := found.confirmation():
            facts.append(("Confirmed", esc(confirmed)))
        listed = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in facts)
        parts.append(
            f'<section class="mm-record" aria-labelledby="{anchor}" markdown="block">\n\n'
            f"## {found.name} {{ #{anchor} }}\n\n<p>{esc(data['question'])}</p>\n"
            f'<dl class="mm-record__facts">{listed}</dl>\n{_claims_table(data["claims"])}\n\n'
            "</section>\n"
        )
    if not parts:
        return "<p>No experiment has been recorded yet.</p>"
    return "\n".join(parts)
