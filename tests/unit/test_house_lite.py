"""The size of lite: what stands for torch can be read in an evening."""

from __future__ import annotations

import ast
import io
import tokenize
from pathlib import Path

LITE = Path(__file__).resolve().parents[2] / "minimind_wiki" / "lite"
# The page's tools: they run, check and draw what readers write, and stand for nothing of torch's.
TOOLS = {"worker.py", "checks.py", "plot.py", "training.py", "kernel"}
NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
           tokenize.ENDMARKER}  # fmt: skip


def code_lines(source: str) -> int:
    """Lines that hold code: no blank lines, no comments, no docstrings.

    >>> code_lines('\"\"\"What it is.\"\"\"\\n\\n# why\\nx = [\\n    1,\\n]\\n')
    3
    """
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NO_CODE:
            lines |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        text = node.value if isinstance(node, ast.Expr) else None
        if isinstance(text, ast.Constant) and isinstance(text.value, str):
            lines -= set(range(text.lineno, (text.end_lineno or text.lineno) + 1))
    return len(lines)


def test_lite_has_at_most_900_lines() -> None:
    files = [f for f in LITE.rglob("*.py") if not TOOLS & set(f.relative_to(LITE).parts)]
    sizes = {
        f.relative_to(LITE).as_posix(): code_lines(f.read_text(encoding="utf-8")) for f in files
    }
    assert {"autograd.py", "tensor.py", "nn/functional.py", "optim.py"} <= sizes.keys()
    assert sum(sizes.values()) <= 900, f"{sum(sizes.values())} lines of code: {sizes}"


def test_every_line_of_code_counts_and_no_other() -> None:
    body = '    """Doc\n    on."""\n    # why\n    return (\n        x\n    )\n'
    assert code_lines('"""Doc."""\nimport x\n\n\ndef f():\n' + body) == 5
    assert code_lines('s = """a\n\nb"""\n') == 3
