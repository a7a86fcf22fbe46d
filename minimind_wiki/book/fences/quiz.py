"""The `quiz` fence: questions from a YAML file beside the page, or written in the fence itself.

Body of a `quiz` fence:

    file: quiz.yaml

The file: `id` and `questions`, each `{id, type: single|multi|number, ask, options: [{text,
right?, why}], answer?, source?, tolerance?, relative_tolerance?, unit?, why?, experiment?: {name,
path}}`. Texts are Markdown. A number that was measured comes from a record (`experiment`); one
that is worked out in the page may be typed with a `source` that says where. `tolerance` is in the
question's unit, `relative_tolerance` a share of the answer; with neither, 5 % of it.

HTML (every `*_html` is HTML made here; the rest is plain text):

    <div class="mm-quiz" data-quiz="ID">
      <script type="application/json">{"id", "questions": [
        {"id", "type": "single|multi", "ask_html",
         "options": [{"text_html", "right": bool, "why_html"}]},
        {"id", "type": "number", "ask_html", "answer": 2.5, "tolerance" and/or "relative_tolerance",
         "unit": "", "why_html"}
      ]}</script>
      <ol class="mm-quiz__questions">
        <li class="mm-quiz__question" id="quiz-ID-QID" data-question="QID">
          <div class="mm-quiz__ask">…</div>
          <ol class="mm-quiz__options" type="A"><li>…</li></ol>          (not for numbers)
          <details class="mm-quiz__answer"><summary>Answer</summary>
            <ol class="mm-quiz__whys" type="A"><li class="mm-quiz__why mm-quiz__why--right|--wrong">
              <strong>Right.|Wrong.</strong> …</li></ol>                  (numbers: <p>2.5</p> why)
          </details></li>
      </ol>
    </div>
"""

from __future__ import annotations

from typing import Any

from minimind_wiki.book import markup, pages, records
from minimind_wiki.book.fences.common import Body, check_fields, fence
from minimind_wiki.book.pages import esc
from minimind_wiki.errors import MinimindError

TYPES = ("single", "multi", "number")
OPTIONAL = ("options", "answer", "source", "tolerance", "relative_tolerance", "unit", "why",
            "experiment")  # fmt: skip


@fence
def quiz(body: Body) -> str:
    """Format the fence."""
    if "file" in body:
        check_fields(body, ["file"], [], "the box")
        file = (pages.docs() / pages.current().src).parent / str(body["file"])
        body = pages.read_yaml(file)
    data = validate(body)
    rows = "".join(_question_html(str(data["id"]), q) for q in data["questions"])
    return (
        f'<div class="mm-quiz" data-quiz="{esc(data["id"])}">{pages.json_script(data)}'
        f'<ol class="mm-quiz__questions">{rows}</ol></div>'
    )


def validate(body: Body) -> dict[str, Any]:
    """The quiz as the page gets it; raises naming the question and the field."""
    check_fields(body, ["id", "questions"], ["title"], "the quiz")
    seen: set[str] = set()
    questions = []
    for number, question in enumerate(body["questions"], 1):
        where = f"question {number}"
        check_fields(question, ["id", "type", "ask"], OPTIONAL, where)
        if question["id"] in seen:
            raise MinimindError(f"{where}: the id '{question['id']}' is used twice.")
        seen.add(question["id"])
        where = f"{where} ('{question['id']}')"
        if question["type"] not in TYPES:
            raise MinimindError(f"{where}: type '{question['type']}' must be one of {TYPES}.")
        check = _number if question["type"] == "number" else _choice
        questions.append(check(question, where))
    return {"id": body["id"], "questions": questions}


def _choice(question: Body, where: str) -> dict[str, Any]:
    check_fields(question, ["options"], ["id", "type", "ask", "why"], where)
    options = read_options(question["options"], where)
    right = sum(option["right"] for option in options)
    if question["type"] == "single" and right != 1:
        raise MinimindError(f"{where}: {right} options are 'right: true'; exactly 1 must be.")
    if question["type"] == "multi" and right < 1:
        raise MinimindError(f"{where}: no option is marked 'right: true'; at least 1 must be.")
    made = {"id": question["id"], "type": question["type"], "options": options,
            "ask_html": markup.block(question["ask"])}  # fmt: skip
    if question.get("why"):
        made["why_html"] = markup.block(question["why"])
    return made


