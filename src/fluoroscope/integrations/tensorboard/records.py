"""What event files hold, by tag, as columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from fluoroscope.results import Array

__all__ = ["EventLog", "Histograms", "Images", "Problem", "Scalars", "Texts"]


class Scalars(NamedTuple):
    """One series in order of writing: ``steps`` (S,) int64, ``values`` (S,) float64, ``times`` (S,) wall seconds."""

    steps: Array
    values: Array
    times: Array

    @property
    def points(self) -> int:
        """How many."""
        return len(self.steps)


class Histograms(NamedTuple):
    """Histograms of one tag: of each step its bucket ``edges`` (B + 1,) and ``counts`` (B,); counts may be shares."""

    steps: Array
    times: Array
    edges: tuple[Array, ...]
    counts: tuple[Array, ...]

    @property
    def points(self) -> int:
        """How many."""
        return len(self.steps)


class Images(NamedTuple):
    """Encoded pictures (PNG, GIF or JPEG) of one tag: those of each step, as they are in the file."""

    steps: Array
    times: Array
    pictures: tuple[tuple[bytes, ...], ...]

    @property
    def points(self) -> int:
        """How many steps."""
        return len(self.steps)


class Texts(NamedTuple):
    """Texts of one tag: those of each step in C order. Markdown as it was written, always hostile text."""

    steps: Array
    times: Array
    texts: tuple[tuple[str, ...], ...]

    @property
    def points(self) -> int:
        """How many steps."""
        return len(self.steps)


class Problem(NamedTuple):
    """What could not be read: file, position of the record in bytes, and why."""

    path: str
    offset: int
    what: str

    def __str__(self) -> str:
        return f"{self.path}, byte {self.offset:,}: {self.what}"


@dataclass
class EventLog:
    """Everything that was read of one run. ``hparams`` are its settings, ``summary`` what is said of it as
    a whole (Weights & Biases), ``left_out`` counts by plugin what has no
    place here (graphs, audio, curves of precision …), ``restarts`` are the steps at which a session began.
    """

    scalars: dict[str, Scalars] = field(default_factory=dict)
    histograms: dict[str, Histograms] = field(default_factory=dict)
    images: dict[str, Images] = field(default_factory=dict)
    texts: dict[str, Texts] = field(default_factory=dict)
    hparams: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    restarts: list[int] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    records: int = 0

    def extend(self, later: EventLog) -> None:
        """Add what was written later."""
        for kind in ("scalars", "histograms", "images", "texts"):
            mine: dict[str, Any] = getattr(self, kind)
            for tag, column in getattr(later, kind).items():
                mine[tag] = _joined(mine[tag], column) if tag in mine else column
        self.hparams.update(later.hparams)
        self.summary.update(later.summary)
        for plugin, count in later.left_out.items():
            self.left_out[plugin] = self.left_out.get(plugin, 0) + count
        self.restarts += later.restarts
        self.problems += later.problems
        self.records += later.records


def _joined(first: Any, second: Any) -> Any:
    parts = zip(first, second, strict=True)
    return type(first)(*(np.concatenate([a, b]) if isinstance(a, np.ndarray) else a + b for a, b in parts))
