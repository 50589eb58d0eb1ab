"""``fluoroscope weights``: what the parameters of a network, or of a file of weights, look like."""

from __future__ import annotations

import glob
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    from fluoroscope.model.weights import Checkpoint
    from fluoroscope.results import Comparison, Spectra, Spectrum, TensorRecord, TensorSummary

__all__ = ["command"]

MOST_NOTES = 12
SHOWN = ("mean", "std", "min", "max")
COLUMNS = ("tensor", "shape", *(">" + name for name in SHOWN), ">near zero")
CHANGED = ("tensor", "shape", ">before", ">after", ">difference", ">relative", ">cosine")
SPECTRAL = ("tensor", "matrix", ">largest", ">stable rank", ">effective rank", ">condition", ">above noise", ">alpha")


@click.command("weights", cls=Command, short_help="Statistics, pictures and spectra of the weights.")
@model_argument()
@network_options
@click.option("--layer", metavar="NAME", help="Only the tensors of this layer and those inside it.")
@click.option("--match", metavar="PATTERN", help="Only tensors whose names fit: 'layer1.*', '*.weight'.")
@click.option("--spectrum", is_flag=True, help="Singular values of every weight matrix, beside those of noise.")
@click.option("--compare", metavar="OTHER", help="The difference to another network or file: OTHER minus MODEL.")
@click.option("--page", is_flag=True, help="Also write weights.html, where large matrices can be zoomed into.")
@method_options
@out_option("fluoroscope-out", "Folder for weights.png and weights.fluo.")
@answer_options
def command(
    model: str,
    network: Network,
    layer: str | None,
    match: str | None,
    spectrum: bool,
    compare: str | None,
    page: bool,
    settings: Settings,
    out: Path,
    console: Console,
) -> None:
    """Show the weights of MODEL: statistics of every tensor, and a picture of its values. No data needed.

    MODEL may also be a file of weights without a network: FILE.safetensors, its .safetensors.index.json, a folder of
    them, or a .pt file of plain tensors. Safetensors are read piece by piece, whatever their size.
    """
    if layer is not None and match is not None:
        raise click.UsageError("--layer and --match exclude each other.")
    if spectrum and compare is not None:
        raise click.UsageError("--spectrum and --compare exclude each other.")
    check_writable(out / "weights.png")
    if page:
        from fluoroscope.render.template import template

        template()  # where the page was never built, say so before anything is computed
    subject = _opened(model, network, console)
    pattern = _pattern(subject, layer) if layer is not None else match
    with console.progress():
        found = _found(subject, pattern, spectrum, compare, settings, network, console)
    paths = [write_result(found, out / "weights"), write_figure(found, out / "weights.png")]
    if page:
        _write_page(found, subject.title, compare, out / "weights.html")
        paths.append(out / "weights.html")
    console.show(_table(found, console.terminal))
    console.say()
    for path in paths:
        console.say(printable(path))
    notes = _notes(found)
    for note in notes[:MOST_NOTES]:
        console.note(f"note: {note}")
    if len(notes) > MOST_NOTES:
        console.note(f"note: and {len(notes) - MOST_NOTES:,} more; --json has all numbers")
    console.answer({"model": subject.title, **_answer(found), "files": paths})


def _write_page(found: Any, title: str, compare: str | None, path: Path) -> None:
    """The page, with a title that says what it is of, and what it amounts to."""
    from fluoroscope.render.page import page, write_page

    records = found.spectra if found.kind == "spectra" else found.tensors
    facts = [("Tensors", f"{len(records):,}")]
    if found.kind != "spectra":
        facts.append(("Entries", f"{sum(math.prod(record.shape) for record in records):,}"))
    of = "Spectra of the weights of" if found.kind == "spectra" else "Weights of"
    other = f", compared with {Path(compare).name}" if compare else ""
    write_page(page([found], title=f"{of} {title}{other}", facts=facts), path)


def _opened(model: str, network: Network, console: Console) -> Subject | Checkpoint:
    from fluoroscope.model.weights import Checkpoint, is_checkpoint

    if not is_checkpoint(model):
        return network.load(model, console)
    if network.weights is not None:
        raise click.UsageError("--weights goes with a network; MODEL is a file of weights itself.")
    return Checkpoint.open(model)


