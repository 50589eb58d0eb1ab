"""What every result can do: hold raw values and provenance, be drawn, saved, and put on a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from fluoroscope.results.record import Array, Record, record, value
from fluoroscope.results.store import save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Result", "Samples", "html_page"]


@record
class Samples(Record):
    """The examples a result is about, as a person knows them.

    ``images`` are ``uint8`` pictures (N, H, W, RGB) *as the network saw them* (cropped, resized), or None where the
    input is not an image; ``names`` are file names or other labels, one for each example, always hostile text;
    ``features`` names the columns, tokens or channels of each example where the input is a table, a text or a series.
    ``series`` (N, C, B, R) are the series of each channel: every step by itself (R = 1), or, where they are long, the
    least and greatest value (R = 2) of each of B equal stretches; None where the input is no series.
    ``rows`` (N, D) are the numbers in the columns of each example where the input is a table of at most some thousand.
    ``real`` (N, L) says which tokens belong to the text and which only fill it up; None where the input is no text.
    """

    kind: ClassVar[str] = "samples"
    names: tuple[str, ...] = value(join="concat", default=())
    images: Array | None = value(join="concat", default=None)
    features: tuple[tuple[str, ...], ...] = value(join="concat", default=())
    series: Array | None = value(join="concat", default=None)
    real: Array | None = value(join="concat", default=None)
    rows: Array | None = value(join="concat", default=None)

    def padding(self, n: int) -> list[tuple[int, int]]:
        """Start and stop of each run of padding tokens in the text of example ``n``."""
        if self.real is None or n >= len(self.real):
            return []
        edges = np.flatnonzero(np.diff(np.concatenate([[0], ~self.real[n], [0]]).astype(int)))
        return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


@record
class Result(Record):
    """Base of all results: frozen, NumPy only, raw values in stated units.

    ``title`` and ``caption`` are for people; ``meta`` is the provenance: method, options, layer, target, model,
    fingerprint, seed, versions, seconds, and the forwards and backwards that were spent.
    """

    title: str = value(default="")
    caption: str = value(default="")
    meta: dict[str, Any] = value(default_factory=dict)

    @property
    def values(self) -> Array:
        """The raw numbers as one NumPy array; which axes it has, each kind of result says."""
        raise NotImplementedError

    @property
    def notes(self) -> tuple[str, ...]:
        """What had to be assumed, in plain words."""
        return tuple(self.meta.get("notes", ()))

    def with_meta(self, **entries: Any) -> Self:
        """A copy with entries added to the provenance."""
        return self.replace(meta={**self.meta, **entries})

    def save(self, path: str | Path) -> Path:
        """Write to a ``.fluo`` file (arrays and JSON, safe to open anywhere); returns the path. Raises
        ResultFileError.
        """
        return save(self, path)

    def plot(self, ax: Axes | None = None, **options: Any) -> Any:
        """Draw with matplotlib: on ``ax`` where one is given (and return it), else on a new figure (and return
        that).
        """
        from fluoroscope.render.figures import draw  # the one upward door

        return draw(self, ax, **options)

    def to_html(self, path: str | Path | None = None) -> str:
        """A self-contained interactive page with this result; also written to ``path`` where one is given."""
        return html_page([self], self.title or self.kind, path)

    def show(self) -> None:
        """Draw and show in a window or notebook."""
        self.plot().show()


def html_page(results: Sequence[Result], title: str, path: str | Path | None = None) -> str:
    """A self-contained interactive page with ``results``; also written to ``path`` where one is given."""
    from fluoroscope.render.page import page, write_page

    html = page(results, title=title)
    if path is not None:
        write_page(html, path)
    return html
