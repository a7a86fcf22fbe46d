"""`minimind chat`: talk with a trained model in the terminal."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minimind_wiki.errors import MinimindError, WrongCall, unknown
from minimind_wiki.verbs.generate import sampling_flags

if TYPE_CHECKING:
    from minimind_wiki.train.sandbox import Sandbox
    from minimind_wiki.verbs._talk import Piece, Talk

HELP = "Talk with a trained model; thoughts are shown apart, tools are run in a sandbox."
EXAMPLE = "minimind chat models/world-tiny-chat --temperature 0.7 --tools calculator,calendar"
COMMANDS = {
    "/help": "what you can type",
    "/retry": "another answer to your last message",
    "/reset": "forget what was said",
    "/system TEXT": "say how the model shall be; without TEXT, show it",
    "/save F.jsonl": "add the talk to a file, as a row to train on",
    "/quit": "leave; so does the end of the input (Ctrl-D)",
}
TOOLS_SYSTEM = "You may call tools."  # as in the chats with tools that the little world writes


def configure(parser: argparse.ArgumentParser) -> None:
    """The model, how to draw, what it may do."""
    parser.add_argument("model", type=Path, help="a model folder, or the folder of a run")
    sampling_flags(parser)
    parser.add_argument("--system", default="", metavar="T", help="the system message")
    parser.add_argument("--think", action="store_true", help="let the model think first")
    parser.add_argument("--tools", default="", metavar="A,B",
                        help="tools that the model may call: calculator, calendar, inventory "
                             "(default: none)")  # fmt: skip
    parser.add_argument(
        "--stock",
        type=Path,
        metavar="F.json",
        help='what each shop has, for the inventory: {"bakery": {"pots": 3}}',
    )


def run(args: argparse.Namespace) -> int:
    """Read messages and commands until the input ends; answer each."""
    from minimind_wiki.train.sandbox import Sandbox

    stock = read_stock(args.stock)
    tools = allowed_tools(args.tools, stock)
    with Sandbox() as sandbox:  # its process starts with the first call
        talk = make_talk(args, tools, sandbox, stock)
        screen = Screen()
        screen.note("/help shows what you can type; Ctrl-C stops an answer.")
        for line in lines(screen):
            try:
                if line == "/quit":
                    break
                with until_ctrl_c() as stopped:
                    obey(line, talk, screen, stopped)
            except MinimindError as error:
                screen.note(str(error))
    return 0


def obey(line: str, talk: Talk, screen: Screen, stopped: Callable[[], bool]) -> None:
    """A command, or a message to answer. MinimindError with what is wrong with it."""
    command, _, rest = line.partition(" ")
    rest = rest.strip()
    if not line.startswith("/"):
        screen.show(talk.ask(line, stopped))
    elif command == "/help":
        for name, about in COMMANDS.items():
            screen.note(f"{name:14s} {about}")
    elif command == "/retry":
        screen.show(talk.retry(stopped))
    elif command == "/reset":
        talk.messages.clear()
        screen.note("(forgotten)")
    elif command == "/system":
        talk.system = rest or talk.system
        screen.note(f"(system: {talk.system or 'none'})")
    elif command == "/save":
        if not rest:
            raise WrongCall("/save needs a file, such as /save talks.jsonl.")
        row = json.dumps(talk.row(), ensure_ascii=False)
        try:
            with Path(rest).expanduser().open("a", encoding="utf-8") as file:
                file.write(row + "\n")
        except OSError as error:
            raise MinimindError(f"{rest} cannot be written ({error.strerror}).") from error
        screen.note(f"(added to {rest})")
    else:
        raise unknown("command", command, [name.split()[0] for name in COMMANDS])


def make_talk(
    args: argparse.Namespace, tools: list[Mapping[str, Any]], sandbox: Sandbox, stock: Any
) -> Talk:
    """Load the model and put an engine before it, with a cache for one whole context."""
    from minimind_wiki.evaluate.manner import read
    from minimind_wiki.verbs._answer import Opened, sampling_of
    from minimind_wiki.verbs._talk import Talk

    sampling = sampling_of(args)
    opened = Opened(args)
    made = read(opened.folder / "run.json")
    if made.get("settings") and not made.get("method"):  # a pretraining's
        told = "'minimind generate' asks for that, and 'minimind sft' teaches it to answer."
        print(f"{args.model} has learned to go on with texts, not to answer; {told}",
              file=sys.stderr)  # fmt: skip
    talk = Talk(opened.engine(), opened.tokenizer, sampling, args.max_tokens, args.stop,
                args.think, tools,
                lambda name, arguments: sandbox.call(name, arguments, stock))  # fmt: skip
    talk.system = args.system or (TOOLS_SYSTEM if tools else "")
    return talk


def allowed_tools(names: str, stock: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What the model is told of the tools it may call. WrongCall for one that is not known.

    >>> [tool["function"]["name"] for tool in allowed_tools("calendar", {})]
    ['calendar']
    """
    from minimind_wiki.data.world.tools import SPECS

    found: list[Mapping[str, Any]] = []
    for name in filter(None, map(str.strip, names.split(","))):
        if name not in SPECS:
            raise unknown("tool", name, SPECS)
        if name == "inventory" and not stock:
            raise WrongCall("the inventory needs a file with what each shop has; give --stock.")
        found.append(SPECS[name])
    return found


