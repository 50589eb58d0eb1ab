"""One TensorHistory of the records of several processes, each of which held a part of some tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fluoroscope.errors import InputError
from fluoroscope.results import Array, TensorHistograms, TensorHistory

__all__ = ["Part", "joined", "of_part"]

SUMS = ("mean", "std", "min", "max", "zero_share", "nonfinite_share")
"""Statistics that those of the parts add up to."""
WHOLE = ("norm", "ratio")
"""Statistics that are of whole tensors in every process's record."""
ALL_TOGETHER = "statistics and histograms are of whole tensors, joined of the parts that {} processes recorded"


def of_part(rank: int) -> str:
    """What a record says of tensors of which its process holds a part."""
    return f"norms are those of whole tensors; other statistics and histograms are of the part that rank {rank} holds"


@dataclass(frozen=True)
class Part:
    """What one process holds of a tensor: how many of its ``entries``, of which ``sampled`` were looked at, and which
    part it is along each dimension of the mesh that splits it, as pairs (which, of how many).
    """

    entries: int
    sampled: int
    place: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class _Holders:
    """Of L tensors on R ranks: ``entries`` (R, L) of each distinct part, zero for copies of another rank's part;
    ``scale`` (R, L) of its histogram's counts; ``split`` and ``complete`` (L,): in parts, and all parts are there;
    ``sampled``: share of entries that were looked at, NaN where no tensor is split.
    """

    entries: Array
    scale: Array
    split: Array
    complete: Array
    sampled: float


def joined(records: Mapping[int, tuple[TensorHistory, Mapping[str, Part]]]) -> TensorHistory:
    """The ``records`` of ranks as one. Tensors in parts: means, spreads, extremes, shares and histograms of the whole,
    by the number of entries of each part; parts that several processes hold count once. Other tensors as the first
    rank recorded them. Activations, which are of each process's own examples, and what can't be added are left out.

    With n_r entries, means m_r and standard deviations s_r:
    m = sum n_r m_r / n, s^2 = sum n_r (s_r^2 + (m_r - m)^2) / n.

    Raises:
        InputError: only one process wrote, or the records do not say which parts they are of.
    """
    ranks = sorted(records)
    histories = [records[rank][0] for rank in ranks]
    first = histories[0]
    parts = [records[rank][1] for rank in ranks]
    unsaid = any(note == of_part(rank) for rank in ranks for note in records[rank][0].notes) and not any(parts)
    names = tuple(dict.fromkeys(name for history in histories for name in _own_names(history)))
    held = _holders(names, histories, parts)
    if unsaid or (len(ranks) == 1 and not held.complete.all()):
        raise InputError(
            "the parts of tensors can't be joined",
            got="a record that does not say which parts it holds" if unsaid else "the record of one process",
            expected="the records of all processes, with the sizes of their parts",
            remedy="record with fs.record(..., ranks='all')",
        )
    steps = np.unique(np.concatenate([history.steps for history in histories]))
    statistics, recorded, left_out = {}, {}, []
    for quantity in dict.fromkeys(q for history in histories for q in history.statistics):
        found = _quantity(quantity, histories, names, steps, held)
        if found is None:
            left_out.append(quantity)
        else:
            statistics[quantity], recorded[quantity] = found
    layers = {name: layer for h in histories for name, layer in zip(h.names, h.layers, strict=True)}
    notes = [note for note in first.notes if note != of_part(ranks[0])]
    notes += _told(names, held, left_out, len(ranks))
    return first.replace(
        names=names,
        steps=steps,
        statistics=statistics,
        recorded=recorded,
        units={q: first.units.get(q, "") for q in statistics},
        histograms={q: _histograms(q, histories, names, held) for q in first.histograms},
        layers=tuple(layers.get(name, name) for name in names),
        meta={**first.meta, "notes": notes, "ranks_joined": ranks},
    )


def _own_names(history: TensorHistory) -> list[str]:
    """Tensors of which more than activations was recorded."""
    seen = np.zeros(len(history.names), bool)
    for quantity, there in history.recorded.items():
        if not quantity.startswith("activation/"):
            seen |= there.any(1)
    for found in history.histograms.values():
        seen |= found.counts.any((1, 2))
    return [name for name, own in zip(history.names, seen, strict=True) if own]


def _told(names: Sequence[str], held: _Holders, left_out: Sequence[str], ranks: int) -> list[str]:
    told = [ALL_TOGETHER.format(ranks)] if held.split.any() else []
    lacking = [name for name, complete in zip(names, held.complete, strict=True) if not complete]
    if lacking:
        some = ", ".join(lacking[:3]) + (" …" if len(lacking) > 3 else "")
        told.append(
            f"not all parts of {len(lacking)} of {len(names)} tensors ({some}) were recorded: only norms are known"
        )
    if left_out:
        told.append(f"not joined, since each process has its own: {', '.join(left_out)}")
    return told


