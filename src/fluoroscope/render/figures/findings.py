"""Findings as a figure: one block for each, with the curve that shows it."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from fluoroscope.render import design
from fluoroscope.render.figures.canvas import Picture, heading, new_figure, plain, quiet
from fluoroscope.render.figures.curves import Points, draw_curve, draw_gaps, wants_log
from fluoroscope.render.figures.label import clean, measured, number, plural, shortened
from fluoroscope.render.figures.registry import Drawing, drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fluoroscope.render.design import Theme
    from fluoroscope.results import Finding, Findings

__all__ = ["FindingsDrawing"]

MOST = 12
WIDTH = 84  # characters of a line
LINES = 8  # of one text; a longer one ends in an ellipsis
LINE = 0.165  # inches that a line of the smallest type takes


@drawing("findings")
class FindingsDrawing(Drawing):
    """Options of the drawing: ``top`` is how many findings are drawn, the worst first."""

    top: int = MOST

    def on(self, result: Findings, ax: Axes, theme: Theme) -> None:
        """All findings as lines of text."""
        plain(ax)
        if not result.items:
            _text(ax, 0.0, 1.0, "Nothing to report.", theme.text)
        for i, item in enumerate(result.items[: self.top]):
            line = f"{item.severity}: {shortened(item.title, 70)} (confidence {item.confidence:.2f})"
            _text(ax, 0.0, 1.0 - i / max(self.top, 1), line, _color(item, theme))

    def figure(self, result: Findings, theme: Theme) -> Picture:
        """A row for each finding: words left, its curves right."""
        shown = result.items[: self.top]
        words = [_words(item) for item in shown]
        heights = [max(1.3 if i.series else 0.0, 0.4 + LINE * (len(w) + 1)) for i, w in zip(shown, words, strict=True)]
        with new_figure(10.0, sum(heights) + 1.0 if shown else 1.6, theme) as figure:
            if not shown:
                self.on(result, figure.subplots(), theme)
            else:
                options: dict[str, Any] = {"height_ratios": heights, "width_ratios": (3, 2)}
                axes = figure.subplots(len(shown), 2, squeeze=False, gridspec_kw=options)
                for (left, right), item, lines in zip(axes, shown, words, strict=True):
                    _block(left, item, lines, theme)
                    _evidence(right, item, theme)
            heading(figure, result, theme, _facts(result, len(shown)))
        return figure


def _facts(result: Findings, shown: int) -> list[str]:
    facts = [f"{plural(len(result.checked), 'rule')} looked at."] if result.checked else []
    facts += [f"Not applied: {', '.join(clean(r) for r in result.skipped)}."] if result.skipped else []
    return facts + ([f"{len(result.items) - shown} more findings."] if len(result.items) > shown else [])


def _color(item: Finding, theme: Theme) -> str:
    return {"problem": theme.bad, "warning": theme.warn}.get(item.severity, theme.accent)


def _words(item: Finding) -> list[tuple[str, bool]]:
    """Lines below the title, and whether each is muted."""
    steps = item.steps and (f"step {item.steps[0]:,}" + (f" to {item.steps[-1]:,}" if len(item.steps) > 1 else ""))
    where = ", ".join(shortened(n, 40) for n in item.layers[:3]) + (" …" if len(item.layers) > 3 else "")
    head = " · ".join(filter(None, [f"confidence {item.confidence:.2f}", steps or "", where]))
    numbers = ", ".join(f"{clean(k)} {number(v)}" for k, v in list(item.numbers.items())[:5])
    parts = [(head, True), (item.evidence, False), (numbers, True)]
    parts += [(f"→ {text}", False) for text in item.advice[:3]]
    parts += [(f"Source: {item.source}", True)] if item.source else []
    return [
        (line, muted)
        for text, muted in parts
        if text
        for line in textwrap.wrap(clean(text), WIDTH, max_lines=LINES, placeholder=" …")
    ]


def _block(ax: Axes, item: Finding, lines: list[tuple[str, bool]], theme: Theme) -> None:
    plain(ax)
    step = 1 / (len(lines) + 1.4)
    ax.plot(
        [0, 0],
        [0, 1],
        color=_color(item, theme),
        linewidth=4,
        transform=ax.transAxes,
        solid_capstyle="butt",
        clip_on=False,
    )
    _text(ax, 0.02, 1.0, f"{item.severity.capitalize()}: {shortened(item.title, 64)}", theme.text, "s", "bold")
    for i, (line, muted) in enumerate(lines):
        _text(ax, 0.02, 1 - (i + 1.4) * step, line, theme.muted if muted else theme.text)


def _text(ax: Axes, x: float, y: float, text: str, color: str, size: Any = "xs", weight: str = "normal") -> None:
    style: dict[str, Any] = {"fontsize": design.points(size), "color": color, "fontweight": weight, "va": "top"}
    ax.text(x, y, text, transform=ax.transAxes, parse_math=False, clip_on=False, **style)


def _evidence(ax: Axes, item: Finding, theme: Theme) -> None:
    curves = [
        Points(s.name or k, s.unit, np.asarray(s.steps, float), np.asarray(s.values, float), c)
        for (k, s), c in zip(item.series.items(), theme.series, strict=False)
        if len(s.values)
    ]
    if not curves:
        ax.set_visible(False)
        return
    if np.isfinite(item.reference):
        read = measured(item.reference, curves[0].unit)
        ax.axhline(item.reference, color=theme.good, linewidth=1, linestyle=(0, (4, 3)), label=f"reference {read}")
    if wants_log([*(p.values for p in curves), np.array([item.reference])]):
        ax.set_yscale("log")
    for points in curves:
        draw_curve(ax, points, 1.4, None, 1)
    draw_gaps(ax, curves, theme)
    quiet(ax, theme, "y")
    if all(p.unit == "share" for p in curves):
        ax.yaxis.set_major_formatter(lambda v, _: measured(v, "share"))
    quantities = {s.group for s in item.series.values() if len(s.values)}
    if len(quantities) == 1:  # the legend then names layers only
        ax.set_title(clean(*quantities), color=theme.muted, fontsize=design.points("xs"), parse_math=False)
    ax.set_xlabel("step", color=theme.muted, fontsize=design.points("xs"), loc="left")
    legend = ax.legend(loc="best", labelcolor=theme.text, fontsize=design.points("xs"))
    for line, text in zip(legend.get_lines(), legend.get_texts(), strict=True):
        line.set_marker("")  # a line of many points has none
        text.set_parse_math(False)
