"""A sheet as a standalone SVG file: vector, text as text, with a title and a description that can be read aloud."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

from fluoroscope.render import design
from fluoroscope.render.figures.label import clean
from fluoroscope.render.graph.sheet import Mark, Path, Polygon, Rect, Sheet, Text

if TYPE_CHECKING:
    from fluoroscope.render.design import Theme

__all__ = ["svg_text", "xml_text"]

ALIGN = {"left": "start", "center": "middle", "right": "end"}


def xml_text(text: str) -> str:
    """``text`` as XML may hold it: characters that XML 1.0 forbids, and halves of pairs, are shown as escapes."""
    return "".join(c if _allowed(ord(c)) else c.encode("unicode_escape").decode() for c in text)


def _allowed(code: int) -> bool:
    return code in (9, 10, 13) or 0x20 <= code < 0xD800 or 0xE000 <= code < 0xFFFE or 0x10000 <= code <= 0x10FFFF


def svg_text(sheet: Sheet, theme: Theme) -> str:
    """The SVG of ``sheet`` on the theme's surface; sizes are CSS pixels, one for each point of the sheet."""
    width, height = f"{sheet.width:.6g}", f"{sheet.height:.6g}"
    fonts = ", ".join(design.families()) or "sans-serif"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
        f' role="img" aria-labelledby="title description" font-family={quoteattr(fonts)}>',
        f'<title id="title">{_said(sheet.title)}</title>',
        f'<desc id="description">{_said(sheet.caption or sheet.title)}</desc>',
        f'<rect width="{width}" height="{height}" fill="{theme.surface}"/>',
        *(_mark(mark) for mark in sheet.marks),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _said(text: str) -> str:
    return escape(xml_text(text))


def _mark(mark: Mark) -> str:
    if isinstance(mark, Rect):
        return _rect(mark)
    if isinstance(mark, Path):
        return _path(mark)
    if isinstance(mark, Polygon):
        return _polygon(mark)
    return _text(mark)


def _titled(name: str, attributes: str, title: str) -> str:
    return f"<{name} {attributes}><title>{_said(title)}</title></{name}>" if title else f"<{name} {attributes}/>"


def _rect(mark: Rect) -> str:
    place = (
        f'x="{mark.x:.2f}" y="{mark.y:.2f}" width="{mark.width:.2f}" height="{mark.height:.2f}" rx="{mark.radius:g}"'
    )
    return _titled("rect", f"{place} {_paint(mark.fill, mark.stroke, mark.line, mark.dashed)}", mark.title)


def _paint(fill: str, stroke: str, line: float, dashed: bool = False, opacity: float = 1.0) -> str:
    parts = [f'fill="{fill or "none"}"']
    if stroke:
        parts.append(f'stroke="{stroke}" stroke-width="{line:g}"')
    if dashed:
        parts.append('stroke-dasharray="3 2"')
    if opacity < 1:
        parts.append(f'opacity="{opacity:g}"')
    return " ".join(parts)


def _path(mark: Path) -> str:
    steps = ["M" + _points([mark.pieces[0][0]])]
    steps += [("L" if len(piece) == 2 else "C") + _points(piece[1:]) for piece in mark.pieces]
    line = _titled(
        "path", f'd="{" ".join(steps)}" {_paint("", mark.stroke, mark.line, mark.dashed, mark.opacity)}', mark.title
    )
    return line + (_arrow(mark) if mark.arrow else "")


def _arrow(mark: Path) -> str:
    (x, y), (u, v) = mark.pieces[-1][-2:]
    length = ((u - x) ** 2 + (v - y) ** 2) ** 0.5
    if not length:
        return ""
    dx, dy = (u - x) / length, (v - y) / length
    foot = (u - 5.5 * dx, v - 5.5 * dy)
    head = [(u, v), (foot[0] - 2.6 * dy, foot[1] + 2.6 * dx), (foot[0] + 2.6 * dy, foot[1] - 2.6 * dx)]
    return f'<polygon points="{_points(head)}" {_paint(mark.stroke, "", 0, opacity=mark.opacity)}/>'


def _polygon(mark: Polygon) -> str:
    paint = _paint(mark.fill, mark.stroke, mark.line, opacity=mark.opacity)
    return _titled("polygon", f'points="{_points(mark.points)}" {paint}', mark.title)


def _points(points: list[tuple[float, float]] | tuple[tuple[float, float], ...]) -> str:
    return " ".join(f"{x:.2f},{y:.2f}" for x, y in points)


def _text(mark: Text) -> str:
    turn = f' transform="rotate({-mark.angle:g} {mark.x:.2f} {mark.y:.2f})"' if mark.angle else ""
    weight = ' font-weight="bold"' if mark.bold else ""
    where = f'x="{mark.x:.2f}" y="{mark.y + 0.35 * mark.size:.2f}" text-anchor="{ALIGN[mark.align]}"'
    return f'<text {where} font-size="{mark.size:g}" fill="{mark.color}"{weight}{turn}>{_said(clean(mark.text))}</text>'
