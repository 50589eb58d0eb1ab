"""The graph on the page: how long it computes to open, to open a block, and for each frame of a move."""

from __future__ import annotations

import importlib.util
import os
import shutil
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

import fluoroscope as fs
from bench.case import Bar, Row, Setting, Unmeasured, case
from fluoroscope.render.page import page, write_page
from fluoroscope.results import GraphEdge, GraphNode, GraphTensor, ModelGraph

OPENING = Bar(1000)
FRAME = Bar(33)
BOXES = 10_000
FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]

READY = """() => {
  const canvas = window.canvas = document.querySelector('article canvas[role=application]');
  const box = canvas.getBoundingClientRect();
  window.at = (x, y) => ({clientX: box.left + x, clientY: box.top + y, bubbles: true, cancelable: true, pointerId: 1});
  window.frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  canvas.setPointerCapture = () => {};   // there is no such pointer
  canvas.focus();
  canvas.dispatchEvent(new PointerEvent('pointerdown', at(200, 200)));
}"""
DRAG = """async (i) => {
  canvas.dispatchEvent(new PointerEvent('pointermove', at(200 + 90 * Math.sin(i / 5), 200 + 60 * Math.cos(i / 4))));
  await frame();
}"""
ZOOM = """async (i) => {
  canvas.dispatchEvent(new WheelEvent('wheel', {...at(250, 250), deltaY: i % 16 < 8 ? -120 : 120}));
  await frame();
}"""
"""One step of a move, and the frame that it sets off."""


@case("graph-page", "Graphs on the page", on_accelerator=False)
def graph_page(setting: Setting) -> Iterator[Row | Unmeasured]:
    """Time of scripts in headless chromium, as the browser itself counts it: CPU time of the page's thread
    (ScriptDuration in thread ticks). The graph of the 2-trillion-parameter network is opened from a file, the start of
    the page's script included, and one of its blocks is opened. Then 10,000 boxes are visible, at first all of them in
    the window, and the picture is dragged and zoomed; for each frame the event and the drawing count, and 95 of 100
    frames are no slower than the number given.
    """
    missing = _missing()
    if missing:
        yield Unmeasured("graph on the page", missing)
        return
    with tempfile.TemporaryDirectory() as folder, _browser() as browser:
        yield from _opening(browser, Path(folder), setting)
        yield from _moving(browser, Path(folder), setting)


def _missing() -> str:
    if importlib.util.find_spec("playwright") is None:
        return "playwright is not installed"
    return "" if _chromium() else "there is no chromium on this machine"


def _chromium() -> str | None:
    return os.environ.get("FLUOROSCOPE_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")


@contextmanager
def _browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_chromium(), args=FLAGS)
        yield browser
        browser.close()


class _Page:
    """A page with one graph, and the seconds of script that it has used."""

    def __init__(self, browser: Any, graph: ModelGraph, folder: Path) -> None:
        file = write_page(page([graph], title="graph"), folder / "graph.html")
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        self.page = context.new_page()
        self._session = context.new_cdp_session(self.page)
        self._session.send("Performance.setTimeDomain", {"timeDomain": "threadTicks"})
        self._session.send("Performance.enable")
        self.page.goto(file.as_uri())
        self.page.locator("article canvas[role=application]").wait_for()
        self.settle()

    def settle(self) -> None:
        """Until two frames have been drawn and nothing is asked for."""
        self.page.evaluate(
            "new Promise((f) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(f, 300))))"
        )

    def script(self) -> float:
        """Milliseconds of script so far."""
        metrics = self._session.send("Performance.getMetrics")["metrics"]
        return 1000 * next(m["value"] for m in metrics if m["name"] == "ScriptDuration")


def _opening(browser: Any, folder: Path, setting: Setting) -> Iterator[Row]:
    graph = _trillions()
    opened, expanded = [], []
    for _ in range(setting.rounds):
        view = _Page(browser, graph, folder)
        opened.append(view.script())
        view.page.get_by_text("Tree", exact=True).click()
        blocks = view.page.locator("[role=treeitem][aria-expanded=false]")
        closed = blocks.count()
        blocks.filter(has_text="×").or_(blocks).first.click()
        view.settle()
        before = view.script()
        view.page.locator("[role=tree]").press("ArrowRight")
        view.settle()
        expanded.append(view.script() - before)
        if view.page.locator("[role=treeitem][aria-expanded=true][aria-selected=true]").count() != 1:
            raise RuntimeError(f"none of {closed} closed blocks was opened")
        view.page.context.close()
    detail = (
        f"{graph.parameters / 1e12:.2f} T parameters in {graph.modules} modules, folded to {len(graph.nodes)} nodes"
    )
    for name, times in (("open the page", opened), ("open a block", expanded)):
        yield Row(f"2T network: {name}", statistics.median(times), "ms", OPENING, min(times), max(times), detail)


def _trillions() -> ModelGraph:
    from bench.moe import trillions

    with torch.device("meta"):
        network = trillions()
    return fs.Architecture()(network.eval(), torch.zeros(1, 128, dtype=torch.long))


def _moving(browser: Any, folder: Path, setting: Setting) -> Iterator[Row]:
    view = _Page(browser, wide(BOXES), folder)
    before = view.script()
    view.page.get_by_role("button", name="Open a level").click()
    view.settle()
    yield Row(f"{BOXES} boxes: open them all", view.script() - before, "ms", OPENING)
    view.page.get_by_role("button", name="Fit").click()
    view.settle()
    view.page.evaluate(READY)
    steps = 48 if setting.quick else 160
    for name, step in (("drag", DRAG), ("zoom", ZOOM)):
        frames = sorted(_frames(view, step, steps))
        detail = f"{steps} frames, median {statistics.median(frames):.1f} ms, slowest {frames[-1]:.1f} ms"
        yield Row(f"{BOXES} boxes: {name}, a frame", frames[int(0.95 * steps)], "ms", FRAME, detail=detail)
    view.page.context.close()


def _frames(view: _Page, step: str, count: int) -> Iterator[float]:
    for i in range(count):
        before = view.script()
        view.page.evaluate(step, i)
        yield view.script() - before


def wide(count: int, blocks: int = 100) -> ModelGraph:
    """``blocks`` modules in a chain with operations inside, ``count`` nodes in all: chains with a skip every four."""
    each = count // blocks - 1
    tensor = GraphTensor(shape=(1, 64, 56, 56), dtype="float32", bytes=802_816)
    nodes: list[GraphNode] = []
    edges: list[GraphEdge] = []
    last = -1
    for b in range(blocks):
        around = len(nodes)
        nodes.append(GraphNode(id=around, role="module", name=f"blocks.{b}", type="Block", alike=0, outputs=(tensor,)))
        for i in range(each):
            number = len(nodes)
            kind = ("Conv2d", "BatchNorm2d", "ReLU", "add")[i % 4]
            role: Any = "operation" if kind == "add" else "module"
            nodes.append(
                GraphNode(
                    id=number,
                    parent=around,
                    role=role,
                    name=f"blocks.{b}.{i}",
                    type=kind,
                    alike=number,
                    outputs=(tensor,),
                )
            )
            if last >= 0:
                edges.append(GraphEdge(source=last, target=number, tensor=tensor))
            if kind == "add" and i > 4:
                edges.append(GraphEdge(source=number - 4, target=number, tensor=tensor))
            last = number
    return ModelGraph(title="Many boxes", nodes=tuple(nodes), edges=tuple(edges), modules=count, operations=count)
