"""The size of the page that every report carries."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import fluoroscope
from bench.case import Bar, Row, Setting, Unmeasured, case

SIZE = Bar(300)


@case("page", "The page", on_accelerator=False)
def page(setting: Setting) -> Iterator[Row | Unmeasured]:
    """The built template of the report, before any result is put into it, compressed by gzip; 1 kB is 1000 bytes."""
    template = Path(fluoroscope.__file__).parent / "render" / "template" / "report.html"
    if not template.is_file():
        yield Unmeasured("template, gzipped", "the page is not built: make page")
        return
    content = template.read_bytes()
    packed = len(gzip.compress(content, 9)) / 1000
    yield Row("template, gzipped", packed, "kB", SIZE, detail=f"{len(content) / 1000:.0f} kB before")
