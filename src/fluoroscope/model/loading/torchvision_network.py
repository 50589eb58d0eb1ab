"""Networks of torchvision: ``torchvision:NAME``, with random weights unless ``pretrained`` is passed."""

from __future__ import annotations

from typing import Any

from fluoroscope.errors import ModelError, nearest
from fluoroscope.model.inversion import infer_invert
from fluoroscope.model.loading.importing import import_library
from fluoroscope.model.loading.request import Request
from fluoroscope.model.subject import Subject

__all__ = ["load_torchvision"]


def load_torchvision(request: Request) -> Subject:
    """``torchvision.models.get_model(NAME, **arguments)`` in eval mode, with its weights' transforms and categories.

    ``pretrained=True`` fetches the default weights, ``pretrained="IMAGENET1K_V1"`` those of that name. With random
    weights, or weights from a file, transforms and categories are those of the default weights.

    Raises:
        MissingExtra: torchvision is not installed.
        ModelError: no such network or weights, weights that can't be fetched, or arguments it does not take.
    """
    models = import_library("torchvision.models", "a network of torchvision", None)
    name = request.name
    if name not in models.list_models():
        raise ModelError(f"torchvision has no network {name!r}", nearest=nearest(name, models.list_models()))
    arguments = dict(request.arguments)
    asked = arguments.pop("pretrained", False)
    pretrained = False if request.weightless else asked
    known = models.get_model_weights(name)
    described = _weights(known, pretrained, name)
    try:
        with request.building():
            model = models.get_model(name, weights=described if pretrained else None, **arguments).eval()
    except Exception as error:  # its builders and the download raise anything
        raise ModelError(
            f"torchvision could not make {name!r}",
            got=f"{type(error).__name__}: {error}",
            remedy="check the connection, or give a file of weights" if pretrained else None,
        ) from error
    preprocess = described.transforms() if described is not None else None
    same_head = "num_classes" not in arguments and described is not None
    size = getattr(preprocess, "crop_size", None)
    return Subject(
        model,
        preprocess=preprocess,
        classes=tuple(described.meta["categories"]) if same_head and "categories" in described.meta else None,
        invert=infer_invert(preprocess),
        name=name,
        input_shape=(3, *(list(size) * 2)[:2]) if size else None,
        notes=()
        if pretrained or request.weights_follow or request.weightless
        else ("random weights: pass pretrained=True or a file of weights for trained ones",),
    )


def _weights(known: Any, wanted: bool | str, name: str) -> Any:
    names = [w.name for w in known]
    if isinstance(wanted, str) and wanted.upper() != "DEFAULT":
        if wanted not in names:
            raise ModelError(
                f"{name} has no weights {wanted!r}", expected=", ".join(names), nearest=nearest(wanted, names)
            )
        return known[wanted]
    if wanted and not names:
        raise ModelError(f"torchvision has no trained weights for {name}", remedy="give a file of weights")
    return known.DEFAULT if names else None
