"""What a lab shows before anyone runs it: computed once by the lab's own program, then cached.

The program runs in a process of its own with `minimind_wiki.lite` (numpy, no torch), its knobs at
their defaults. The cache in build/labs/ is keyed by the program, its knobs and the code below it.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from minimind_wiki.book import pages
from minimind_wiki.errors import MinimindError

PACKAGE = Path(__file__).resolve().parents[1]
RUNNER = """
import importlib.util, json, sys
path, knobs = sys.argv[1], json.loads(sys.argv[2])
spec = importlib.util.spec_from_file_location("lab", path)
lab = importlib.util.module_from_spec(spec)
spec.loader.exec_module(lab)
result = lab.run(**knobs)
if not isinstance(result, dict):
    result = {"figure": result}
figure = result.get("figure")
out = {"figure": None, "plotly": None, "svg": "", "text": str(result.get("text", ""))}
if figure is not None:
    from minimind_wiki.book.svg import figure_svg
    out.update(figure=figure.to_dict(), plotly=figure.to_plotly())
    out["svg"] = figure_svg(figure, sys.argv[3])
sys.stdout.write("\\n@@RESULT@@" + json.dumps(out))
"""


def recorded(name: str, code: str, knobs: dict[str, Any]) -> dict[str, Any]:
    """`{"figure", "plotly", "svg", "text"}` of the lab at its defaults; raises when it fails."""
    text = json.dumps(knobs, sort_keys=True)
    digest = hashlib.sha256(f"{name}|{code}|{text}|{RUNNER}|{_engine()}".encode()).hexdigest()[:24]
    kept = PACKAGE.parent / "build" / "labs" / f"{digest}.json"
    if kept.is_file():
        found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        return found
    env = os.environ | {"PYTHONPATH": str(PACKAGE.parent), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", RUNNER, str(pages.root() / "snippets" / f"{name}.py"), text,
         f"lab-{pages.slug(name)}-svg"],
        capture_output=True, text=True, env=env, cwd=pages.root(), timeout=120, check=False,
    )  # fmt: skip
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise MinimindError(
            f"the lab '{name}' fails with its default knobs: {lines[-1]} "
            f"(run it: python snippets/{name}.py)"
        )
    made: dict[str, Any] = json.loads(done.stdout.partition("@@RESULT@@")[2])
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(made), encoding="utf-8")
    return made


def _engine() -> str:
    """Hash of everything that a lab's picture depends on besides its own file."""
    digest = hashlib.sha256()
    for file in sorted([*(PACKAGE / "lite").rglob("*.py"), PACKAGE / "book" / "svg.py"]):
        if file.is_file():
            digest.update(file.read_bytes())
    return digest.hexdigest()
