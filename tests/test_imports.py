"""Importing the package and asking for help load neither torch nor matplotlib, and are quick."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

HEAVY = {"torch", "matplotlib"}
HELP = """
import sys
from fluoroscope.cli import main
sys.argv = ["fluoroscope", "--help"]
try:
    main()
except SystemExit:
    pass
"""
NAMES = """
import sys
import fluoroscope as fs
assert "torch" not in sys.modules
print(fs.GradCAM.__name__, "torch" in sys.modules)
"""
PUBLIC = """
import fluoroscope as fs
print(*[name for name in fs.__all__ if getattr(fs, name, None) is None])
"""
SHADOWED = """
import fluoroscope.methods.registry, fluoroscope.reporting, fluoroscope as fs
print(callable(fs.explain), callable(fs.report))
"""


def loaded_by(statement: str, source: Path) -> set[str]:
    """Top-level modules there after ``statement`` ran in a fresh interpreter, the package found in ``source``."""
    code = f"{statement}\nimport sys; sys.stderr.write(' '.join({{n.partition('.')[0] for n in sys.modules}}))"
    done = run(code, source)
    return set(done.stderr.split())


def run(code: str, source: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(source)}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)


def seconds(code: str, source: Path, rounds: int = 5) -> float:
    """The quickest of several runs, less the quickest start of a bare interpreter."""

    def best(program: str) -> float:
        spent = []
        for _ in range(rounds):
            start = time.perf_counter()
            run(program, source)
            spent.append(time.perf_counter() - start)
        return min(spent)

    return best(code) - best("pass")


@pytest.fixture(scope="module")
def source(root: Path) -> Path:
    return root / "src"


@pytest.mark.parametrize(
    "statement", ["import fluoroscope", "import fluoroscope.results", HELP], ids=["package", "results", "help"]
)
def test_light(statement: str, source: Path) -> None:
    loaded = loaded_by(statement, source)
    assert "fluoroscope" in loaded
    assert not loaded & HEAVY


@pytest.mark.parametrize("heavy", sorted(HEAVY))
@pytest.mark.parametrize("module", ["__init__.py", "errors.py"])
def test_a_heavy_import_would_be_found(heavy: str, module: str, source: Path, tmp_path: Path) -> None:
    """The same check on a copy of the package, one of whose files imports what it must not."""
    unwanted = shutil.ignore_patterns("__pycache__")
    copy = shutil.copytree(source / "fluoroscope", tmp_path / "fluoroscope", ignore=unwanted)
    with (copy / module).open("a") as file:
        file.write(f"\nimport {heavy}\n")
    assert heavy in loaded_by("import fluoroscope.errors", tmp_path)


def test_a_lazy_name_arrives(source: Path) -> None:
    """What the package promises without loading is there when asked for."""
    assert run(NAMES, source).stdout.split() == ["GradCAM", "True"]


def test_every_public_name_exists(source: Path) -> None:
    assert run(PUBLIC, source).stdout.split() == []


def test_no_module_hides_a_name(source: Path) -> None:
    """``fs.report`` is the function, also after something imported the module of the same name."""
    assert run(SHADOWED, source).stdout.split() == ["True", "True"]


def test_a_name_that_is_not_there_is_answered_with_the_nearest():
    import fluoroscope as fs

    with pytest.raises(AttributeError, match="'GradCAM'"):
        fs.GradCam  # noqa: B018