def _found(
    subject: Subject | Checkpoint,
    pattern: str | None,
    spectrum: bool,
    compare: str | None,
    settings: Settings,
    network: Network,
    console: Console,
) -> Any:
    from fluoroscope.methods.weights.weight_difference import WeightDifference
    from fluoroscope.methods.weights.weight_maps import WeightMaps
    from fluoroscope.methods.weights.weight_spectrum import WeightSpectrum

    if compare is None:
        return settings.one(WeightSpectrum if spectrum else WeightMaps, match=pattern)(subject)  # type: ignore[arg-type]
    if settings.assignments:
        raise click.UsageError("--set does not go with --compare.")
    import dataclasses

    other = _opened(compare, dataclasses.replace(network, weights=None), console)
    return WeightDifference(match=pattern or "*")(subject, other)


def _pattern(subject: Subject | Checkpoint, layer: str) -> str:
    """The names of a layer's tensors; a wrong name is answered with the nearest."""
    from fluoroscope.errors import LayerError, nearest
    from fluoroscope.model.study import Study
    from fluoroscope.model.weights import Checkpoint

    if not isinstance(subject, Checkpoint):
        return glob.escape(Study(subject).layer(layer).module) + ".*"
    parts = {w.name.rsplit(".", k)[0] for w in subject.weights for k in range(1, w.name.count(".") + 1)}
    if layer not in parts:
        raise LayerError(
            f"no tensor of {subject.title} is in a layer {layer!r}",
            expected=f"one of {len(parts)} layers",
            nearest=nearest(layer, parts),
        )
    return glob.escape(layer) + ".*"


def _table(found: Any, terminal: bool) -> Any:
    if found.kind == "spectra":
        return table(SPECTRAL, map(_spectral, found.spectra), terminal)
    if found.comparison is not None:
        return table(CHANGED, map(_changed, found.tensors), terminal)
    return table(COLUMNS, map(_cells, found.tensors), terminal)


def _cells(record: TensorRecord) -> tuple[str, ...]:
    numbers = record.statistics
    return record.name, _shape(record.shape), *(decimal(numbers[n]) for n in SHOWN), share(numbers["zero_share"])


def _changed(record: TensorRecord) -> tuple[str, ...]:
    numbers = [decimal(record.statistics[n]) for n in ("l2_before", "l2_after", "l2", "relative", "cosine")]
    return (record.name, _shape(record.shape), *numbers)


def _spectral(spectrum: Spectrum) -> tuple[str, ...]:
    numbers = spectrum.statistics
    names = ("spectral_norm", "stable_rank", "effective_rank", "condition")
    above = f"{numbers['above_edge']:.0f} of {min(spectrum.matrix)}"
    return (
        spectrum.name,
        _shape(spectrum.matrix),
        *(_known(numbers[n]) for n in names),
        above,
        _known(numbers["alpha"]),
    )


def _known(number: float) -> str:
    return "" if number != number else decimal(number)


def _shape(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))


def _notes(found: TensorSummary | Spectra) -> list[str]:
    notes = list(found.notes)
    for record in getattr(found, "tensors", ()):
        numbers = record.statistics
        if numbers["nonfinite"]:
            notes.append(f"{record.name} holds {numbers['nonfinite']:.0f} values NaN or infinite")
        for name, word in (("dead", "dead"), ("duplicates", "duplicate")):
            if numbers.get(name):
                notes.append(f"{record.name}: {numbers[name]:.0f} of {record.shape[0]} rows are {word}")
    comparison = getattr(found, "comparison", None)
    return notes + (_differences(comparison) if comparison is not None else [])


def _differences(comparison: Comparison) -> list[str]:
    notes = [f"only in {comparison.before}: {name}" for name in comparison.missing]
    notes += [f"only in {comparison.after}: {name}" for name in comparison.extra]
    notes += [f"{name}: {_shape(old)} became {_shape(new)}" for name, old, new in comparison.reshaped]
    return notes


def _answer(found: Any) -> dict[str, object]:
    if found.kind == "spectra":
        parts = ("name", "shape", "dtype", "unfolding", "matrix", "exact", "statistics")
        return {"spectra": [{**_parts(s, parts), "values": s.values.tolist()} for s in found.spectra]}
    names = ("name", "shape", "dtype", "role", "shared_with", "statistics")
    answer: dict[str, object] = {"tensors": [_parts(t, names) for t in found.tensors]}
    if found.comparison is not None:
        lists = ("before", "after", "missing", "extra", "reshaped", "unchanged")
        answer["comparison"] = _parts(found.comparison, lists)
    return answer


def _parts(record: Any, names: Sequence[str]) -> dict[str, object]:
    return {name: getattr(record, name) for name in names}
