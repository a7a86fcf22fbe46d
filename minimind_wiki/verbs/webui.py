"""`minimind webui`: a chat page in the browser for a trained model."""

from __future__ import annotations

import argparse
import os
from contextlib import ExitStack
from pathlib import Path

from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.verbs.generate import device_flag, dtype_flag, native_flag

HELP = "Open a chat page in the browser for a trained model."
EXAMPLE = "minimind webui models/world-tiny-chat --tools calculator,calendar"


def configure(parser: argparse.ArgumentParser) -> None:
    """The model or the server, the page's place, what the model may do."""
    add = parser.add_argument
    add("model", type=Path, nargs="?", help="a model folder, or the folder of a run")
    add("--server", metavar="URL",
        help="talk with a running server of OpenAI's protocol instead")  # fmt: skip
    add("--name", metavar="N", help="the name of the model on the page (default: the folder's)")
    add("--adapter", action="append", default=[], metavar="NAME=FOLDER",
        help="offer the model with this LoRA too, under NAME; as often as you like")  # fmt: skip
    add("--host", default="127.0.0.1", help="where the page listens; others need a key, for which "
        "it asks (default: 127.0.0.1, this machine alone)")  # fmt: skip
    add("--port", type=int, default=8501, metavar="N", help="0 takes a free one (default: 8501)")
    add("--api-key-file", type=Path, metavar="F",
        help="a file with the key that the server takes, and that the page asks for if other "
             "machines reach it (or set MINIMIND_API_KEY)")  # fmt: skip
    device_flag(parser)
    dtype_flag(parser)
    native_flag(parser)
    add("--room", type=int, metavar="N", help="tokens that the cache holds for all requests")
    add("--system", default="", metavar="T", help="the system message that the page begins with")
    add("--tools", default="", metavar="A,B",
        help="what the model may call: calculator, calendar, inventory (or none)")  # fmt: skip
    add("--stock", type=Path, metavar="F.json",
        help='what each shop has, for the inventory: {"bakery": {"pots": 3}}')  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Serve the model and the page until a signal comes."""
    try:
        from minimind_wiki.webui.run import beside, show
    except ModuleNotFoundError as error:
        raise MinimindError(
            f"the chat page needs {error.name!r}; run 'pip install \"minimind-wiki[webui]\"'."
        ) from error
    from minimind_wiki.serve.app import create_app
    from minimind_wiki.serve.security import KEY_VARIABLE, check_host, is_local, read_key
    from minimind_wiki.verbs.chat import TOOLS_SYSTEM, allowed_tools, read_stock
    from minimind_wiki.verbs.serve import check_port, named_adapters, served_models

    if (args.model is None) == (args.server is None):
        raise WrongCall("give a model folder or --server URL, one of the two.")
    if args.server is not None and not args.server.startswith(("http://", "https://")):
        raise WrongCall(
            f"--server {args.server} is no address; it begins with http:// or https://."
        )
    stock = read_stock(args.stock)
    tools = [tool["function"]["name"] for tool in allowed_tools(args.tools, stock)]
    key = read_key(args.api_key_file, os.environ)
    check_host(args.host, key)
    check_port(args.port)
    text = args.api_key_file.read_text("utf-8") if args.api_key_file else os.getenv(KEY_VARIABLE)
    host = f"[{args.host}]" if ":" in args.host else args.host

    def ready(port: int) -> None:
        print(f"The chat page is at http://{host}:{port}; Ctrl+C stops.", flush=True)

    with ExitStack() as stack:
        url = args.server
        if url is None:
            app = create_app(served_models(args, named_adapters(args.adapter)), key)
            url = stack.enter_context(beside(app))
        settings = {"server": url, "tools": tools, "stock": stock,
                    "key": (text or "").strip(), "ask": not is_local(args.host),
                    "system": args.system or (TOOLS_SYSTEM if tools else "")}  # fmt: skip
        show(settings, args.host, args.port, ready)
    return 0
