"""Networks of Keras 3 on its torch backend: ``keras:file.keras``, also ``.h5``."""

from __future__ import annotations

import os
import sys
import zipfile
from pathlib import Path
from typing import Any

from torch import nn

from fluoroscope.errors import ModelError
from fluoroscope.model.loading.importing import import_library
from fluoroscope.model.loading.request import Request
from fluoroscope.model.loading.saved_file import existing_file
from fluoroscope.model.subject import Subject

__all__ = ["load_keras"]

HDF = b"\x89HDF\r\n\x1a\n"


def load_keras(request: Request) -> Subject:
    """``keras.saving.load_model(file, compile=False)``: a torch.nn.Module whose images are channels-last (N, H, W, C).

    ``custom_objects={"Name": Class}`` is passed on. Lambda layers hold Python code: they need ``trust=True``.

    Raises:
        MissingExtra: Keras is not installed.
        InputError: there is no such file.
        ModelError: Keras runs on another backend, or the file can't be read.
    """
    file = existing_file(request.name)
    arguments = request.only("custom_objects")
    _check_kind(file)
    keras = _keras_on_torch()
    custom = dict(arguments.get("custom_objects") or {})
    if file.suffix == ".h5":
        custom.setdefault("DepthwiseConv2D", _depthwise(keras))
    try:
        model = keras.saving.load_model(str(file), custom_objects=custom, compile=False, safe_mode=not request.trust)
    except Exception as error:  # wrong zip, wrong HDF5, unknown layers: each raises its own
        raise _failed(file, error) from error
    if not isinstance(model, nn.Module):
        raise ModelError(f"{file.name} holds no network for torch", got=type(model).__name__)
    shape = getattr(model, "input_shape", None)
    known = isinstance(shape, tuple) and all(isinstance(s, int) for s in shape[1:])
    return Subject(model.eval(), name=file.stem, input_shape=tuple(shape[1:]) if known and shape else None)


def _check_kind(file: Path) -> None:
    """Say that a file is none of Keras before its package is asked for. Raises ModelError."""
    with file.open("rb") as handle:
        hdf = handle.read(len(HDF)) == HDF
    if not hdf and not zipfile.is_zipfile(file):
        raise ModelError(
            f"{file.name} is not a Keras file",
            got="a file that is neither a zip archive nor HDF5, or not all of one",
            expected="a .keras or .h5 file that model.save wrote",
        )


def _keras_on_torch() -> Any:
    """Keras, imported with the torch backend; the choice can't be changed once it is imported."""
    if "keras" not in sys.modules:
        # Left set: processes started from here must come to the same choice.
        wanted = os.environ.setdefault("KERAS_BACKEND", "torch")
        if wanted != "torch":
            raise _wrong_backend(wanted)
    keras = import_library("keras", "a Keras file", "keras")
    backend = getattr(getattr(keras, "config", None), "backend", lambda: f"of Keras {keras.__version__}")()
    if backend != "torch":
        raise _wrong_backend(backend)
    return keras


def _wrong_backend(backend: str) -> ModelError:
    return ModelError(
        "Keras must run on its torch backend",
        got=f"backend {backend!r}",
        expected="'torch'",
        remedy="set KERAS_BACKEND=torch in the environment before anything imports keras",
    )


def _depthwise(keras: Any) -> Any:
    """Keras 2 wrote ``groups=1`` for depthwise convolutions; Keras 3 does not know the word there."""

    class DepthwiseConv2D(keras.layers.DepthwiseConv2D):  # type: ignore[misc]
        def __init__(self, *args: Any, groups: int = 1, **kwargs: Any) -> None:
            if groups != 1:
                raise ValueError(f"a depthwise convolution with groups={groups}")
            super().__init__(*args, **kwargs)

    return DepthwiseConv2D


def _failed(file: Path, error: Exception) -> ModelError:
    remedy = None
    if "safe_mode" in str(error) or "Lambda" in str(error):
        remedy = "the file holds Python code: if you trust who made it, pass trust=True (--trust) to run it"
    elif "Unknown layer" in str(error) or "Could not locate class" in str(error):
        remedy = "pass custom_objects={'Name': Class} for layers of your own"
    return ModelError(f"Keras could not read {file.name}", got=f"{type(error).__name__}: {error}", remedy=remedy)
