"""The exam in chat: an item is asked as the rows of fine-tuning ask it, and the verb says how."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from minimind_wiki.cli import main
from minimind_wiki.data.world.rows import make_rows
from minimind_wiki.errors import WrongCall
from minimind_wiki.evaluate import chat_exam
from minimind_wiki.evaluate.chat_exam import (
    chat_examiner,
    chat_likelihood,
    messages_of,
    section_marks,
)
from minimind_wiki.evaluate.intervals import mean_interval
from minimind_wiki.evaluate.manner import text_begin
from minimind_wiki.evaluate.tricks import Item
from minimind_wiki.evaluate.world_exam import SECTIONS, exam
from minimind_wiki.infer import save_model_folder
from minimind_wiki.model import Transformer, preset
from minimind_wiki.tokenizer import ByteTokenizer
from minimind_wiki.tokenizer.chat import from_row, render

BYTES = ByteTokenizer()
END = 258


def nano() -> Transformer:
    return Transformer(preset("nano"), seed=3)


def test_an_option_is_scored_as_the_whole_turn_of_the_assistant() -> None:
    """The ids are written out by hand; the user's mark stays letters."""
    start, end = 257, END
    ids = [start, *b"user\nIs it <|im_end|>?", end, *b"\n", start, *b"assistant\n"]
    turn = [*b"<think>\n\n</think>\n\nYes.", end]
    model = nano()
    with torch.no_grad():
        log_p = model(torch.tensor([[*ids, *turn]]))[0, len(ids) - 1 : -1].log_softmax(-1)
    expected = float(log_p.gather(1, torch.tensor(turn)[:, None]).sum())
    score = chat_likelihood(model, BYTES)
    assert math.isclose(score("Is it <|im_end|>?", "\nYes."), expected, rel_tol=1e-5)
    assert score("Is it?", "\nYes.") == score("Is it?", "Yes.")  # the lead is that of plain text


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[int], list[int]]]:
    """The ids that `log_likelihood` is asked for; each is as likely as it is short."""
    seen: list[tuple[list[int], list[int]]] = []

    def fake(model, tokenizer, begin=()):
        def score(prompt: str, continuation: str) -> float:
            seen.append((tokenizer.encode(prompt), tokenizer.encode(continuation)))
            return -float(len(seen[-1][1]))

        return score

    monkeypatch.setattr(chat_exam, "log_likelihood", fake)
    return seen


@pytest.mark.parametrize(("kind", "section"), [("questions", "near"), ("arithmetic", "arithmetic"),
                                               ("instructions", "instructions"),
                                               ("tools", "tools")])  # fmt: skip
def test_the_form_is_that_of_the_rows_of_fine_tuning(kind, section, scored) -> None:
    for row in make_rows(kind, 5, split="test"):
        said = row["conversations"]
        user = next(i for i, message in enumerate(said) if message["role"] == "user")
        option = said[user + 1]["content"] or said[user + 1]["tool_calls"]
        chat_likelihood(None, BYTES, section)(said[user]["content"], f"\n{option}")
        messages, tools = from_row(said[: user + 2])
        ids = render(messages, BYTES, tools).ids
        prompt, turn = scored[-1]
        assert [*prompt, *turn] == ids[:-1] and turn[-1] == END  # a line break follows each turn
        assert messages_of(section, said[user]["content"]) == said[: user + 1]


def test_each_section_is_asked_in_its_own_form(scored) -> None:
    judge = chat_examiner(None, BYTES)
    assert judge(Item("facts", "Where?", ("At A.", "At the B."), ("A", "B")))
    assert not judge(Item("facts", "Where?", ("At the B.", "At A."), ("B", "A")))
    assert all(257 in prompt and turn[-1] == END for prompt, turn in scored)
    scored.clear()
    assert judge(Item("grammar", "She sat.", ("So.", "So so."), ("So.", ""), " "))
    assert scored[0] == (list(b"She sat."), list(b" So."))  # plain text
    scored.clear()
    calls = tuple(json.dumps([{"name": n, "arguments": {}}]) for n in ("a", "calendar"))
    assert judge(Item("tools", "Which day?", calls, calls))
    prompt, turn = (BYTES.decode(ids) for ids in scored[0])
    assert '"name": "inventory"' in prompt and "You may call tools." in prompt
    assert turn.endswith('<tool_call>\n{"name": "a", "arguments": {}}\n</tool_call>')


def test_marks_add_up_to_the_exams_score() -> None:
    def judge(item: Item) -> bool:
        return len(item.options[0]) % 2 == 0

    for section in ("near", "refusal"):
        score, marks = section_marks(judge, section, 30, seed=1)
        assert score == exam(judge, 30, seed=1, sections=(section,))[0]
        assert sum(marks) == score.right and len(marks) == 30


# ---- intervals


def width(mean) -> float:
    return mean.high - mean.low


def test_the_bootstrap_of_one_seed_is_about_the_normal_interval() -> None:
    """Half right of 400: ± 1.96 · sqrt(1/4 / 400) = ± 0.049; the quantiles of 2,000 redraws of a
    binomial of 400 are right to a few of its steps of 1/400."""
    mean = mean_interval([[0, 1] * 200])
    assert mean.value == 0.5
    assert abs(mean.low - 0.451) < 0.0076 and abs(mean.high - 0.549) < 0.0076


