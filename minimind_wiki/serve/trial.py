"""A server at work in a thread of this process, and what it ought to answer.

Greedy answers are known beforehand: those that `generate` gives to each prompt by itself. A token
that is lost, comes twice or comes in another's stream makes an answer differ. So would a near tie
that another order of sums decides otherwise; an answer is therefore compared up to the first place
where the two best scores are closer than `ties`.

Shapes: T time.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from minimind_wiki.errors import MinimindError
from minimind_wiki.infer import generate
from minimind_wiki.model import Transformer
from minimind_wiki.serve.app import create_app
from minimind_wiki.serve.desk import Served
from minimind_wiki.serve.load import Seen
from minimind_wiki.serve.run import Server, listen
from minimind_wiki.serve.security import Limits


@contextmanager
def at_work(served: Served, limits: Limits) -> Iterator[str]:
    """A server of one model, "m", on a free port of this machine; its "host:port"."""
    ready, opened = threading.Event(), listen("127.0.0.1", 0)
    server = Server(create_app({"m": served}, limits=limits), ready.set, log_level="warning")
    thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]}, daemon=True)
    thread.start()
    if not ready.wait(60):
        raise MinimindError("the server did not start within a minute; see its log above.")
    try:
        yield f"127.0.0.1:{opened.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The greedy answer of a prompt by itself, up to its first near tie."""

    text: str
    whole: bool

    def fits(self, seen: Seen) -> bool:
        """Whether a client got it, and its stream came to its end."""
        same = seen.text == self.text if self.whole else seen.text.startswith(self.text)
        return same and seen.ended and seen.finish in ("stop", "length")


def wanted(
    model: Transformer, tokenizer: Any, prompt: Sequence[int], tokens: int, ties: float
) -> Wanted:
    """Ask the model alone."""
    ids_1T = torch.tensor([list(prompt)])
    ids_1T = generate(model, ids_1T, tokens, 0.0, stop_ids=(tokenizer.eos_id,))
    with torch.inference_mode():
        best_T2 = model(ids_1T)[0, len(prompt) - 1 : -1].topk(2).values
    new = ids_1T[0, len(prompt) :].tolist()
    close = (best_T2[:, 0] - best_T2[:, 1] < ties).nonzero().flatten().tolist()
    return Wanted(tokenizer.decode(new[: close[0]] if close else new), not close)
