"""Loading a network by what names it: code, a model library, or a file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fluoroscope.arguments import checked
from fluoroscope.errors import ModelError, nearest
from fluoroscope.model.loading.factory import candidates, load_factory
from fluoroscope.model.loading.keras_file import load_keras
from fluoroscope.model.loading.request import Request
from fluoroscope.model.loading.saved_file import existing_file, load_exported, load_onnx
from fluoroscope.model.loading.timm_network import load_timm
from fluoroscope.model.loading.torchvision_network import load_torchvision
from fluoroscope.model.loading.transformers_network import load_transformers
from fluoroscope.model.subject import Subject
from fluoroscope.model.weights_file import SUFFIXES as WEIGHTS_SUFFIXES
from fluoroscope.model.weights_file import load_weights

__all__ = ["FORMS", "load", "load_structure"]

Loader = Callable[[Request], Subject]

SCHEMES: dict[str, Loader] = {
    "timm": load_timm,
    "torchvision": load_torchvision,
    "hf": load_transformers,
    "keras": load_keras,
}
"""``scheme:NAME``; a module of one of these names is reached by its full name, ``timm.models:factory``."""

ENDINGS: dict[str, Loader] = {".pt2": load_exported, ".onnx": load_onnx, ".keras": load_keras, ".h5": load_keras}
"""Files that are networks by themselves, by the end of their names."""

FORMS = (
    "pkg.module:factory, ./file.py:factory, timm:NAME, torchvision:NAME, hf:NAME, keras:FILE, model.pt2 or model.onnx"
)


@checked
def load(
    spec: str, weights: str | Path | None = None, *, trust: bool = False, strict: bool = True, **arguments: Any
) -> Subject:
    """The network that ``spec`` names, with its preprocessing and classes where they are known.

    ``spec`` is one of

    - ``pkg.module:factory`` or ``./file.py:factory``: a function (or class, or finished network) that gives a
      ``torch.nn.Module``, a ``Subject``, or a tuple ``(model, preprocess)`` or ``(model, preprocess, classes)``;
    - ``timm:NAME``, ``torchvision:NAME``: random weights unless ``pretrained=True`` is passed;
    - ``hf:NAME`` or ``hf:./folder``: a checkpoint with its weights, unless ``pretrained=False`` is passed;
    - ``keras:file.keras`` or ``.h5``: Keras 3 on its torch backend;
    - ``model.pt2``: a program of ``torch.export``; reading one can run code, so it needs ``trust=True``;
    - ``model.onnx``: structure and weights only.

    ``weights`` is a ``.safetensors``, ``.pt``, ``.pth`` or ``.bin`` file of plain tensors that fits the network;
    ``strict=False`` takes what fits of it. All other keyword arguments go to the factory. What had to be assumed is in
    ``Subject.notes``. Code that ``spec`` names is run: name only what you trust.

    Raises:
        ModelError: the spec, the network or the weights are wrong; nothing half loaded is returned.
        OptionError: the factory does not take these arguments.
        InputError: a file or folder is not there.
        MissingExtra: an optional package is missing.
    """
    if not isinstance(spec, str):
        raise ModelError(
            "a network is loaded by name",
            got=type(spec).__name__,
            expected="text",
            remedy="for a network in hand: Subject(model)",
        )
    loader, name = _dispatch(spec.strip())
    subject = loader(Request(name, arguments, trust=trust, weights_follow=weights is not None))
    if weights is None:
        return subject
    notes = load_weights(subject.module, weights, strict=strict)
    return dataclasses.replace(subject, notes=(*subject.notes, *notes))


def load_structure(spec: str, *, trust: bool = False, **arguments: Any) -> Subject:
    """The network that ``spec`` names, built on the meta device without a single weight where that is possible.

    A factory that needs numbers while it builds (and a Keras file) is loaded as by :func:`load`; ``Subject.notes`` then
    say so. Raises what :func:`load` raises.
    """
    loader, name = _dispatch(spec.strip())
    if loader in (load_keras, load_exported, load_onnx):
        return load(spec, trust=trust, **arguments)
    try:
        return loader(Request(name, arguments, trust=trust, weightless=True))
    except ModelError as error:
        if error.__cause__ is None or isinstance(error.__cause__, (ImportError, OSError)):
            raise
        subject = load(spec, trust=trust, **arguments)
        note = f"the network could not be built without weights ({type(error.__cause__).__name__}), so it was loaded"
        return dataclasses.replace(subject, notes=(*subject.notes, note))


def _dispatch(spec: str) -> tuple[Loader, str]:
    scheme, colon, name = spec.partition(":")
    if colon and scheme in SCHEMES:
        if not name:
            raise ModelError(f"{spec} names no network", expected=f"{scheme}:NAME")
        return SCHEMES[scheme], name
    ending = Path(spec).suffix.lower()
    if ending in ENDINGS:
        return ENDINGS[ending], spec
    where, colon, factory = spec.rpartition(":")
    if colon and where and factory:
        return load_factory, spec
    raise _not_a_spec(spec, ending)


def _not_a_spec(spec: str, ending: str) -> ModelError:
    what = f"{spec!r} does not say which network to load"
    if ending in WEIGHTS_SUFFIXES:
        return ModelError(
            f"{spec!r} holds weights without a network",
            expected=FORMS,
            remedy=f"name the code that builds the network, and add: --weights {spec}",
        )
    if ending == ".py":
        existing_file(spec)
        names = candidates(Path(spec).expanduser())
        return ModelError(
            what, got="a file without a factory", expected=f"{spec}:factory", nearest=", ".join(names[:8]) or None
        )
    return ModelError(what, expected=FORMS, nearest=nearest(spec.partition(":")[0], SCHEMES))
