"""The shape of the code, read from the code: rooms point down, modules are small and explain themselves."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
MODULES = sorted(path for part in ("src", "api", "scripts", "benchmarks") for path in (CHECKOUT / part).rglob("*.py"))
MAX_FILE_LINES = 400
MAX_BODY_LINES = 50
MAX_PARAMETERS = 5
MAY_PRINT = ("scripts", "benchmarks", "src/aegis_yield/cli")
ONE_PARAMETER_AN_OPTION = ("src/aegis_yield/cli",)

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


def name_of(path: Path) -> str:
    return path.relative_to(CHECKOUT).as_posix()


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def functions_of(path: Path) -> Iterator[Function]:
    return (node for node in ast.walk(tree_of(path)) if isinstance(node, Function))


def body_lines(function: Function) -> int:
    """Count the lines of a body, its docstring left out."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return 1 + (body[-1].end_lineno or 0) - body[0].lineno if body else 0


def public(node: ast.Module | ast.ClassDef) -> Iterator[Function | ast.ClassDef]:
    """Walk over what a module or class offers to others."""
    for child in node.body:
        if isinstance(child, Function | ast.ClassDef) and not child.name.startswith("_"):
            yield child
            if isinstance(child, ast.ClassDef):
                yield from public(child)


def offenders(rule: Callable[[Path], Iterable[object]], outside: tuple[str, ...] = ()) -> list[str]:
    """Return what breaks a rule, by file; ``outside`` are the folders that the rule leaves alone."""
    bound = (path for path in MODULES if not name_of(path).startswith(outside))
    return [f"{name_of(path)}: {found}" for path in bound for found in rule(path)]


def test_there_is_something_to_read() -> None:
    rooms = {path.parts[len(CHECKOUT.parts)] for path in MODULES}
    assert rooms == {"src", "api", "scripts", "benchmarks"}
    assert len(MODULES) > 50


def test_every_module_says_what_it_is() -> None:
    assert offenders(lambda path: [] if ast.get_docstring(tree_of(path)) else ["no docstring"]) == []


def test_files_are_short() -> None:
    assert offenders(lambda path: path.read_text().splitlines()[MAX_FILE_LINES:][:1]) == []


def test_functions_are_short() -> None:
    assert offenders(lambda path: (f.name for f in functions_of(path) if body_lines(f) > MAX_BODY_LINES)) == []


def test_functions_take_few_parameters() -> None:
    many = offenders(
        lambda path: (f.name for f in functions_of(path) if n_parameters(f) > MAX_PARAMETERS), ONE_PARAMETER_AN_OPTION
    )
    assert many == []


def n_parameters(function: Function) -> int:
    listed = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return sum(argument.arg not in ("self", "cls") for argument in listed)


def test_what_is_public_is_explained() -> None:
    silent = offenders(lambda path: (node.name for node in public(tree_of(path)) if not ast.get_docstring(node)))
    assert silent == []


def test_only_doors_print() -> None:
    assert offenders(lambda path: calls_of(path, "print"), MAY_PRINT) == []


def calls_of(path: Path, name: str) -> list[ast.Call]:
    calls = (node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call))
    return [call for call in calls if ast.unparse(call.func) == name]


def test_nothing_is_left_undone() -> None:
    assert offenders(lambda path: re.findall(r"\b(?:TODO|FIXME|XXX|HACK)\b", path.read_text())) == []


@pytest.mark.parametrize("loader", ["pickle.load", "pickle.loads", "joblib.load", "np.load"])
def test_nothing_is_unpickled(loader: str) -> None:
    assert offenders(lambda path: calls_of(path, loader)) == []


def test_torch_loads_weights_only() -> None:
    calls = [call for path in MODULES for call in calls_of(path, "torch.load")]
    assert calls
    for call in calls:
        assert "weights_only=True" in [ast.unparse(keyword) for keyword in call.keywords]


def test_the_rules_see_what_they_forbid(tmp_path: Path) -> None:
    path = tmp_path / "bad.py"
    long = "\n".join(f"    x{n} = {n}" for n in range(51))
    path.write_text(f"def f(a, b, c, *, d, e, g):\n    '''Doc.'''\n{long}\nclass C:\n    def m(self): ...\n")
    function = next(functions_of(path))
    assert (body_lines(function), n_parameters(function)) == (51, 6)
    assert [node.name for node in public(tree_of(path)) if not ast.get_docstring(node)] == ["C", "m"]


def test_rooms_point_down_only() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"Contracts: [1-9]\d* kept, 0 broken", done.stdout)


@pytest.mark.parametrize(
    ("module_name", "heavy"),
    [
        ("aegis_yield", ("torch", "polars", "plotly", "fastapi", "typer")),
        ("aegis_yield.cli.app", ("torch", "plotly", "fastapi", "pandera")),
        ("aegis_yield.pipelines.datasets", ("torch", "plotly", "fastapi", "pandera")),
        ("aegis_yield.preprocessing.features", ("torch", "plotly")),
        ("api.ml_service", ("plotly", "pandera", "pandas", "scipy", "mlflow", "cvxpy", "highspy")),
    ],
)
def test_heavy_libraries_load_only_where_they_are_used(module_name: str, heavy: tuple[str, ...]) -> None:
    code = f"import sys, {module_name}; print(*(name for name in {heavy!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == []
