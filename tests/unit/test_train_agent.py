"""Reinforcement learning with tools: what of an episode is judged, learned and counted."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from minimind_wiki.data.packing import IGNORE
from minimind_wiki.data.world.tools import SPECS
from minimind_wiki.errors import MinimindError
from minimind_wiki.infer import save_model_folder
from minimind_wiki.infer.rollout import Rollout
from minimind_wiki.model import Transformer, preset
from minimind_wiki.tokenizer import ByteTokenizer
from minimind_wiki.tokenizer.chat import render
from minimind_wiki.train import agent as module
from minimind_wiki.train.agent import Played, replaced, runner
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.device import choose
from minimind_wiki.train.grpo import Game, GrpoSettings, grpo
from minimind_wiki.train.method import Workshop
from minimind_wiki.train.reasoning import Reply, read_ids
from minimind_wiki.train.rewards import exact
from minimind_wiki.train.sandbox import Sandbox
from minimind_wiki.train.sources import open_source
from minimind_wiki.train.trajectory import prompt_of

BYTES = ByteTokenizer()
START, END = 257, 258
NANO = preset("nano", max_position_embeddings=2048)
SETTINGS = GrpoSettings(group=2, max_new_tokens=120)


def row(a=2, b=3, tool="calculator", **more):
    said = [{"role": "user", "content": f"{a} + {b}?"}]
    if tool:
        spec = json.dumps([SPECS.get(tool, {"name": tool})])
        said.insert(0, {"role": "system", "content": "Sums.", "tools": spec})
    return {"conversations": said, "gt": [str(a + b)], **more}


def call(expression):
    body = json.dumps({"name": "calculator", "arguments": {"expression": expression}})
    return f"<tool_call>\n{body}\n</tool_call>"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base") / "model"
    return save_model_folder(folder, Transformer(NANO, seed=0), BYTES)


@pytest.fixture
def config(base, tmp_path):
    return TrainConfig(
        init=str(base), data=str(written(tmp_path / "rows.jsonl", [row(a) for a in range(12)])),
        steps=2, batch_size=4, context_length=900, eval_every=2, eval_windows=2, sample_tokens=0,
        device="cpu", threads=1, learning_rate=1e-3, weight_decay=0.0,
    )  # fmt: skip


def written(path, rows):
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return path


@pytest.fixture
def sandbox():
    with Sandbox() as one:
        yield one


@pytest.fixture
def game(config, sandbox):
    def of(settings=SETTINGS, rows=None, **changes):
        fields = dataclasses.replace(config, **changes)
        source = open_source(fields.data, "agent", 0, fields.held_out, fields.eval_windows)
        if rows:
            source = dataclasses.replace(source, row=lambda n: rows[n % len(rows)])
        work = Workshop(Transformer(NANO, seed=0), BYTES, choose("cpu"), None, fields, 0)
        return Game(work, settings, source, sandbox)

    return of


@pytest.fixture
def say(monkeypatch):
    """Answers that are drawn from a script: for each answer its turns, cut where they are too long.

    The log-probability of id k of turn n is -n - k / 1000.
    """

    def of(*answers):
        left = [list(enumerate(turns, start=1)) for turns in answers]

        def script(model, end, **sampling):
            def sample_many(requests):
                drawn = []
                for turns, (_, budget) in zip([t for t in left if t], requests, strict=True):
                    number, turn = turns.pop(0)
                    ids = [*turn.encode(), end][:budget]
                    drawn.append((ids, [-number - k / 1000 for k in range(len(ids))]))
                return drawn

            return sample_many

        monkeypatch.setattr(module, "engine", script)

    return of


def test_the_batch_of_two_episodes_made_by_hand(game, say) -> None:
    """One calls, reads 5 and says so; the other guesses 6."""
    say([call("2 + 3"), "The result is 5."], ["It is 6."])
    nothing = b"assistant\n<think>\n\n</think>\n\n"
    messages, tools = prompt_of(row())
    prompt = render(messages, BYTES, tools, add_generation_prompt=True).ids
    first, last, guess = ([*text.encode(), END]
                          for text in (call("2 + 3"), "The result is 5.", "It is 6."))  # fmt: skip
    given = [*b"\n", START, *b'user\n<tool_response>\n{"result": 5}\n</tool_response>', END, *b"\n",
             START, *nothing]  # fmt: skip
    hidden = [IGNORE] * (len(prompt) - 1)

    played = game(dataclasses.replace(SETTINGS, loss="dr_grpo"), [row()], batch_size=2)
    batch = played.at(0)
    whole = [*prompt, *first, *given, *last]
    assert batch.ids_BT[0].tolist() == whole[:-1]
    assert batch.labels_BT[0].tolist() == [*hidden, *first, *[IGNORE] * len(given), *last]
    pad = len(whole) - len(prompt) - len(guess)
    assert batch.ids_BT[1].tolist()[: len(prompt) + 8] == [*prompt, *guess[:-1]]
    assert batch.labels_BT[1].tolist() == [*hidden, *guess, *[IGNORE] * pad]
    # the turns begin at -1 and -2 (see `say`), and what was given has none
    old = batch.more["old_BT"][0]
    begin, again = len(prompt) - 1, len(prompt) - 1 + len(first) + len(given)
    assert [round(x, 3) for x in old[begin : begin + 3].tolist()] == [-1.0, -1.001, -1.002]
    assert old[again].item() == -2 and old[again - 1].item() == 0
    # rewards 1 + 0.1 and 0 + 0.1, less their mean
    torch.testing.assert_close(batch.more["advantage_B1"], torch.tensor([[0.5], [-0.5]]))
    assert batch.own and batch.units == 2 * 120 * 4  # rows, tokens of a turn, turns
    wanted = {"reward": 0.6, "right": 0.5, "tokens": (len(first) + len(last) + len(guess)) / 2,
              "ended": 1.0, "turns": 1.5, "calls": 0.5, "failed_calls": 0.0,
              "groups_without_signal": 0.0, "prompts_too_long": 0.0}  # fmt: skip
    assert played.seen == pytest.approx(wanted)


@pytest.mark.parametrize(("loss", "units"), [("grpo", 2), ("dapo", None)])
def test_the_loss_of_that_batch(loss, units, game, say) -> None:
    """Where the ratio is 1 a token costs -A; A = ±0.5 / (std + 1e-4), std = sqrt(1/2)."""
    say([call("2 + 3"), "The result is 5."], ["It is 6."])
    played = game(dataclasses.replace(SETTINGS, loss=loss), [row()], batch_size=2)
    batch = played.at(0)
    tokens = [len(call("2 + 3")) + 1 + 17, 9]
    assert batch.divisor == (units or sum(tokens))
    advantage = 0.5 / (0.5**0.5 + 1e-4)
    mask_BT = batch.labels_BT != IGNORE
    played.loss.score = lambda model, ids_BT, labels_BT: (batch.more["old_BT"], mask_BT)
    loss = float(played.loss(batch.ids_BT, batch.labels_BT, None, **batch.more)) / batch.divisor
    wanted = 0.0 if units else -advantage * (tokens[0] - tokens[1]) / sum(tokens)
    assert loss == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("tool", ["calculator", ""])
def test_without_a_call_an_episode_is_a_single_answer(tool, game) -> None:
    """From the same numbers: the same ids, masks and log-probabilities."""
    rows = [row(1, tool=tool), row(1000, tool=tool)]
    player = game(dataclasses.replace(SETTINGS, max_new_tokens=9))
    one = player.answer(rows, 3, 1.0, 5)
    many = player.act(rows, 3, 1.0, 5)
    for name in ("mask_BT", "logp_BT", "ended_B"):
        assert torch.equal(getattr(one, name), getattr(many.drawn, name)), name
    # what is read; a rollout also holds the last id of a shorter row, behind all that is learned
    read_BT = one.mask_BT.flip(1).cumsum(1).flip(1) > 0
    assert torch.equal(one.ids_BT[read_BT], many.drawn.ids_BT[read_BT])
    assert torch.equal(one.next_BT[one.mask_BT], many.drawn.next_BT[one.mask_BT])
    assert many.replies == [player.reply(one, number) for number in range(6)]
    assert many.told == {"turns": 6.0, "calls": 0.0, "failed_calls": 0.0}
    assert player.play(rows, 3, 1.0, 5).told == many.told


def test_a_call_that_nobody_ran_is_no_answer(game, say) -> None:
    """Its turn has no end, so no tool answered. Where there is but one turn, it is one."""
    shops = row(stock={})
    settings = dataclasses.replace(SETTINGS, max_new_tokens=len(call("2 + 3")), calls_weight=0.5)
    say([call("2 + 3")], [call("2 + 3")])
    player = game(settings, [shops], batch_size=2)
    player.at(0)
    for name in ("right", "reward", "calls", "ended"):
        assert player.seen[name] == 0, name
    reply = read_ids([*call("2 + 3").encode()], BYTES)
    assert exact(shops, reply) == 1


def test_beside_rows_with_tools_one_without_is_still_a_single_answer(game, say) -> None:
    """It calls, and nobody tells it that there is nothing to call."""
    say([call("2 + 3"), "5"], [call("1 + 2")])
    player = game(batch_size=4)
    played = player.act([row(), row(1, 2, tool="")], 1, 1.0, 0)
    assert played.told == {"turns": 3.0, "calls": 1.0, "failed_calls": 0.0}
    assert [reply.calls[0].failed for reply in played.replies] == [False, None]


def test_calling_rightly_can_be_paid(game, say) -> None:
    settings = dataclasses.replace(SETTINGS, calls_weight=0.5)
    say([call("2 + 3"), "5"], [call("2 +"), "5"])
    player = game(settings, [row()], batch_size=2)
    player.at(0)
    assert player.seen["failed_calls"] == 0.5 and player.seen["calls"] == 1.0
    assert player.seen["reward"] == pytest.approx((1.6 + 1.1) / 2)


def test_a_tool_that_nobody_runs_is_told(game, sandbox) -> None:
    with pytest.raises(MinimindError, match="offers the tools telescope, but only calculator"):
        runner(sandbox, row(tool="telescope"))
    run = runner(sandbox, row(stock={"Owl Forge": {"eggs": 3}}))
    assert run("inventory", {"shop": "Owl Forge", "item": "eggs"}).text == '{"count": 3}'


def test_a_run_with_tools_tells_of_turns_and_calls_and_repeats_itself(config) -> None:
    settings = dataclasses.replace(SETTINGS, max_new_tokens=5)
    state = grpo(config, settings).state
    assert {"turns", "calls", "failed_calls"} < set(state.train)
    assert state.held_out["turns"] == [1.0, 1.0] and state.held_out["accuracy"] == [0.0, 0.0]
    assert grpo(config, settings).state.train == state.train
    alone = grpo(config, dataclasses.replace(settings, turns=1)).state
    assert "turns" not in alone.train and alone.train["tokens"] == state.train["tokens"]


def test_held_out_episodes_are_played_greedily(game, say) -> None:
    player = game()
    golds = [one["gt"] for one in player.source.held_out]
    say(*([call(f"{gold[0]} + 0"), gold[0]] for gold in golds))
    found = player.assess()
    assert found["accuracy"] == 1.0 and found["loss"] == 0.0
    assert (found["turns"], found["calls"], found["failed_calls"]) == (2.0, 1.0, 0.0)


def test_answers_are_exchanged_in_their_rows() -> None:
    def played(rows, length, value):
        shape = (rows, length)
        drawn = Rollout(torch.full(shape, value), torch.full(shape, value),
                        torch.ones(shape, dtype=torch.bool), torch.full(shape, -float(value)),
                        torch.full((rows,), value > 1), 1.0)  # fmt: skip
        replies = [Reply("", f"{value}.{n}") for n in range(rows)]
        return Played(drawn, replies, torch.full((rows,), length), {"turns": float(rows)})

    for old, new in ((2, 4), (4, 2)):
        got = replaced(played(4, old, 1), played(2, new, 2), torch.tensor([0, 3]))
        assert got.drawn.mask_BT.sum(1).tolist() == [new, old, old, new]
        assert got.drawn.ids_BT[:, :2].tolist() == [[2, 2], [1, 1], [1, 1], [2, 2]]
        assert got.drawn.logp_BT[:, 3].tolist() == ([-2, 0, 0, -2] if new > old else [0, -1, -1, 0])
        assert got.drawn.ended_B.tolist() == [True, False, False, True]
        assert [reply.answer for reply in got.replies] == ["2.0", "1.1", "1.2", "2.1"]
        assert got.longest_B.tolist() == [new, old, old, new]
