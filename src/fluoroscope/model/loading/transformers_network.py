"""Networks of transformers: ``hf:NAME`` from the Hub or its cache, ``hf:./folder`` from disk."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fluoroscope.errors import FluoroscopeError, InputError, ModelError, nearest
from fluoroscope.model.inversion import infer_invert
from fluoroscope.model.loading.importing import import_library
from fluoroscope.model.loading.request import Request
from fluoroscope.model.subject import Subject
from fluoroscope.model.texts import vocabulary

__all__ = ["ImageProcessor", "TextProcessor", "load_transformers", "renamed"]


@dataclass(frozen=True)
class ImageProcessor:
    """An image processor of transformers as a preprocess: PIL image to a batch of one (1, C, H, W)."""

    processor: Any

    def __call__(self, image: Any) -> torch.Tensor:
        """The network's input (1, C, H, W)."""
        values = self.processor(images=image, return_tensors="pt")["pixel_values"]
        return torch.as_tensor(values)

    def invert(self, batch: torch.Tensor) -> np.ndarray[Any, Any]:
        """Input batch (N, C, H, W) back to ``uint8`` pictures (N, H, W, 3)."""
        undo = infer_invert(self.processor)
        if undo is None:
            raise InputError("this image processor does not say how it scales", got=type(self.processor).__name__)
        return np.asarray(undo(batch))


@dataclass(frozen=True)
class TextProcessor:
    """A tokenizer as a preprocess: text to the network's keyword inputs, each a batch of one (1, L)."""

    tokenizer: Any

    def __call__(self, text: str) -> dict[str, torch.Tensor]:
        """Keyword inputs (1, L). Raises InputError where it is given no text."""
        if not isinstance(text, str):
            raise InputError("this network reads text", got=type(text).__name__, expected="str")
        return dict(self.tokenizer(text, return_tensors="pt"))


def load_transformers(request: Request) -> Subject:
    """The class that the configuration names, with its head, and the checkpoint's weights.

    ``pretrained=False`` (or a file of weights) builds it from the configuration alone, with random weights. Other
    arguments go to ``from_pretrained`` or ``from_config``: ``attn_implementation="eager"``, ``revision=...``.
    A checkpoint that brings its own Python code needs ``trust=True``.

    Raises:
        MissingExtra: transformers is not installed.
        InputError: the folder is not there or is no checkpoint.
        ModelError: it can't be fetched, read or built.
    """
    library = import_library("transformers", "a network of transformers", "hf")
    arguments = dict(request.arguments)
    pretrained = arguments.pop("pretrained", not request.weights_follow) and not request.weightless
    source = _source(request.name)
    common = {"trust_remote_code": request.trust}
    common |= {
        key: arguments.pop(key) for key in ("revision", "cache_dir", "token", "local_files_only") if key in arguments
    }
    try:
        config = library.AutoConfig.from_pretrained(source, **common)
        with request.building():
            model, notes = _build(library, config, source, pretrained, common, arguments)
    except FluoroscopeError:
        raise
    except Exception as error:  # the Hub, the network behind it and remote code raise anything
        raise _failed(request, error) from error
    if request.weightless:
        return Subject(model.eval(), name=Path(source).name if Path(source).is_dir() else source)
    image = getattr(config, "model_type", "") and _processor(library, "AutoImageProcessor", source, common)
    text = None if image else _processor(library, "AutoTokenizer", source, common)
    preprocess = ImageProcessor(image) if image else TextProcessor(text) if text else None
    return Subject(
        model.eval(),
        preprocess=preprocess,
        tokenizer=text,
        classes=_classes(config, model) or _tokens(model, text),
        invert=infer_invert(image) if image else None,
        name=Path(source).name if Path(source).is_dir() else source,
        notes=notes
        if pretrained or request.weights_follow
        else ("random weights: only the configuration was used", *notes),
    )


def _source(name: str) -> str:
    folder = Path(name).expanduser()
    looks_local = name.startswith((".", "~", "/")) or name.count("/") > 1
    if not folder.is_dir():
        if looks_local:
            beside = [p.name for p in folder.parent.iterdir() if p.is_dir()] if folder.parent.is_dir() else []
            raise InputError(f"there is no folder {name}", nearest=nearest(folder.name, beside))
        return name
    if not (folder / "config.json").is_file():
        raise InputError(f"{name} is not a checkpoint of transformers", got="a folder without config.json")
    try:
        json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{name}/config.json can't be read", got=f"{type(error).__name__}: {error}") from error
    return str(folder)


def _build(
    library: Any, config: Any, source: str, pretrained: bool, common: Mapping[str, Any], arguments: Mapping[str, Any]
) -> tuple[Any, tuple[str, ...]]:
    named = (getattr(config, "architectures", None) or [""])[0]
    # A class of the library knows its head; code that comes with the checkpoint is reached through the Auto class only.
    maker = getattr(library, named, None) or library.AutoModel
    if not pretrained:
        build = maker._from_config if maker is not library.AutoModel else maker.from_config
        return build(config, **arguments), ()
    model, info = maker.from_pretrained(source, config=config, output_loading_info=True, **common, **arguments)
    random = sorted(info.get("missing_keys", ()))
    notes = (
        (f"{len(random)} tensors are not in the checkpoint and start random, for example {random[0]}",)
        if random
        else ()
    )
    return model, notes


def renamed(module: Any, tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Tensors of a checkpoint under the names that this version of transformers uses: it renames while it loads.

    Those that it can't place keep their names; where it can't read the checkpoint at all, all do.
    """
    try:
        model, info = type(module).from_pretrained(
            None,
            config=module.config,
            state_dict=dict(tensors),
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    except Exception:  # noqa: BLE001 (its converters raise anything; the comparison of names then tells what is wrong)
        return dict(tensors)
    absent = {*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])}
    placed = {name: tensor for name, tensor in model.state_dict().items() if name not in absent}
    return placed | {name: tensors[name] for name in info["unexpected_keys"] if name in tensors}


def _processor(library: Any, kind: str, source: str, common: Mapping[str, Any]) -> Any:
    """The checkpoint's image processor or tokenizer; None where it has none that can be used here."""
    with contextlib.suppress(Exception):  # each kind of checkpoint says "none" with another exception
        return getattr(library, kind).from_pretrained(source, **common)
    return None


def _classes(config: Any, model: Any) -> tuple[str, ...] | None:
    names = getattr(config, "id2label", None)
    classifies = "Classification" in type(model).__name__ or "Detection" in type(model).__name__
    if not names or not classifies:  # every configuration has the defaults LABEL_0, LABEL_1
        return None
    named = {int(index): str(name) for index, name in names.items()}
    return tuple(named.get(i, str(i)) for i in range(max(named) + 1))


def _tokens(model: Any, tokenizer: Any) -> tuple[str, ...] | None:
    """The vocabulary, where the network's answer is a token."""
    if tokenizer is None or not re.search("CausalLM|LMHead|MaskedLM|Generation", type(model).__name__):
        return None
    return vocabulary(tokenizer)


def _failed(request: Request, error: Exception) -> ModelError:
    remedy = "check the name and the connection, or give a folder: hf:./folder" if isinstance(error, OSError) else None
    if "trust_remote_code" in str(error):
        remedy = "the checkpoint brings Python code: read it, then pass trust=True (--trust) to run it"
    return ModelError(
        f"transformers could not load {request.name!r}", got=f"{type(error).__name__}: {error}", remedy=remedy
    )
