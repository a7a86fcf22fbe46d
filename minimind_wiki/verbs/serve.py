"""`minimind serve`: answer OpenAI's API with a trained model and its adapters."""

from __future__ import annotations

import argparse
import copy
import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.verbs.generate import device_flag, draft_flags, dtype_flag, native_flag

HELP = "Answer OpenAI's API (chat, completions, embeddings) with a trained model."
EXAMPLE = "minimind serve models/world-tiny-chat --port 8000"
NAME = re.compile(r"[A-Za-z0-9._-]+")


def configure(parser: argparse.ArgumentParser) -> None:
    """The model, who may ask, and how much."""
    add = parser.add_argument
    add("model", type=Path, help="a model folder, or the folder of a run")
    add("--name", metavar="N", help="the name that clients give (default: the folder's)")
    add("--adapter", action="append", default=[], metavar="NAME=FOLDER",
        help="serve the model with this LoRA too, under NAME; as often as you like")  # fmt: skip
    add("--host", default="127.0.0.1", help="where to listen; others need a key (default: "
        "127.0.0.1, this machine alone)")  # fmt: skip
    add("--port", type=int, default=8000, metavar="N", help="0 takes a free one (default: 8000)")
    add("--api-key-file", type=Path, metavar="F",
        help="a file with the key that clients must send (or set MINIMIND_API_KEY)")  # fmt: skip
    add("--allow-origin", action="append", default=[], metavar="URL",
        help="a site whose pages may call this server from a browser (default: none)")  # fmt: skip
    device_flag(parser)
    dtype_flag(parser)
    add("--room", type=int, metavar="N", help="tokens that the cache holds for all requests")
    draft_flags(parser)
    native_flag(parser)
    add("--max-requests", type=int, default=128, metavar="N",
        help="requests at work and waiting; more are told to come back (default: 128)")  # fmt: skip
    add("--max-new-tokens", type=int, default=4096, metavar="N",
        help="most tokens of an answer (default: 4096)")  # fmt: skip
    add("--max-prompt-tokens", type=int, default=1 << 20, metavar="N",
        help="most tokens of a prompt (default: the model's context)")  # fmt: skip
    add("--max-body", type=int, default=1 << 20, metavar="BYTES",
        help="largest request (default: 1048576)")  # fmt: skip
    add("--time-limit", type=float, default=300.0, metavar="S",
        help="seconds that a request may take, waiting included (default: 300)")  # fmt: skip
    add("--step-timeout", type=float, default=120.0, metavar="S",
        help="seconds after which a step of the model is given up (default: 120)")  # fmt: skip
    add("--grace", type=float, default=10.0, metavar="S",
        help="seconds that answers may go on after a stop (default: 10)")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Load, listen, answer until a signal comes."""
    from minimind_wiki.serve.app import create_app
    from minimind_wiki.serve.run import Server, listen
    from minimind_wiki.serve.security import Limits, check_host, read_key

    key = read_key(args.api_key_file, os.environ)
    check_host(args.host, key)
    check_port(args.port)
    for name in ("max_body", "max_prompt_tokens", "max_new_tokens", "time_limit", "max_requests",
                 "step_timeout"):  # fmt: skip
        if getattr(args, name) <= 0:
            flag = "--" + name.replace("_", "-")
            raise WrongCall(f"{flag} is {getattr(args, name)}; give more than 0.")
    limits = Limits(
        body_bytes=args.max_body, prompt_tokens=args.max_prompt_tokens,
        new_tokens=args.max_new_tokens, seconds=args.time_limit, at_once=args.max_requests,
        step_seconds=args.step_timeout, grace=args.grace,
    )  # fmt: skip
    limits.validate()
    folders = named_adapters(args.adapter)
    opened = listen(args.host, args.port)  # before the model, so that a taken port shows at once
    models = served_models(args, folders)
    app = create_app(models, key, limits, args.allow_origin)
    host = f"[{args.host}]" if ":" in args.host else args.host
    place = f"http://{host}:{opened.getsockname()[1]}/v1"

    def ready() -> None:
        print(f"Serving {', '.join(models)} at {place}; Ctrl+C stops.", flush=True)

    # a service manager's stop (SIGTERM) is a stop like Ctrl+C: the same end, the same status
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        Server(app, ready).run(sockets=[opened])
    except KeyboardInterrupt:  # uvicorn has ended in order, and gives the signal on
        print("Stopped.", file=sys.stderr)
    finally:
        signal.signal(signal.SIGTERM, before)
    if app.state.desk.worker.gave_up:
        raise MinimindError(
            "too many steps of the model did not come back, so this process ends; let a "
            "supervisor start it again."
        )
    return 0


def check_port(port: int) -> None:
    """WrongCall for a number that is no port: some systems would take what its last 16 bits say.

    >>> check_port(70000)
    Traceback (most recent call last):
    minimind_wiki.errors.WrongCall: --port is 70000; give 0 for a free one, or up to 65535.
    """
    if not 0 <= port < 1 << 16:
        raise WrongCall(f"--port is {port}; give 0 for a free one, or up to 65535.")


def named_adapters(words: list[str]) -> dict[str, Path]:
    """`NAME=FOLDER` as a table. WrongCall for another form, a name given twice, no such folder.

    >>> named_adapters(["here=."])
    {'here': PosixPath('.')}
    """
    found: dict[str, Path] = {}
    for word in words:
        name, _, folder = word.partition("=")
        if not folder or not NAME.fullmatch(name):
            raise WrongCall(f"--adapter {word} is not NAME=FOLDER with a NAME of letters and -._.")
        if name in found:
            raise WrongCall(f"two adapters are called {name}; give each a name of its own.")
        if not Path(folder).is_dir():
            raise WrongCall(f"--adapter {word}: there is no folder {folder}; check the path.")
        found[name] = Path(folder)
    return found


@contextmanager
def one_thread() -> Iterator[None]:
    """What is done here starts no team of OpenMP's threads.

    A server computes in a thread of its own, which gets a team of its own. With another one, even
    idle, there are more threads than cores, and GNU's OpenMP then lets a team sleep between any two
    calls: a request takes two to three times as long on two cores.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@one_thread()
