"""The registry: every method by name. Importing a family's package enters its methods."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

from fluoroscope.errors import OptionError, nearest
from fluoroscope.results import Result

if TYPE_CHECKING:
    from fluoroscope.methods.base import Method

__all__ = ["find_method", "giving", "methods", "register", "report_methods"]

_METHODS: dict[str, type[Method]] = {}


def register(cls: Any) -> Any:
    """Enter a method under its name; a second one of the same name is a mistake in the program."""
    if not cls.name or _METHODS.get(cls.name, cls).__qualname__ != cls.__qualname__:
        raise TypeError(f"method {cls.__qualname__} has no name of its own: {cls.name!r}")
    _METHODS[cls.name] = cls
    return cls


def methods() -> dict[str, type[Method]]:
    """All methods by name, in the order of the life cycle, then by name."""
    import fluoroscope.methods as package
    from fluoroscope.methods.base import PHASES

    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
    return dict(sorted(_METHODS.items(), key=lambda item: (PHASES.index(item[1].phase), item[0])))


def report_methods() -> list[type[Method]]:
    """The methods of a report for which none were named: one or two for each question, the quick ones."""
    return [cls for cls in methods().values() if cls.in_report]


def find_method(name: str, returns: type[Result] = Result) -> type[Method]:
    """The method of that name, ``grad-cam`` or ``GradCAM``, which gives a result of the kind ``returns``.

    Raises:
        OptionError: no method of that name, or one that gives something else; it lists those that fit, and the nearest.
    """
    every = methods()
    found = every.get(name) or next((cls for cls in every.values() if cls.__name__ == name), None)
    if found is not None:
        return giving(returns, found)
    known = _names(returns)
    raise OptionError(
        "no method of that name", got=name, expected=", ".join(known), nearest=nearest(name.lower(), known)
    )


def giving(returns: type[Result], found: type[Method]) -> type[Method]:
    """``found`` where it gives a result of the kind ``returns``. Raises OptionError where it gives something else."""
    if issubclass(found.returns, returns):
        return found
    raise OptionError(
        f"{found.title} is no method of {returns.kind}",
        got=f"{found.name!r}, which gives a {found.returns.__name__}",
        expected=", ".join(_names(returns)),
        remedy="call the method itself",
    )


def _names(returns: type[Result]) -> list[str]:
    return [name for name, cls in methods().items() if issubclass(cls.returns, returns)]
