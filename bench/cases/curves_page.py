"""A long training on the page, and in memory: how long a browser's scripts run until its curve is drawn."""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bench.case import Bar, Row, Setting, Unmeasured, case
from bench.timing import quartiles
from fluoroscope.render.page import page, write_page
from fluoroscope.results import History, Series
from fluoroscope.results.envelope import envelope

POINTS = 1_000_000
SCRIPTING, REDUCED = Bar(1.0), Bar(0.5)
FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]


@case("curves-page", "Curves of a million points", on_accelerator=False)
def curves_page(setting: Setting) -> Iterator[Row | Unmeasured]:
    """A report with a run of one series of 1,000,000 points, and one with four of 250,000, opened as a file in headless
    chromium: seconds that scripts ran (`ScriptDuration` of the browser's own metrics) until every curve is drawn. And
    10,000,000 points in memory as 2,000 buckets of exact minima and maxima.
    """
    seconds = [_reduced() for _ in range(setting.rounds)]
    low, high = quartiles(seconds)
    yield Row("10,000,000 points as 2,000 buckets", statistics.median(seconds), "s", REDUCED, low, high)
    names = ("chromium", "chromium-browser", "google-chrome")
    browser = os.environ.get("FLUOROSCOPE_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        browser = None
    if browser is None:
        yield Unmeasured("scripting", "no chromium, or no playwright, on this machine")
        return
    rounds = 2 if setting.quick else 5
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=browser, args=FLAGS)
        for count in (1, 4):
            path = write_page(page([_history(count)], title="A long training"), Path(folder) / f"{count}.html")
            found = [_scripting(opened, path, count) for _ in range(rounds)]
            low, high = quartiles(found)
            name = f"{count} series of {POINTS // count:,} points, scripting"
            detail = f"{path.stat().st_size / 1e6:.1f} MB, {rounds} rounds"
            yield Row(name, statistics.median(found), "s", SCRIPTING, low, high, detail)
        opened.close()


def _history(count: int) -> History:
    rng = np.random.default_rng(0)
    steps = np.arange(POINTS // count)
    series = {
        f"loss {i}": Series(steps=steps, values=np.exp(-steps / 1e5) + 0.1 * rng.standard_normal(len(steps)))
        for i in range(count)
    }
    return History(title="A long training", series=series)


def _scripting(browser, path: Path, count: int) -> float:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    view = context.new_page()
    session = context.new_cdp_session(view)
    session.send("Performance.enable")
    view.goto(path.as_uri())
    view.locator("article path.line").nth(count - 1).wait_for(state="attached")  # the page's policy forbids eval
    metrics = {m["name"]: m["value"] for m in session.send("Performance.getMetrics")["metrics"]}
    context.close()
    return float(metrics["ScriptDuration"])


def _reduced() -> float:
    values = np.random.default_rng(0).standard_normal(10_000_000)
    steps = np.arange(len(values))
    start = time.process_time()
    found = envelope(steps, values, 0, len(values) - 1, 2000)
    spent = time.process_time() - start
    assert len(found.low) == 2000
    return spent
