"""``fluoroscope import``: logs of TensorBoard and of Weights & Biases as runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fluoroscope.cli.console import Console, printable
from fluoroscope.cli.options import Command, answer_options
from fluoroscope.cli.units import counted

if TYPE_CHECKING:
    from fluoroscope.integrations.importing import Imported, Importer

__all__ = ["command"]

PAUSE = 1.0
TOLD = 5


@click.command("import", cls=Command, short_help="TensorBoard and offline wandb logs, as runs.")
@click.argument("source", metavar="LOGDIR", type=click.Path(path_type=Path))
@click.option("--dir", "folder", type=click.Path(path_type=Path), default="runs", show_default=True, help="Where to.")
@click.option("--name", help="Name of the run.  [default: that of its folder]")
@click.option("--follow", is_flag=True, help="Go on with what is written, until Ctrl-C.")
@click.option("--no-check", is_flag=True, help="Trust contents without their checksums.")
@answer_options
def command(source: Path, folder: Path, name: str | None, follow: bool, no_check: bool, console: Console) -> None:
    """Import the event files (TensorBoard) and .wandb files (Weights & Biases, offline) in LOGDIR.

    Every folder with event files is a run. Scalars are taken over exactly, histograms into buckets of factors of two,
    pictures and texts as they are; what has no place in a run (graphs, audio) is told.
    """
    from fluoroscope.integrations.importing import Importer, nothing_to_import

    if not source.exists():
        raise nothing_to_import(source)
    importer = Importer(source, folder, name=name, check=not no_check)
    importer.again()
    if follow:
        _follow(importer, console)
    done = importer.close()
    if not done:
        raise nothing_to_import(source)
    for run in done:
        console.say(f"{printable(run.path)}: {_words(run)}")
        if run.name != run.asked:
            console.note(
                f"note: {printable(run.asked)} is a run in {printable(str(folder))} already, which stays as it is; "
                f"this one is named {printable(run.name)} (--name gives it another name)"
            )
        for problem in run.problems[:TOLD]:
            console.note(f"note: {problem}")
        if len(run.problems) > TOLD:
            console.note(f"note: {len(run.problems) - TOLD} more records of {run.name} could not be read")
    console.answer({"runs": [_entries(run) for run in done]})


def _follow(importer: Importer, console: Console) -> None:
    console.note(f"following {importer.source}; Ctrl-C ends the import")
    try:
        while True:
            time.sleep(PAUSE)
            if importer.again():
                console.note(counted(sum(d.points for d in importer.done.values()), "point"))
    except KeyboardInterrupt:
        return


def _words(run: Imported) -> str:
    parts = [f"{run.series:,} series", counted(run.points, "point")]
    kinds = ("histogram", run.histograms), ("image", run.images), ("text", run.texts), ("setting", run.settings)
    parts += [counted(number, word) for word, number in kinds if number]
    left = ", ".join(f"{count:,} {printable(kind)}" for kind, count in run.left_out.items())
    return ", ".join(parts) + (f"; not imported: {left}" if left else "")


def _entries(run: Imported) -> dict[str, Any]:
    names = ("name", "asked", "path", "series", "points", "histograms", "images", "texts", "settings", "left_out")
    return {**{n: getattr(run, n) for n in names}, "problems": [str(p) for p in run.problems]}
