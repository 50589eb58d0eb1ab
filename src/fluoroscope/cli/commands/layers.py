"""``fluoroscope layers``: every layer with its output shape, parameters and costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fluoroscope.cli.console import Console
from fluoroscope.cli.network import Network
from fluoroscope.cli.options import Command, answer_options, model_argument, network_options
from fluoroscope.cli.table import table
from fluoroscope.cli.units import amount, size

if TYPE_CHECKING:
    from fluoroscope.results import LayerRow, LayerSummary

__all__ = ["command"]

COLUMNS = ("layer", "class", "output", ">parameters", ">FLOPs", "uses")


@click.command("layers", cls=Command, short_help="Layers with shapes, parameters, FLOPs and uses.")
@model_argument()
@network_options
@click.option("--depth", type=click.IntRange(1), help="How many levels of the tree are shown.  [default: all]")
@click.option("--names", is_flag=True, help="Full names, as other commands take them, instead of a tree.")
@answer_options
def command(model: str, network: Network, depth: int | None, names: bool, console: Console) -> None:
    """List the layers of MODEL: class, output shape, parameters, FLOPs, and what each can be used for.

    In a pipe the table is complete, with full names. FLOPs are 2 x multiply-adds for one example.
    """
    from fluoroscope.methods.architecture.layer_table import LayerTable

    subject = network.load(model, console)
    with console.progress():
        found: LayerSummary = LayerTable(input_shape=network.input_shape)(subject)
    rows = [row for row in found if depth is None or row.depth < depth]
    tree = console.terminal and not names
    console.show(table(COLUMNS, (_cells(row, tree) for row in rows), console.terminal))
    console.say(_totals(found))
    for note in found.notes[len(subject.notes) :]:
        console.note(f"note: {note}")
    console.answer({"model": subject.title, **_totals_entries(found), "layers": [_entries(row) for row in rows]})


def _cells(row: LayerRow, tree: bool) -> tuple[str, ...]:
    name = "  " * row.depth + row.name.rpartition(".")[2] if tree else row.name
    shape = " x ".join(map(str, row.output_shape)) if row.output_shape else ""
    uses = [*row.uses, *([f"same as {row.shares}"] if row.shares else [])]
    uses += [f"{row.calls} calls"] if row.calls > 1 else []
    return name, row.type, shape, f"{row.parameters:,}" if row.parameters else "", amount(row.flops), ", ".join(uses)


def _totals(found: LayerSummary) -> str:
    parts = [f"{found.parameters:,} parameters ({size(found.parameter_bytes)})"]
    if found.trainable != found.parameters:
        parts.append(f"{found.trainable:,} of them trainable")
    if found.input_shapes:
        shapes = ", ".join(" x ".join(map(str, shape)) for shape in found.input_shapes)
        parts.append(f"{amount(found.flops) or 0} FLOPs for an input {shapes}")
    return "\n" + ", ".join(parts)


def _totals_entries(found: LayerSummary) -> dict[str, Any]:
    names = ("parameters", "trainable", "parameter_bytes", "buffer_bytes", "flops", "input_shapes", "notes")
    return {name: getattr(found, name) for name in names}


def _entries(row: LayerRow) -> dict[str, Any]:
    names = ("name", "type", "depth", "output_shape", "dtype", "parameters", "trainable", "flops", "bytes", "calls")
    return {**{name: getattr(row, name) for name in names}, "uses": row.uses, "shares": row.shares or None}
