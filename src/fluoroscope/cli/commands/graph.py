"""``fluoroscope graph``: the architecture of a network, folded, with shapes and costs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fluoroscope.cli.console import Console, printable
from fluoroscope.cli.files import check_writable
from fluoroscope.cli.network import Network
from fluoroscope.cli.options import Command, answer_options, model_argument, network_options
from fluoroscope.cli.table import table
from fluoroscope.cli.units import amount, size
from fluoroscope.errors import ModelError, OptionError

if TYPE_CHECKING:
    from fluoroscope.results import GraphNode, ModelGraph

__all__ = ["command"]

COLUMNS = ("module", "class", "output", ">parameters", ">FLOPs", ">activations", "notes")


@click.command("graph", cls=Command, short_help="Architecture: what flows where, what repeats, what it costs.")
@model_argument()
@network_options
@click.option("--autograd", is_flag=True, help="What the backward needs: leaves, functions, saved tensors.")
@click.option("--depth", type=click.IntRange(1), help="How many levels of modules.  [default: all]")
@click.option("--no-fold", is_flag=True, help="Every repeated block by itself.")
@click.option("--operations", is_flag=True, help="Operations in the table, too, not only modules.")
@click.option("--run", is_flag=True, help="Load the weights and run the network, instead of working on shapes alone.")
@click.option("--partial", is_flag=True, help="Be content with the graph up to where the forward fails.")
@click.option(
    "--out",
    "outs",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="Write .svg, .pdf, .png, .dot, .graphml, .mmd, .tex, .json, .html or .fluo. Repeatable.",
)
@answer_options
def command(
    model: str,
    network: Network,
    autograd: bool,
    depth: int | None,
    no_fold: bool,
    operations: bool,
    run: bool,
    partial: bool,
    outs: tuple[Path, ...],
    console: Console,
) -> None:
    """Show the architecture of MODEL: modules, shapes, parameters, FLOPs and activations; equal blocks in a row as one.

    The network is built without weights and traced on shapes alone, so its size does not matter. Files (.onnx, .pt2,
    .safetensors) are read, not run. Without --input-shape an input of a likely shape is made up.
    """
    from fluoroscope.render.exports import write_graph

    for path in outs:
        _check(path)
    with console.progress():
        found = _graph(model, network, autograd, depth, no_fold, run, console)
    console.show(table(COLUMNS, _rows(found, operations), console.terminal))
    console.say(f"\n{found.caption}")
    for note in found.notes:
        console.note(f"note: {note}")
    paths = [write_graph(found, path) for path in outs]
    for path in paths:
        console.say(printable(path))
    if not found.complete and not partial:
        console.failed(_unfinished(found, network))
    console.answer({**_totals(found), "nodes": [_entries(n) for n in found.nodes], "files": paths})


def _graph(
    model: str, network: Network, autograd: bool, depth: int | None, no_fold: bool, run: bool, console: Console
) -> ModelGraph:
    from fluoroscope.model.graph.files.reading import graph_of_file, is_graph_file

    if is_graph_file(model):
        return graph_of_file(model, fold=not no_fold)
    from fluoroscope.methods.architecture.architecture import Architecture

    loaded = run or network.weights is not None
    subject = network.load(model, console) if loaded else network.structure(model, console)
    method = Architecture(
        device="as is" if run else "auto",
        fold=not no_fold,
        depth=depth,
        input_shape=network.likely_shape(subject),
        reading="autograd" if autograd else "forward",
    )
    return method(subject)


def _unfinished(found: ModelGraph, network: Network) -> ModelError:
    """The answer stands, but the exit code says that it is not the whole network."""
    node = next((n for n in found.nodes if n.error), None)
    return ModelError(
        "the forward failed, so the graph ends there",
        got=f"{node.error} (in {node.name or found.title})" if node is not None else None,
        expected="an input that the network takes"
        + ("" if network.input_shape is None else f", other than {','.join(map(str, network.input_shape))}"),
        remedy="--input-shape C,H,W names the shape of one example; --partial takes the graph as it is",
    )


def _check(path: Path) -> None:
    from fluoroscope.render.exports import FORMATS

    if path.suffix.lower() not in FORMATS:
        raise OptionError(f"no graph can be written as {path.name!r}", got=path.suffix, expected=", ".join(FORMATS))
    check_writable(path)


def _rows(found: ModelGraph, operations: bool) -> Iterator[tuple[str, ...]]:
    levels: list[int] = []
    paths: list[str] = []
    for node in found.nodes:
        level = levels[node.parent] + 1 if node.parent >= 0 else 0
        levels.append(level)
        around = paths[node.parent] if node.parent >= 0 else ""
        paths.append(node.name if node.role == "module" and not node.attributes.get("group") else around)
        if node.role in ("module", "input", "output") or operations or node.assumed or node.error:
            yield _cells(node, level, around)


def _cells(node: GraphNode, level: int, around: str) -> tuple[str, ...]:
    name = node.members[0] if node.times > 1 and len(node.members) == 1 else node.name
    name = name.replace(f"{around}.", "") if around else name
    name += f" × {node.times}" if node.times > 1 else ""
    shapes = ", ".join(" x ".join(map(str, t.shape)) or "scalar" for t in node.outputs[:3])
    notes = [node.repeat, *(f"shares {s}" for s in node.shares), *(f"assumed: {a}" for a in node.assumed), node.error]
    return (
        "  " * level + name,
        node.type if node.role != "operation" else "",
        shapes + (", …" if len(node.outputs) > 3 else ""),
        f"{node.parameters:,}" if node.parameters else "",
        amount(node.flops),
        size(node.activation_bytes) if node.activation_bytes else "",
        "; ".join(n for n in notes if n),
    )


def _totals(found: ModelGraph) -> dict[str, Any]:
    names = ("title", "reading", "parameters", "trainable", "parameter_bytes", "flops", "activation_bytes")
    return {name: getattr(found, name) for name in (*names, "operations", "modules", "complete", "notes")}


def _entries(node: GraphNode) -> dict[str, Any]:
    names: tuple[str, ...] = ("id", "parent", "role", "name", "type", "code", "times", "repeat", "members")
    names += ("parameters", "trainable", "flops", "activation_bytes", "operations", "shares", "assumed", "error")
    outputs = [{"shape": t.shape, "dtype": t.dtype, "bytes": t.bytes} for t in node.outputs]
    return {**{name: getattr(node, name) for name in names}, "outputs": outputs}
