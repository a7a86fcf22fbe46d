"""The chat page: a script that Streamlit runs from top to bottom at everything a reader does.

What a model, a tool or a server says is shown by `st.text`, `st.code` and our own component, which
take it as text. It never goes through Markdown or HTML: a picture in Markdown would already be a
request to whatever address the model made up.
"""

from __future__ import annotations

import itertools
import threading
import time
import zlib
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import streamlit as st

from minimind_wiki.data.world.tools import SPECS
from minimind_wiki.serve.security import Key
from minimind_wiki.train.sandbox import Sandbox, failure
from minimind_wiki.webui.client import Declined, Server
from minimind_wiki.webui.spans import end_of, spans
from minimind_wiki.webui.talk import Talk, Turn

HERE = Path(__file__).parent
FRAME = 0.05  # seconds between two pictures of a growing answer: the eye sees no more
LETTER = 2e-5  # and for each letter: a picture is all of the text, so a long one comes less often
LIKELY = 5  # tokens told beside each drawn one
AVATARS = {"user": ":material/person:", "assistant": ":material/neurology:"}
reply = st.components.v2.component(
    "minimind.reply",
    html='<div class="reply"></div>',
    css=(HERE / "reply.css").read_text(encoding="utf-8"),
    js=(HERE / "reply.js").read_text(encoding="utf-8"),
)


def main() -> None:
    """The page, once."""
    st.set_page_config("minimind", HERE / "icon.svg")
    st.html(HERE / "page.css")
    state = st.session_state
    talk = state.setdefault("talk", Talk())
    server, models = connect()
    busy = talk.due
    if not busy:
        talk.stop()  # this run has ended the one that showed the answer, if there was one
    with st.sidebar:
        st.title("minimind")
        fresh = st.button("New chat", disabled=busy or not talk.turns, width="stretch")
        fields, system, tools = sidebar(models)
        tint = st.toggle("Tint unlikely tokens", True, disabled=busy)
    if fresh:
        del state.talk
        st.rerun()
    if not talk.turns:
        st.header("Talk with a model")
        st.caption("Every token of an answer tells how likely it was: point at it, or reach it "
                   "with the Tab key and walk with the arrows.")  # fmt: skip
    controls(talk, busy)
    show(talk, tint)
    if busy:
        answer(talk, server, fields, models[fields["model"]], system, tools)
        st.rerun()  # to show it with its probabilities
    if talk.problem:
        tell(talk.problem)


def connect() -> tuple[Server, dict[str, int]]:
    """The server and its models. Without them there is no page, but a word and a button."""
    state, settings = st.session_state, st.secrets["minimind"]
    if settings["ask"] and not state.get("admitted"):
        ask_key(settings["key"])
    if "models" not in state:
        server = Server(settings["server"], settings["key"])
        try:
            state.models, state.server = server.models(), server
        except Declined as declined:
            st.header("No model to talk with")
            tell(str(declined))
            st.button("Try again")
            st.stop()
    return state.server, state.models


def ask_key(key: str) -> None:
    """Let nobody on who does not know the key: this page is open to other machines."""
    st.header("Whose page is this?")
    given = st.text_input("API key", type="password")
    if not Key(key).matches(given):
        if given:
            st.error("That is not the key.")
        st.stop()
    st.session_state.admitted = True
    st.rerun()


@st.fragment
def sidebar(models: Mapping[str, int]) -> tuple[dict[str, Any], str, list[str]]:
    """What goes into the request, the system message, the tools.

    A fragment of its own: a change here waits until an answer is whole, where a change elsewhere
    would run the page anew and so end the answer.
    """
    settings = st.secrets["minimind"]
    model = st.selectbox("Model or adapter", list(models))
    thinking = st.toggle("Think first")
    tools = settings["tools"] and st.pills(
        "Tools it may call",
        settings["tools"],
        selection_mode="multi",
        default=settings["tools"],
    )
    system = st.text_area("System message", settings["system"], height=80)
    temperature = st.slider(
        "Temperature", 0.0, 2.0, 0.8, 0.05, help="0 always takes the likeliest token."
    )
    top_p = st.slider(
        "Top-p", 0.05, 1.0, 0.95, 0.05, help="Draw among the likeliest that sum up to it."
    )
    top_k = st.number_input("Top-k", 0, 1000, 0, help="Draw among so many; 0 draws among all.")
    most = st.number_input("Most tokens", 1, 4096, 256, 16)
    seed = st.number_input(
        "Seed", 0, None, None, placeholder="none", help="The same seed gives the same answer."
    )
    fields = {
        "model": model,
        "temperature": temperature,
        "top_p": top_p,
        "top_k": top_k,
        "max_tokens": most,
        "logprobs": True,
        "top_logprobs": LIKELY,
        "chat_template_kwargs": {"enable_thinking": thinking},
    }
    return fields | ({} if seed is None else {"seed": seed}), system, tools or []


