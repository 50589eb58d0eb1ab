"""Arguments: a call that a function or a class does not take is answered with the nearest name."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

from fluoroscope.errors import OptionError, nearest

__all__ = ["checked"]

Called = TypeVar("Called", bound=Callable[..., Any])


def checked(called: Called) -> Called:
    """The same function, method or class; a call with arguments that it does not take raises an OptionError, which
    names the nearest argument and says where an argument goes that belongs to the other of options and call.
    """
    if isinstance(called, type):
        maker: Any = called
        maker.__init__ = checked(maker.__init__)
        return called
    signature = inspect.signature(called)

    @functools.wraps(called)
    def call(*args: Any, **named: Any) -> Any:
        try:
            return called(*args, **named)  # looked at only where it fails: to bind arguments takes ten times a call
        except TypeError:
            if (misfit := _misfitting(called, signature, args, named)) is None:
                raise
            raise misfit from None

    return cast(Called, call)


def _misfitting(
    called: Callable[..., Any], signature: inspect.Signature, args: tuple[Any, ...], named: dict[str, Any]
) -> OptionError | None:
    try:
        signature.bind(*args, **named)
    except TypeError as error:
        return _misfit(called, signature, args, named, str(error))
    return None


def _misfit(
    called: Callable[..., Any], signature: inspect.Signature, args: tuple[Any, ...], named: dict[str, Any], text: str
) -> OptionError:
    """What is wrong with a call, ``text`` being what Python says of it."""
    own = [p for p in signature.parameters.values() if p.name != "self"]
    names = [p.name for p in own if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    given = args[len(signature.parameters) - len(own) :]
    title, only_named = _title(called, args), all(p.kind is p.KEYWORD_ONLY for p in own)
    noun = "option" if only_named and own else "argument"
    wrong = next((name for name in named if name not in signature.parameters), None)
    if wrong is not None:
        return OptionError(
            f"{title} has no {noun} {wrong!r}",
            expected=", ".join(names) or "none",
            nearest=nearest(wrong, names),
            remedy=_elsewhere(called, args, wrong),
        )
    if given and only_named:
        what, expected = f"{title}: {noun}s are given by name", f"such as {title}({names[0]}=...)" if names else "none"
        return OptionError(what, got=given[0], expected=expected)
    return OptionError(f"{title}: {text}", expected=", ".join(names))


def _title(called: Callable[..., Any], args: tuple[Any, ...]) -> str:
    owner = type(args[0]).__name__ if args else ""
    return {"__init__": owner, "__call__": f"the call of {owner}"}.get(called.__name__, called.__name__)


def _elsewhere(called: Callable[..., Any], args: tuple[Any, ...], name: str) -> str | None:
    """Where an argument belongs: options are given when a method is made, data when it is called."""
    kind = type(args[0]) if args else object
    if called.__name__ == "__call__" and name in getattr(kind, "__dataclass_fields__", ()):
        return f"it is an option: {kind.__name__}({name}=...)(...)"
    work = inspect.getattr_static(kind, "__call__", None)
    if called.__name__ == "__init__" and inspect.isfunction(work) and name in inspect.signature(work).parameters:
        return f"it goes into the call: {kind.__name__}(...)(..., {name}=...)"
    return None