def test_asking_three_equal_seeds_the_same_items_tells_nothing_new() -> None:
    """One by one they would be three times as many answers, and the interval √3 narrower."""
    marks = np.random.default_rng(1).integers(2, size=100)
    one, three = width(mean_interval([marks])), width(mean_interval([[marks] * 3]))
    assert abs(three / one - 1) < 0.1


def test_seeds_that_differ_widen_the_interval() -> None:
    """All items alike: only which seeds are drawn matters; of three, all may be the worst."""
    mean = mean_interval([[[0] * 50, [0] * 50, [1] * 50]])
    assert abs(mean.value - 1 / 3) < 1e-9 and (mean.low, mean.high) == (0.0, 1.0)


def test_sections_share_the_drawn_seeds_and_weigh_the_same() -> None:
    good_bad = [[1] * 10, [0] * 10]
    long = [[1] * 50, [0] * 50]
    mean = mean_interval([good_bad, long])
    assert mean.value == 0.5 and (mean.low, mean.high) == (0.0, 1.0)  # together, not averaged out
    assert mean_interval([[1] * 10, [0] * 90]).value == 0.5


def test_a_difference_is_paired_and_a_constant_has_no_width() -> None:
    before = np.random.default_rng(2).integers(2, size=(3, 40))
    mean = mean_interval([before + 0.25 - before])
    assert (mean.value, mean.low, mean.high) == (0.25, 0.25, 0.25)


def test_marks_that_make_no_mean_are_refused() -> None:
    for sections in ([], [[]], [[1], []]):
        with pytest.raises(WrongCall, match="no marks"):
            mean_interval(sections)
    with pytest.raises(WrongCall, match="same seeds"):
        mean_interval([[[1], [0]], [1]])


# ---- the verb


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model as pretraining leaves it, and one that a method of fine-tuning made."""
    place = tmp_path_factory.mktemp("models")
    save_model_folder(place / "base", nano(), BYTES, {"document_begin": []})
    save_model_folder(place / "chat", nano(), BYTES, {"method": {"name": "sft"}})
    return place / "base", place / "chat"


def ask(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    capsys.readouterr()
    status = main(["evaluate", *map(str, words), "--limit", "1", "--device", "cpu"])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_a_chat_model_is_asked_in_chat_unless_plain_is_asked_for(folders, capsys) -> None:
    base, chat = folders
    for words, form in (((base,), "in plain text"), ((chat,), "in chat"),
                        ((chat, "--plain"), "in plain text"),
                        ((base, "--tasks", "world-chat"), "in chat")):  # fmt: skip
        status, out, err = ask(capsys, *words)
        assert status == 0, err
        assert f"asked {form}" in out and out.count("asked") == 1
        assert all(f"\n{name} " in out for name in (*SECTIONS, "mean"))


def test_the_other_tasks_print_their_scores(folders, capsys) -> None:
    base, chat = folders
    tasks = "instructions,arithmetic,rubric,tool-use,loss,kl"
    status, out, err = ask(capsys, chat, "--tasks", tasks, "--against", base, "--max-tokens", 4)
    assert status == 0, err
    names = [line.split("  ")[0].strip() for line in out.splitlines()]
    assert names == ["instructions", "arithmetic", "rubric", "wins", "tool use", *["loss"] * 2,
                     *["kl"] * 2]  # fmt: skip
    assert "50.0%" in out and "ties 100%" in out  # against itself
    assert "kl           0.0000  [0.0000, 0.0000]" in out
    assert "1 prompts do not fit" in out  # of bytes, the tools alone fill the context


def test_the_exam_can_be_answered_in_words_and_with_thoughts(folders, capsys) -> None:
    status, out, err = ask(capsys, folders[1], "--tasks", "world-answers", "--max-tokens", 3,
                           "--thinking")  # fmt: skip
    assert status == 0, err
    names = [line.split("  ")[0].strip() for line in out.splitlines()[1:]]
    assert names == [*(name for name in SECTIONS if name != "grammar"), "mean"]
    assert "not asked: grammar" in out and "3.0 tokens, 0% ended" in out


def test_plain_texts_begin_as_in_the_run_that_fine_tuning_began_with(tmp_path) -> None:
    def run(name: str, **about: object) -> Path:
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(json.dumps(about))
        return tmp_path / name

    tuned = {"method": {"name": "sft"}, "document_begin": []}
    base = run("base", document_begin=[1])
    sft = run("sft", **tuned, init={"folder": str(base)})
    dpo = run("dpo", **tuned, init={"folder": str(sft)})
    assert [text_begin(folder) for folder in (base, sft, dpo)] == [(1,)] * 3
    told: list[str] = []
    assert text_begin(run("none", document_begin=[]), told.append) == ()
    assert text_begin(tmp_path / "no model", told.append) == () == tuple(told)
    lost = run("lost", **tuned, init={"folder": str(tmp_path / "gone")})
    assert text_begin(lost, told.append) == ()
    assert len(told) == 1 and "is gone" in told[0]
    assert text_begin(run("own", **tuned, init={"folder": str(tmp_path / "own")})) == ()


def test_wrong_calls_say_what_to_do(folders, capsys) -> None:
    base, chat = folders
    for words, told in ((("--tasks", "instruction"), "did you mean 'instructions'"),
                        (("--tasks", "kl"), "--against DIR"),
                        (("--against", base), "--against is for the tasks kl and rubric"),
                        (("--max-tokens", 0), "at least 1")):  # fmt: skip
        status, _, err = ask(capsys, chat, *words)
        assert status == 2 and told in err, err
