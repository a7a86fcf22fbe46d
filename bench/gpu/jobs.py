"""What the GPU jobs need besides `minimind`: a corpus, a number of steps, a record, a comparison.

`python bench/gpu/jobs.py corpus | steps | record | optimizers --help`; the scripts beside this file
call it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

from minimind_wiki.errors import MinimindError

ENGLISH = ("en_books", "en_stories")  # NAME.train.jsonl.gz and NAME.val.jsonl.gz each
# The rates that each optimizer is tried with; its best run counts. AdamW's lie around that of the
# preset's recipe. Muon's steps have the size of AdamW's (Liu et al. 2025, arXiv:2502.16982, whose
# factor it has), so its rates begin there; orthogonal steps bear larger ones.
RATES = {"adamw": (5e-4, 1e-3, 2e-3), "muon": (1e-3, 2e-3, 4e-3)}


def write_json(path: Path, what: dict[str, Any]) -> None:
    """Whole or not at all: a job that finds the file takes its work as done."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(what, indent=1) + "\n", encoding="utf-8")
    part.replace(path)


def corpus(words: argparse.Namespace) -> None:
    """Training texts, then the held-out ones, in one file; a tokenizer learned from the first and
    from some rows of the world; and the share of tokens that makes a run hold out the second."""
    from minimind_wiki.data.corpus import read_documents
    from minimind_wiki.data.world.rows import make_rows
    from minimind_wiki.tokenizer import load_tokenizer
    from minimind_wiki.tokenizer.layout import MINIMIND
    from minimind_wiki.tokenizer.library import save_library, train_library
    from minimind_wiki.train.feeds import tokenize

    texts: dict[str, list[str]] = {}
    for part in ("train", "val"):
        files = [words.data / "lm" / f"{name}.{part}.jsonl.gz" for name in ENGLISH]
        read = [read_documents(file)[: words.limit or None] for file in files]
        texts[part] = list(chain.from_iterable(read))
    words.out.mkdir(parents=True, exist_ok=True)
    with (words.out / "english.jsonl").open("w", encoding="utf-8") as file:
        for text in texts["train"] + texts["val"]:
            file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
    world = (row["text"] for row in make_rows("pretrain", words.world_rows, 0))
    trained = train_library(chain(texts["train"], world), words.vocab_size, MINIMIND)
    save_library(trained, words.out / "tokenizer", MINIMIND)
    _, offsets = tokenize(texts["train"] + texts["val"], load_tokenizer(words.out / "tokenizer"))
    begin, end = int(offsets[len(texts["train"])]), int(offsets[-1])
    found = {"documents": len(offsets) - 1, "train_tokens": begin, "held_out_tokens": end - begin,
             "held_out": held_out_share(begin, end)}  # fmt: skip
    write_json(words.out / "corpus.json", found)
    print(f"Corpus: {found['documents']:,} documents, {begin:,} tokens to train on, "
          f"{end - begin:,} held out.")  # fmt: skip


def held_out_share(begin: int, end: int) -> float:
    """The share that makes a run hold out exactly the documents from token `begin` on, of `end`.

    A run holds out the documents from the first on that begins at or after (1 - share) · end; half
    a token more keeps the rounding of that product from moving it.

    >>> round(held_out_share(900, 1000), 6)
    0.1005
    """
    return (end - begin + 0.5) / end


def steps(words: argparse.Namespace) -> None:
    """Print how many steps fit the seconds at the trial's speed, and the epochs wished for."""
    speed = json.loads(words.trial.read_text(encoding="utf-8"))["throughput"]["tokens_per_second"]
    english = json.loads(words.corpus.read_text(encoding="utf-8"))["train_tokens"]
    print(step_count(words.seconds * speed, words.epochs * english, words.share,
                     words.rows * words.length))  # fmt: skip


