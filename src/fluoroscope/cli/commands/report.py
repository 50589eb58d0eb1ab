"""``fluoroscope report``: everything that applies, on one page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fluoroscope.cli.console import Console, printable
from fluoroscope.cli.files import check_writable
from fluoroscope.cli.network import Network, check_layers
from fluoroscope.cli.options import (
    Command,
    answer_options,
    input_options,
    method_options,
    model_argument,
    network_options,
    out_option,
    target_option,
)
from fluoroscope.cli.outcome import error_entries
from fluoroscope.cli.pictures import Pictures
from fluoroscope.cli.settings import Settings

if TYPE_CHECKING:
    from fluoroscope.reporting import Report

__all__ = ["command"]


@click.command("report", cls=Command, short_help="Everything that applies to a network, on one page.")
@model_argument()
@input_options
@target_option
@click.option(
    "--method",
    "methods",
    multiple=True,
    metavar="NAME",
    help="Only these; all: every one.  [default: one or two for each question]",
)
@click.option("--title", help="Title of the page.  [default: the network's name]")
@network_options
@method_options
@out_option("report.html", "The page, or the folder for it.")
@answer_options
def command(
    model: str,
    network: Network,
    pictures: Pictures,
    target: Any,
    methods: tuple[str, ...],
    title: str | None,
    settings: Settings,
    out: Path,
    console: Console,
) -> None:
    """Write one self-contained page with everything that applies to MODEL and its inputs, in the order of its life.

    A method that fails has its error on the page and does not stop the others; the exit code then is that of the error.
    A method that was not named with --method and does not apply is left out, with a note.
    """
    from fluoroscope.methods.registry import find_method, report_methods
    from fluoroscope.methods.registry import methods as registered
    from fluoroscope.render.page import page_name
    from fluoroscope.render.template import template
    from fluoroscope.reporting import assemble, first_inputs

    template()
    check_writable(page_name(out))
    asked = bool(methods) and "all" not in methods
    named = list(registered()) if "all" in methods else dict.fromkeys(methods)
    classes = [find_method(name) for name in named] or report_methods()
    chosen = settings.methods(classes)
    bare = network.load(model, console)
    check_layers(bare, chosen)
    subject = pictures.dressed(bare)
    for text in pictures.assumed(bare, subject):
        console.note(f"note: {text}")
    inputs = pictures.source(subject) if pictures.given else None
    if inputs is not None and network.classes is not None:
        network.check_names(subject, first_inputs(inputs, subject, 1)[0])
    with console.progress():
        made = assemble(subject, inputs, target=target, methods=chosen, title=title, limit=pictures.limit, named=asked)
        path = made.write(out)
    _tell(made, console)
    console.say(printable(path))
    console.answer(
        {
            "file": path,
            "sections": {s.id: [getattr(r, "title", "") for r in s.results] for s in made.sections},
            "errors": {name: error_entries(error) for name, error in made.errors.items()},
            "left_out": made.left_out,
        }
    )


def _tell(made: Report, console: Console) -> None:
    for text in made.notes:
        console.note(f"note: {text}")
    for name, reason in made.left_out.items():
        console.note(f"note: left out: {name}: {reason}")
    for error in made.errors.values():
        console.failed(error)
