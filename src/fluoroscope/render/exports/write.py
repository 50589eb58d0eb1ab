"""A graph into a file, in the format that the file's name asks for."""

from __future__ import annotations

import inspect
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fluoroscope.arguments import checked
from fluoroscope.errors import OptionError, nearest
from fluoroscope.results import ModelGraph, atomic_write

__all__ = ["FORMATS", "exported", "write_graph"]


FORMATS = (".svg", ".pdf", ".png", ".dot", ".gv", ".graphml", ".mmd", ".tex", ".json", ".html", ".fluo")
"""Endings of the files that :func:`write_graph` writes."""

PICTURES = (".pdf", ".png")


@checked
def write_graph(graph: ModelGraph, path: str | Path, **options: Any) -> Path:
    """Write ``graph`` to ``path``, whole or not at all, in the format its ending names, and return the path.

    Pictures: ``.svg``, ``.pdf``, ``.png``; graphs: ``.dot`` or ``.gv``, ``.graphml``, ``.mmd`` (Mermaid), ``.tex``
    (TikZ), ``.json``; the interactive page: ``.html``; the result itself: ``.fluo``. ``options`` are those of the
    format; ``dpi`` is one for ``.png``.

    Raises:
        OptionError: an ending that names no format, or an option that the format does not have.
        ResultFileError: the file can't be written.
    """
    given: Any = graph
    if not isinstance(given, ModelGraph):
        raise OptionError("this is no graph", got=type(given).__name__, expected="a ModelGraph, of fs.Architecture")
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in FORMATS:
        raise OptionError(
            "a graph is not written in this format",
            got=suffix or str(target),
            expected=", ".join(FORMATS),
            nearest=nearest(suffix, FORMATS),
        )
    if suffix == ".fluo":
        return graph.save(target)
    if suffix in PICTURES:
        content = _picture(graph, suffix, options)
    else:
        content = _text(graph, suffix, options).encode("utf-8", "replace")
    return _written(target, content)


def exported(graph: ModelGraph, suffix: str, path: str | Path | None, options: dict[str, Any]) -> str:
    """The text of ``graph`` in the format ``suffix``, also written to ``path`` where one is given."""
    text = _text(graph, f".{suffix}", options)
    if path is not None:
        _written(Path(path), text.encode("utf-8", "replace"))
    return text


def _written(target: Path, content: bytes) -> Path:
    with atomic_write(target) as handle:
        handle.write(content)
    return target


def _picture(graph: ModelGraph, suffix: str, options: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    dpi = options.pop("dpi", "figure")
    graph.plot(**options).savefig(file, format=suffix[1:], dpi=dpi)
    return file.getvalue()


def _text(graph: ModelGraph, suffix: str, options: dict[str, Any]) -> str:
    from fluoroscope.render.exports import dot, graphml, mermaid, rows, svg, tikz

    makers: dict[str, Callable[..., str]] = {
        ".svg": svg.svg_of,
        ".dot": dot.dot_text,
        ".gv": dot.dot_text,
        ".graphml": graphml.graphml_text,
        ".mmd": mermaid.mermaid_text,
        ".tex": tikz.tikz_text,
        ".json": rows.json_text,
        ".html": _page,
    }
    make = makers[suffix]
    _check(suffix, tikz.OPTIONS if suffix == ".tex" else _options(make), options)
    return make(graph, **options)


def _page(graph: ModelGraph) -> str:
    return graph.to_html()


def _options(make: Callable[..., str]) -> list[str] | None:
    """The names of a maker's options; None where it looks at them itself."""
    taken = list(inspect.signature(make).parameters.values())[1:]
    return None if any(p.kind is p.VAR_KEYWORD for p in taken) else [p.name for p in taken]


def _check(suffix: str, known: list[str] | None, options: dict[str, Any]) -> None:
    for name in options if known is not None else ():
        if name not in (known or ()):
            raise OptionError(
                f"{suffix} has no option {name!r}",
                expected=", ".join(known or ()) or "none",
                nearest=nearest(name, known or ()),
            )