def show(talk: Talk, tint: bool) -> None:
    """What was said so far; an answer and the calls in it are one box."""
    speakers = itertools.groupby(enumerate(talk.turns), lambda pair: pair[1].role == "user")
    for user, turns in speakers:
        with message("user" if user else "assistant"):
            for number, turn in turns:
                if number < talk.unsent:
                    st.caption("no longer sent to the model")
                finished(turn, number, tint)


def message(role: str) -> Any:
    """The box of one who speaks."""
    return st.chat_message(role, avatar=AVATARS[role])


def finished(turn: Turn, number: int, tint: bool) -> None:
    """A turn with all that is known of it."""
    if turn.role == "user":
        st.text(turn.content)
        return
    if turn.role == "tool":
        box("The tool answers", turn.content)
        return
    if turn.reasoning_content:
        with st.expander("Thought"):
            draw(f"thought{number}", turn.reasoning_content, turn, tint)
    if turn.content:
        behind = end_of(turn.reasoning_content, turn.tokens) if turn.reasoning_content else 0
        draw(f"answer{number}", turn.content, turn, tint, behind, copy=True)
    calls(turn)
    if turn.note:
        st.caption(turn.note)


def draw(key: str, text: str, turn: Turn, tint: bool, after: int = 0, copy: bool = False) -> None:
    """A text with its probabilities, and with a button that copies it."""
    pieces = spans(text, turn.tokens, after)
    odds = sum(token["logprob"] for token in turn.tokens)
    # by its mark the browser knows what it has drawn: a long answer is thousands of pieces
    mark = f"{key} {tint} {zlib.crc32(text.encode())} {len(pieces)} {odds}"
    reply(key=key, data={"mark": mark, "pieces": pieces, "tint": tint, "copy": copy})


def growing(turn: Turn) -> None:
    """A turn that is not whole yet."""
    if turn.role == "tool":
        box("The tool answers", turn.content)
        return
    if turn.reasoning_content:
        with st.expander("Thinking …", expanded=not turn.content):
            st.text(turn.reasoning_content)
    st.text(turn.content + ("" if turn.finish else "▌"))
    calls(turn)


def calls(turn: Turn) -> None:
    """The tools that a turn calls."""
    for call in turn.tool_calls:
        function = call["function"]
        box("The model calls a tool", f"{function['name']} {function['arguments']}")


def box(title: str, text: str) -> None:
    """A text that is no speech. `st.code` shows it as it is, and has a button that copies it."""
    with st.container(border=True):
        st.caption(title)
        st.code(text, language=None, wrap_lines=True)


def tell(problem: str) -> None:
    """Why something did not happen. The words may be a server's, so they are not Markdown."""
    with st.container(border=True):
        st.badge("Not answered", color="red")
        st.text(problem)


def answer(
    talk: Talk, server: Server, fields: Mapping[str, Any], context: int, system: str,
    names: Iterable[str],
) -> None:  # fmt: skip
    """Stream an answer. Streamlit ends this with an exception when the reader leaves or does
    something else; `closing` then closes the stream, and the server frees its place."""
    tools = [SPECS[name] for name in names]
    with message("assistant"):
        place, now, drawn = st.empty(), None, 0.0
        with closing(talk.answer(server, fields, context, system, tools, use_tool)) as turns:
            for turn in turns:
                if turn is not now:  # the tool's, or the one after it: below the last
                    place, now = st.empty(), turn
                if turn.finish or time.monotonic() - drawn > pause(turn):
                    with place.container():
                        growing(turn)
                    drawn = time.monotonic()


def pause(turn: Turn) -> float:
    """Seconds between two pictures of a growing turn.

    >>> round(pause(Turn("assistant", "a" * 10_000)), 2)
    0.25
    """
    return FRAME + LETTER * (len(turn.content) + len(turn.reasoning_content))


def controls(talk: Talk, busy: bool) -> None:
    """What is always in reach: a way to end the answer or to have another, the next message.

    What is asked here is answered in the next run of the page, which knows from its first line on
    that it is busy.
    """
    again = False
    with st.bottom:
        if busy:
            st.button("Stop", on_click=talk.stop, key="stop", icon=":material/stop:")
        elif talk.turns:
            again = st.button("Try again", key="again", icon=":material/refresh:")
    # not within `st.bottom`, though it goes there: only so the page follows a growing answer
    said = st.chat_input("Your message", disabled=busy)
    if said:
        talk.ask(said)
    elif again:
        talk.retry()
    if said or again:
        st.rerun()


@st.cache_resource
def sandbox() -> tuple[Sandbox, threading.Lock]:
    """One process for the tools of all readers; it serves one call at a time."""
    return Sandbox(), threading.Lock()


def use_tool(name: str, arguments: Any) -> str:
    """What a tool says. Only those that the page allows can be called, and only in the sandbox."""
    settings = st.secrets["minimind"]
    if name not in settings["tools"]:
        return failure(f"there is no tool {name!r}").text
    if not isinstance(arguments, dict):
        return failure("the arguments of a call are an object").text
    box, lock = sandbox()
    with lock:
        return box.call(name, arguments, settings["stock"]).text


if __name__ == "__main__":
    main()
