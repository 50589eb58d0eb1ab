"""Networks made by Python code: ``pkg.module:factory`` and ``./file.py:factory``."""

from __future__ import annotations

import ast
import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from torch import nn

from fluoroscope.errors import FluoroscopeError, InputError, ModelError, OptionError, nearest
from fluoroscope.model.batch import to_batch
from fluoroscope.model.loading.importing import import_file, import_package, importable
from fluoroscope.model.loading.request import Request
from fluoroscope.model.preprocess import ImagePreprocess, infer_invert
from fluoroscope.model.subject import Subject

__all__ = ["candidates", "class_names", "load_factory", "subject_of"]

BLANK = (256, 256)
ANSWERS = "a torch.nn.Module, a Subject, or a tuple (model, preprocess) or (model, preprocess, classes)"


def load_factory(request: Request) -> Subject:
    """Import the module, find the factory, call it with the arguments, and read its answer.

    Raises:
        ModelError: no such module or factory, the factory raised (that is the cause), or it returned no network.
        OptionError: the arguments do not fit the factory.
    """
    where, _, name = request.name.rpartition(":")
    is_file = where.endswith(".py")
    module = import_file(Path(where)) if is_file else import_package(where)
    factory = _attribute(module, name, where)
    folder = Path(str(module.__file__)).parent if is_file else Path.cwd()
    with importable(folder, private=is_file), request.building():  # factories often import late
        answer = _answer(factory, request.arguments, name)
    subject = subject_of(answer, f"{where}:{name}")
    return subject if subject.name else dataclasses.replace(subject, name=_title(name, request.arguments))


def candidates(file: Path) -> list[str]:
    """Functions and classes at the top of a Python file, found without running it; none where it can't be parsed."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return []
    kinds = (ast.FunctionDef, ast.ClassDef)
    return [node.name for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")]


def _title(name: str, arguments: Mapping[str, Any]) -> str:
    shown = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
    return f"{name}({shown})" if shown else name


def _attribute(module: Any, name: str, where: str) -> Any:
    found = module
    for part in name.split("."):
        if not hasattr(found, part):
            own = _own_names(module)
            raise ModelError(
                f"{where} has no {name!r}",
                expected=f"one of {', '.join(own)}" if own else "a function that returns a network",
                nearest=nearest(name, own),
            )
        found = getattr(found, part)
    return found


def _own_names(module: Any) -> list[str]:
    """What a module defines itself and could be a factory."""
    public = {n: v for n, v in vars(module).items() if not n.startswith("_") and callable(v)}
    return [n for n, v in public.items() if isinstance(v, nn.Module) or getattr(v, "__module__", "") == module.__name__]


def _answer(factory: Any, arguments: Mapping[str, Any], name: str) -> Any:
    if isinstance(factory, (nn.Module, Subject, tuple)):
        if arguments:
            raise OptionError(f"{name} is a finished network and takes no arguments", got=", ".join(arguments))
        return factory
    if not callable(factory):
        raise ModelError(
            f"{name} is not a factory", got=type(factory).__name__, expected=f"a function that returns {ANSWERS}"
        )
    _check_arguments(factory, arguments, name)
    try:
        return factory(**arguments)
    except FluoroscopeError:
        raise
    except (Exception, SystemExit) as error:
        raise ModelError(f"the factory {name} raised an exception", got=f"{type(error).__name__}: {error}") from error


def _check_arguments(factory: Callable[..., Any], arguments: Mapping[str, Any], name: str) -> None:
    """Compare with the signature first: a TypeError from inside the factory is then never mistaken for a wrong call."""
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):  # some built-in callables have none
        return
    try:
        signature.bind(**arguments)
    except TypeError as error:
        wrong = [key for key in arguments if key not in signature.parameters]
        needed = [
            key
            for key, p in signature.parameters.items()
            if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and key not in arguments
        ]
        given = ", ".join(f"{key}=..." for key in needed)
        raise OptionError(
            f"the arguments do not fit the factory {name}",
            got=str(error),
            expected=f"{name}{_plain(signature)}",
            nearest=nearest(wrong[0], signature.parameters) if wrong else None,
            remedy=f"give them by name: {given} (on the command line --arg {needed[0]}=VALUE)" if needed else None,
        ) from error


def _plain(signature: inspect.Signature) -> str:
    return str(signature.replace(return_annotation=inspect.Signature.empty))


def subject_of(answer: Any, source: str) -> Subject:
    """The Subject that a factory's answer means. Raises ModelError where it means none."""
    if isinstance(answer, Subject):
        return _completed(answer)
    parts = answer if isinstance(answer, tuple) else (answer,)
    if not 1 <= len(parts) <= 3 or not isinstance(parts[0], nn.Module):
        got = f"({', '.join(type(p).__name__ for p in parts)})" if isinstance(answer, tuple) else type(answer).__name__
        raise ModelError(f"{source} did not return a network", got=got, expected=ANSWERS)
    model, preprocess, classes = (*parts, None, None)[:3]
    if preprocess is not None and not callable(preprocess):
        raise ModelError(
            f"{source} returned a preprocess that can't be called", got=type(preprocess).__name__, expected="a function"
        )
    return _completed(Subject(model, preprocess=preprocess, classes=class_names(classes, source)))


def _completed(subject: Subject) -> Subject:
    """With what can be found out about the preprocess: how to undo it, and the shape it makes."""
    preprocess = subject.preprocess
    invert = subject.invert or infer_invert(preprocess)
    shape = subject.input_shape
    if shape is None and isinstance(preprocess, ImagePreprocess):
        shape = preprocess.shape
    elif shape is None and preprocess is not None:
        shape = _shape_of_blank(preprocess)
    return dataclasses.replace(subject, invert=invert, input_shape=shape)


def _shape_of_blank(preprocess: Callable[[Any], Any]) -> tuple[int, ...] | None:
    """The shape that a preprocess makes of a blank picture; None where it is for something else than pictures."""
    try:
        return tuple(to_batch([Image.new("RGB", BLANK)], preprocess).shape[1:])
    except InputError:
        return None


def class_names(classes: Any, source: str) -> tuple[str, ...] | None:
    """Names of the outputs in their order, from a sequence or a mapping of index to name (gaps keep their number).

    Raises:
        ModelError: neither of them.
    """
    if classes is None:
        return None
    if isinstance(classes, Mapping):
        return _from_mapping(classes, source)
    if isinstance(classes, (str, bytes)) or not isinstance(classes, Sequence):
        raise ModelError(
            f"{source} returned classes that are no list of names",
            got=type(classes).__name__,
            expected="a list of names by index",
        )
    return tuple(str(name) for name in classes)


def _from_mapping(classes: Mapping[Any, Any], source: str) -> tuple[str, ...]:
    try:
        named = {int(index): str(name) for index, name in classes.items()}
    except (TypeError, ValueError) as error:
        example = next(iter(classes.items()))
        raise ModelError(
            f"{source} returned classes that are not by index", got=example, expected="{index: name}"
        ) from error
    last = max(named, default=-1)
    if min(named, default=0) < 0 or last > 10_000_000:  # one slip of the index must not fill the memory
        raise ModelError(
            f"{source} returned classes with impossible indices", got=f"{min(named)} to {last}", expected="0, 1, 2, …"
        )
    return tuple(named.get(index, str(index)) for index in range(last + 1))
