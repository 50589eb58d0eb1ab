"""How a command ends: its exit code, and one clear message where it failed."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from fluoroscope.cli.console import Console, complain, printable
from fluoroscope.errors import FluoroscopeError, InputError, ResultFileError, error_classes

__all__ = ["EXIT_CODES", "error_entries", "open_streams", "outcome"]

USAGE, FAULT, INTERRUPTED, BROKEN_PIPE, TERMINATED = 2, 70, 130, 141, 143
PARTS = ("got", "expected", "nearest", "remedy")


WORDS = {
    0: "done",
    1: "something else failed",
    2: "an option, or the command line",
    3: "the network or its weights",
    4: "a layer, a target, or a method that does not apply",
    5: "an input",
    6: "NaN, infinity, or no gradient",
    7: "a file that can't be written or is not one of ours",
    8: "an optional package is missing",
    9: "a diagnosis found something, or stopped it",
    FAULT: "a fault in the program",
    INTERRUPTED: "interrupted (Ctrl-C)",
    BROKEN_PIPE: "the reader of stdout went away",
    TERMINATED: "terminated",
}


def _exit_codes() -> Iterator[tuple[int, str]]:
    names: dict[int, list[str]] = {}
    for cls in error_classes():
        names.setdefault(cls.exit_code, []).append(cls.code)
    for code in sorted({*WORDS, *names}):
        known = ", ".join(names.get(code, ()))
        yield code, WORDS.get(code, "") + (f" ({known})" if known else "")


EXIT_CODES = tuple(_exit_codes())
"""Every exit code and what it means."""


def outcome(work: Callable[[], None], console: Console, arguments: Sequence[str]) -> int:
    """The exit code of ``work``; what failed is told in one message on stderr, or as JSON on stdout."""
    code = 0
    try:
        code = _code(work, console, arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_stdout()
        return BROKEN_PIPE
    except OSError as error:  # a full disk behind stdout, met by what click or the interpreter held back
        _drop_stdout()
        if not code:
            complain(_no_answer(error).render())
        return code or ResultFileError.exit_code
    return code


def open_streams() -> None:
    """Streams that the caller closed lead nowhere; without them, a file could get their number and their text."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 (open as long as the process)


def _code(work: Callable[[], None], console: Console, arguments: Sequence[str]) -> int:
    try:
        with _terminable(), _warnings(console):
            work()
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.ClickException as error:
        return _usage(error, console, arguments)
    except (KeyboardInterrupt, click.Abort):
        return _interrupted(console)
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 (nobody is behind this to catch it: it becomes a message)
        return _failed([error], console)
    return _failed(console.failures, console) if console.failures else 0


def _failed(errors: Sequence[Exception], console: Console) -> int:
    """Tell each error once, though several methods may have met it; the exit code is that of the first."""
    known = [e if isinstance(e, FluoroscopeError) else _translated(e) for e in errors]
    told: set[str] = set()
    for error, shown in zip(errors, known, strict=True):
        kind = f"{shown.code}: {shown.what}" if shown else _fault(error)
        if kind not in told:
            told.add(kind)
            _tell(error, shown.render() if shown else kind, shown, console)
    return known[0].exit_code if known[0] else FAULT


def _tell(error: Exception, text: str, shown: FluoroscopeError | None, console: Console) -> None:
    if console.verbose:
        complain("".join(traceback.format_exception(error)))
    if not console.json:
        complain(text + ("\n  (-v shows the cause)" if shown and error.__cause__ and not console.verbose else ""))
    elif error not in console.failures:  # these are part of the answer
        print(json.dumps({"error": error_entries(error)}, indent=2), file=sys.stdout)


def _fault(error: Exception) -> str:
    return printable(
        f"FS-FAULT: this is a fault in the program: {type(error).__name__}: {error} (run it again with -v to see where)"
    )


def error_entries(error: Exception) -> dict[str, Any]:
    """An error as plain values: code, what, got, expected, nearest, remedy."""
    shown = error if isinstance(error, FluoroscopeError) else _translated(error)
    if shown is not None:
        return {"code": shown.code, "what": shown.what, **dict.fromkeys(PARTS), **shown.parts()}
    parts = {**dict.fromkeys(PARTS), "got": f"{type(error).__name__}: {error}", "remedy": "-v shows the traceback"}
    return {"code": "FS-FAULT", "what": "this is a fault in the program", **parts}


def _translated(error: Exception) -> FluoroscopeError | None:
    """What a person can do something about although it is no error of ours: memory or disk that ran out."""
    text = str(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _no_answer(error)
    memory = isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and ("out of memory" in text or "not enough memory" in text)
    )
    if not memory:
        return None
    return InputError(
        "memory ran out",
        got=text.splitlines()[0] if text else None,
        remedy="--batch-size 1, fewer or smaller inputs, or another --device",
    )


def _usage(error: click.ClickException, console: Console, arguments: Sequence[str]) -> int:
    if console.json or "--json" in arguments:
        remedy = "fluoroscope --help"
        entries = {"code": "FS-USAGE", "what": error.format_message(), **dict.fromkeys(PARTS), "remedy": remedy}
        print(json.dumps({"error": entries}, indent=2))
    else:
        error.show(sys.stderr)
    return error.exit_code


def _interrupted(console: Console) -> int:
    if console.json:
        entries = {"code": "FS-INTERRUPTED", "what": "interrupted", **dict.fromkeys(PARTS)}
        print(json.dumps({"error": entries}, indent=2))
    else:
        complain("\ninterrupted; nothing half-written is left")
    return INTERRUPTED


# ---------------------------------------------------------------------------------------------------------------------


def _no_answer(error: OSError) -> ResultFileError:
    return ResultFileError("the answer could not be written to stdout", got=error.strerror)


def _drop_stdout() -> None:
    """Let the interpreter's last flush go nowhere instead of failing a second time."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


@contextlib.contextmanager
def _warnings(console: Console) -> Iterator[None]:
    """Warnings of libraries are for developers: they are shown with ``-v`` only."""
    with warnings.catch_warnings():
        if not console.verbose:
            warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """A polite kill ends the program the orderly way, so that half-written files are removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(*signalled: object) -> None:
        raise SystemExit(TERMINATED)

    previous = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous or signal.SIG_DFL)
