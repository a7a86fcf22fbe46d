"""Which code a record was measured with, as a hash of the syntax tree.

Comments, docstrings and layout do not change a measurement, so they do not change the hash. The
hash is static: it needs the source files and neither torch nor a run, so the site's build can tell
for every record whether it is older than its code.

- `code_hash` covers what can change a measurement: `measure`, `levels`, the arms and settings,
  every helper they use, and every module of `minimind_wiki` that those import, transitively.
- `own_hash` covers the part of that which lies in `experiments/`. When it is as it was and only the
  package around it changed, a record may be confirmed (`book/confirm.py`).
- `view_hash` covers the rest of the file: claims, figures, titles, and what only those import from
  `experiments/`. When only it differs the record is rendered again, not measured again.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

# How a record is stored, judged and drawn does not change what was measured.
NOT_MEASURED = ("minimind_wiki.book", "minimind_wiki.lite.plot", "minimind_wiki.errors")
CODE_DECORATORS = {"measure", "levels"}
VIEW_DECORATORS = {"claim", "figure", "derived"}
# Keywords of Experiment(...) and of an arm that name or shorten, and do not change a full run.
NAMING_KEYWORDS = {"title", "role", "question", "primary"}
VIEW_KEYWORDS = NAMING_KEYWORDS | {"quick", "quick_arms", "quick_seeds", "budget"}
# Of Experiment(...) alone: an arm or a setting may bear these names, and then they do count.
CONFIRM_KEYWORDS = {"repeat", "noisy"}


def dump(node: Any) -> str:
    """A stable text of a syntax tree: `ast.dump` differs between Python versions, this does not."""
    if isinstance(node, ast.AST):
        fields = [
            f"{name}={dump(value)}"
            for name, value in ast.iter_fields(node)
            if value is not None and value != [] and name not in ("type_comment", "kind", "ctx")
        ]
        return f"{type(node).__name__}({','.join(fields)})"
    if isinstance(node, list):
        return "[" + ",".join(dump(item) for item in node) + "]"
    return repr(node)


class _Plain(ast.NodeTransformer):
    """Removes docstrings, and the keywords that only name things where asked to."""

    def __init__(self, drop: Iterable[str] = ()) -> None:
        self.drop = set(drop)

    def _body(self, node: Any) -> Any:
        self.generic_visit(node)
        first = node.body[0] if node.body else None
        value = first.value if isinstance(first, ast.Expr) else None
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            node.body = node.body[1:] or [ast.Pass()]
        return node

    visit_Module = visit_ClassDef = visit_FunctionDef = visit_AsyncFunctionDef = _body

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        node.keywords = [k for k in node.keywords if k.arg not in self.drop]
        return node

    def visit_Dict(self, node: ast.Dict) -> ast.AST:
        self.generic_visit(node)
        pairs = zip(node.keys, node.values, strict=True)
        kept = [(k, v) for k, v in pairs if getattr(k, "value", None) not in self.drop]
        node.keys, node.values = [k for k, _ in kept], [v for _, v in kept]
        return node


def _plain(node: ast.stmt) -> ast.AST:
    """A statement as it counts: `experiment = Experiment(…)` without what names or shortens."""
    tree = ast.parse(ast.unparse(node))
    if not _declares(node):
        return _Plain().visit(tree)
    for call in (statement.value for statement in tree.body if isinstance(statement, ast.Assign)):
        if isinstance(call, ast.Call):
            call.keywords = [k for k in call.keywords if k.arg not in CONFIRM_KEYWORDS]
    return _Plain((*VIEW_KEYWORDS, *NAMING_KEYWORDS)).visit(tree)


def _declares(node: ast.stmt) -> bool:
    call = node.value if isinstance(node, ast.Assign) else None
    return isinstance(call, ast.Call) and getattr(call.func, "id", "") == "Experiment"


def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@lru_cache(maxsize=1024)
def _dumped(text: str) -> str:
    """A module's source as it counts. Kept: most records rest on the same modules."""
    return dump(_Plain().visit(ast.parse(text)))


@lru_cache(maxsize=1024)
def _imported(text: str, package: str) -> tuple[str, ...]:
    """The dotted names that a module's source imports, sorted."""
    return tuple(sorted(_imports([ast.parse(text)], package)))


