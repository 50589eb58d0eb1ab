"""``fluoroscope export``: a run as event files of TensorBoard, Parquet or CSV."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fluoroscope.cli.console import Console, printable
from fluoroscope.cli.files import check_writable
from fluoroscope.cli.options import Command, answer_options

if TYPE_CHECKING:
    from fluoroscope.training.store import Run

__all__ = ["command"]


def _path(name: str, metavar: str, text: str) -> Callable[[Any], Any]:
    return click.option(name, type=click.Path(path_type=Path), metavar=metavar, help=text)


@click.command("export", cls=Command, short_help="A run for TensorBoard, or as a table.")
@click.argument("run", metavar="RUN")
@click.option("--dir", "folder", type=click.Path(path_type=Path), default="runs", show_default=True, help="Its folder.")
@_path("--tensorboard", "DIR", "Log folder of TensorBoard; the event file goes into DIR/RUN.")
@_path("--parquet", "FILE", "Table of all points: series, step, value, time.")
@_path("--csv", "FILE", "The same table as text.")
@click.option("--tensors", is_flag=True, help="Statistics and histograms of parameters too (with --tensorboard).")
@answer_options
def command(
    run: str,
    folder: Path,
    tensorboard: Path | None,
    parquet: Path | None,
    csv: Path | None,
    tensors: bool,
    console: Console,
) -> None:
    """Write RUN, a run's name or its folder, in other formats. TensorBoard keeps numbers in single precision."""
    from fluoroscope.integrations.exporting import export_csv, export_tensorboard

    wanted = [path for path in (tensorboard, parquet, csv) if path is not None]
    if not wanted:
        raise click.UsageError("Say where to: --tensorboard DIR, --parquet FILE or --csv FILE.")
    for path in wanted:
        check_writable(path)
    found = _found(run, folder)
    written: list[Path] = []
    if tensorboard is not None:
        written.append(export_tensorboard(found, tensorboard, tensors=tensors))
    if parquet is not None:
        written.append(found.to_parquet(parquet))
    if csv is not None:
        written.append(export_csv(found, csv))
    for path in written:
        console.say(printable(path))
    console.answer({"run": found.name, "files": written})


def _found(run: str, folder: Path) -> Run:
    """The run of that name in the folder, or whose folder it is."""
    from fluoroscope.errors import FluoroscopeError
    from fluoroscope.training.store import open_runs, runs_at

    if not (folder.is_dir() and run in open_runs(folder)):
        with contextlib.suppress(FluoroscopeError):  # then it is told what there is in the folder
            inside = list(runs_at(run).values())
            if len(inside) == 1:
                return inside[0]
    return open_runs(folder)[run]