def served_models(args: argparse.Namespace, folders: dict[str, Path]) -> dict[str, Any]:
    """The model by its name, and with each adapter by the adapter's name."""
    from minimind_wiki.infer.lay import context_of
    from minimind_wiki.serve.desk import Served
    from minimind_wiki.serve.embeddings import embedder
    from minimind_wiki.verbs._answer import Opened

    opened = Opened(args)
    model = opened.model
    name = args.name or Path(os.path.abspath(args.model)).name
    if not NAME.fullmatch(name):
        raise WrongCall(f"{name!r} cannot name a model; give --name letters, digits and -._.")
    if name in folders:
        raise WrongCall(f"an adapter is called {name} like the model; choose another name.")
    models = {name: model}
    models |= {name: with_adapter(model, folder) for name, folder in folders.items()}
    return {
        name: Served(engine_maker(model, opened, args.room), opened.tokenizer,
                     context_of(model.config), embedder(model))
        for name, model in models.items()
    }  # fmt: skip


def engine_maker(model: Any, opened: Any, room: int | None) -> Any:
    """What makes an engine, at start and after a crash. By default its cache has room for four
    whole contexts, but for no more than 32,768 tokens, if one context is not more already."""
    from minimind_wiki.infer.lay import context_of

    context = context_of(model.config)
    room = max(context, min(4 * context, 32_768)) if room is None else room

    return one_thread()(lambda: opened.engine_of(model, room=room))


def with_adapter(model: Any, folder: Path) -> Any:
    """A copy of the model with the adapter in it. It shares all weights that do not change."""
    from minimind_wiki.infer.adapter import merge_stored, read_adapter

    stored = read_adapter(folder, model)
    layers = dict(model.named_modules())
    own = {id(layers[name].weight) for name in stored.layers}
    shared = {id(weight): weight for weight in model.parameters() if id(weight) not in own}
    adapted = copy.deepcopy(model, shared)
    merge_stored(stored, adapted)
    return adapted
