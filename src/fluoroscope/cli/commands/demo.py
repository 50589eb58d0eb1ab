"""``fluoroscope demo``: the whole life of a network, on real data, in minutes."""

from __future__ import annotations

from pathlib import Path

import click

from fluoroscope.cli.console import Console, printable
from fluoroscope.cli.files import check_writable
from fluoroscope.cli.options import Command, answer_options, out_option

__all__ = ["command"]


@click.command("demo", cls=Command, short_help="Train a small network, watch it, open the report.")
@out_option("fluoroscope-demo", "Folder for the page, the network and the results.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of data and training.")
@answer_options
def command(out: Path, seed: int, console: Console) -> None:
    """Train a small network on real handwriting, watch it, check the pictures, and open the report.

    It takes two to five minutes on two cores, by their speed.

    Each image has one digit at a known place among clutter, so the demo also says how often each method points at it.
    """
    from fluoroscope.demo.life_cycle import run

    check_writable(out / "report.html")
    with console.progress():
        made = run(out, seed=seed, echo=console.say)
    card = made.localisation
    console.say()
    for what, path in made.files.items():
        console.say(f"{what + ':':<10} {printable(path)}")
    console.say(f"\nOpen {printable(made.files['report'])} in a browser.")
    table = zip(card.rows, card.table.tolist(), strict=True)
    console.answer(
        {
            "accuracy": made.accuracy,
            "seconds": made.seconds,
            "localisation": {row: dict(zip(card.columns, values, strict=True)) for row, values in table},
            "files": made.files,
        }
    )
