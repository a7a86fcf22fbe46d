"""Training in the page: the reader's program runs in slices; what it learned goes out as a file.

The program is a module with `Llama(vocabulary)`, `config(vocabulary)` and a generator
`train(model, text, knobs)` (snippets/training/transformer.py). Between two of its yields the page
may pause it, change its knobs, or take the weights: one thread, no shared memory, no interrupts.
"""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

NOTHING = 65535  # in a held-out row: the story has ended
EPOCH = (1980, 1, 1, 0, 0, 0)


class Text:
    """The text to learn from, as scripts/train_text.py writes it.

    train: (N,) token ids. starts: (S,) where in them a row may begin. held_out: (R, T+1) rows of
    one story each, -1 where it has ended; held_out_bytes: the bytes of their text. begin and end
    are the ids that stand around a story.
    """

    def __init__(self, about: dict[str, Any], data: bytes) -> None:
        n, starts, (rows, row) = about["train"], about["starts"], about["held_out"]
        if len(data) != 2 * n + 4 * starts + 2 * rows * row:
            raise ValueError("text.bin is not the file that text.json speaks of: build both again")
        held = np.frombuffer(data, np.uint16, rows * row, 2 * n + 4 * starts).astype(np.int64)
        self.train = np.frombuffer(data, np.uint16, n).astype(np.int64)
        self.starts = np.frombuffer(data, np.uint32, starts, 2 * n).astype(np.int64)
        self.held_out = np.where(held == NOTHING, -1, held).reshape(rows, row)
        self.held_out_bytes: int = about["held_out_bytes"]
        self.vocabulary: int = about["vocabulary"]
        self.begin, self.end = about["begin"], about["end"]
        self.bytes_per_token = about["train_bytes"] / n
        self._pieces = [piece.encode("latin-1") for piece in about["pieces"]]

    @classmethod
    def read(cls, folder: str | Path) -> Text:
        """The text of docs/en/assets/build/train/, to run the program outside the page."""
        about = json.loads((Path(folder) / "text.json").read_text(encoding="utf-8"))
        return cls(about, (Path(folder) / "text.bin").read_bytes())

    def decode(self, ids: list[int]) -> str:
        return b"".join(self._pieces[i] for i in ids).decode("utf-8", errors="replace")


class Training:
    """One run of a program, driven from outside."""

    def __init__(self, program: dict[str, Any], text: Text, knobs: dict[str, Any]) -> None:
        self.text, self.knobs, self.program = text, knobs, program
        program["torch"].manual_seed(int(knobs.get("seed", 0)))
        self.model = program["Llama"](text.vocabulary)
        self._going: Iterator[dict[str, Any]] = program["train"](self.model, text, knobs)
        self.parameters = sum(p.numel() for p in self.model.parameters())
        self.seconds = 0.0  # of computing: pauses do not count

    def advance(
        self, milliseconds: float, clock: Callable[[], float] = time.perf_counter
    ) -> dict[str, Any]:
        """Run for about so long, at least to the next yield.

        Returns {"events": what was yielded, each with the seconds computed so far, "done"}. Of
        samples only the longest is kept, as text.
        """
        events: list[dict[str, Any]] = []
        began = clock()
        while True:
            event = next(self._going, None)
            spent = clock() - began
            if event is not None:
                made = {**event, "seconds": round(self.seconds + spent, 3)}
                if "sample" in made:
                    made["sample"] = self.text.decode(made["sample"])
                    events = [e for e in events if "sample" not in e or e["step"] != made["step"]]
                if "loss" in made:
                    made["bits"] = made["loss"] / np.log(2) / self.text.bytes_per_token
                events.append(made)
            if event is None or spent * 1000 >= milliseconds:
                self.seconds += spent
                return {"events": events, "done": event is None}

    def folder(self, files: dict[str, bytes]) -> bytes:
        """The model as a zip of a model folder: weights, config, and the given tokenizer files."""
        state = self.model.state_dict().items()
        weights = {f"model.{name}": w.detach().numpy() for name, w in state}
        config = self.program["config"](self.text.vocabulary)
        begin, end = self.text.begin, self.text.end
        config |= {"bos_token_id": begin, "eos_token_id": end, "pad_token_id": 0}
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            parts = {
                "config.json": (json.dumps(config, indent=2) + "\n").encode(),
                "model.safetensors": safetensors(weights),
                **files,
            }  # fmt: skip
            for name, data in parts.items():
                archive.writestr(zipfile.ZipInfo(f"my-model/{name}", EPOCH), data)
        return out.getvalue()


def safetensors(arrays: dict[str, np.ndarray]) -> bytes:
    """The safetensors file of float32 arrays: the length of a JSON header, the header, the values.

    >>> safetensors({"w": np.zeros(1)})[8:35]
    b'{"__metadata__":{"format":"'
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    values, at = [], 0
    for name, array in sorted(arrays.items()):
        data = np.ascontiguousarray(array, dtype="<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(array.shape),
                        "data_offsets": [at, at + len(data)]}  # fmt: skip
        values.append(data)
        at += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(values)
