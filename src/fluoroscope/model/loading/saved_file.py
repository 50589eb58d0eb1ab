"""Networks saved as files: programs of torch.export (``model.pt2``) and, for structure and weights, ONNX."""

from __future__ import annotations

import zipfile
from pathlib import Path

import torch

from fluoroscope.errors import InputError, ModelError, NotApplicable, nearest
from fluoroscope.model.loading.request import Request
from fluoroscope.model.subject import Subject

__all__ = ["existing_file", "load_exported", "load_onnx"]


def existing_file(name: str) -> Path:
    """The file, where it is there and has bytes in it. Raises InputError."""
    file = Path(name).expanduser()
    if file.is_dir():
        raise InputError(f"{name} is a folder", expected="a file")
    if not file.is_file():
        beside = [p.name for p in file.parent.iterdir() if p.is_file()] if file.parent.is_dir() else []
        raise InputError(f"there is no file {name}", nearest=nearest(file.name, beside))
    if file.stat().st_size == 0:
        raise InputError(f"{name} is empty", got="0 bytes")
    return file


def load_exported(request: Request) -> Subject:
    """A program that ``torch.export.save`` wrote, as a module: its graph is flat, its weights are as saved.

    Raises:
        InputError: there is no such file.
        ModelError: ``trust=True`` is missing, or the file is not such a program.
    """
    file = existing_file(request.name)
    request.only()
    if not zipfile.is_zipfile(file):
        raise _not_exported(file, "a file that is no zip archive, or not all of one")
    if not request.trust:
        raise ModelError(
            f"{file.name} was not opened: reading a .pt2 file can run code that is stored in it",
            expected="a file from someone you trust",
            remedy="if you trust who made it, pass trust=True (--trust); or load the class with a file of weights",
        )
    try:
        module = torch.export.load(str(file)).module()
    except Exception as error:  # unzipping, unpickling and rebuilding the graph each raise their own
        raise _not_exported(file, f"{type(error).__name__}: {error}") from error
    return Subject(module, name=file.stem, notes=("an exported program: its layers are flat operations",))


def _not_exported(file: Path, got: str) -> ModelError:
    return ModelError(
        f"{file.name} is not a program of torch.export that torch {torch.__version__} can read",
        got=got,
        expected="a file written by torch.export.save",
    )


def load_onnx(request: Request) -> Subject:
    """ONNX files are looked at, not run: they give structure and weights. Raises NotApplicable."""
    file = existing_file(request.name)
    raise NotApplicable(
        f"{file.name} can't be run here: an ONNX file gives structure and weights only",
        expected="the commands graph and weights for .onnx; a torch network for everything else",
        remedy="load the torch network that it was exported from",
    )
