"""``fluoroscope runs``: the trainings in a folder, with their state and last values."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fluoroscope.cli.console import Console, printable
from fluoroscope.cli.options import Command, answer_options
from fluoroscope.cli.table import table
from fluoroscope.cli.units import measured
from fluoroscope.errors import ResultFileError

if TYPE_CHECKING:
    from fluoroscope.training.store import Run

__all__ = ["command"]

SHOWN = 4
NAME = 40  # characters of a name
COLUMNS = ("run", "folder", "state", ">step", "last values")


@click.command("runs", cls=Command, short_help="Recorded trainings with state and last values.")
@click.argument("folder", type=click.Path(path_type=Path), default="runs", required=False)
@click.option("--all", "everything", is_flag=True, help=f"Every series, not the first {SHOWN}.")
@answer_options
def command(folder: Path, everything: bool, console: Console) -> None:
    """List the runs in FOLDER: state, last step, and the last value of their series.

    What is damaged is told; where that is all there is, the exit code is 7.
    """
    from fluoroscope.training.store import open_runs

    runs = open_runs(folder)
    found: list[Run] = []
    rows: list[dict[str, Any]] = []
    opened = list(runs.values())
    damaged = dict(runs.damaged)
    for run in opened:
        try:
            rows.append(_entries(run))
            found.append(run)
        except ResultFileError as failure:
            damaged[run.path.name] = failure
    limit = None if everything else SHOWN
    console.show(table(COLUMNS, (_cells(row, limit) for row in rows), console.terminal))
    console.say(f"\n{len(rows)} {'run' if len(rows) == 1 else 'runs'} in {printable(str(folder))}")
    for name, error in damaged.items():
        console.note(f"note: {printable(name)} is damaged and can't be read: {error.what}")
    for error in [*runs.foreign.values(), *(error for run in found for error in run.foreign.values())]:
        console.note(f"note: {printable(error.what)} ({error.got}) and is left out")
    for run in found:
        for name, error in run.damaged.items():
            console.note(
                f"note: {printable(run.name)} is read without {printable(name)}, which is damaged: {error.got}"
            )
    console.answer({"runs": rows, "damaged": {name: str(error) for name, error in damaged.items()}})
    if damaged and not found:
        click.get_current_context().exit(ResultFileError.exit_code)


def _entries(run: Run) -> dict[str, Any]:
    last = {name: value for name, (_, value) in run.last_values().items()}
    return {
        "name": run.name,
        "folder": run.path.name,
        "state": run.state,
        "error": run.error,
        "step": run.last_step,
        "started": run.started,
        "finished": run.finished,
        "config": run.config,
        "summary": run.summary,
        "last": last,
    }


def _cells(row: dict[str, Any], limit: int | None) -> tuple[str, ...]:
    from fluoroscope.training.store.interest import by_interest
    from fluoroscope.training.store.run import unit_of

    chosen = by_interest(row["last"])[:limit]
    values = ", ".join(f"{printable(name)} {measured(row['last'][name], unit_of(name))}" for name in chosen)
    step = "" if row["step"] is None else f"{row['step']:,}"
    folder = "" if row["folder"] == row["name"] else printable(row["folder"])
    return printable(row["name"])[:NAME], folder, row["state"], step, values
