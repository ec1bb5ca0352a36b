"""The structure of the package, held by its syntax trees: who imports what, who compiles, how large a file is."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "numrnn"
SOURCES = sorted(PACKAGE.rglob("*.py"))
ALL_FILES = sorted(path for folder in ("numrnn", "tests", "benchmarks") for path in (ROOT / folder).rglob("*.py"))
COMPILED = sorted((PACKAGE / "kernels").glob("*.py"))

MAY_IMPORT_NUMBA = {"numrnn._jit", "numrnn._threads"} | {
    f"numrnn.kernels.{name}" for name in ("meeting", "several", "simd", "tile")
}
GATEWAY = {"kernel", "inlined_kernel", "entry_kernel", "parallel_kernel"}
COMPILERS = {"njit", "jit", "vectorize", "guvectorize", "cfunc", "stencil", "generated_jit", "jitclass"}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path) for path in SOURCES}


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in it; `from package import module` gives the module."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            assert node.module is not None
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in MODULES else node.module


def last_name(node: ast.expr) -> str:
    """`njit` of `njit`, `numba.njit`, `njit(...)`."""
    if isinstance(node, ast.Call):
        return last_name(node.func)
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def functions(node: ast.AST) -> Iterator[ast.FunctionDef]:
    yield from (child for child in ast.walk(node) if isinstance(child, ast.FunctionDef))


by_module = pytest.mark.parametrize("path", SOURCES, ids=module_name)


@pytest.mark.parametrize("path", ALL_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_is_over_500_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 500


@by_module
def test_only_the_gateways_import_numba(path: Path) -> None:
    third_parties = {name.partition(".")[0] for name in imported(path)}
    if module_name(path) not in MAY_IMPORT_NUMBA:
        assert not third_parties & {"numba", "llvmlite"}


@by_module
def test_only_the_gateway_compiles(path: Path) -> None:
    """Whoever calls njit elsewhere escapes the options and the cache."""
    if module_name(path) == "numrnn._jit":
        return
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Name | ast.Attribute):
            assert last_name(node) not in COMPILERS or module_name(path) == "numrnn.bench.peers.jax_peer"


@by_module
def test_nothing_is_compiled_with_fast_math(path: Path) -> None:
    off, module = set[int](), tree(path)
    for node in ast.walk(module):
        if isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            off |= {id(key) for key, value in pairs if isinstance(value, ast.Constant) and value.value is False}
        if isinstance(node, ast.keyword):
            assert node.arg != "fastmath"
    for node in ast.walk(module):
        if isinstance(node, ast.Constant) and id(node) not in off:
            assert node.value not in ("fastmath", "fast")


@by_module
def test_nothing_is_generated_from_text(path: Path) -> None:
    """`exec` and `eval` defeat the disk cache, and a reader."""
    for node in ast.walk(tree(path)):
        assert not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("exec", "eval"))


@pytest.mark.parametrize("path", COMPILED, ids=module_name)
def test_kernels_are_plain_functions_of_their_module(path: Path) -> None:
    """No eager signatures, no options of their own, no factories, no closures: they defeat the disk cache."""
    module = tree(path)
    top_level = {id(node) for node in module.body}
    for function in functions(module):
        for decorator in function.decorator_list:
            if last_name(decorator) in GATEWAY:
                assert not isinstance(decorator, ast.Call), f"{function.name}: a kernel has no options or signatures"
                assert id(function) in top_level, f"{function.name}: a kernel stands at the top of its module"
    for node in ast.walk(module):
        if isinstance(node, ast.Call):
            assert last_name(node.func) not in GATEWAY, f"line {node.lineno}: a kernel is made by a decorator"


def layers() -> list[set[str]]:
    """The layers of import-linter's contract, top first."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = [each for each in settings["tool"]["importlinter"]["contracts"] if each["type"] == "layers"]
    return [{name.strip() for name in line.replace("|", ":").split(":")} for line in contract["layers"]]


@by_module
def test_imports_only_point_downwards(path: Path) -> None:
    """The contract of import-linter, held also where import-linter is not installed."""
    rank = {name: depth for depth, names in enumerate(layers()) for name in names}
    own = module_name(path).split(".")
    if len(own) == 1:  # the package itself only gathers names
        return
    assert own[1] in rank, f"{own[1]} has no layer in pyproject.toml"
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "numrnn" and len(parts) > 1 and parts[1] in rank:
            assert rank[parts[1]] >= rank[own[1]], f"imports {name} from above"
        if name == "numrnn":
            assert rank[own[1]] <= rank["nn"], "imports the whole package from below"


def run_python(code: str, folder: Path) -> str:
    """Run code in a new process that keeps its byte code in `folder`."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"PYTHONPYCACHEPREFIX": str(folder), "PYTHONPATH": str(ROOT)}
    finished = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_importing_is_cheap(tmp_path: Path) -> None:
    """Under 100 ms of the processor's time beyond numba; the best of several, since other programs may be running."""
    code = "import numba, time; start = time.process_time(); import numrnn; print(time.process_time() - start)"
    run_python(code, tmp_path)
    assert min(float(run_python(code, tmp_path)) for _ in range(5)) < 0.1


def test_importing_brings_no_heavy_module(tmp_path: Path) -> None:
    code = """
import sys, numba
before = set(sys.modules)
import numrnn
print(*sorted(set(sys.modules) - before))
"""
    added = run_python(code, tmp_path).split()
    heavy = (
        "torch",
        "jax",
        "onnx",
        "onnxruntime",
        "matplotlib",
        "scipy",
        "pandas",
        "pytest",
        "multiprocessing",
        "asyncio",
    )
    assert not [name for name in added if name.partition(".")[0] in heavy]
    assert not [name for name in added if name.startswith(("numrnn.bench", "numrnn.demo", "numrnn.plot", "numrnn.cli"))]


def test_importing_prints_nothing(tmp_path: Path) -> None:
    assert run_python("import numrnn, numrnn.cli", tmp_path) == ""


def test_the_command_line_imports_little(tmp_path: Path) -> None:
    code = """
import sys, numrnn
before = set(sys.modules)
import numrnn.cli
print(*sorted(name for name in set(sys.modules) - before if name.startswith("numrnn")))
"""
    assert run_python(code, tmp_path).split() == ["numrnn.cli"]
