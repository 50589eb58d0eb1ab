"""``fluoroscope explain``: what in an input speaks for a class, by one method of attribution or several."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fluoroscope.cli.console import Console, printable
from fluoroscope.cli.files import check_writable, write_figure, write_result
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
from fluoroscope.cli.units import decimal
from fluoroscope.errors import LayerError, NotApplicable

if TYPE_CHECKING:
    from fluoroscope.cli.ranking import Ranking
    from fluoroscope.methods.explain import Explanations

__all__ = ["command"]

DEFAULT = ("grad-cam", "saliency")


@click.command("explain", cls=Command, short_help="What in each input speaks for a class.")
@model_argument(required=False)
@input_options
@click.option(
    "--method",
    "methods",
    multiple=True,
    metavar="NAME",
    help=f"Method of attribution. Repeatable.  [default: {', '.join(DEFAULT)}]",
)
@target_option
@click.option("--layer", metavar="NAME", help="Layer to map, for methods that have one.  [default: found]")
@network_options
@method_options
@click.option("--list", "listing", is_flag=True, help="List the methods and their options, and leave.")
@out_option("fluoroscope-out", "Folder for METHOD.png and METHOD.fluo.")
@answer_options
def command(
    model: str | None,
    network: Network,
    pictures: Pictures,
    methods: tuple[str, ...],
    target: Any,
    layer: str | None,
    settings: Settings,
    listing: bool,
    out: Path,
    console: Console,
) -> None:
    """Show what in each input speaks for a class of MODEL: a map for every input, by every method named.

    A method that fails does not stop the others; the exit code then is that of its error, unless the method simply does
    not apply and was not named with --method.
    """
    if listing:
        _list(console)
        return
    if model is None:
        raise click.MissingParameter(param_hint="MODEL", param_type="argument")
    from fluoroscope.cli.ranking import rank
    from fluoroscope.methods.explain import explain
    from fluoroscope.methods.registry import find_method
    from fluoroscope.results import Attribution

    check_writable(out / "figure.png")
    chosen = settings.methods(
        [find_method(name, Attribution) for name in dict.fromkeys(methods or DEFAULT)], layer=layer
    )
    bare = network.load(model, console)
    check_layers(bare, chosen)
    subject, data = pictures.prepared(bare, console)
    network.check_names(subject, data)
    with console.progress():
        best = rank(subject, data)
        found = explain(subject, data, chosen, target)
    paths = _write(found, out)
    _say(best, found, paths, console)
    console.answer(
        {
            "model": subject.title,
            "inputs": [entry.as_dict() for entry in best],
            "methods": {name: _entries(result) for name, result in found.items()},
            "errors": {name: error_entries(error) for name, error in found.errors.items()},
            "files": paths,
        }
    )
    _tell(found, bool(methods or layer), console)


def _list(console: Console) -> None:
    from fluoroscope.cli.catalogue import catalogue
    from fluoroscope.methods.registry import methods as registered
    from fluoroscope.results import Attribution

    catalogue(console, [cls for cls in registered().values() if issubclass(cls.returns, Attribution)])


def _write(found: Explanations, out: Path) -> list[Path]:
    paths = []
    for name, result in found.items():
        stem = name.replace(" ", "-")
        paths.append(write_result(result, out / stem))
        paths.append(write_figure(result, out / f"{stem}.png", limit=len(result.data)))
    return paths


def _say(best: list[Ranking], found: Explanations, paths: list[Path], console: Console) -> None:
    for entry in best:
        console.say(printable(entry.name))
        for label, score in entry.classes:
            console.say(f"  {decimal(score):>8}  {printable(label)}")
    console.say()
    for result in found.values():
        console.say(f"{result.title}: {printable(result.caption)}")
        for note in result.notes:
            console.note(f"note: {result.title}: {note}")
    console.say()
    for path in paths:
        console.say(printable(path))


def _tell(found: Explanations, named: bool, console: Console) -> None:
    """What failed; a method that nobody named and that does not apply is no failure."""
    for name, error in found.errors.items():
        if not named and isinstance(error, (LayerError, NotApplicable)):
            console.note(f"note: {name} does not apply: {error.what}")
        else:
            console.failed(error)


def _entries(result: Any) -> dict[str, Any]:
    return {
        "title": result.title,
        "labels": result.labels,
        "targets": result.targets.tolist(),
        "scores": result.scores.tolist(),
        "layer": result.meta.get("layer"),
        "unit": result.unit,
        "seconds": result.meta.get("seconds"),
        "notes": result.notes,
    }
