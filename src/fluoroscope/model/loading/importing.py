"""Importing what a spec names: a module of an installed package, a Python file anywhere, an optional library."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from fluoroscope.errors import FluoroscopeError, InputError, MissingExtra, ModelError, nearest

__all__ = ["import_file", "import_library", "import_package", "importable"]


@contextlib.contextmanager
def importable(folder: Path, private: bool) -> Iterator[None]:
    """``folder`` is first on ``sys.path`` inside the block; afterwards ``sys.path`` is as before.

    With ``private``, modules that lie in ``folder`` win over those of the same name that are already imported (two
    folders may both have a ``layers.py``), and afterwards the earlier ones are back in ``sys.modules``. Modules of the
    folder stay importable only where nothing else has their name: torch's tracers look modules up by name.
    """
    path = list(sys.path)
    aside = _set_aside(folder) if private else {}
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = path
        if private:
            for name in set(sys.modules) - before:
                if _lies_in(sys.modules[name], folder) and (name in aside or _importable_elsewhere(name, folder)):
                    del sys.modules[name]
            sys.modules.update(aside)


def _set_aside(folder: Path) -> dict[str, ModuleType]:
    """Imported modules that come from elsewhere but are named like a module of ``folder``, taken out."""
    own = {p.stem for p in folder.glob("*.py")} | {p.parent.name for p in folder.glob("*/__init__.py")}
    own -= set(sys.stdlib_module_names) | {
        "fluoroscope",
        "torch",
        "numpy",
        "__main__",
    }  # replacing these breaks the process
    names = [n for n in list(sys.modules) if n.partition(".")[0] in own]
    foreign = {n for n in names if "." not in n and not _lies_in(sys.modules[n], folder)}
    return {n: sys.modules.pop(n) for n in names if n.partition(".")[0] in foreign}


def _lies_in(module: ModuleType, folder: Path) -> bool:
    file = getattr(module, "__file__", None)
    return bool(file) and Path(str(file)).resolve().is_relative_to(folder)


def _importable_elsewhere(name: str, folder: Path) -> bool:
    if name.startswith("_fluoroscope_file_"):
        return False
    found = PathFinder.find_spec(name.partition(".")[0])
    return found is not None and not (found.origin and Path(found.origin).resolve().is_relative_to(folder))


def import_file(path: Path) -> ModuleType:
    """Run a Python file as a module with a private name; files beside it can be imported meanwhile.

    The file is run anew at each call, so that an edited file is seen.

    Raises:
        InputError: there is no such file.
        ModelError: running it failed; the failure is the cause.
    """
    file = path.expanduser().resolve()
    if not file.is_file():
        beside = [p.name for p in file.parent.glob("*.py")] if file.parent.is_dir() else []
        raise InputError(f"there is no file {path}", expected="a Python file", nearest=nearest(file.name, beside))
    name = "_fluoroscope_file_" + hashlib.sha256(str(file).encode()).hexdigest()[:16]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} is not a Python file", expected="a name ending in .py")
    module = importlib.util.module_from_spec(spec)
    previous = sys.modules.get(name)
    sys.modules[name] = module  # dataclasses and torch look their own module up there
    try:
        with importable(file.parent, private=True):
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        sys.modules.pop(name)
        if previous is not None:
            sys.modules[name] = previous
        raise _failed(str(path), error) from error
    return module


def import_package(name: str) -> ModuleType:
    """Import ``pkg.module``; packages in the current folder count as installed.

    Raises:
        ModelError: there is no such module, or importing it failed; the failure is the cause.
    """
    if not all(part.isidentifier() for part in name.split(".")):
        raise ModelError("not the name of a module", got=name, expected="pkg.module:factory or ./file.py:factory")
    try:
        with importable(Path.cwd(), private=False):
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name + ".").startswith(error.name + "."):
            raise _no_module(name, error.name) from error
        raise _failed(name, error) from error
    except (Exception, SystemExit) as error:
        raise _failed(name, error) from error


def import_library(name: str, purpose: str, extra: str | None) -> Any:
    """Import an optional library.

    Raises:
        MissingExtra: it, or torchvision where it needs that, is not installed.
        ModelError: it is installed but can't be imported.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        top = (error.name or "").partition(".")[0]
        if top == name.partition(".")[0] and extra is not None:
            raise MissingExtra.of(top, extra, purpose) from error
        raise MissingExtra(
            f"{purpose} needs the package {top!r}, which is not installed",
            remedy=f"pip install {top}" + (", the version that belongs to your torch" if top == "torchvision" else ""),
        ) from error
    except (ImportError, RuntimeError, AttributeError) as error:  # RuntimeError: its operators do not fit this torch
        raise ModelError(
            f"the package {name!r} is installed, but importing it failed",
            got=f"{type(error).__name__}: {error}",
            remedy="install the version that belongs to your torch",
        ) from error


def _no_module(name: str, missing: str) -> ModelError:
    parent, _, last = missing.rpartition(".")
    folder = Path(*parent.split(".")) if parent else Path()
    near = nearest(last, [p.stem for p in folder.glob("*.py")] + [p.parent.name for p in folder.glob("*/__init__.py")])
    return ModelError(
        f"there is no module {missing!r}",
        got=name,
        expected="a module that can be imported from here",
        nearest=near,
        remedy="start it in the folder that holds the package, or give ./path/file.py:factory",
    )


def _failed(name: str, error: BaseException) -> FluoroscopeError:
    if isinstance(error, FluoroscopeError):
        return error
    remedy = None
    if isinstance(error, ImportError) and "relative import" in str(error):
        remedy = "the file is part of a package: give it as pkg.module:factory from the folder that holds the package"
    elif isinstance(error, SystemExit):
        remedy = "put what the script does under: if __name__ == '__main__':"
    return ModelError(f"importing {name} failed", got=f"{type(error).__name__}: {error}", remedy=remedy)
