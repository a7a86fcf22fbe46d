"""Memory and speed of fine-tuning one model with all weights, LoRA and QLoRA, as a record.

`python bench/gpu/adapters.py --help`; `post_training.sh` calls it. The weights are random: what a
step takes does not depend on them. Each arm is a process of its own, so that its memory is its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ARMS: dict[str, list[str]] = {
    "full": [],
    "full_8bit": ["--optimizer", "paged_adamw8bit"],
    "lora": ["--lora-rank", "16"],
    "qlora": ["--lora-rank", "16", "--quantize", "nf4"],
}


def base(preset_name: str, tokenizer: str, folder: Path) -> Path:
    """A model folder of the preset with random weights."""
    from minimind_wiki.infer import save_model_folder
    from minimind_wiki.model import Transformer, preset
    from minimind_wiki.tokenizer import load_tokenizer

    if not (folder / "config.json").exists():
        known, shape = load_tokenizer(tokenizer), preset(preset_name)
        size = max(shape.vocab_size, known.vocab_size)
        shape = preset(preset_name, vocab_size=size)
        save_model_folder(folder, Transformer(shape, seed=0), known)
    return folder


def main() -> None:
    """Run every arm that has no file yet, then write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", required=True)
    parser.add_argument("--tokenizer", default="models/world-tiny")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    words, flags = parser.parse_known_args()
    model = base(words.preset, words.tokenizer, words.work / "base")
    found: dict[str, Any] = {}
    for name, own in ARMS.items():
        run = words.work / name / "run.json"
        if not run.exists():
            call = [sys.executable, "-m", "minimind_wiki", "sft", "--model", str(model),
                    "--data", "world/instructions", "--gold-items", "0", "--eval-windows", "2",
                    "--out", str(run.parent), *own, *flags]  # fmt: skip
            if (run.parent / "checkpoints").exists():
                call = [*call[:4], "--out", str(run.parent), "--resume"]
            subprocess.run(call, check=True)
        about = json.loads(run.read_text(encoding="utf-8"))
        found[name] = {key: about[key] for key in ("throughput", "parameters", "device", "seconds")}
    words.out.parent.mkdir(parents=True, exist_ok=True)
    part = words.out.with_name(f".{words.out.name}.part")
    part.write_text(
        json.dumps({"job": "adapters", "preset": words.preset, "arms": found}, indent=1)
    )
    part.replace(words.out)
    print(f"record: {words.out}")


if __name__ == "__main__":
    main()
