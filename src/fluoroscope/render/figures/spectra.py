"""Spectra as figures: singular values of a few matrices by rank beside those of noise, or all matrices in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from matplotlib.ticker import FuncFormatter, NullFormatter

from fluoroscope.errors import OptionError, nearest
from fluoroscope.render import design
from fluoroscope.render.figures.canvas import Picture, heading, new_figure, quiet
from fluoroscope.render.figures.experts import draw_experts, expert_figure, grids_of
from fluoroscope.render.figures.label import number, shortened, title
from fluoroscope.render.figures.registry import Drawing, drawing
from fluoroscope.render.figures.spans import mark_spans

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from fluoroscope.render.design import Theme
    from fluoroscope.results import Array, Spectra, Spectrum

__all__ = ["SpectraDrawing"]

FEW = 6  # matrices that are shown one by one; more get the overview


@drawing("spectra")
class SpectraDrawing(Drawing):
    """Options of the drawing.

    ``tensor`` by name; ``view``: ``"spectrum"`` has singular values by rank, ``"overview"`` all matrices in order,
    ``"experts"`` the tables of experts (None: spectra of up to six matrices, the overview of more).
    """

    tensor: str | None = None
    view: Literal["overview", "spectrum", "experts"] | None = None

    def on(self, result: Spectra, ax: Axes, theme: Theme) -> None:
        """One spectrum, the overview's first row, or the first table of experts, on ``ax``."""
        spectra = self._chosen(result)
        view = self.view or ("spectrum" if len(spectra) == 1 else "overview")
        if view == "experts":
            draw_experts(ax, grids_of(result)[0], None, theme)
        elif view == "spectrum":
            _spectrum(ax, spectra[0], theme)
        else:
            _reach(ax, spectra, theme)
            mark_spans(ax, [s.name for s in spectra], theme)

    def figure(self, result: Spectra, theme: Theme) -> Picture:
        """A page of everything that was asked for."""
        spectra = self._chosen(result)
        if self.view == "experts":
            return expert_figure(result, theme)
        if self.view == "overview" or (self.view is None and len(spectra) > FEW):
            return self._overview(result, spectra, theme)
        return _details(result, spectra[:FEW], theme)

    def _chosen(self, result: Spectra) -> Sequence[Spectrum]:
        if not result.spectra:
            raise OptionError("there is no spectrum to draw", got="no spectra", expected="at least one")
        if self.tensor is None:
            return result.spectra
        for spectrum in result.spectra:
            if self.tensor == spectrum.name or self.tensor in spectrum.shared_with:
                return (spectrum,)
        near = nearest(self.tensor, [s.name for s in result.spectra])
        raise OptionError("there is no such spectrum", got=self.tensor, expected="a name from .spectra", nearest=near)

    def _overview(self, result: Spectra, spectra: Sequence[Spectrum], theme: Theme) -> Picture:
        with new_figure(min(max(7.0, 3.0 + 0.09 * len(spectra)), 14.0), 7.2, theme) as figure:
            reach, ranks, alpha = figure.subplots(3, 1, sharex=True, height_ratios=(2.6, 1.6, 1.2))
            _reach(reach, spectra, theme)
            _ranks(ranks, spectra, theme)
            _points(alpha, _column(spectra, "alpha"), theme, "tail exponent α", "smaller: a heavier tail")
            mark_spans(alpha, [s.name for s in spectra], theme, (reach, ranks))
            part = [s for s in spectra if not s.exact]
            lost = "without effective rank and α"
            facts = [f"Of {len(part)} large ones only the greatest values are known, {lost}."] if part else []
            heading(figure, result, theme, facts)
        return figure


