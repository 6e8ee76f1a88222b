"""Which module may import which, and what importing costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = ("arviz_base", "arviz_stats", "jax", "matplotlib", "numpyro", "pandas", "scipy", "sklearn")

LAYERS: tuple[frozenset[str], ...] = tuple(
    frozenset(layer.split())
    for layer in (
        "errors swap",
        "survey files options",
        "opinions",
        "rules",
        "table paired",
        "base importers",
    )
)
"""The core, lowest first: a module imports from lower layers only, or from its own."""

CORE = frozenset().union(*LAYERS)
SHARED_WITH_ELICIT = frozenset({"errors", "survey", "opinions", "files", "options"})


def modules(package: str) -> Iterator[tuple[str, Path]]:
    """The package's modules by their name below it; a subpackage counts as one module."""
    for path in sorted((ROOT / package).rglob("*.py")):
        if path.name != "__init__.py" or path.parent != ROOT / package:
            yield path.relative_to(ROOT / package).parts[0].removesuffix(".py"), path


def imports(source: str) -> set[tuple[str, str]]:
    """(package, module) for everything of ours that a source imports, inside functions too."""
    found: set[tuple[str, str]] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            module = node.module or ""
            # "from calib import table" names a module as well.
            names = [f"{module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            package, _, rest = name.partition(".")
            if package in ("calib", "elicit"):
                found.add((package, rest.partition(".")[0]))
    return found


def wrong_edges(package: str, module: str, source: str) -> list[str]:
    """What a module imports that its layer forbids."""
    level = next((place for place, layer in enumerate(LAYERS) if module in layer), len(LAYERS))
    wrong = []
    for to_package, to_module in sorted(imports(source)):
        if package == "elicit":
            allowed = to_package == "elicit" or to_module in SHARED_WITH_ELICIT
        elif to_package == "elicit":
            allowed = module == "demo"
        else:
            below = frozenset().union(*LAYERS[: level + 1])
            allowed = level == len(LAYERS) or to_module in below
        if not allowed:
            wrong.append(f"{package}.{module} imports {to_package}.{to_module}")
    return wrong


@pytest.mark.parametrize("package", ["calib", "elicit"])
def test_imports_go_one_way(package: str) -> None:
    wrong = [
        edge
        for module, path in modules(package)
        for edge in wrong_edges(package, module, path.read_text("utf-8"))
    ]
    assert wrong == []


def test_every_module_of_the_core_is_there() -> None:
    assert {name for name, _ in modules("calib")} >= CORE


@pytest.mark.parametrize(
    ("package", "module", "source"),
    [
        ("calib", "errors", "from calib.survey import Group"),
        ("calib", "survey", "import calib.opinions"),
        ("calib", "opinions", "from calib import table"),
        ("calib", "rules", "def f():\n    from calib.evaluate import evaluate"),
        ("calib", "evaluate", "from elicit.client import Client"),
        ("elicit", "run", "from calib.paired import pair"),
    ],
)
def test_an_import_upwards_is_found(package: str, module: str, source: str) -> None:
    assert len(wrong_edges(package, module, source)) == 1


def test_the_demo_alone_may_elicit() -> None:
    source = "from elicit.local import Local\nfrom calib.evaluate import evaluate"
    assert wrong_edges("calib", "demo", source) == []


def loaded_by(statement: str) -> set[str]:
    """Top-level packages in memory after a statement, in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}\nimport sys\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return {name.partition(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize("module", ["calib", "calib.cli"])
def test_importing_loads_nothing_heavy(module: str) -> None:
    assert find_spec(module), f"{module} is missing"
    assert loaded_by(f"import {module}").isdisjoint(HEAVY)


def test_heavy_packages_are_seen_where_they_are_loaded() -> None:
    assert "pandas" in loaded_by("import calib.table")
