"""``fluoroscope methods``: every method and its options."""

from __future__ import annotations

import click

from fluoroscope.cli.console import Console
from fluoroscope.cli.options import Command, answer_options

__all__ = ["command"]


@click.command("methods", cls=Command, short_help="Every method and its options.")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@answer_options
def command(names: tuple[str, ...], console: Console) -> None:
    """List the methods, or those named: what each returns, where in a network's life it belongs, its options."""
    from fluoroscope.cli.catalogue import catalogue
    from fluoroscope.methods.registry import find_method
    from fluoroscope.methods.registry import methods as registered

    catalogue(console, {find_method(name) for name in names} or registered().values())