def _holders(names: Sequence[str], histories: Sequence[TensorHistory], parts: Sequence[Mapping[str, Part]]) -> _Holders:
    entries, scale = np.zeros((2, len(parts), len(names)))
    split, complete = np.zeros(len(names), bool), np.ones(len(names), bool)
    looked = total = 0
    for at, name in enumerate(names):
        known = {r: part[name] for r, part in enumerate(parts) if name in part}
        chosen: dict[tuple[tuple[int, int], ...], int] = {}
        for r, part in known.items():
            chosen.setdefault(part.place, r)
        if not any(chosen):  # in one piece, the same in every process
            entries[next((r for r, h in enumerate(histories) if name in h.names), 0), at] = 1
            scale[:, at] = 1
            continue
        split[at] = True
        complete[at] = len(chosen) == math.prod(count for _, count in next(iter(chosen)))
        entries[list(chosen.values()), at] = [known[r].entries for r in chosen.values()]
        sampled = sum(known[r].sampled for r in chosen.values())
        share = sampled / max(1.0, entries[:, at].sum())
        for r in chosen.values():  # counts of a part of which fewer entries were looked at stand for more
            scale[r, at] = share * known[r].entries / max(1, known[r].sampled)
        looked, total = looked + sampled, total + int(entries[:, at].sum())
    return _Holders(entries, scale, split, complete, looked / total if total else math.nan)


def _quantity(
    quantity: str, histories: Sequence[TensorHistory], names: Sequence[str], steps: Array, held: _Holders
) -> tuple[Array, Array] | None:
    """Values and where they were recorded (L, S); None where each process has its own."""
    source, _, kind = quantity.rpartition("/")
    if source == "activation":
        return None
    values, there = _stacked(quantity, histories, names, steps)
    weights = np.broadcast_to(held.entries[:, :, None], values.shape)
    if kind == "nonfinite_share":  # written where there is something to tell
        values = np.where(~there & there.any(0), 0.0, values)
        there = np.broadcast_to(there.any(0), there.shape)
    holding = weights > 0
    seen = np.asarray((there | ~holding).all(0) & holding.any(0))
    if kind in SUMS:
        seen &= held.complete[:, None]
        means = _stacked(f"{source}/mean", histories, names, steps)[0] if kind == "std" else values
        found = _added(kind, values, means, weights, holding)
    else:
        first = np.argmax(there, axis=0)[None]
        found, seen = np.take_along_axis(values, first, 0)[0], np.asarray(there.any(0))
        if kind not in WHOLE:
            seen = seen & ~held.split[:, None]
            if not seen.any():
                return None
    return np.where(seen, found, np.nan), seen


def _added(kind: str, values: Array, means: Array, weights: Array, holding: Array) -> Array:
    """(L, S) of (R, L, S): what the parts of a tensor add up to."""
    with np.errstate(invalid="ignore", over="ignore"):
        if kind in ("min", "max"):
            empty = math.inf if kind == "min" else -math.inf
            extreme: Array = (np.min if kind == "min" else np.max)(np.where(holding, values, empty), axis=0)
            return extreme
        total = np.maximum(weights.sum(0), 1)

        def mean(of: Array) -> Array:
            found: Array = np.where(holding, of * weights, 0.0).sum(0) / total
            return found

        return np.sqrt(mean(values**2 + (means - mean(means)) ** 2)) if kind == "std" else mean(values)


def _stacked(
    quantity: str, histories: Sequence[TensorHistory], names: Sequence[str], steps: Array
) -> tuple[Array, Array]:
    """Values and where they were recorded, (R, L, S)."""
    values = np.full((len(histories), len(names), len(steps)), np.nan)
    there = np.zeros(values.shape, bool)
    place = {name: i for i, name in enumerate(names)}
    for r, history in enumerate(histories):
        if quantity in history.statistics:
            own = np.array([i for i, n in enumerate(history.names) if n in place], np.int64)
            rows = np.array([place[history.names[i]] for i in own], np.int64)[:, None]
            columns = np.searchsorted(steps, history.steps)[None]
            values[r, rows, columns] = history.statistics[quantity][own]
            there[r, rows, columns] = history.recorded[quantity][own]
    return values, there


def _histograms(
    quantity: str, histories: Sequence[TensorHistory], names: Sequence[str], held: _Holders
) -> TensorHistograms:
    """Counts of the parts together, at the steps at which all of them were recorded."""
    given = [h.histograms.get(quantity) for h in histories]
    first = next(h for h in given if h is not None)
    found = [(r, h) for r, h in enumerate(given) if h is not None and np.array_equal(h.edges, first.edges)]
    steps = first.steps
    for r, h in found:
        steps = np.intersect1d(steps, h.steps) if (held.entries[r] > 0).any() else steps
    counts = np.zeros((len(names), len(steps), len(first.edges) - 1))
    place = {name: i for i, name in enumerate(names)}
    for r, h in found:
        own = np.array([i for i, n in enumerate(histories[r].names) if n in place], np.int64)
        rows = np.array([place[histories[r].names[i]] for i in own], np.int64)
        keep = (held.entries[r, rows] > 0) & held.complete[rows]
        part = h.counts[own[keep]][:, np.isin(h.steps, steps)]
        counts[rows[keep]] += part * held.scale[r, rows[keep], None, None]
    sampled = first.sampled if math.isnan(held.sampled) else held.sampled
    return TensorHistograms(steps=steps, edges=first.edges, counts=np.rint(counts).astype(np.uint32), sampled=sampled)
