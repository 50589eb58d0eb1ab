"""The program: its commands, loaded when they are asked for, and its exit codes."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

import fluoroscope
from fluoroscope.cli.console import Console
from fluoroscope.cli.outcome import EXIT_CODES, open_streams, outcome

__all__ = ["COMMANDS", "Program", "main"]

COMMANDS = (
    "demo",
    "report",
    "graph",
    "layers",
    "weights",
    "activations",
    "explain",
    "trust",
    "runs",
    "diagnose",
    "studio",
    "import",
    "export",
    "methods",
)
"""In the order of the help; each is ``command`` of a module in :mod:`fluoroscope.cli.commands`."""
MODULES = {"import": "import_runs", "export": "export_run"}
"""Modules of another name than their command, which is a word of the language."""


class Program(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands, those that a newcomer needs first."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, None where there is none."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"fluoroscope.cli.commands.{MODULES.get(cmd_name, cmd_name)}")
        found: click.Command = module.command
        return found

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """The command that the arguments name; a wrong name is answered with the nearest."""
        from fluoroscope.errors import nearest

        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            near = nearest(name, COMMANDS)
            ctx.fail(f"No such command {name!r}." + (f" Nearest: {near}." if near else ""))
        return super().resolve_command(ctx, args)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Exit codes."""
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code), meaning) for code, meaning in EXIT_CODES])

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run with ``args`` (the process's own when None) and leave with the exit code."""
        if not standalone_mode or "_FLUOROSCOPE_COMPLETE" in os.environ:
            return super().main(args, prog_name or "fluoroscope", complete_var, standalone_mode, **extra)
        given = list(sys.argv[1:] if args is None else args)
        open_streams()
        console = Console()

        def work() -> None:
            with self.make_context(prog_name or "fluoroscope", list(given), obj=console, **extra) as context:
                self.invoke(context)

        sys.exit(outcome(work, console, given))


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(fluoroscope.__version__, "-V", "--version", message="fluoroscope %(version)s")
def main() -> None:
    """Show the inside of a neural network: before training, during it, after it, and at inference.

    MODEL is pkg.module:factory, ./file.py:factory, timm:NAME, torchvision:NAME, hf:NAME, keras:FILE or model.pt2.

    Answers and paths go to stdout, progress and messages to stderr.
    """