def step_count(in_time: float, english: float, share: float, batch: int) -> int:
    """Steps of `batch` tokens: no more than `in_time` tokens, of which the part that is not of the
    world (1 - share) is no more than `english`.

    >>> step_count(1e6, 1e9, 0.5, 1000), step_count(1e9, 1e6, 0.5, 1000)
    (1000, 2000)
    """
    return max(1, int(min(in_time, english / (1 - share)) / batch))


def record(words: argparse.Namespace) -> None:
    """A run.json as a record: the same, without the paths of the machine."""
    text = words.run.read_text(encoding="utf-8")
    for number, path in enumerate(words.hide):
        text = text.replace(path.rstrip("/"), ("$MINIMIND_DATA", "$WORK")[number > 0])
    write_json(words.out, {"job": words.job} | json.loads(text))
    print(f"record: {words.out}")


def optimizers(words: argparse.Namespace) -> None:
    """Every optimizer at every one of its rates, then the record. A run that has its file is not
    made again."""
    import torch

    from minimind_wiki.data import load_corpus
    from minimind_wiki.tokenizer import load_tokenizer
    from minimind_wiki.train.config import TrainConfig
    from minimind_wiki.train.faults import NonFinite
    from minimind_wiki.train.feeds import make_feed
    from minimind_wiki.train.pretrain import pretrain

    about = json.loads((words.corpus / "corpus.json").read_text(encoding="utf-8"))
    tokenizer = load_tokenizer(words.corpus / "tokenizer")
    common = TrainConfig(
        preset=words.preset, data=str(words.corpus / "english.jsonl"), steps=words.steps,
        batch_size=words.rows, context_length=words.length, held_out=about["held_out"],
        eval_every=max(1, words.steps // 20), eval_windows=words.eval_windows, sample_tokens=0,
        compile=words.compile, device=words.device, dtype=words.dtype,
    )  # fmt: skip
    wanted = [(name, rate) for name, rates in RATES.items() for rate in rates]
    files = {(name, rate): words.work / f"{name}-{rate:g}.json" for name, rate in wanted}
    feed = None
    for (name, rate), file in files.items():
        if file.exists():
            print(f"have {file}", flush=True)
            continue
        feed = feed or make_feed(common, tokenizer, load_corpus(common.data))
        config = dataclasses.replace(common, optimizer=name, learning_rate=rate)
        told: dict[str, Any] = {"optimizer": name, "learning_rate": rate, "loss": None}
        try:
            run = pretrain(config, tokenizer=tokenizer, feed=feed).run
            told |= {key: run[key] for key in ("device", "throughput", "parameters", "seconds")}
            told |= {"loss": min(run["curve"]["held_out"]["loss"]), "curve": run["curve"]}
        except NonFinite as error:
            told["error"] = str(error)
        write_json(file, told)
        print(f"{name} at {rate:g}: held-out loss {told['loss']}", flush=True)
        torch.compiler.reset()  # another optimizer's model would count as one more shape of this
    runs = [json.loads(file.read_text(encoding="utf-8")) for file in files.values()]
    settings = {k: getattr(words, k) for k in ("preset", "steps", "rows", "length")}
    found = {"job": "optimizers", "settings": settings, "torch": torch.__version__}
    write_json(words.out, found | compare(runs, words.rows * words.length))
    print(f"record: {words.out}")


def compare(runs: list[dict[str, Any]], batch: int) -> dict[str, Any]:
    """For each optimizer its best run, and when that reached the loss that all of them reach.

    `batch`: tokens of a step. That loss is the highest of the lowest held-out losses.
    """
    best: dict[str, dict[str, Any]] = {}
    for run in runs:
        name = run["optimizer"]
        if run["loss"] is not None and run["loss"] < best.get(name, {"loss": math.inf})["loss"]:
            best[name] = run
    if len(best) < 2:
        raise MinimindError("fewer than two optimizers have a finite loss; look at the runs.")
    target = max(run["loss"] for run in best.values())
    found: dict[str, Any] = {}
    for name, run in best.items():
        tried = {r["learning_rate"]: r["loss"] for r in runs if r["optimizer"] == name}
        step = first_step_at(run["curve"]["held_out"], target)
        seconds = batch / run["throughput"]["tokens_per_second"]
        found[name] = {
            "learning_rate": run["learning_rate"],
            "at_edge": run["learning_rate"] in (min(tried), max(tried)),
            "loss_by_rate": {f"{rate:g}": loss for rate, loss in tried.items()},
            "loss": run["loss"],
            "seconds_per_step": seconds,
            "steps_to_target": step,
            "seconds_to_target": step * seconds,
            "curve": run["curve"],
        }
    device = next(iter(best.values()))["device"]
    both = {"steps": "steps_to_target", "seconds": "seconds_to_target"}
    return {"target_loss": target, "device": device, "optimizers": found} | {
        f"adamw_over_muon_{unit}": found["adamw"][key] / found["muon"][key]
        for unit, key in both.items()
    }


def first_step_at(curve: dict[str, list[float]], target: float) -> float:
    """The step at which the held-out loss first is `target`, on lines between its measurements.

    >>> first_step_at({"step": [0, 10, 20], "loss": [4.0, 2.0, 1.0]}, 1.5)
    15.0
    """
    points = list(zip(curve["step"], curve["loss"], strict=True))
    for (step, loss), (next_step, next_loss) in pairwise(points):
        if next_loss <= target:
            share = (loss - target) / (loss - next_loss) if loss > target else 0.0
            return step + share * (next_step - step)
    raise MinimindError(f"the held-out loss never reaches {target}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    actions = parser.add_subparsers(dest="action", required=True)

    one = actions.add_parser("corpus", help="the English corpus and a tokenizer for it")
    one.add_argument("--data", type=Path, required=True, help="folder with lm/en_books.train…")
    one.add_argument("--out", type=Path, required=True)
    one.add_argument("--vocab-size", type=int, default=6400)
    one.add_argument("--world-rows", type=int, default=20_000, help="that the tokenizer reads")
    one.add_argument("--limit", type=int, default=0, help="documents of each file (0: all)")
    one.set_defaults(act=corpus)

    one = actions.add_parser("steps", help="how many steps fit the time")
    one.add_argument("--trial", type=Path, required=True, help="run.json of a short run")
    one.add_argument("--corpus", type=Path, required=True, help="corpus.json")
    one.add_argument("--seconds", type=float, required=True, help="to train for")
    one.add_argument("--epochs", type=float, required=True, help="most of the English corpus")
    one.add_argument("--share", type=float, required=True, help="of the world among the rows")
    one.add_argument("--rows", type=int, required=True)
    one.add_argument("--length", type=int, required=True)
    one.set_defaults(act=steps)

    one = actions.add_parser("record", help="keep a run.json, without paths of this machine")
    one.add_argument("--run", type=Path, required=True)
    one.add_argument("--out", type=Path, required=True)
    one.add_argument("--job", required=True)
    one.add_argument("--hide", nargs=2, required=True, metavar=("DATA", "WORK"))
    one.set_defaults(act=record)

    one = actions.add_parser("optimizers", help="time to a loss, AdamW and Muon")
    one.add_argument("--corpus", type=Path, required=True, help="folder that `corpus` wrote")
    one.add_argument("--work", type=Path, required=True, help="folder for a file of each run")
    one.add_argument("--out", type=Path, required=True)
    one.add_argument("--preset", default="26m")
    one.add_argument("--steps", type=int, default=600)
    one.add_argument("--rows", type=int, default=64)
    one.add_argument("--length", type=int, default=512)
    one.add_argument("--eval-windows", type=int, default=512)
    one.add_argument("--device", default="auto")
    one.add_argument("--dtype", default="auto")
    one.add_argument("--compile", action="store_true")
    one.set_defaults(act=optimizers)

    words = parser.parse_args()
    try:
        words.act(words)
    except MinimindError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
