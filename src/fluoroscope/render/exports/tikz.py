"""TikZ: the drawing as LaTeX, every box a named node, for papers set in LaTeX."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fluoroscope.render import design
from fluoroscope.render.figures.label import clean
from fluoroscope.render.graph.flow import FlowOptions, flow_sheet
from fluoroscope.render.graph.sheet import Mark, Path, Polygon, Rect, Text

if TYPE_CHECKING:
    from fluoroscope.results import ModelGraph

__all__ = ["latex", "tikz_text"]

COMMANDS = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "'": r"\textquotesingle{}", "`": r"\textasciigrave{}",
    "×": r"\ensuremath{\times}", "·": r"\ensuremath{\cdot}", "…": r"\dots{}", "⊕": r"\ensuremath{\oplus}",
    "⟳": r"\ensuremath{\circlearrowright}", "—": r"\textemdash{}", "–": r"\textendash{}",
    "−": r"\ensuremath{-}", "∞": r"\ensuremath{\infty}", "[": "{[}", "]": "{]}",
}  # fmt: skip
OPTIONS = ["standalone", *FlowOptions.__dataclass_fields__]
ANCHORS = {"left": "west", "center": "center", "right": "east"}


def latex(text: str) -> str:
    """``text`` as LaTeX sets it literally; a character that pdfLaTeX's fonts lack is shown by its number, U+1F40B."""
    return "".join(COMMANDS.get(c) or (c if _known(c) else f"U+{ord(c):04X}") for c in clean(text))


def _known(character: str) -> bool:
    return " " <= character <= "~" or (character.isalpha() and ord(character) < 0x180)


def tikz_text(graph: ModelGraph, *, standalone: bool = True, **options: Any) -> str:
    r"""The flow diagram of ``graph`` as a ``tikzpicture``, in a document of its own where ``standalone``.

    ``options`` are those of the flow diagram: ``depth``, ``color_by``, ``direction``, ``shapes``, ``costs``, …
    Lengths are points at natural size; ``\resizebox`` or ``scale`` with ``transform shape`` fit it into a column.
    """
    sheet = flow_sheet(graph, design.theme(), FlowOptions(**options))
    colors: dict[str, str] = {}
    lines = [_mark(mark, colors) for mark in sheet.marks]
    defined = [rf"\definecolor{{{name}}}{{HTML}}{{{color[1:].upper()}}}" for color, name in colors.items()]
    picture = [
        *defined,
        r"\begin{tikzpicture}[x=1bp, y=-1bp, >={Latex[length=5bp, width=4bp]}]",
        *lines,
        r"\end{tikzpicture}",
    ]
    if not standalone:
        return "\n".join(picture) + "\n"
    head = [
        r"\documentclass[tikz, border=4bp]{standalone}",
        r"\usepackage[T1]{fontenc}",
        r"\IfFileExists{lmodern.sty}{\usepackage{lmodern}}{}",
        r"\usepackage{textcomp, amssymb, xcolor}",
        r"\usetikzlibrary{arrows.meta}",
        r"\renewcommand{\familydefault}{\sfdefault}",
        r"\begin{document}",
    ]
    return "\n".join([*head, *picture, r"\end{document}"]) + "\n"


def _color(color: str, colors: dict[str, str]) -> str:
    return colors.setdefault(color, f"fs{len(colors)}")


def _mark(mark: Mark, colors: dict[str, str]) -> str:
    if isinstance(mark, Rect):
        return _rect(mark, colors)
    if isinstance(mark, Path):
        return _path(mark, colors)
    if isinstance(mark, Polygon):
        points = " -- ".join(f"({x:.2f}, {y:.2f})" for x, y in mark.points)
        return rf"\fill[{_color(mark.fill, colors)}] {points} -- cycle;"
    return _text(mark, colors)


def _rect(mark: Rect, colors: dict[str, str]) -> str:
    radius = min(mark.radius, mark.width / 2, mark.height / 2)
    style = [f"rounded corners={radius:g}bp"]
    style += [f"fill={_color(mark.fill, colors)}"] if mark.fill else []
    style += [f"draw={_color(mark.stroke, colors)}", f"line width={mark.line:g}bp"] if mark.stroke else []
    style += ["densely dashed"] if mark.dashed else []
    x, y = mark.x + mark.width, mark.y + mark.height
    return rf"\path[{', '.join(style)}] ({mark.x:.2f}, {mark.y:.2f}) rectangle ({x:.2f}, {y:.2f});"


def _path(mark: Path, colors: dict[str, str]) -> str:
    way = [f"({mark.pieces[0][0][0]:.2f}, {mark.pieces[0][0][1]:.2f})"]
    for piece in mark.pieces:
        points = [f"({x:.2f}, {y:.2f})" for x, y in piece[1:]]
        way.append(f"-- {points[0]}" if len(points) == 1 else f".. controls {points[0]} and {points[1]} .. {points[2]}")
    style = ["->"] if mark.arrow else []
    style += [_color(mark.stroke, colors), f"line width={mark.line:g}bp"]
    style += ["densely dashed"] if mark.dashed else []
    style += [f"opacity={mark.opacity:g}"] if mark.opacity < 1 else []
    return rf"\draw[{', '.join(style)}] {' '.join(way)};"


def _text(mark: Text, colors: dict[str, str]) -> str:
    font = rf"\fontsize{{{mark.size:g}}}{{{mark.size * 1.2:g}}}\selectfont" + (r"\bfseries" if mark.bold else "")
    style = f"anchor={ANCHORS[mark.align]}, inner sep=0, text={_color(mark.color, colors)}, font={font}"
    return rf"\node[{style}] at ({mark.x:.2f}, {mark.y:.2f}) {{{latex(mark.text)}}};"
