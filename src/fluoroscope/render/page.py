"""The report page: results in, one self-contained HTML file out. The format is described in ``docs/page-format.md``."""

from __future__ import annotations

import html as markup
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

from fluoroscope.errors import ResultFileError
from fluoroscope.render.blobs import Blobs
from fluoroscope.render.panels import Panel, PanelError, panels_of
from fluoroscope.render.plain import plain
from fluoroscope.render.template import DATA_MARK, TITLE_MARK, template
from fluoroscope.results import Result, atomic_write
from fluoroscope.results.store import as_path

__all__ = ["PanelError", "Section", "document", "filled", "json_text", "page", "page_name", "write_page"]

FORMAT = 1
LIFE_CYCLE: tuple[tuple[str, str, str, frozenset[str]], ...] = (
    (
        "before",
        "Before training",
        "The network as it is built, and its weights.",
        frozenset({"layer-summary", "tensor-summary", "model-graph"}),
    ),
    (
        "during",
        "During training",
        "How it came to be what it is.",
        frozenset({"history", "tensor-history", "findings", "media"}),
    ),
    ("after", "After training", "What it does with an input, and what speaks for its answer.", frozenset()),
)
"""Sections for results that come without: id, title, lead, kinds. The phase that a result's provenance names decides,
else its kind; the last takes every other kind.
"""


@dataclass(frozen=True)
class Section:
    """One part of the page: its title, a sentence that leads in, and what it shows."""

    id: str
    title: str
    lead: str = ""
    results: Sequence[Result | PanelError] = field(default_factory=tuple)


def page(
    results: Sequence[Result] = (),
    *,
    title: str,
    subtitle: str = "",
    facts: Sequence[tuple[str, object]] = (),
    sections: Sequence[Section] | None = None,
) -> str:
    """The HTML of a page with ``sections`` and ``results``.

    ``facts`` are pairs (name, value) for the head of the page. ``results`` are put into sections of the life cycle by
    their kind, after the ``sections`` that are given. Neighbouring attributions of the same samples share one panel.

    Raises:
        FluoroscopeError: the template has not been built.
    """
    source = template()
    blobs = Blobs()
    found = document(results, blobs, title=title, subtitle=subtitle, facts=facts, sections=sections)
    return filled(source, found, blobs.blocks())


def document(
    results: Sequence[Result],
    blobs: Blobs,
    *,
    title: str,
    subtitle: str = "",
    facts: Sequence[tuple[str, object]] = (),
    sections: Sequence[Section] | None = None,
) -> dict[str, Any]:
    """What a page says, as plain values that refer to ``blobs`` by number; arguments as for :func:`page`."""
    parts = [*(sections or ()), *_by_life_cycle(results)]
    return {
        "format": FORMAT,
        "title": title,
        "subtitle": subtitle,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": _version(),
        "facts": [[str(name), str(value)] for name, value in facts],
        "sections": _sections(parts, blobs),
    }


def filled(source: str, found: dict[str, Any], blocks: Sequence[str] = ()) -> str:
    """The template ``source`` with a document and the blocks of its data."""
    return _filled(source, str(found["title"]), _blocks(found, blocks))


def page_name(path: str | Path) -> Path:
    """The path of a page. Raises ResultFileError where its name ends like something else."""
    target = as_path(path)
    if target.suffix.lower() not in ("", ".html", ".htm") and not target.is_dir():
        raise ResultFileError(
            f"{target.name} would be a page under the name of something else",
            got=f"a name that ends in {target.suffix}",
            expected=f"{target.name}.html",
        )
    return target


def write_page(html: str, path: str | Path) -> Path:
    """Write ``html`` to ``path``, whole or not at all, and return the path. Raises ResultFileError."""
    target = page_name(path)
    with atomic_write(target) as handle:
        handle.write(html.encode("utf-8", "replace"))
    return target


def _by_life_cycle(results: Sequence[Result]) -> list[Section]:
    groups: dict[str, list[Result]] = {name: [] for name, *_ in LIFE_CYCLE}
    last = LIFE_CYCLE[-1][0]
    for result in results:
        usual = next((name for name, _, _, kinds in LIFE_CYCLE if result.kind in kinds), last)
        phase = result.meta.get("phase")
        groups[phase if phase in groups else usual].append(result)
    return [Section(name, title, lead, groups[name]) for name, title, lead, _ in LIFE_CYCLE if groups[name]]


def _sections(parts: Sequence[Section], blobs: Blobs) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    taken: set[str] = set()
    for part in parts:
        name = _anchor(part.id, taken)
        panels = panels_of(part.results, blobs)
        numbered: list[Panel] = [{"id": f"{name}-{i + 1}", **panel} for i, panel in enumerate(panels)]
        made.append({"id": name, "title": part.title, "lead": part.lead, "panels": numbered})
    return made


def _anchor(text: str, taken: set[str]) -> str:
    """A name that is safe as an id and a link, not used before on this page."""
    stem = "part-" + (re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40] or "section")
    name, number = stem, 2
    while name in taken:
        name, number = f"{stem}-{number}", number + 1
    taken.add(name)
    return name


def _blocks(found: dict[str, Any], blocks: Sequence[str]) -> str:
    """The data blocks. ASCII only, and no character that could end a block or open a comment."""
    text = json_text(found)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    lines = [f'<script type="application/json" id="fs-document">{text}</script>']
    lines += [f'<script type="text/plain" id="fs-blob-{i}">{data}</script>' for i, data in enumerate(blocks)]
    return "\n".join(lines)


def json_text(found: dict[str, Any]) -> str:
    """A document as JSON, ASCII only; numbers that JSON has no word for are names."""
    return json.dumps(plain(found), allow_nan=False, separators=(",", ":"))


def _filled(source: str, title: str, blocks: str) -> str:
    head, tail = source.split(DATA_MARK, 1)
    shown = markup.escape(title).encode("utf-8", "replace").decode()
    return head.replace(TITLE_MARK, f"<title>{shown}</title>", 1) + blocks + tail


def _version() -> str:
    try:
        return installed_version("fluoroscope")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return ""