def read_options(options: Any, where: str) -> list[dict[str, Any]]:
    """Options with rendered texts; each must carry its own explanation."""
    if not isinstance(options, list) or len(options) < 2:
        raise MinimindError(f"{where}: 'options' must be a list of at least two.")
    made = []
    for number, option in enumerate(options, 1):
        check_fields(option, ["text", "why"], ["right"], f"{where}, option {number}")
        made.append({
            "text_html": markup.inline(option["text"]),
            "right": option.get("right") is True,
            "why_html": markup.inline(option["why"]),
        })  # fmt: skip
    return made


def _number(question: Body, where: str) -> dict[str, Any]:
    check_fields(question, ["id", "type", "ask"], [n for n in OPTIONAL if n != "options"], where)
    measured = question.get("experiment")
    if measured:
        check_fields(measured, ["name", "path"], [], f"{where}, experiment")
        if "answer" in question:
            raise MinimindError(f"{where}: the record gives the answer; remove the field 'answer'.")
        value = records.lookup(str(measured["name"]), str(measured["path"]))
        why = f"Measured: {records.chip(str(measured['name']), value, '.4g', '')}."
    else:
        check_fields(question, ["answer", "source"], ["id", "type", "ask", *OPTIONAL], where)
        if isinstance(question["answer"], bool) or not isinstance(question["answer"], int | float):
            raise MinimindError(f"{where}: 'answer' must be a number, got {question['answer']!r}.")
        value = float(question["answer"])
        why = f"{markup.inline(question['source'])}"
    if question.get("why"):
        why = f"{markup.block(question['why'])}<p>{why}</p>"
    names = ("tolerance", "relative_tolerance")
    allowed: dict[str, float] = {n: float(question[n]) for n in names if n in question}
    allowed = allowed or {"relative_tolerance": 0.05}
    return {"id": question["id"], "type": "number", "ask_html": markup.block(question["ask"]),
            "answer": value, **allowed,
            "unit": str(question.get("unit", "")), "why_html": why}  # fmt: skip


def written(answer: float) -> str:
    """An answer for reading, as web/src/quiz/model.ts writes it.

    >>> written(786432.0), written(0.424234)
    ('786,432', '0.4242')
    """
    return f"{answer:,.0f}" if float(answer).is_integer() else f"{answer:.4g}"


def _question_html(quiz_id: str, question: dict[str, Any]) -> str:
    anchor = f"quiz-{quiz_id}-{question['id']}"
    if question["type"] == "number":
        listed = ""
        answer = (
            f"<p>{written(question['answer'])} {esc(question['unit'])}</p>{question['why_html']}"
        )
    else:
        listed = options_html(question["options"], "mm-quiz")
        answer = whys_html(question["options"], "mm-quiz") + question.get("why_html", "")
        if question["type"] == "multi":
            listed = f"<p>Choose all that apply.</p>{listed}"
    return (
        f'<li class="mm-quiz__question" id="{esc(anchor)}" data-question="{esc(question["id"])}">'
        f'<div class="mm-quiz__ask">{question["ask_html"]}</div>{listed}'
        f'<details class="mm-quiz__answer" data-search-exclude><summary>Answer</summary>'
        f"{answer}</details></li>"
    )


def options_html(options: list[dict[str, Any]], block: str) -> str:
    """The options as a list, A, B, C …"""
    rows = "".join(f"<li>{option['text_html']}</li>" for option in options)
    return f'<ol class="{block}__options" type="A">{rows}</ol>'


def whys_html(options: list[dict[str, Any]], block: str) -> str:
    """The explanations in the same order, each saying whether its option is right."""
    rows = []
    for option in options:
        verdict = "right" if option["right"] else "wrong"
        rows.append(
            f'<li class="{block}__why {block}__why--{verdict}">'
            f"<strong>{verdict.capitalize()}.</strong> {option['why_html']}</li>"
        )
    return f'<ol class="{block}__whys" type="A">{"".join(rows)}</ol>'
