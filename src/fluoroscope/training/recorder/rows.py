"""From what a step measured to rows of the store: NumPy on the host, names as readers know them."""

from __future__ import annotations

from typing import Any

import numpy as np

from fluoroscope.model.activation_watch import QUANTITIES
from fluoroscope.results import Array
from fluoroscope.training.recorder.exact import ORDER
from fluoroscope.training.recorder.optimizer_watch import Measured
from fluoroscope.training.recorder.samples import EDGES
from fluoroscope.training.store.coding import missing
from fluoroscope.training.store.writer import RunWriter

__all__ = ["Rows"]

QUANTITY = ("gradient", "weight", "update")
NEVER = missing(1)[0]


class Rows:
    """Writes measurements into the store."""

    def __init__(self, writer: RunWriter, histograms: bool) -> None:
        self.writer, self.histograms = writer, histograms
        self._facts: dict[tuple[Any, ...], dict[str, Any]] = {}

    def parameters(self, step: int, time: float, measured: Measured, found: dict[str, Array]) -> dict[str, float]:
        """Write one optimizer's parameters; returns the norms of all of them together."""
        norms, entries, samples = found["norms"], np.ascontiguousarray(found["entries"]), measured.samples
        absent = norms[3] == 0
        ratio = missing(len(absent))
        with np.errstate(over="ignore", invalid="ignore"):  # infinity over infinity is NaN, and is recorded as that
            np.divide(norms[2], norms[1], where=norms[1] != 0, out=ratio, casting="same_kind")
        sampled, empty = samples.statistics(entries), samples.sizes == 0
        for values in sampled.values() if empty.any() else ():
            values[:, empty] = NEVER
        with np.errstate(over="ignore"):
            statistics = {f"{q}/norm": norms[i].astype(np.float32) for i, q in enumerate(QUANTITY)}
        statistics |= {f"{q}/{k}": v[i] for i, q in enumerate(QUANTITY) for k, v in sampled.items()}
        statistics["update/ratio"] = ratio
        for key, values in statistics.items() if absent.any() else ():
            if key.startswith("gradient/"):
                values[absent] = NEVER
        counts: dict[str, Array] = {}
        if self.histograms:
            counts = dict(zip(QUANTITY, samples.histograms(entries), strict=True))
            counts["gradient"][absent] = 0
        self.writer.tensors(step, measured.names, statistics, counts, time=time, facts=self._about(measured))
        self._exact(step, time, measured, found)
        self._nonfinite(step, time, measured)
        return {f"norm/{q}": _total(found["norms"][i]) for i, q in enumerate(QUANTITY)}

    def _about(self, measured: Measured) -> dict[str, Any]:
        share = float(measured.samples.sizes.sum() / max(1, measured.samples.numbers.sum()))
        edges = dict.fromkeys(QUANTITY, EDGES) if self.histograms else {}
        return self._same(measured, edges=edges, sampled=share, update_norm=_how(measured))

    def _same(self, measured: Measured, **facts: Any) -> dict[str, Any]:
        """Facts of a layout, with the parts of tensors that are spread out: one and the same object for the same facts,
        by which the store knows it again.
        """
        samples, places = measured.samples, measured.places
        parts = (samples.numbers.tobytes(), samples.sizes.tobytes(), str(places)) if places else ()
        key = (*facts, facts.get("sampled"), facts.get("update_norm"), *parts)
        if key not in self._facts:
            spread = {"entries": samples.numbers, "samples": samples.sizes, "places": places} if places else {}
            self._facts[key] = {**facts, **{k: _plain(v) for k, v in spread.items()}}
        return self._facts[key]

    def _exact(self, step: int, time: float, measured: Measured, found: dict[str, Array]) -> None:
        tables = {q: found[f"exact/{q}"] for q in measured.exact}
        if tables:
            statistics = {
                f"{q}/{k}": np.ascontiguousarray(t[:, i]) for q, t in tables.items() for i, k in enumerate(ORDER)
            }
            for key, values in statistics.items():
                if key.startswith("gradient/"):
                    values[found["norms"][3] == 0] = NEVER
            self.writer.tensors(step, measured.names, statistics, time=time, facts=self._same(measured, exact=True))

    def _nonfinite(self, step: int, time: float, measured: Measured) -> None:
        if measured.nonfinite:
            shares = np.array([measured.nonfinite.get(n, 0.0) for n in measured.names], np.float32)
            facts = self._same(measured)
            self.writer.tensors(step, measured.names, {"gradient/nonfinite_share": shares}, time=time, facts=facts)

    def beside(
        self, step: int, time: float, measured: Measured | None, tensors: dict[str, Array], totals: dict[str, float]
    ) -> dict[str, float]:
        """Write what was measured beside, of each parameter; returns ``totals``."""
        if tensors and measured is not None:
            self.writer.tensors(step, measured.names, tensors, time=time)
        return totals

    def activations(self, step: int, time: float, names: list[str], table: Array) -> None:
        """Write one forward's activations (layers, quantities)."""
        columns = {f"activation/{q}": np.ascontiguousarray(table[:, i]) for i, q in enumerate(QUANTITIES)}
        self.writer.tensors(step, names, columns, time=time)


def _plain(values: Any) -> list[Any]:
    return values.tolist() if isinstance(values, np.ndarray) else list(values)


def _how(measured: Measured) -> str:
    return "estimated from samples" if measured.estimated else "exact"


def _total(norms: Array) -> float:
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.sqrt(np.square(norms).sum()))
