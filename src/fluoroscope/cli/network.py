"""The network that the options name, ready to be looked at."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fluoroscope.cli.console import Console
from fluoroscope.errors import InputError, ModelError, OptionError, nearest

if TYPE_CHECKING:
    import torch

    from fluoroscope.methods.base import Method
    from fluoroscope.model.inputs import Inputs
    from fluoroscope.model.subject import Subject

__all__ = ["DTYPES", "Network", "check_layers", "keyword"]

DTYPES = ("float32", "bfloat16", "float16", "float64")
PARTLY = "pass strict=False"
OURS = {"spec": "MODEL", "weights": "--weights", "trust": "--trust", "strict": "--weights-partly"}


@dataclass(frozen=True)
class Network:
    """How a network is loaded and where it computes."""

    weights: Path | None = None
    weights_partly: bool = False
    arguments: tuple[str, ...] = ()
    trust: bool = False
    classes: Path | None = None
    input_shape: tuple[int, ...] | None = None
    device: str | None = None
    dtype: str | None = None

    def load(self, model: str, console: Console) -> Subject:
        """The network with its weights, on its device; what had to be assumed is told.

        Raises:
            ModelError: the network, its weights or its arguments are wrong.
            OptionError: no such device, or an argument that can't be given.
            InputError: a file is missing.
        """
        arguments = self._arguments()
        device = self._device()
        classes = self._classes()
        from fluoroscope.model.spec import load

        try:
            subject = load(model, self.weights, trust=self.trust, strict=not self.weights_partly, **arguments)
        except ModelError as error:
            if error.remedy is not None and PARTLY in str(error.remedy):
                error = _with_remedy(error, str(error.remedy).replace(PARTLY, "add --weights-partly"))
            raise error
        changes: dict[str, Any] = {"classes": classes} if classes else {}
        if self.input_shape is not None:
            changes["input_shape"] = self.input_shape
        self._move(subject, device)
        for note in subject.notes:
            console.note(f"note: {note}")
        return dataclasses.replace(subject, **changes)

    def check_names(self, subject: Subject, data: Inputs) -> None:
        """Compare the names of ``--classes`` with the outputs, which one run tells. Raises InputError."""
        if self.classes is None or subject.classes is None:
            return
        from fluoroscope.cli.ranking import output_count

        count, names = output_count(subject, data), len(subject.classes)
        if names != count:
            raise InputError(
                f"the names in {self.classes} are not those of this network's outputs",
                got=f"{names:,} {'name' if names == 1 else 'names'}",
                expected=f"{count:,}, one on each line, in the order of the outputs",
            )

    def structure(self, model: str, console: Console) -> Subject:
        """The network without its weights, where it can be built so; what had to be assumed is told.

        Raises:
            ModelError: the network or its arguments are wrong.
            OptionError: an argument that can't be given.
        """
        from fluoroscope.model.spec import load_structure

        subject = load_structure(model, trust=self.trust, **self._arguments())
        for note in subject.notes:
            console.note(f"note: {note}")
        return subject

    def _arguments(self) -> dict[str, Any]:
        arguments = dict(keyword(text, "--arg") for text in self.arguments)
        for name in arguments:
            if name in OURS:
                raise OptionError(f"--arg {name} can't be given to the factory", remedy=f"use {OURS[name]}")
        return arguments

    def likely_shape(self, subject: Subject) -> tuple[int, ...] | None:
        """Shape of one example: as given, or as the network says."""
        return self.input_shape or subject.input_shape

    def _device(self) -> torch.device | None:
        if self.device is None:
            return None
        import torch

        try:
            device = torch.device(self.device)
            torch.empty(1, device=device)
        except (RuntimeError, AssertionError, NotImplementedError, ValueError) as error:
            known = ["cpu", *(["cuda"] if torch.cuda.is_available() else []), *(["mps"] if _mps() else [])]
            raise OptionError(
                "there is no such device here",
                got=self.device,
                expected=f"one of {', '.join(known)}",
                nearest=nearest(self.device, known),
            ) from error
        return device

    def _move(self, subject: Subject, device: torch.device | None) -> None:
        import torch

        try:
            subject.module.to(device=device, dtype=getattr(torch, self.dtype) if self.dtype else None)
        except NotImplementedError as error:  # parameters without values
            raise ModelError(
                "the network has no weights that could be moved",
                got=str(error).splitlines()[0],
                remedy="add --weights FILE",
            ) from error

    def _classes(self) -> tuple[str, ...] | None:
        if self.classes is None:
            return None
        try:
            text = self.classes.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            got = getattr(error, "strerror", None) or "bytes that are not UTF-8"
            raise InputError(f"the names of classes in {self.classes} can't be read", got=got) from error
        names = tuple(line.strip() for line in text.splitlines())
        if not any(names):
            raise InputError(
                f"{self.classes} holds no names", expected="one name per line, in the order of the outputs"
            )
        return names


def check_layers(subject: Subject, methods: Iterable[Method]) -> None:
    """Compare the layers that ``methods`` name with the network's, before any input is read. Raises LayerError."""
    from fluoroscope.model.study import Study

    for method in methods:
        for given in (getattr(method, "layer", None), getattr(method, "at", None)):
            for name in (given,) if isinstance(given, str) else given if isinstance(given, (tuple, list)) else ():
                Study(subject).layer(name)


def keyword(text: str, option: str) -> tuple[str, Any]:
    """KEY and VALUE of ``KEY=VALUE``; a value is a Python literal where it reads as one, else text.

    Raises:
        OptionError: there is no ``=``, or KEY is no name of an argument.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip().isidentifier():
        raise OptionError(f"{option} takes KEY=VALUE", got=text, expected=f"{option} depth=18")
    return key.strip(), literal(value)


def literal(text: str) -> Any:
    """A Python literal (number, list, True, None, quoted text), else the text itself."""
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def _with_remedy(error: ModelError, remedy: str) -> ModelError:
    made = ModelError(error.what, got=error.got, expected=error.expected, nearest=error.nearest, remedy=remedy)
    made.__cause__ = error.__cause__
    return made


def _mps() -> bool:
    import torch

    return torch.backends.mps.is_available()