def _bound(node: ast.stmt) -> set[str]:
    """Names that a top-level statement defines."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {node.name}
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return {(a.asname or a.name).split(".")[0] for a in node.names}
    stored = (n for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))
    return {n.id for n in stored}


def _used(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


def _decorator(node: ast.stmt) -> str | None:
    """`measure` for a function under `@experiment.measure`, `claim` under `@experiment.claim()`."""
    for item in getattr(node, "decorator_list", ()):
        target = item.func if isinstance(item, ast.Call) else item
        if isinstance(target, ast.Attribute) and target.attr in CODE_DECORATORS | VIEW_DECORATORS:
            return target.attr
    return None


def split(tree: ast.Module) -> tuple[list[ast.stmt], list[ast.stmt]]:
    """The statements of an experiment that can change a measurement, and the others."""
    body = list(tree.body)
    kinds = [_decorator(node) for node in body]
    code = {
        i
        for i, node in enumerate(body)
        if kinds[i] in CODE_DECORATORS or _declares(node)
    }  # fmt: skip
    todo = list(code)
    while todo:
        # The view's keywords are dropped first, so that what only they use stays in the view.
        names = _used(_plain(body[todo.pop()]))
        for i, node in enumerate(body):
            if i not in code and kinds[i] is None and _bound(node) & names:
                code.add(i)
                todo.append(i)
    return (
        [node for i, node in enumerate(body) if i in code],
        [node for i, node in enumerate(body) if i not in code],
    )


def _imports(nodes: Iterable[ast.AST], package: str) -> set[str]:
    """Dotted names that the statements import; relative ones are resolved against `package`."""
    found: set[str] = set()
    for top in nodes:
        for node in ast.walk(top):
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = package.split(".")[: len(package.split(".")) - node.level + 1]
                start = ".".join([*base, node.module] if node.module else base)
                start = start if node.level else (node.module or "")
                # `from package import name` may name a module or something inside it.
                found.update(f"{start}.{alias.name}" for alias in node.names)
    return found


def _file(dotted: str, root: Path) -> tuple[str, Path] | None:
    """The module that a dotted name lies in: the longest prefix that is a file."""
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        base = root.joinpath(*parts[:end])
        for path in (base.with_suffix(".py"), base / "__init__.py"):
            if path.is_file():
                return ".".join(parts[:end]), path
    return None


def modules(path: Path, root: Path) -> dict[str, Path]:
    """Every file of ours that measuring the experiment at `path` imports, by dotted name."""
    code, _ = split(_parse(path))
    return _reached(code, path, root)


def _reached(statements: Iterable[ast.stmt], path: Path, root: Path) -> dict[str, Path]:
    """Every file of ours that these statements of the file at `path` import, transitively."""
    package = ".".join(path.resolve().relative_to(root.resolve()).parent.parts)
    todo = sorted(_imports(statements, package))
    found: dict[str, Path] = {}
    seen: set[str] = set()
    while todo:
        dotted = todo.pop()
        if dotted in seen or not dotted.startswith(("minimind_wiki", "experiments")):
            continue
        seen.add(dotted)
        hit = _file(dotted, root)
        if hit is None or hit[0] in found or hit[0] == "minimind_wiki":
            continue
        name, file = hit
        if any(name == skip or name.startswith(skip + ".") for skip in NOT_MEASURED):
            continue
        found[name] = file
        inside = name if file.name == "__init__.py" else name.rpartition(".")[0]
        todo.extend(_imported(file.read_text(encoding="utf-8"), inside))
    return dict(sorted(found.items()))


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _measuring(path: Path, root: Path, within: str = "") -> str:
    """Digest of the measuring statements and of the imported modules whose name starts so."""
    code, _ = split(_parse(path))
    parts = [dump(_plain(node)) for node in code]
    for name, file in modules(path, root).items():
        if name.startswith(within):
            parts.append(f"{name}:{_dumped(file.read_text(encoding='utf-8'))}")
    return _digest(parts)


def code_hash(path: Path, root: Path) -> str:
    """Hash of everything that can change what the experiment at `path` measures."""
    return _measuring(path, root)


def own_hash(path: Path, root: Path) -> str:
    """Hash of the part of it that lies in `experiments/`: arms, settings, measurement, helpers."""
    return _measuring(path, root, "experiments.")


def view_hash(path: Path, root: Path) -> str:
    """Hash of the claims, figures and titles of the experiment at `path`."""
    tree = _parse(path)
    code, view = split(tree)
    named = [dump(pair) for node in code if _declares(node) for pair in _naming(node)]
    # The docstrings of the file, of its claims and of its figures are shown to readers.
    shown: list[ast.Module | ast.FunctionDef] = [tree]
    shown += (node for node in view if isinstance(node, ast.FunctionDef))
    said = [ast.get_docstring(node) or "" for node in shown]
    measuring = modules(path, root)
    helpers = [
        f"{name}:{_dumped(file.read_text(encoding='utf-8'))}"
        for name, file in _reached(view, path, root).items()
        if name.startswith("experiments.") and name not in measuring
    ]
    return _digest([*said, *named, *(dump(_Plain().visit(node)) for node in view), *helpers])


def _naming(node: ast.stmt) -> list[list[ast.AST]]:
    """The titles, roles and questions in the declaration, as keywords or as keys of an arm."""
    found: list[list[ast.AST]] = []
    for inside in ast.walk(node):
        if isinstance(inside, ast.keyword) and inside.arg in NAMING_KEYWORDS:
            found.append([inside.value])
        elif isinstance(inside, ast.Dict):
            pairs = zip(inside.keys, inside.values, strict=True)
            found += [[k, v] for k, v in pairs if k and getattr(k, "value", 0) in NAMING_KEYWORDS]
    return found


def stale(record: Any, repo_root: Path) -> str | None:
    """None when the record belongs to the code as it stands, else a sentence that says what to run.

    record: a `Record` or its JSON as a dict. Needs no torch.
    """
    data = getattr(record, "data", record)
    name = data["experiment"]
    path = repo_root / "experiments" / f"{name}.py"
    if not path.is_file():
        return f"the record {name} has no experiment file: restore {path.name} or delete the record"
    if data["code_hash"] != code_hash(path, repo_root):
        other = ""
        if data.get("own_hash") == own_hash(path, repo_root):
            other = (
                f"; as only the package around it changed, 'minimind experiment confirm {name}' "
                "may do, which repeats a part"
            )
        return (
            f"the record {name} is older than its code: run 'minimind experiment run {name}' "
            f"(it took {data['seconds']:.0f} s){other}"
        )
    if data["view_hash"] != view_hash(path, repo_root):
        return (
            f"the record {name} has older claims or figures than its file: "
            f"run 'minimind experiment render {name}'"
        )
    return None
