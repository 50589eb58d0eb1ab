"""The registry: every method by name. Importing a family's package enters its methods."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

from fluoroscope.errors import OptionError, nearest

if TYPE_CHECKING:
    from fluoroscope.methods.base import Method

__all__ = ["find_method", "methods", "register", "report_methods"]

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


def find_method(name: str) -> type[Method]:
    """The method of that name, ``grad-cam`` or ``GradCAM``. Raises OptionError with the nearest names."""
    known = methods()
    by_class = {cls.__name__: cls for cls in known.values()}
    found = known.get(name) or by_class.get(name)
    if found is None:
        raise OptionError(
            "no method of that name", got=name, expected=", ".join(known), nearest=nearest(name.lower(), known)
        )
    return found
