"""The console: answers to stdout, the rest to stderr, progress as bars or lines."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from fluoroscope.errors import ResultFileError

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["Console", "complain", "printable"]

ENDLESS = 100_000
"""Columns of a table that is read by a program."""


def printable(text: object) -> str:
    """One line of ``text``: names may hold terminal escapes, which are shown, never sent."""
    return "".join(
        c if c.isprintable() else (" " if c.isspace() else c.encode("unicode_escape").decode()) for c in str(text)
    )


def complain(text: str) -> None:
    """Text on stderr; where nobody can hear it, it is lost, and that is no reason to fail."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr)


@dataclass
class Console:
    """How a command speaks. ``json``: one object on stdout instead of text; ``quiet``: errors only on stderr."""

    json: bool = False
    quiet: bool = False
    verbose: bool = False

    def __post_init__(self) -> None:
        self.out: IO[str] = sys.stdout
        self.failures: list[Exception] = []

    # ------------------------------------------------------------------ answers

    def say(self, text: str = "") -> None:
        """A line of the answer; nothing with ``--json``."""
        if not self.json:
            self._write(text + "\n")

    def show(self, renderable: RenderableType) -> None:
        """A part of the answer that rich lays out: for a terminal in its width, for a program in full."""
        if not self.json:
            self._write(self._rendered(renderable))

    def answer(self, entries: Mapping[str, Any]) -> None:
        """The answer as one JSON object; only with ``--json``."""
        if self.json:
            from fluoroscope.render.plain import plain

            self._write(json.dumps(plain(entries), indent=2, allow_nan=False) + "\n")

    @property
    def terminal(self) -> bool:
        """Whether a person reads stdout."""
        return self.out.isatty()

    def _rendered(self, renderable: RenderableType) -> str:
        import io

        from rich.console import Console as Rich

        width = shutil.get_terminal_size().columns if self.terminal else ENDLESS
        made = io.StringIO()
        rich = Rich(file=made, width=width, force_terminal=self.terminal, highlight=False, markup=False, emoji=False)
        rich.print(renderable, no_wrap=not self.terminal, crop=False)
        return "".join(line.rstrip() + "\n" for line in made.getvalue().splitlines())

    def _write(self, text: str) -> None:
        encoding = getattr(self.out, "encoding", None) or "utf-8"
        try:
            self.out.write(text.encode(encoding, "backslashreplace").decode(encoding))
            self.out.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise ResultFileError("the answer could not be written to stdout", got=error.strerror) from error

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """What the user's network prints goes to stderr, so that the answer on stdout stays clean."""
        self.out = sys.stdout
        with contextlib.redirect_stdout(sys.stderr):
            yield

    # ------------------------------------------------------------------ everything else

    def note(self, text: str) -> None:
        """A line on stderr; nothing with ``--quiet``."""
        if not self.quiet:
            complain(printable(text))

    def failed(self, error: Exception) -> None:
        """Remember an error that leaves the rest of the answer standing; it is told at the end."""
        self.failures.append(error)

    @contextlib.contextmanager
    def progress(self) -> Iterator[None]:
        """Show the progress of everything in this block: bars in a terminal, a line every ten seconds in a log."""
        if self.quiet:
            yield
            return
        from fluoroscope.methods.progress import listening

        if not sys.stderr.isatty():
            from fluoroscope.cli.progress_lines import lines

            with listening(lines(self.note)):
                yield
            return
        from fluoroscope.cli.progress import bars

        with bars() as listener, listening(listener):
            yield