def read_stock(file: Path | None) -> Mapping[str, Any]:
    """Counts of items by shop, from JSON; WrongCall where the file holds something else."""
    if file is None:
        return {}
    try:
        stock = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise WrongCall(f"--stock {file} cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise WrongCall(f"--stock {file} is no JSON file ({error}).") from error
    if not isinstance(stock, dict) or not all(isinstance(shop, dict) for shop in stock.values()):
        raise WrongCall(f'--stock {file} must hold counts by shop: {{"bakery": {{"pots": 3}}}}.')
    return stock


@contextmanager
def until_ctrl_c() -> Iterator[Callable[[], bool]]:
    """Gives a function that is True after Ctrl-C; a second one ends the program."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False  # signals reach the main thread only
        return

    def note(number: int, frame: object) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(number)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(caught)
    finally:
        signal.signal(signal.SIGINT, before)


def lines(screen: Screen) -> Iterator[str]:
    """What is typed, line by line, without empty ones. Ctrl-C gives a line up."""
    terminal = sys.stdin.isatty()
    if terminal:
        with contextlib.suppress(ImportError):  # on Windows
            import readline  # noqa: F401 (input() then edits lines and remembers them)
    while True:
        try:
            line = input("> ") if terminal else sys.stdin.readline()
        except KeyboardInterrupt:
            screen.note("\n(/quit leaves)")
            continue
        except EOFError:
            print()
            return
        except UnicodeDecodeError as error:
            raise WrongCall(f"the input is not UTF-8 text ({error.reason}).") from error
        if not line and not terminal:
            return
        if line.strip():
            yield line.strip()


class Screen:
    """Shows pieces as they come: thoughts and what tools do dim, the answer plain.

    All text goes through `printable`: what a model or a tool says must not steer the terminal.
    """

    def __init__(self) -> None:
        from rich.console import Console

        self.console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)

    def show(self, pieces: Iterable[Piece]) -> None:
        """Print an answer; thought, answer and each call begin on a line of their own."""
        from minimind_wiki.infer.reader import Call, Said
        from minimind_wiki.verbs._talk import Answered

        before = ""  # the kind of text that the present line belongs to
        for piece in pieces:
            if isinstance(piece, Said):
                if before not in ("", piece.kind):
                    self._print("\n", "")
                before = piece.kind
                self._print(piece.text, "" if piece.kind == "content" else "dim italic")
                continue
            self._print("\n" if before else "", "")
            before = ""
            if isinstance(piece, Call):
                self.note(f"[{piece.name} {piece.arguments}]")
            elif isinstance(piece, Answered):
                self.note(f"[{piece.name} answers {piece.text}]")
            else:
                self.note(piece.text)
        self._print("\n" if before else "", "")

    def note(self, text: str) -> None:
        """A line that is not the model's."""
        self._print(text + "\n", "dim")

    def _print(self, text: str, style: str) -> None:
        from rich.text import Text

        from minimind_wiki.train.report import printable

        self.console.print(Text(printable(text), style), end="")
        self.console.file.flush()
