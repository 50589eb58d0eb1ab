"""The built page that data is put into: one HTML file made from ``web/`` and carried by the wheel."""

from __future__ import annotations

from pathlib import Path

from fluoroscope.errors import FluoroscopeError

__all__ = ["DATA_MARK", "TEMPLATE", "TITLE_MARK", "template"]

TEMPLATE = Path(__file__).parent / "template" / "report.html"
DATA_MARK = "<!--fluoroscope-data-->"
TITLE_MARK = "<title>Fluoroscope</title>"


def template() -> str:
    """The text of the built template.

    Raises:
        FluoroscopeError: it has not been built, or is not the page's template.
    """
    try:
        text = TEMPLATE.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise FluoroscopeError(
            "the report page has not been built, so no page can be written",
            got=f"no file {TEMPLATE.name} in fluoroscope/render/template",
            expected="the page that a wheel or an sdist carries, or one built from a clone",
            remedy="run `npm ci && npm run build` in web/ (Node 20 or later), or install a wheel",
        ) from error
    if text.count(DATA_MARK) != 1 or text.count(TITLE_MARK) != 1:
        raise FluoroscopeError(
            "the built report page is not one that this version can fill",
            got=f"{text.count(DATA_MARK)} places for data, {text.count(TITLE_MARK)} for the title",
            expected="one of each",
            remedy="run `npm ci && npm run build` in web/",
        )
    return text
