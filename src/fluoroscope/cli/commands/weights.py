"""``fluoroscope weights``: what the parameters of a network look like."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fluoroscope.cli.console import Console, printable
from fluoroscope.cli.files import check_writable, write_figure, write_result
from fluoroscope.cli.network import Network
from fluoroscope.cli.options import (
    Command,
    answer_options,
    method_options,
    model_argument,
    network_options,
    out_option,
)
from fluoroscope.cli.settings import Settings
from fluoroscope.cli.table import table
from fluoroscope.cli.units import decimal, share

if TYPE_CHECKING:
    from fluoroscope.model.subject import Subject
    from fluoroscope.results import TensorRecord, TensorSummary

__all__ = ["command"]

SHOWN = ("mean", "std", "min", "max")
COLUMNS = ("tensor", "shape", *(">" + name for name in SHOWN), ">near zero")


@click.command("weights", cls=Command, short_help="Statistics and pictures of the weights.")
@model_argument()
@network_options
@click.option("--layer", metavar="NAME", help="Only the tensors of this layer and those inside it.")
@click.option("--match", metavar="PATTERN", help="Only tensors whose names fit: 'layer1.*', '*.weight'.")
@method_options
@out_option("fluoroscope-out", "Folder for weights.png and weights.fluo.")
@answer_options
def command(
    model: str,
    network: Network,
    layer: str | None,
    match: str | None,
    settings: Settings,
    out: Path,
    console: Console,
) -> None:
    """Show the weights of MODEL: statistics of every tensor, and a picture of its values. No data needed."""
    from fluoroscope.methods.weights.weight_maps import WeightMaps

    if layer is not None and match is not None:
        raise click.UsageError("--layer and --match exclude each other.")
    check_writable(out / "weights.png")
    subject = network.load(model, console)
    method = settings.one(WeightMaps, match=_pattern(subject, layer) if layer is not None else match)
    with console.progress():
        found: TensorSummary = method(subject)
    paths = [write_result(found, out / "weights"), write_figure(found, out / "weights.png")]
    console.show(table(COLUMNS, map(_cells, found.tensors), console.terminal))
    console.say()
    for path in paths:
        console.say(printable(path))
    for record in found.tensors:
        if record.statistics["nonfinite"]:
            console.note(f"note: {record.name} holds {record.statistics['nonfinite']:.0f} values NaN or infinite")
    console.answer({"model": subject.title, "tensors": [_entries(t) for t in found.tensors], "files": paths})


def _pattern(subject: Subject, layer: str) -> str:
    """The names of a layer's tensors; a wrong name is answered with the nearest."""
    from fluoroscope.model.study import Study

    return glob.escape(Study(subject).layer(layer).module) + ".*"


def _cells(record: TensorRecord) -> tuple[str, ...]:
    numbers = record.statistics
    shape = " x ".join(map(str, record.shape))
    return record.name, shape, *(decimal(numbers[n]) for n in SHOWN), share(numbers["zero_share"])


def _entries(record: TensorRecord) -> dict[str, object]:
    names = ("name", "shape", "dtype", "role", "shared_with", "statistics")
    return {name: getattr(record, name) for name in names}
