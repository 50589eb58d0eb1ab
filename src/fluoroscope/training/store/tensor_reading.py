"""A TensorHistory out of the files of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fluoroscope.results import Array, TensorHistograms, TensorHistory
from fluoroscope.training.store.coding import present
from fluoroscope.training.store.joined_ranks import Part, joined
from fluoroscope.training.store.reader import TensorTable, opened
from fluoroscope.training.store.salvage import readable_tensors, told_lost

__all__ = ["tensor_history"]

KEYED = ("statistics", "recorded", "units", "histograms")
UNITS = {"ratio": "1", "zero_share": "share", "dead": "share", "saturated": "share", "nonfinite_share": "share"}


def tensor_history(
    by_rank: Mapping[int, Sequence[Path]],
    rank: int | Literal["all"],
    title: str,
    quantities: Sequence[str] | None,
    histograms: bool,
    partial: bool,
) -> TensorHistory:
    """What the files of one rank tell of all tensors, or those of all ranks together."""
    if rank != "all":
        return _of_rank(by_rank[rank], title, quantities, histograms, partial)[0]
    asked = quantities
    if quantities is not None:  # a spread of parts is about the mean of the whole
        asked = [*quantities, *(f"{q.removesuffix('/std')}/mean" for q in quantities if q.endswith("/std"))]
    found = joined({r: _of_rank(files, title, asked, histograms, partial) for r, files in by_rank.items()})
    if quantities is None:
        return found
    keep = {name: {q: v for q, v in getattr(found, name).items() if q in quantities} for name in KEYED}
    return found.replace(**keep)


def _of_rank(
    files: Sequence[Path], title: str, quantities: Sequence[str] | None, histograms: bool, partial: bool
) -> tuple[TensorHistory, dict[str, Part]]:
    """Statistics of all tensors of these files. Of the same step, a later file takes the place of an earlier one, and
    within a file exact statistics that of samples. ``partial``: without those that can't be read. Last, what this
    process held of the tensors that are in parts.
    """
    wanted = None if quantities is None else set(quantities)
    tables: list[TensorTable] = []
    order: list[str] = []
    facts: dict[str, Any] = {}
    lost: dict[str, None] = {}
    for file in files:
        with opened(file) as reader:
            if partial:
                rows, unread = readable_tensors(reader, wanted, histograms)
                lost |= dict.fromkeys(unread)
            else:
                rows = list(reader.tensors(wanted, histograms))
            tables += sorted((t for t in rows if len(t.steps)), key=_is_exact)
            facts = {**facts, **(reader.meta().get("recorder") or {})}
    order = list(facts.pop("order", None) or [])
    names = _in_order({n: None for t in tables for n in t.layout.names}, order)
    steps = np.unique(np.concatenate([np.zeros(0, np.int64), *(t.steps for t in tables)]))
    statistics, recorded = _statistics(tables, names, steps)
    exact = {int(s): _is_exact(t) for t in tables for s in t.steps}
    meta = {
        "run": title,
        **facts,
        "exact_steps": sorted(s for s, is_exact in exact.items() if is_exact),
    }
    if lost:
        notes = told_lost("statistics of tensors", tuple(lost), len(lost) + len(statistics))
        meta |= {"unreadable": list(lost), "notes": [*meta.get("notes", []), *notes]}
    found = TensorHistory(
        title=title,
        names=names,
        steps=steps,
        statistics=statistics,
        recorded=recorded,
        units={q: UNITS.get(q.rpartition("/")[2], "") for q in statistics},
        histograms=_histograms(tables, names) if histograms else {},
        layers=tuple(facts.get("layers", {}).get(n, n) for n in names),
        meta={k: v for k, v in meta.items() if k != "layers"},
    )
    return found, {name: part for table in tables for name, part in _parts(table)}


def _parts(table: TensorTable) -> list[tuple[str, Part]]:
    facts = table.layout.facts
    rows = zip(table.layout.names, *(facts.get(key, ()) for key in ("entries", "samples", "places")), strict=False)
    return [(name, Part(n, k, tuple((i, count) for i, count in place))) for name, n, k, place in rows]


def _is_exact(table: TensorTable) -> bool:
    return bool(table.layout.facts.get("exact"))


def _in_order(names: dict[str, None], order: list[str]) -> tuple[str, ...]:
    """Names as the network runs them where that is known; others after, as they came."""
    place = {name: i for i, name in enumerate(order)}
    return tuple(sorted(names, key=lambda n: place.get(n, len(place))))


def _statistics(
    tables: list[TensorTable], names: tuple[str, ...], steps: Array
) -> tuple[dict[str, Array], dict[str, Array]]:
    place = {name: i for i, name in enumerate(names)}
    values: dict[str, Array] = {}
    recorded: dict[str, Array] = {}
    for table in tables:
        rows = np.array([place[n] for n in table.layout.names], np.int64)
        at = np.searchsorted(steps, table.steps)
        for quantity, found in table.statistics.items():
            if quantity not in values:
                values[quantity] = np.full((len(names), len(steps)), np.nan)
                recorded[quantity] = np.zeros((len(names), len(steps)), bool)
            seen = present(found)
            i, j = np.nonzero(seen)
            values[quantity][rows[j], at[i]] = found[i, j]
            recorded[quantity][rows[j], at[i]] = True
    return values, recorded


def _histograms(tables: list[TensorTable], names: tuple[str, ...]) -> dict[str, TensorHistograms]:
    place = {name: i for i, name in enumerate(names)}
    found: dict[str, TensorHistograms] = {}
    for quantity in {q: None for t in tables for q in t.counts}:
        members = [t for t in tables if quantity in t.counts]
        edges = np.asarray(members[0].layout.facts["edges"][quantity], np.float64)
        members = [t for t in members if np.array_equal(t.layout.facts["edges"][quantity], edges)]
        steps = np.unique(np.concatenate([t.steps for t in members]))
        counts = np.zeros((len(names), len(steps), len(edges) - 1), np.uint16)
        for table in members:
            rows = np.array([place[n] for n in table.layout.names], np.int64)
            counts[rows[None, :], np.searchsorted(steps, table.steps)[:, None]] = table.counts[quantity]
        sampled = float(members[0].layout.facts.get("sampled", 1.0))
        found[quantity] = TensorHistograms(steps=steps, edges=edges, counts=counts, sampled=sampled)
    return found
