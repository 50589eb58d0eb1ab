"""New figures in our style, and the style of single Axes.

A figure is made through :class:`matplotlib.figure.Figure`, not pyplot: pyplot keeps every figure it makes until
``plt.close`` (a loop over a data set would fill the memory), and would make our figure the user's current one. A plain
Figure is freed with its last reference, needs no display, and saves through whatever backend the file format asks for.
What pyplot would give on top, ``show()`` and a picture in a notebook cell, :class:`Picture` adds.
"""

from __future__ import annotations

import importlib
import io
import sys
import textwrap
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import matplotlib as mpl
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from fluoroscope.errors import FluoroscopeError
from fluoroscope.render import design
from fluoroscope.render.figures.label import clean

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backend_bases import RendererBase

    from fluoroscope.render.design import Theme
    from fluoroscope.results import Result

__all__ = ["Picture", "heading", "inches_of", "new_figure", "plain", "quiet", "surroundings"]

DPI = 120
SCRIPTS = ("Noto Sans CJK JP", "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", "Hiragino Sans", "Noto Sans")
REMARKS = 6  # of a result, below its figure
CHARACTERS_PER_INCH = 13.0  # of the smallest type, as it runs on average


class Picture(Figure):
    """A matplotlib figure in our style without pyplot: it shows itself in a window, and as a picture in notebooks."""

    style: Any = None

    def draw(self, renderer: RendererBase) -> None:
        """Draw in our style: matplotlib makes ticks late, with the settings of that moment."""
        with mpl.rc_context(self.style or {}):
            super().draw(renderer)

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()

    def show(self, warn: bool = True) -> None:
        """Show in the notebook's cell or in a window, and return when the window is closed.

        Raises:
            FluoroscopeError: there is neither a notebook nor a window system.
        """
        if _in_notebook():
            importlib.import_module("IPython.display").display(self)
            return
        self._show_in_window()

    def _show_in_window(self) -> None:
        from matplotlib import pyplot as plt

        if mpl.get_backend().lower() in _windowless():
            raise FluoroscopeError(
                "there is no window to show the figure in",
                got=f"the matplotlib backend {mpl.get_backend()!r}",
                remedy="save it: result.plot().savefig('picture.png')",
            )
        host = plt.figure(
            figsize=self.get_size_inches()
        )  # lends its window to this figure, and is forgotten on closing
        host.canvas.figure = self
        self.set_canvas(host.canvas)
        plt.show()


def _in_notebook() -> bool:
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return shell is not None and hasattr(shell, "kernel")


def _windowless() -> set[str]:
    from matplotlib.backends.registry import BackendFilter, backend_registry

    listed = backend_registry.list_builtin(BackendFilter.NON_INTERACTIVE)  # type: ignore[no-untyped-call]
    return {name.lower() for name in listed}


def surroundings(ax: Axes | None, dark: bool | None) -> Theme:
    """The theme asked for; without a wish that of the Axes (by the colour they stand on), and light without Axes."""
    if dark is not None or ax is None:
        return design.theme(bool(dark))
    around = ax.get_figure(root=True)
    face = next(
        (c for c in (ax.get_facecolor(), around.get_facecolor() if around else (1, 1, 1, 1)) if _opaque(c)), "white"
    )
    return design.theme(sum(to_rgb(face)) < 1.5)


def _opaque(color: Any) -> bool:
    return len(color) < 4 or color[3] > 0.5


@contextmanager
def new_figure(width: float, height: float, theme: Theme) -> Iterator[Picture]:
    """A figure of ``width`` x ``height`` inches, filled within the block; global settings are as before after it."""
    style = rc(theme)
    with mpl.rc_context(style):
        figure = Picture(figsize=(width, height), dpi=DPI, layout="constrained", facecolor=theme.surface)
        figure.style = style
        yield figure


def heading(figure: Picture, result: Result, theme: Theme, facts: Iterable[str] = ()) -> None:
    """Title and caption above everything, and below it in muted text what a person has to know: ``facts`` and notes."""
    width = max(30, int(figure.get_figwidth() * CHARACTERS_PER_INCH))
    head = textwrap.wrap(clean(result.title or result.kind), width - 8)[:2]
    figure.suptitle("\n".join(head), x=0.01, ha="left", color=theme.text, fontsize=design.points("m"), parse_math=False)
    remarks = [clean(text) for text in (result.caption, *facts, *result.notes) if text]
    lines = [line for text in remarks[:REMARKS] for line in textwrap.wrap(text, width)[:3]]
    if len(remarks) > REMARKS:
        lines.append(f"… and {len(remarks) - REMARKS} more: result.notes")
    if lines:
        style: dict[str, Any] = {"color": theme.muted, "fontsize": design.points("xs"), "parse_math": False}
        figure.supxlabel("\n".join(lines), x=0.01, ha="left", ma="left", **style)


def rc(theme: Theme) -> Any:
    """Our style as matplotlib settings, for ``rc_context`` only."""
    small, body = design.points("xs"), design.points("s")
    return {
        "font.family": list(installed_families()),
        "font.size": body,
        "axes.titlesize": body,
        "axes.labelsize": small,
        "xtick.labelsize": small,
        "ytick.labelsize": small,
        "legend.fontsize": small,
        "figure.titlesize": design.points("m"),
        "text.color": theme.text,
        "axes.labelcolor": theme.muted,
        "axes.titlecolor": theme.text,
        "axes.facecolor": theme.surface,
        "axes.edgecolor": theme.line,
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "axes.grid": False,
        "xtick.color": theme.line,
        "ytick.color": theme.line,
        "xtick.labelcolor": theme.muted,
        "ytick.labelcolor": theme.muted,
        "grid.color": theme.line,
        "grid.linewidth": 0.6,
        "legend.frameon": False,
        "hatch.color": theme.muted,
        "hatch.linewidth": 0.6,
        "savefig.facecolor": theme.surface,
        "text.usetex": False,
        "axes.formatter.use_mathtext": False,
    }


@cache
def installed_families(role: Literal["family", "mono"] = "family") -> tuple[str, ...]:
    """The design's font families that this machine has, then matplotlib's own DejaVu, then fonts with more scripts."""
    from matplotlib.font_manager import fontManager

    present = set(fontManager.get_font_names())
    last = "DejaVu Sans" if role == "family" else "DejaVu Sans Mono"
    names = [*design.families(role), last, "DejaVu Sans", *SCRIPTS]
    return tuple(dict.fromkeys(name for name in names if name in present))


def inches_of(ax: Axes) -> tuple[float, float]:
    """Width and height of Axes as they are placed now; a layout may still move them."""
    box, figure = ax.get_position(), ax.get_figure(root=True)
    across, down = figure.get_size_inches() if figure else (6.0, 4.0)
    return float(box.width * across), float(box.height * down)


def plain(ax: Axes) -> None:
    """No ticks and no frame: for pictures, tables and text."""
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)


def quiet(ax: Axes, theme: Theme, grid: str = "") -> None:
    """Thin frame left and below, muted labels, and grid lines across ``grid`` ("x", "y" or "both")."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(theme.line)
    ax.tick_params(which="both", color=theme.line, labelcolor=theme.muted)
    if grid:
        ax.grid(True, axis=grid, color=theme.line, linewidth=0.6)  # type: ignore[arg-type]
        ax.set_axisbelow(True)
