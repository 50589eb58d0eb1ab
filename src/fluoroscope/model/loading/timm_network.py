"""Networks of timm: ``timm:NAME``, with random weights unless ``pretrained=True`` is passed."""

from __future__ import annotations

from typing import Any

from fluoroscope.errors import FluoroscopeError, ModelError, nearest
from fluoroscope.model.inversion import Inversion
from fluoroscope.model.loading.importing import import_library
from fluoroscope.model.loading.request import Request
from fluoroscope.model.subject import Subject

__all__ = ["load_timm"]


def load_timm(request: Request) -> Subject:
    """``timm.create_model(NAME, **arguments)`` in eval mode, with the preprocessing and classes of its configuration.

    Raises:
        MissingExtra: timm, or torchvision which it needs, is not installed.
        ModelError: no such network, weights that can't be fetched, or arguments it does not take.
    """
    timm = import_library("timm", "a network of timm", "timm")
    data = import_library("timm.data", "a network of timm", "timm")
    name = request.name
    if not name.startswith(("hf-hub:", "hf_hub:", "local-dir:")) and not timm.is_model(name.partition(".")[0]):
        raise ModelError(
            f"timm has no network {name!r}",
            nearest=nearest(name, timm.list_models()),
            remedy="timm.list_models() lists them",
        )
    arguments = {"pretrained": False, **request.arguments}
    if request.weightless:
        arguments["pretrained"] = False
    try:
        with request.building():
            model = timm.create_model(name, **arguments).eval()
        config = data.resolve_model_data_config(model)
        preprocess = data.create_transform(**config, is_training=False)
    except FluoroscopeError:
        raise
    except Exception as error:  # its builders, the Hub and the network behind it raise anything
        raise ModelError(
            f"timm could not make {name!r}",
            got=f"{type(error).__name__}: {error}",
            remedy="pretrained=True fetches weights from the Hub: check the connection, or give a file of weights"
            if arguments["pretrained"]
            else None,
        ) from error
    random = not arguments["pretrained"] and not request.weights_follow and not request.weightless
    return Subject(
        model,
        preprocess=preprocess,
        classes=_classes(data, model),
        invert=Inversion(tuple(config["mean"]), tuple(config["std"])),
        name=name,
        input_shape=tuple(config["input_size"]),
        notes=("random weights: pass pretrained=True or a file of weights for trained ones",) if random else (),
    )


def _classes(data: Any, model: Any) -> tuple[str, ...] | None:
    """ImageNet's names where the head has as many outputs as the data set that timm says it is for."""
    subset = data.infer_imagenet_subset(model)
    if not subset:
        return None
    info = data.ImageNetInfo(subset)
    if info.num_classes() != getattr(model, "num_classes", None):
        return None
    return tuple(info.index_to_description(i) for i in range(info.num_classes()))
