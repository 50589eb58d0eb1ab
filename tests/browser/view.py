"""A page in a browser, and how to wait for it: for what is expected, not for a time; machines are slow at times."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PATIENCE = 120
"""Seconds after which what was waited for will not come."""
FRAMES = """() => new Promise((done) => {
    let left = 4;  // what is set is laid out in one frame, told of its size in the next, and drawn in the one after
    const next = () => (left-- ? requestAnimationFrame(next) : done());
    next();
})"""


def eventually(page: Any, check: Callable[[], Any]) -> bool:
    """Whether ``check()`` becomes true before patience ends; it is asked again and again, while the page lives on."""
    end = time.monotonic() + PATIENCE
    while not check():
        if time.monotonic() > end:
            return False
        page.wait_for_timeout(50)
    return True


class View:
    """An open page that remembers everything that went wrong on it."""

    def __init__(
        self, chromium, path: Path, width: int = 1280, scheme: str = "light", reduced: str = "no-preference"
    ) -> None:
        self.context = chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion=reduced, offline=True
        )
        self.context.set_default_timeout(1000 * PATIENCE)
        self.page = self.context.new_page()
        self.trouble: list[str] = []
        self.page.on("console", lambda m: self.trouble.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda e: self.trouble.append(str(e)))
        self.page.on(
            "request", lambda r: None if r.url.startswith(("file:", "data:", "blob:")) else self.trouble.append(r.url)
        )
        self.page.add_init_script(
            "window.violations = [];"
            "addEventListener('securitypolicyviolation', e => violations.push(e.violatedDirective))"
        )
        self.page.goto(path.as_uri())
        for article in self.page.locator("article").all():
            article.scroll_into_view_if_needed()
        self.page.wait_for_function("!document.querySelector('.waiting')")
        self.settle()

    def settle(self) -> None:
        """Wait until all that was asked for is decoded, laid out and drawn."""
        self.page.wait_for_function("!document.documentElement.hasAttribute('data-pending')")
        self.page.evaluate(FRAMES)

    def panel(self, kind: str, number: int = 0):
        return self.page.locator(f'article[data-kind="{kind}"]').nth(number)

    def close(self) -> None:
        violations, broken = self.page.evaluate("[violations, window.broken ?? null]")
        self.context.close()
        assert self.trouble == []
        assert violations == []
        assert broken is None


def spoken(text: str) -> float:
    """A number of the page as a number again."""
    return float(text.replace("\u2212", "-").replace("\u2009", "").strip())


def pixel(canvas, u: float, v: float) -> list[int]:
    """Colour of a canvas at parts (u, v) of its width and height."""
    script = """(c, [u, v]) => {
        const copy = Object.assign(document.createElement('canvas'), {width: 1, height: 1}).getContext('2d');
        copy.drawImage(c, Math.floor(u * c.width), Math.floor(v * c.height), 1, 1, 0, 0, 1, 1);
        return [...copy.getImageData(0, 0, 1, 1).data];
    }"""
    return canvas.evaluate(script, [u, v])
