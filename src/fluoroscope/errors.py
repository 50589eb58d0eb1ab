"""One template for every message a user's mistake can lead to.

An error says what failed, what was got, what was expected and what to do about it, in at most six lines, with a
documented code. Each class keeps the built-in exception it specializes, so ``except ValueError`` still works.
"""

from __future__ import annotations

import difflib
import errno
import os
from collections.abc import Iterable
from typing import ClassVar

__all__ = [
    "FluoroscopeError",
    "InputError",
    "LayerError",
    "MissingExtra",
    "ModelError",
    "NotApplicable",
    "NumericalError",
    "OptionError",
    "ResultFileError",
    "TargetError",
    "TrainingStopped",
    "error_classes",
    "nearest",
    "write_remedy",
]

LINE_LIMIT = 240


class FluoroscopeError(Exception):
    """What failed, with got, expected and remedy; ``code`` names the kind of failure and ``exit_code`` the process
    status.
    """

    code: ClassVar[str] = "FS-ERROR"
    exit_code: ClassVar[int] = 1
    meaning: ClassVar[str] = "Something failed that no other code names."

    def __init__(
        self,
        what: str,
        *,
        got: object = None,
        expected: object = None,
        nearest: object = None,
        remedy: object = None,
    ) -> None:
        self.what, self.got, self.expected, self.nearest, self.remedy = what, got, expected, nearest, remedy
        super().__init__(self.render())

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.what, self.got, self.expected, self.nearest, self.remedy))

    def parts(self) -> dict[str, str]:
        """The filled lines of the template by name, as text (for ``--json``)."""
        lines = {"got": self.got, "expected": self.expected, "nearest": self.nearest, "remedy": self.remedy}
        return {name: _line(value) for name, value in lines.items() if value is not None}

    def render(self) -> str:
        """The whole message: one line for what failed, then one for each part that is known."""
        head = f"{self.code}: {_line(self.what)}"
        return "\n".join([head, *(f"  {name + ':':<10}{text}" for name, text in self.parts().items())])


def _rebuild(
    cls: type[FluoroscopeError], what: str, got: object, expected: object, near: object, remedy: object
) -> FluoroscopeError:
    return cls(what, got=got, expected=expected, nearest=near, remedy=remedy)


def _line(value: object) -> str:
    """One printable line: control characters (also terminal escapes in hostile names) shown, never sent."""
    text = value if isinstance(value, str) else repr(value)
    text = "".join(
        c if c.isprintable() else (" " if c.isspace() else c.encode("unicode_escape").decode()) for c in text
    )
    return text if len(text) <= LINE_LIMIT else text[: LINE_LIMIT - 1] + "…"


class ModelError(FluoroscopeError, ValueError):
    """The network can't be loaded, run or kept as it was."""

    code, exit_code = "FS-MODEL", 3
    meaning = (
        "The network could not be loaded or run: wrong spec, weights that do not fit, an output that is not understood."
    )


class LayerError(FluoroscopeError, LookupError):
    """The layer asked for does not exist, did not run, or has the wrong rank."""

    code, exit_code = "FS-LAYER", 4
    meaning = "The layer does not exist, did not run for this input, or has an output the method cannot use."

    def __str__(self) -> str:  # LookupError's children quote their argument
        return self.render()


class TargetError(FluoroscopeError, ValueError):
    """The target does not fit the output of the network."""

    code, exit_code = "FS-TARGET", 4
    meaning = "The target (class index, list, mask, callable) does not fit the output of the network."


class NotApplicable(FluoroscopeError, TypeError):
    """The method can't be right for this network, and says why."""

    code, exit_code = "FS-METHOD", 4
    meaning = "The method does not apply to this network or input; the message says why."


class OptionError(FluoroscopeError, ValueError):
    """An option has a value outside what the method accepts."""

    code, exit_code = "FS-OPTION", 2
    meaning = "An option of a method or a command has a value that it does not accept."


class InputError(FluoroscopeError, ValueError):
    """The input can't be read or does not fit the network."""

    code, exit_code = "FS-INPUT", 5
    meaning = "An input (image, array, folder) is missing, corrupt, too large, or does not fit the network."


class NumericalError(FluoroscopeError, ArithmeticError):
    """NaN or infinity where a number was needed."""

    code, exit_code = "FS-NUMBER", 6
    meaning = "The input, the output or a gradient holds NaN or infinity, or there is no gradient at all."


class ResultFileError(FluoroscopeError, OSError):
    """A result can't be written or read."""

    code, exit_code = "FS-FILE", 7
    meaning = "A file could not be written (nothing half-written is left) or is not a file that this program made."

    def __str__(self) -> str:  # OSError formats (errno, text) pairs by itself
        return self.render()


class TrainingStopped(FluoroscopeError, RuntimeError):
    """An alert of a live diagnosis stopped the training."""

    code, exit_code = "FS-STOPPED", 9
    meaning = "A live diagnosis found a problem and an alert was told to stop the training."


class MissingExtra(FluoroscopeError, ImportError):
    """An optional package is not installed."""

    code, exit_code = "FS-EXTRA", 8
    meaning = "An optional package is missing; the message names the extra that installs it."

    @classmethod
    def of(cls, package: str, extra: str, purpose: str) -> MissingExtra:
        """The standard wording for a missing optional ``package`` that the extra ``extra`` installs."""
        return cls(
            f"{purpose} needs the package {package!r}, which is not installed",
            remedy=f"pip install 'fluoroscope[{extra}]'",
        )


def error_classes() -> list[type[FluoroscopeError]]:
    """Every documented error, the base first, in the order of exit codes."""
    return [FluoroscopeError, *sorted(FluoroscopeError.__subclasses__(), key=lambda c: (c.exit_code, c.code))]


def write_remedy(error: OSError) -> str:
    """What helps against a failure to write, by its errno: only a full disk is helped by free space."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "free some space or choose another folder, then run it again"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "choose a folder that you may write to, or change its permissions"
    if error.errno == errno.EROFS:
        return "choose a folder outside this file system, which is read-only"
    if error.errno == errno.ENAMETOOLONG:
        return "choose a shorter name"
    return "choose another folder"


def nearest(name: str, known: Iterable[str], count: int = 3) -> str | None:
    """The known names most like ``name``, for an error's ``nearest`` line; None when nothing is near."""
    names = list(known)
    tail = [n for n in names if n.endswith("." + name) or os.path.basename(n) == name]
    close = tail or difflib.get_close_matches(name, names, n=count, cutoff=0.5)
    return ", ".join(repr(n) for n in close[:count]) or None
