"""The Python bundle of the page: found by hash, free of other origins, and running in Pyodide."""

import hashlib
import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minimind_wiki.lite import worker

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "docs" / "en" / "assets" / "build" / "py"
STACK = (ROOT / "snippets" / "normalization" / "stack.py").read_text(encoding="utf-8")
RMS_NORM = ROOT / "snippets" / "normalization" / "rms_norm"

built = pytest.mark.skipif(
    not (BUNDLE / "manifest.json").is_file(), reason="the bundle is not built: run 'make web'"
)


@pytest.fixture
def scripts(monkeypatch, tmp_path):
    """The scripts of web/python as modules, with an empty cache of their own."""
    monkeypatch.syspath_prepend(str(ROOT / "web" / "python"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("MINIMIND_ASSETS", raising=False)
    return importlib.import_module


def entry(data):
    return {"file_name": "numpy-1.whl", "sha256": hashlib.sha256(data).hexdigest()}


def nowhere(*_):
    raise OSError("offline")


def test_numpy_is_taken_where_its_hash_is_right(scripts, monkeypatch, tmp_path, capsys):
    finder = scripts("numpy_wheel")
    monkeypatch.setattr(finder, "_from_carrier", lambda name: b"right")
    monkeypatch.setattr(finder, "_from_release", nowhere)
    assets = tmp_path / "assets"
    assets.mkdir()
    (assets / "numpy-1.whl").write_bytes(b"wrong")
    monkeypatch.setenv("MINIMIND_ASSETS", str(assets))
    found = finder.resolve(entry(b"right"), tmp_path, "1")
    out = capsys.readouterr().out
    assert found.read_bytes() == b"right"
    assert "MINIMIND_ASSETS is not the file" in out and "offline" in out
    # The second time it comes from the cache, and nobody else is asked.
    monkeypatch.setattr(finder, "_from_carrier", nowhere)
    assert finder.resolve(entry(b"right"), tmp_path, "1") == found
    assert "from the cache" in capsys.readouterr().out


def test_without_numpy_there_is_none(scripts, monkeypatch, tmp_path):
    finder = scripts("numpy_wheel")
    monkeypatch.setattr(finder, "_from_carrier", nowhere)
    monkeypatch.setattr(finder, "_from_release", nowhere)
    assert finder.resolve(entry(b"right"), tmp_path, "1") is None


def test_the_wheel_is_reproducible_and_stands_alone(scripts, tmp_path):
    bundle = scripts("bundle")
    first, second = tmp_path / "1", tmp_path / "2"
    first.mkdir()
    second.mkdir()
    one, two = bundle.lite_wheel(first), bundle.lite_wheel(second)
    assert one.name == two.name and one.read_bytes() == two.read_bytes()
    code = (
        f"import sys; sys.path.insert(0, {str(one)!r}); import minimind_wiki.lite.worker as w; "
        "assert '.whl' in w.__file__; print(w.run_lab('def run(): return {\"text\": 1}', '{}'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert json.loads(done.stdout)["text"] == "1", done.stderr


def test_bytecode_replaces_source_and_runs(scripts, tmp_path):
    """Compiled by the Python that runs this test, so it can also be imported here."""
    bundle, compiler = scripts("bundle"), scripts("compile_archive")
    wheel = bundle.lite_wheel(tmp_path)
    target, again = tmp_path / "compiled.whl", tmp_path / "again.whl"
    compiler.compile_archive(str(wheel), str(target), 0)
    compiler.compile_archive(str(wheel), str(again), 0)
    assert target.read_bytes() == again.read_bytes()
    code = (
        f"import sys; sys.path.insert(0, {str(target)!r}); import minimind_wiki.lite as torch; "
        "assert torch.__file__.endswith('.pyc'); print(torch.ones(2, 3).sum().item())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.stdout.strip() == "6.0", done.stderr


def test_without_a_compiler_the_sources_are_bundled(scripts, monkeypatch, tmp_path, capsys):
    bundle = scripts("bundle")
    (tmp_path / "package.json").write_text("{}")
    monkeypatch.setattr(bundle, "PYODIDE", tmp_path)
    monkeypatch.setattr(bundle, "WORK", tmp_path)
    archives = [(bundle.lite_wheel(tmp_path), 0)]
    failing = tmp_path / "node"
    failing.write_text("#!/bin/sh\necho 'Error: no such engine' >&2\nexit 1\n")
    failing.chmod(0o755)
    made, compiled = bundle.compiled(str(failing), archives)
    assert made == [archives[0][0]] and not compiled
    assert "not precompiled" in (out := capsys.readouterr().out) and "no such engine" in out


def test_without_node_or_npm_packages_it_says_what_to_do(scripts, monkeypatch, tmp_path, capsys):
    bundle = scripts("bundle")
    monkeypatch.setattr(bundle, "PYODIDE", tmp_path)
    monkeypatch.setattr(bundle.shutil, "which", lambda name: "node")
    assert bundle.main([]) == 1 and "make web" in capsys.readouterr().out
    monkeypatch.setattr(bundle.shutil, "which", lambda name: None)
    assert bundle.main([]) == 1 and "make setup" in capsys.readouterr().out


@built
def test_the_bundle_names_only_its_own_files():
    lock = json.loads((BUNDLE / "pyodide-lock.json").read_text())
    for package in lock["packages"].values():
        data = (BUNDLE / package["file_name"]).read_bytes()  # a bare name: a file beside the lock
        assert hashlib.sha256(data).hexdigest() == package["sha256"]
    for file in BUNDLE.iterdir():
        if file.suffix in (".mjs", ".json"):
            text = file.read_text(encoding="utf-8")
            assert "jsdelivr" not in text and "cdn." not in text, file.name
    assert sum(file.stat().st_size for file in BUNDLE.iterdir()) < 20e6


# Each kernel against its numpy formula in float64, on shapes that end inside a vector of four and
# beyond a block, with transposed, strided and broadcast inputs. Prints the largest relative gaps.
KERNELS = """
import json
import numpy as np
from minimind_wiki.lite import kernel
loaded, worth, kernel.WORTH_IT = kernel.load(), kernel.WORTH_IT, 0
rng, gaps = np.random.default_rng(0), {"loaded": loaded}

def draw(*shape):
    return 3 * rng.standard_normal(shape, np.float32)

def compare(name, function, *arrays):
    fast, plain = function(*arrays), function(*(a.astype(np.float64) for a in arrays))
    for ours, theirs in zip(*((x,) if isinstance(x, np.ndarray) else x for x in (fast, plain))):
        assert ours.dtype == np.float32 and ours.shape == theirs.shape, name
        scale = max(1.0, np.abs(theirs[np.isfinite(theirs)]).max(initial=0))
        assert (np.isnan(ours) == np.isnan(theirs)).all(), name
        gap = np.nanmax(np.abs(ours - theirs), initial=0) / scale
        gaps[name] = max(gaps.get(name, 0), float(gap))

SIZES = [(1, 1, 1), (3, 5, 7), (4, 8, 8), (5, 300, 9), (7, 513, 33), (128, 17, 65), (2, 3, 600)]
for m, k, n in SIZES:
    compare("matmul", kernel.matmul, draw(m, k), draw(k, n))
    compare("transposed", kernel.matmul, draw(k, m).T, draw(n, k).T)
    compare("batched", kernel.matmul, draw(2, 3, m, k), draw(3, k, n))
    heads = draw(2, m, 3, k).swapaxes(1, 2), draw(2, n, 3, k).transpose(0, 2, 3, 1)
    compare("turned", kernel.matmul, *heads)
    compare("every other", kernel.matmul, draw(2 * m, 2 * k)[::2, ::2], draw(k, n)[:, ::-1])
for shape in [(1,), (3,), (2, 4), (5, 7), (2, 3, 9, 9), (2, 8, 13)]:
    x, g = draw(*shape), draw(*shape)
    for name in ("softmax", "softmax_vjp"):
        for axis in range(len(shape)):
            args = (x,) if name == "softmax" else (g, kernel.softmax(x, axis))
            compare(name, lambda *a: getattr(kernel, name)(*a, axis), *args)
    compare("softmax_and_log", kernel.softmax_and_log, x)
    compare("silu", kernel.silu, 20 * x)
    compare("silu_vjp", kernel.silu_vjp, g, 5 * x.T if x.ndim == 1 else 5 * x)
    for axes in (1, 2)[: x.ndim]:
        w = draw(*shape[-axes:])
        for name in ("rms_norm", "rms_norm_vjp", "rms_norm_weight_vjp"):
            first = () if name == "rms_norm" else (g,)
            for values in (x, 0 * x, draw(*shape[::-1]).T):
                compare(name, lambda *a: getattr(kernel, name)(*a, 0.1), *first, values, w)
    if x.ndim > 1:
        compare("causal_softmax", kernel.causal_softmax, x)
inf, nan = np.inf, np.nan
odd = [[-inf, 0, 1], [nan, 0, 1], [0, nan, 1], [-200, 0, -88], [3e38, 0, -3e38]]
odd = np.array(odd, np.float32)
compare("odd values", lambda x: kernel.softmax(x, -1), odd)
assert kernel.softmax(odd, -1)[0, 0] == 0
none = np.zeros((2, 5), np.float32)
assert (kernel.rms_norm(none, none[0] + 1, 0.0) != 0).all(), "0 / 0 is nan, as in numpy"
kernel.WORTH_IT = worth
json.dumps(gaps)
"""


@built
def test_lab_and_exercise_run_in_pyodide(tmp_path):
    """One Node process for everything, because starting Python costs seconds."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed: run 'make setup'")
    if json.loads((BUNDLE / "manifest.json").read_text())["numpy"] is None:
        pytest.skip("the bundle was built without numpy")
    check = (RMS_NORM / "check.py").read_text()
    mutants = sorted((RMS_NORM / "mutants").glob("*.py"))
    solutions = [RMS_NORM / "solution.py", *mutants]
    knobs = json.dumps({"depth": 64, "norm": "rmsnorm", "init": "default", "bias": True})
    jobs = [
        {"call": "run_lab", "args": [STACK, "{}"]},
        {"call": "run_lab", "args": [STACK, knobs]},
        {"call": "run_lab", "args": ["def run():\n    return 1 / 0\n", "{}"]},
        {"python": KERNELS},
        {"call": "run_lab", "args": ["import torch\ndef run(): print(7); return {}", "{}"]},
        *({"call": "run_check", "args": [file.read_text(), check]} for file in solutions),
    ]
    (tmp_path / "jobs.json").write_text(json.dumps(jobs))
    runner = Path(__file__).with_name("pyodide_run.mjs")
    done = subprocess.run(
        [node, str(runner), str(BUNDLE), str(tmp_path / "jobs.json")],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    plain, deep, failed, product, aliased, *checked = [r["answer"] for r in answer["results"]]
    # The same numbers as here: one seed and one numpy generator, so only rounding differs.
    for result, given in ((plain, "{}"), (deep, knobs)):
        here = json.loads(worker.run_lab(STACK, given))
        for there, ours in zip(result["figure"]["data"], here["figure"]["data"], strict=True):
            np.testing.assert_allclose(there["y"], ours["y"], rtol=1e-2)
    assert failed["error"]["message"].startswith("ZeroDivisionError")
    assert 'File "<your code>", line 2, in run' in failed["error"]["traceback"]
    gaps = json.loads(product)
    assert gaps.pop("loaded"), "the SIMD kernels are not in use"
    assert all(gap < 2e-5 for gap in gaps.values()), gaps
    assert "error" not in aliased and "7" in answer["printed"]
    assert all(c["passed"] for c in checked[0]["results"]) and len(checked[0]["results"]) == 12
    for mutant, result in zip(mutants, checked[1:], strict=True):
        expected = mutant.read_text().split("# expect: ")[1].splitlines()[0]
        assert expected in {c["name"] for c in result["results"] if not c["passed"]}, mutant.stem