def _details(result: Spectra, spectra: Sequence[Spectrum], theme: Theme) -> Picture:
    columns = 1 if len(spectra) == 1 else 2
    rows = -(-len(spectra) // columns)
    with new_figure(5.2 * columns + (1.4 if columns == 1 else 0), 3.0 * rows + 0.8, theme) as figure:
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for ax, spectrum in zip(axes, spectra, strict=False):
            _spectrum(ax, spectrum, theme)
        for ax in axes[len(spectra) :]:
            ax.set_visible(False)
        more = len(result.spectra) - len(spectra)
        facts = ["Dashed: a matrix of independent entries of the same size and spread (Marchenko-Pastur)."]
        if any(not s.exact for s in spectra):
            facts.append("Shaded: the error bound of values found by a randomized method.")
        if more:
            facts.append(f"{more} more matrices; choose one with tensor=, or view='overview'.")
        heading(figure, result, theme, facts)
    return figure


def _spectrum(ax: Axes, spectrum: Spectrum, theme: Theme) -> None:
    """Singular values by rank on a logarithmic axis; above the noise's they have learned something."""
    values, reference = np.asarray(spectrum.values, dtype=float), np.asarray(spectrum.reference, dtype=float)
    rank = np.arange(1, len(values) + 1)
    high, edge = theme.series[0], spectrum.statistics["noise_edge"]
    ax.plot(rank, reference, color=theme.muted, linewidth=1.2, linestyle=(0, (4, 2)))
    if not spectrum.exact:
        ax.fill_between(rank, values, values + spectrum.errors, color=high, alpha=0.18, linewidth=0)
    ax.plot(rank, np.where(values > 0, values, np.nan), color=high, linewidth=1.5)
    above = values > edge
    if above.any():
        ax.scatter(rank[above], values[above], s=12, color=theme.series[5], linewidth=0, zorder=3)
    _axes(ax, values, reference, theme)
    sizes = " × ".join(map(str, spectrum.matrix))
    ranks = f"stable rank {number(spectrum.statistics['stable_rank'])}"
    if np.isfinite(spectrum.statistics["effective_rank"]):
        ranks += f", effective {number(spectrum.statistics['effective_rank'])}"
    least = "" if spectrum.exact else f" · the {len(values)} largest"
    beyond = f"{int(above.sum())} above noise"
    title(ax, shortened(spectrum.name, 52), theme, f"{sizes}{least} · {ranks} · {beyond}")


def _axes(ax: Axes, values: Array, reference: Array, theme: Theme) -> None:
    top = max(values.max(initial=0), reference.max(initial=0)) or 1.0
    least = values[values > top * 1e-6].min(initial=top)
    ax.set_ylim(max(least, top * 1e-4) / 1.3, top * 1.5)
    ax.set_yscale("log")
    ax.set_xlim(0, len(values) + 1)
    plain = FuncFormatter(lambda v, _: number(v))
    few = top / max(least, top * 1e-4) < 30
    ax.yaxis.set_major_formatter(plain)
    between = FuncFormatter(lambda v, _: number(v) if f"{v:.0e}"[0] in "25" else "")
    ax.yaxis.set_minor_formatter(between if few else NullFormatter())
    quiet(ax, theme, "y")
    style: dict[str, Any] = {"color": theme.muted, "fontsize": design.points("xs"), "parse_math": False}
    ax.set_xlabel("rank", loc="left", **style)
    ax.set_ylabel("singular value", **style)


def _reach(ax: Axes, spectra: Sequence[Spectrum], theme: Theme) -> None:
    """From the smallest to the largest known value of every matrix, in units of its noise edge."""
    edges = np.array([s.statistics["noise_edge"] or np.nan for s in spectra], dtype=float)
    largest = np.array([s.values[0] for s in spectra]) / edges
    middle = np.array([np.median(s.values) for s in spectra]) / edges
    least = np.array([s.values[s.values > 1e-9 * s.values[0]].min(initial=s.values[0]) for s in spectra]) / edges
    blue, red = theme.series[0], theme.series[5]
    at = np.arange(len(spectra))
    ax.vlines(at, least, largest, color=blue, linewidth=1.2)
    ax.scatter(at, middle, s=7, color=blue, linewidth=0, zorder=3)
    ax.scatter(at, largest, s=14, color=np.where(largest > 1, red, blue), linewidth=0, zorder=3)
    ax.axhline(1, color=theme.muted, linewidth=1, linestyle=(0, (4, 2)))
    known = np.isfinite(least)
    ax.set_ylim(max(least[known].min(initial=1.0), 1e-3) / 1.2, largest[known].max(initial=1.0) * 1.4)
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: number(v)))
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set_xlim(-1, len(spectra))
    quiet(ax, theme, "y")
    title(
        ax,
        "singular values, in units of the noise edge (dashed)",
        theme,
        "red: the largest lies above it; small dot: the median",
    )


def _ranks(ax: Axes, spectra: Sequence[Spectrum], theme: Theme) -> None:
    full = np.array([min(s.matrix) for s in spectra], dtype=float)
    colors = theme.series
    at = np.arange(len(spectra))
    for name, color, word in (("effective_rank", colors[2], "effective"), ("stable_rank", colors[1], "stable")):
        ax.scatter(at, _column(spectra, name) / full, s=14, color=color, linewidth=0, label=word)
    ax.set_ylim(-0.03, 1.05)
    ax.yaxis.set_major_formatter(lambda v, _: f"{100 * v:.3g} %")
    quiet(ax, theme, "y")
    title(ax, "rank, of the full rank", theme)
    place: dict[str, Any] = {"loc": "lower right", "bbox_to_anchor": (1, 1), "ncols": 2, "borderpad": 0}
    ax.legend(handletextpad=0.2, labelcolor=theme.muted, fontsize=design.points("xs"), frameon=False, **place)


def _points(ax: Axes, values: Array, theme: Theme, name: str, detail: str) -> None:
    ax.scatter(np.arange(len(values)), values, s=12, color=theme.series[7], linewidth=0)
    quiet(ax, theme, "y")
    title(ax, f"{name} ({detail})", theme)


def _column(spectra: Sequence[Spectrum], name: str) -> Array:
    return np.array([s.statistics[name] for s in spectra], dtype=float)
