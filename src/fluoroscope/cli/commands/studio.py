"""``fluoroscope studio``: trainings in a browser, while they run."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import click

from fluoroscope.cli.console import Console
from fluoroscope.cli.options import Command, answer_options
from fluoroscope.errors import InputError

__all__ = ["command"]


@click.command("studio", cls=Command, short_help="Trainings in a browser, while they run.")
@click.argument("folder", type=click.Path(path_type=Path), default="runs", required=False)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port to listen on.  [default: any free one]")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; others may then reach it.")
@click.option("--open/--no-open", "opened", default=True, show_default=True, help="Open the page in a browser.")
@answer_options
def command(folder: Path, port: int, host: str, opened: bool, console: Console) -> None:
    """Show the runs in FOLDER (made by fs.record, or imported): curves, layers and diagnosis, as they come in.

    It listens on this machine only and asks for the key that is part of the address it prints. It only reads: nothing
    can be changed or started through it. Stop it with Ctrl-C.
    """
    from fluoroscope.render.template import template
    from fluoroscope.studio.server import open_studio
    from fluoroscope.training.store.folder import near_folders
    from fluoroscope.training.store.runs import Runs

    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is no folder", expected="the folder that fs.record writes to")
    template()  # where the page was never built, say so before anything is opened
    studio = open_studio(Runs(folder, awaited=True), port=port, host=host)
    if not folder.exists():
        near = near_folders(folder)
        console.note(
            f"note: there is no folder {folder} yet; runs are shown once a training writes there"
            + (f" (near: {near})" if near else "")
        )
    console.say(f"The studio shows {folder} at\n  {studio.address}\nStop it with Ctrl-C.")
    console.answer({"folder": folder, "address": studio.address})  # now: a program needs it while the studio runs
    if opened:
        webbrowser.open(studio.address)
    studio.serve()
