"""The same cleaning on many machines: our steps as a datatrove pipeline (Penedo et al. 2024).

Four stages, as each needs all of the one before: our edits and filters with the MinHash signature
of what is left; pairs that agree in a band, one task a band; clusters; the rows without all but one
of each cluster. An executor of datatrove's runs them: on this machine, with Slurm or with Ray.

Words, shingles and signatures are ours (`minhash`), cut to datatrove's 61 bits, so the pairs are
those that our bands find. Unlike our `near` step, datatrove takes every pair that agrees in a band
and estimates no likeness: its threshold is where the bands' curve rises, (1/b)^(1/r).
Steps with a memory see one task's rows only, so `exact` finds no copies across tasks; `near` does.
What a filter drops lies in `dropped/<stage>/`, with the reason; there is no undo.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minimind_wiki.data.clean import minhash
from minimind_wiki.data.clean.step import Row, Step
from minimind_wiki.errors import MinimindError, unknown

EXECUTORS = ("local", "slurm", "ray")
try:
    from datatrove.pipeline.base import PipelineStep
    from datatrove.pipeline.dedup import MinhashDedupSignature
    from datatrove.pipeline.filters.base_filter import BaseFilter
except ImportError:  # the module can be read without it; `build` says what is missing
    PipelineStep = MinhashDedupSignature = BaseFilter = object


class StepFilter(BaseFilter):
    """One of our steps. What it rewrites goes on rewritten; one row gives one row or none."""

    def __init__(self, step: Step, exclusion_writer: Any = None) -> None:
        self.name = f"minimind {step.name}"
        super().__init__(exclusion_writer)
        self.step = step

    def filter(self, doc: Any) -> bool | tuple[bool, str]:
        """Whether the document stays, and if not, why."""
        row = Row({"text": doc.text}, str(doc.metadata.get("file_path", "")), 0)
        result = self.step(row)
        if len(result.rows) > 1:
            raise MinimindError(f"the step {self.step.name} gives several rows; leave it out here.")
        if not result.rows:
            return False, result.dropped
        doc.text = result.rows[0].data["text"]
        return True


class Signature(MinhashDedupSignature):
    """datatrove's first MinHash stage with our words and our signatures."""

    def __init__(self, output_folder: str, config: Any, n: int = 5, seed: int = 0) -> None:
        # Not the parent's: it would load a word tokenizer of another package.
        PipelineStep.__init__(self)
        from datatrove.io import get_datafolder

        self.output_folder = get_datafolder(output_folder)
        self.config, self.n = config, n
        self.skip_existing_sigs = False
        self._maps = minhash.permutations(config.num_buckets * config.hashes_per_bucket, seed)

    def get_shingles(self, text: str) -> np.ndarray:
        """Our shingles, (S,) uint64."""
        return minhash.shingles(text, self.n)

    def get_signature(self, shingles: np.ndarray) -> list[list[int]]:
        """Our signature, cut to 61 bits as datatrove's files want it, a list for each band."""
        sig = minhash.signature(shingles, *self._maps) >> np.uint64(3)
        return [band.tolist() for band in np.split(sig, self.config.num_buckets)]


def _executor(kind: str) -> type:
    if kind not in EXECUTORS:
        raise unknown("executor", kind, EXECUTORS)
    if kind == "local":
        from datatrove.executor.local import LocalPipelineExecutor

        return LocalPipelineExecutor
    if kind == "slurm":
        from datatrove.executor.slurm import SlurmPipelineExecutor

        return SlurmPipelineExecutor
    from datatrove.executor.ray import RayPipelineExecutor

    return RayPipelineExecutor


def build(
    source: Path,
    work: Path,
    steps: Sequence[Step] = (),
    *,
    executor: str = "local",
    tasks: int = 1,
    bands: int = 14,
    rows: int = 8,
    n: int = 5,
    seed: int = 0,
    **options: Any,
) -> list[Any]:
    """The four executors, each depending on the one before; `run` starts them.

    source: folder of .jsonl (or .jsonl.gz) files with `text`; file i goes to task i modulo `tasks`.
    work: folder for signatures, pairs, clusters, logs, `dropped/` and the clean rows, in `clean/`;
    every machine must see both. options: for the executor: `workers` for all; `partition` and
    `time` ("2:00:00"), which Slurm needs. MinimindError for an executor that is not known.
    """  # fmt: skip
    try:
        from datatrove.pipeline.dedup.minhash import (
            MinhashConfig,
            MinhashDedupBuckets,
            MinhashDedupCluster,
            MinhashDedupFilter,
        )
        from datatrove.pipeline.readers import JsonlReader
        from datatrove.pipeline.writers.jsonl import JsonlWriter
        from datatrove.utils.hashing import HashConfig
    except ImportError as error:
        raise MinimindError(
            "cleaning on a cluster needs datatrove; 'pip install datatrove orjson' gets it."
        ) from error

    make = _executor(executor)
    config = MinhashConfig(
        n_grams=n, num_buckets=bands, hashes_per_bucket=rows, seed=seed,
        hash_config=HashConfig(precision=64, hash_fc="sha1"),
    )  # fmt: skip
    place = {name: str(work / name) for name in ("kept", "signatures", "pairs", "clusters")}

    def dropped(name: str) -> Any:
        return JsonlWriter(str(work / "dropped" / name), compression=None)

    stages = [
        ("signatures", tasks, [
            JsonlReader(str(source), glob_pattern="*.jsonl*"),
            *(StepFilter(step, dropped(step.name)) for step in steps),
            JsonlWriter(place["kept"], compression=None),
            Signature(place["signatures"], config, n, seed),
        ]),
        ("pairs", bands, [MinhashDedupBuckets(place["signatures"], place["pairs"], config=config)]),
        ("clusters", 1, [MinhashDedupCluster(place["pairs"], place["clusters"], config=config,
                                             save_cluster_id=True)]),
        ("clean", tasks, [
            JsonlReader(place["kept"]),
            MinhashDedupFilter(place["clusters"], dropped("near"), load_cluster_ids=False),
            JsonlWriter(str(work / "clean"), compression=None),
        ]),
    ]  # fmt: skip
    made: list[Any] = []
    for name, number, pipeline in stages:
        more = {"job_name": f"minimind_{name}"} if executor == "slurm" else {}
        made.append(
            make(
                pipeline=pipeline, tasks=number, logging_dir=str(work / "logs" / name),
                depends=made[-1] if made else None, **more, **options,
            )
        )  # fmt: skip
    return made


def run(executors: Sequence[Any]) -> None:
    """Start the last stage; datatrove starts those that it depends on first."""
    executors[-1].run()


def clusters(work: Path, tasks: int) -> dict[tuple[int, int], int]:
    """(task, row among its kept rows) -> number of its cluster, for rows with a like one."""
    found: dict[tuple[int, int], int] = {}
    for task in range(tasks):
        path = work / "clusters" / f"{task:06d}.clusters"
        if path.exists():
            table = np.fromfile(path, dtype="<u4").reshape(-1, 2)
            found |= {(task, int(row)): int(number) for row, number in table}
    return found
