"""The `playground` fence: the recorded run of one prompt through the stages of training.

Body of a `playground` fence:

    record: stages

Reads snippets/playground/<record>.json (`minimind_wiki.book.stages`). The page's scripts put the
live playground in place of what is inside (web/src/playground/); until then, and without them:

    <div class="mm-playground" data-playground="stages">
      <script type="application/json" class="mm-playground__spec">{"prompt", "most", "stages":
        [{"id", "stage", "name", "was", "chat", "reads": […], "drawn": [[[id, text, p] …] …],
        "reason"}]}</script>
      <p class="mm-ask__label">Prompt</p><p class="mm-ask__box">…</p>
      <div class="mm-stages"><section class="mm-stage" data-stage="sft">…the answer, each token
        with its step on the scale of probabilities, and a table of the odds before its
        first token…</section>…</div>
      <p class="mm-hint">what this is, and how to make it again</p>
    </div>
"""

from __future__ import annotations

import re
from typing import Any

from minimind_wiki.book import pages, stages
from minimind_wiki.book.fences.common import Body, check_fields, fence
from minimind_wiki.book.pages import esc
from minimind_wiki.book.views.scale import percent, step

TOLD = ("prompt", "most", "stages")
CONTROL = re.compile(r"<\|.+\|>|</?[a-z_]+>")


@fence
def playground(body: Body) -> str:
    """Format the fence."""
    check_fields(body, ["record"], [], "the box")
    name = str(body["record"])
    record = stages.load(name)
    spec = pages.json_script({key: record[key] for key in TOLD}, "mm-playground__spec")
    columns = "".join(_column(stage) for stage in record["stages"])
    return (
        f'<div class="mm-playground" data-playground="{esc(name)}">{spec}'
        '<p class="mm-ask__label">Prompt</p>'
        f'<p class="mm-ask__box">{esc(record["prompt"])}</p>'
        '<div class="mm-stages" tabindex="0" role="region" aria-label="The stages of training">'
        f"{columns}</div>"
        '<p class="mm-hint">A recorded run of the shipped models, the likeliest token each time '
        f"(<code>{esc(record['command'])}</code>). With JavaScript the models run here, in this "
        "page.</p></div>"
    )


def _column(stage: dict[str, Any]) -> str:
    answer = "".join(
        f'<span class="mm-token{_kind(top[0][1])}" data-step="{step(top[0][2])}">'
        f"{_token(top[0][1])}</span>"
        for top in stage["drawn"]
    )
    count = len(stage["drawn"])
    end = "then it ended" if stage["reason"] == "stop" else "then it was cut off"
    form = "reads it as a chat" if stage["chat"] else "reads it as plain text"
    return (
        f'<section class="mm-stage" data-stage="{esc(stage["stage"])}">'
        f'<h2 class="mm-stage__name">{esc(stage["name"])}</h2>'
        f'<p class="mm-stage__was">{esc(stage["was"])}</p>'
        f'<p class="mm-stage__form">{form}</p>'
        f'<div class="mm-stage__text">{answer}</div>'
        f'<p class="mm-stage__fact">{count} tokens, {end}.</p>{_odds(stage["drawn"][0])}</section>'
    )


def _odds(top: list[list[Any]]) -> str:
    rest = max(0.0, 1 - sum(p for _, _, p in top))
    rows = [
        (shown(text), p, ' class="mm-odds__taken"' * (not i)) for i, (_, text, p) in enumerate(top)
    ]
    rows.append(("all others", rest, ' class="mm-odds__rest"'))
    body = "".join(
        f'<tr{kind}><th scope="row">{esc(text)}</th><td style="--mm-share:{p:.4f}">'
        f'<span class="mm-odds__bar"></span><span class="mm-odds__value">{percent(p)}</span></td>'
        "</tr>"
        for text, p, kind in rows
    )
    return (
        '<div class="mm-odds"><table class="mm-odds__table">'
        "<caption>Before its first token</caption>"
        '<colgroup><col class="mm-odds__names"><col></colgroup>'
        '<thead class="mm-sr"><tr><th scope="col">Token</th><th scope="col">Probability</th></tr>'
        f"</thead><tbody>{body}</tbody></table></div>"
    )


def _kind(text: str) -> str:
    """The class of a reserved token, such as the one that ends an answer."""
    return " mm-token--control" if CONTROL.fullmatch(text) else ""


def _token(text: str) -> str:
    """A token of an answer; a line's end stays one, and is seen."""
    return esc(text.replace("\n", "⏎\n")).replace("\n", "&#10;") or "∅"


def shown(text: str) -> str:
    """A token of its own, so that " a" and "a" differ; as in web/src/playground/odds.ts.

    >>> shown(" a"), shown("a\\n"), shown("")
    ('␣a', 'a⏎', '∅')
    """
    if not text:
        return "∅"
    plain = text.replace("\n", "⏎").replace("\t", "⇥").replace("\r", "␍")
    inner = plain.lstrip(" ")
    before, body = len(plain) - len(inner), inner.rstrip(" ")
    return "␣" * before + body + "␣" * (len(inner) - len(body))
