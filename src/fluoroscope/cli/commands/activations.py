"""``fluoroscope activations``: what layers put out for some inputs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fluoroscope.cli.console import Console, printable
from fluoroscope.cli.files import check_writable, safe_names, write_figure, write_result
from fluoroscope.cli.network import Network, check_layers
from fluoroscope.cli.options import (
    Command,
    answer_options,
    input_options,
    layer_option,
    method_options,
    model_argument,
    network_options,
    out_option,
)
from fluoroscope.cli.pictures import Pictures
from fluoroscope.cli.settings import Settings
from fluoroscope.cli.table import table
from fluoroscope.cli.units import decimal, share

if TYPE_CHECKING:
    from fluoroscope.results import FeatureMaps

__all__ = ["command"]

COLUMNS = ("layer", "shape", ">min", ">mean", ">max", ">zero")


@click.command("activations", cls=Command, short_help="What layers put out for each input: feature maps.")
@model_argument()
@input_options
@layer_option
@network_options
@method_options
@out_option("fluoroscope-out", "Folder for the figures (one per input) and activations.fluo.")
@answer_options
def command(
    model: str,
    network: Network,
    pictures: Pictures,
    layers: tuple[str, ...],
    settings: Settings,
    out: Path,
    console: Console,
) -> None:
    """Show what layers of MODEL put out for each input: feature maps, raw.

    Without --layer the network is followed from input to output: the last layer of each resolution, or
    the blocks of a transformer.
    """
    from fluoroscope.methods.activations.activations import Activations

    check_writable(out / "activations.png")
    method = settings.one(Activations, layer=layers or None)
    bare = network.load(model, console)
    check_layers(bare, [method])
    subject, data = pictures.prepared(bare, console)
    with console.progress():
        found: FeatureMaps = method(subject, data)
    paths = _write(found, out)
    rows = [_row(name, found) for name in found.layers]
    console.show(table(COLUMNS, map(_cells, rows), console.terminal))
    console.say()
    for path in paths:
        console.say(printable(path))
    console.answer({"model": subject.title, "inputs": found.samples.names, "layers": rows, "files": paths})


def _write(found: FeatureMaps, out: Path) -> list[Path]:
    names = safe_names(found.samples.names)
    paths = [write_result(found, out / "activations")]
    return paths + [write_figure(found, out / f"activations-{name}.png", index=i) for i, name in enumerate(names)]


def _row(name: str, found: FeatureMaps) -> dict[str, Any]:
    """A layer's shape and the range of its values over all inputs."""
    values = found.maps[name]
    return {
        "layer": name,
        "axes": found.axes[name],
        "shape": values.shape,
        "min": float(values.min()),
        "mean": float(values.mean(dtype="float64")),
        "max": float(values.max()),
        "zero_share": float((values == 0).mean()),
    }


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    shape = " ".join(f"{axis}={count}" for axis, count in zip(row["axes"], row["shape"], strict=True))
    return row["layer"], shape, *(decimal(row[n]) for n in ("min", "mean", "max")), share(row["zero_share"])
