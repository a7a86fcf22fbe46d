"""Code in pages: objects by name, regions of files, links to the reference. Never line numbers.

An object is written `package.module:name` (`:Class.method` for what is inside); it is found by
parsing the file, so that nothing is imported. Every lookup fails with the nearest names.
"""

from __future__ import annotations

import ast
import re
import textwrap
from functools import lru_cache
from pathlib import Path

from minimind_wiki.book import pages, reference
from minimind_wiki.book.pages import esc
from minimind_wiki.errors import unknown

REGION = re.compile(r"^\s*(?:#|//|/\*)\s*(region|endregion)\b\s*([\w-]*)")
LANGUAGES = {".py": "python", ".ts": "typescript", ".js": "javascript", ".mjs": "javascript",
             ".c": "c", ".yaml": "yaml", ".yml": "yaml", ".json": "json", ".sh": "bash",
             ".toml": "toml", ".css": "css", ".md": "markdown"}  # fmt: skip


def code(name: str, title: str | None = None, docstring: bool = True) -> str:
    """The source of an object as a code block titled with its file.

    `docstring=False` leaves the docstring out, where the page around it says the same.
    Begin the macro at the start of a line: it expands to a fenced block.
    """
    file, node = find(name)
    lines = _text(file).splitlines()
    if isinstance(node, ast.FunctionDef | ast.ClassDef) and not docstring:
        said = node.body[0]
        if ast.get_docstring(node) is not None:
            for line in range(said.lineno - 1, said.end_lineno or said.lineno):
                lines[line] = ""
    first = node.lineno
    decorators = getattr(node, "decorator_list", [])
    if decorators:
        first = decorators[0].lineno
    shown = lines[first - 1 : node.end_lineno]
    if not docstring:  # one signature, then the body: no hole where the docstring was
        shown = [line for line in shown if line.strip()]
    return _fence("\n".join(shown), file, title)


def source(path: str, region: str | None = None, title: str | None = None) -> str:
    """A file of the repository, or a region of it, as a code block.

    A region stands between the lines `# region name` and `# endregion`; the marks themselves, and
    those of other regions inside, are not shown.
    """
    file = pages.root() / path
    if not file.is_file():
        beside = [p.name for p in file.parent.glob("*") if p.is_file()]
        raise pages.fault(f"source('{path}'): {unknown('file', file.name, beside)}")
    lines = _text(file).splitlines()
    if region is not None:
        lines = _region(lines, region, path)
    return _fence("\n".join(x for x in lines if not REGION.match(x)), file, title)


def _region(lines: list[str], name: str, path: str) -> list[str]:
    kept: list[str] | None = None
    names = []
    depth = 0
    for line in lines:
        mark = REGION.match(line)
        if mark and mark.group(1) == "region":
            names.append(mark.group(2))
            if kept is not None:
                depth += 1
            elif mark.group(2) == name:
                kept = []
        elif mark and kept is not None:
            if depth == 0:
                return kept
            depth -= 1
        elif kept is not None:
            kept.append(line)
    if kept is not None:
        raise pages.fault(f"{path}: the region '{name}' has no '# endregion'; add that line.")
    raise pages.fault(f"{path}: {unknown('region', name, names)}")


def symbol(name: str, text: str | None = None) -> str:
    """A link to the reference entry of an object of the package."""
    file, _ = find(name)
    module, _, inner = name.partition(":")
    dotted = f"{module}.{inner}" if inner else module
    shown = text if text is not None else (inner or module)
    return (
        f'<a class="mm-symbol" href="{pages.relative(reference.address(file) + "#" + dotted)}" '
        f'title="{esc(dotted)}"><code>{esc(shown)}</code></a>'
    )


@lru_cache(maxsize=256)
def _tree(file: Path, stamp: float) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def find(name: str) -> tuple[Path, ast.stmt]:
    """File and syntax node of `package.module:object`; raises with the nearest names."""
    module, _, inner = name.partition(":")
    base = pages.root() / Path(*module.split("."))
    file = base.with_suffix(".py")
    if not file.is_file():
        file = base / "__init__.py"
    if not file.is_file():
        folder = base.parent
        known = [".".join([*module.split(".")[:-1], p.stem]) for p in folder.glob("*.py")]
        raise pages.fault(f"'{name}': {unknown('module', module, known)}")
    tree = _tree(file, file.stat().st_mtime)
    if not inner:
        whole = ast.Expr(ast.Constant(None))
        whole.lineno, whole.end_lineno = 1, len(_text(file).splitlines())
        return file, whole
    body: list[ast.stmt] = tree.body
    node: ast.stmt | None = None
    for part in inner.split("."):
        known_here = _named(body)
        if part not in known_here:
            raise pages.fault(f"'{name}': {unknown('object', part, known_here)}")
        node = known_here[part]
        body = getattr(node, "body", [])
    assert node is not None
    return file, node


def _named(body: list[ast.stmt]) -> dict[str, ast.stmt]:
    """Objects defined in a body: functions, classes, constants."""
    found: dict[str, ast.stmt] = {}
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    found[target.id] = node
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = node
    return found


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def _fence(text: str, file: Path, title: str | None) -> str:
    body = textwrap.dedent(text).strip("\n")
    longest = max((len(run) for run in re.findall(r"^\s*(`{3,})", body, re.MULTILINE)), default=2)
    ticks = "`" * (longest + 1)
    shown = title if title is not None else file.relative_to(pages.root()).as_posix()
    language = LANGUAGES.get(file.suffix, "text")
    return f'{ticks}{language} title="{shown}"\n{body}\n{ticks}'
