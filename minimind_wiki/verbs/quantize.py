"""`minimind quantize`: write a trained model in eight or four bits."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

HELP = (
    "Write a trained model in eight or four bits. GPTQ and AWQ read some text first, to see which "
    "weights matter."
)
EXAMPLE = "minimind quantize models/world-tiny --bits 8 --out runs/village-int8"


def configure(parser: argparse.ArgumentParser) -> None:
    """The model, how it is rounded, what it reads for that, the place."""
    parser.add_argument("model", type=Path, help="a model folder, or the folder of a run")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR",
                        help="the folder to write; it must be new")  # fmt: skip
    parser.add_argument("--bits", type=int, default=8, metavar="N",
                        help="8 or 4, of the matrices of the blocks; embedding and head always "
                             "get 8 (default: 8)")  # fmt: skip
    parser.add_argument("--group", type=int, default=0, metavar="N",
                        help="neighbours in a row that share a scale, for four bits often 32; 0: "
                             "the whole row (default: 0)")  # fmt: skip
    parser.add_argument("--method", default="round", metavar="M",
                        help="round | gptq | awq (default: round, without text)")  # fmt: skip
    parser.add_argument("--zero-point", action="store_true",
                        help="lay the codes from the smallest weight to the largest, instead of "
                             "evenly around zero")  # fmt: skip
    parser.add_argument("--act-order", action="store_true",
                        help="gptq: round the columns with the largest inputs first")  # fmt: skip
    parser.add_argument("--calibration", type=Path, metavar="F",
                        help="text for gptq and awq, as the model will read it (default: stories "
                             "of the little world)")  # fmt: skip
    parser.add_argument("--rows", type=int, default=32, metavar="N",
                        help="rows of 256 tokens of it that are read (default: 32)")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="which stories (default: 0)")


def run(args: argparse.Namespace) -> int:
    """Round, write, and say how large it has become."""
    from minimind_wiki.errors import MinimindError, WrongCall
    from minimind_wiki.evaluate.manner import read, text_begin
    from minimind_wiki.infer import load_model_folder
    from minimind_wiki.infer.quantize import quantize_model, save_quantized, stored_bytes
    from minimind_wiki.infer.quantize.calibrate import batches_of
    from minimind_wiki.verbs.generate import find_model

    if args.out.exists():
        raise WrongCall(f"{args.out} exists and is not overwritten; choose another place.")
    if args.rows < 1:
        raise WrongCall(f"--rows is {args.rows}; give 1 or more.")
    folder = find_model(args.model)
    model, tokenizer = load_model_folder(folder)
    before, count = stored_bytes(model), model.num_parameters()
    batches = []
    if args.method != "round":
        if tokenizer is None:
            raise MinimindError(f"{folder} has no tokenizer, so it cannot read text to calibrate.")
        length = min(256, model.config.max_position_embeddings)
        batches = batches_of(texts(args), tokenizer.encode, text_begin(folder), args.rows, length)
    model = quantize_model(model.float(), args.bits, args.group, args.method, batches,
                           not args.zero_point, args.act_order)  # fmt: skip
    made = {"parameters": count, "calibration_rows": sum(len(ids) for ids in batches)}
    save_quantized(args.out, model, tokenizer, read(folder / "run.json") | made)
    print(f"{args.out} is written: {before / 1e6:,.2f} MB have become "
          f"{stored_bytes(model) / 1e6:,.2f} MB.")  # fmt: skip
    return 0


def texts(args: argparse.Namespace) -> Iterator[str]:
    """The calibration texts: a file, whole, or stories without end."""
    from minimind_wiki.data.world.rows import make_rows
    from minimind_wiki.errors import WrongCall

    if args.calibration is None:
        for row in make_rows("pretrain", None, args.seed):
            yield row["text"]
        return
    try:
        yield args.calibration.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WrongCall(f"cannot read {args.calibration} as UTF-8 text ({error}).") from error
