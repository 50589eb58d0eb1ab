"""The studio's pages: each is the report page, filled with what there is now, that asks again for what comes later."""

from __future__ import annotations

import functools
import itertools
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from fluoroscope.errors import FluoroscopeError
from fluoroscope.render.page import document, filled, json_text
from fluoroscope.render.template import template
from fluoroscope.studio import views
from fluoroscope.studio.live_blobs import LiveBlobs

__all__ = ["studio_app"]

_NUMBERS = itertools.count()
SECONDS = 1.0
PAGES = 16
"""Pages that are remembered with their data; the one that was asked for longest ago goes first."""
ROWS = 5000
LONGEST_NAME = 60
POLICY, LIVE_POLICY = "default-src 'none';", "default-src 'none'; connect-src 'self';"
Document = dict[str, Any]


class Page:
    """One page over time: its document is made again only when its runs have something new."""

    def __init__(self, address: str, stamp: Callable[[], str], make: Callable[[LiveBlobs], Document]) -> None:
        self.address, self.stamp, self.make = address, stamp, make
        self.number = next(_NUMBERS)
        self.blobs = LiveBlobs()
        self._known: tuple[str, Document] | None = None

    def now(self) -> Document:
        """The document as it is now."""
        with self.blobs.lock:
            stamp = self.stamp()
            if self._known is None or self._known[0] != stamp:
                self.blobs.begin()
                made = self.make(self.blobs)
                made["live"] = {
                    "address": f"/live{self.address}",
                    "blobs": f"/blobs/{self.number}/",
                    "curves": "/curve",
                    "seconds": SECONDS,
                    "stamp": stamp,
                    "home": "" if self.address == "/" else "/",
                }
                self._known = stamp, made
            return self._known[1]

    def changed(self, stamp: str) -> Document | None:
        """The document, or None where it is still the one of ``stamp``."""
        return None if self._known is not None and stamp == self.stamp() else self.now()


def studio_app(runs: Mapping[str, Any]) -> Starlette:
    """The app over ``runs``, see :func:`fluoroscope.open_runs`."""
    desk = _Desk(runs)
    routes = []
    for path in ("/", "/run/{name:path}", "/compare"):
        routes += [
            Route(path, desk.page),
            Route(f"/live{path}", desk.live),
        ]
    routes.append(Route("/curve", desk.curve))
    routes.append(Route("/blobs/{page:int}/{number:int}", desk.blob))
    return Starlette(routes=routes)


class _Desk:
    """Finds the page that a request asks for."""

    def __init__(self, runs: Mapping[str, Any]) -> None:
        self.runs = runs
        self.pages: OrderedDict[str, Page] = OrderedDict()
        self.rows: dict[str, tuple[str, dict[str, Any]]] = {}

    async def page(self, request: Request) -> Response:
        """The whole page."""
        found = await run_in_threadpool(self._of(request).now)
        source = template().replace(POLICY, LIVE_POLICY, 1)
        return HTMLResponse(filled(source, found))

    async def live(self, request: Request) -> Response:
        """The document where it has changed; no content where it has not."""
        page = self._of(request)
        found = await run_in_threadpool(page.changed, request.query_params.get("stamp", ""))
        return Response(status_code=204) if found is None else Response(json_text(found), media_type="application/json")

    async def blob(self, request: Request) -> Response:
        """The data of one block."""
        page = next((p for p in self.pages.values() if p.number == request.path_params["page"]), None)
        data = page.blobs.get(request.path_params["number"]) if page else None
        if data is None:
            raise HTTPException(404, "these data are no longer shown; the page will ask for newer ones")
        return Response(data, media_type="application/octet-stream")

    async def curve(self, request: Request) -> Response:
        """One series of one run, for pages that do not have it from the beginning."""
        run, name = (request.query_params.get(key, "") for key in ("run", "name"))
        try:
            found = await run_in_threadpool(lambda: views.curve_of(self.runs[run], name))
        except FluoroscopeError as error:
            raise HTTPException(404, "there is no series of that name") from error
        return Response(json_text(found), media_type="application/json")

    def _of(self, request: Request) -> Page:
        name = request.path_params.get("name")
        if name is not None:
            return self._kept(f"/run/{quote(name, safe='')}", [name], self._one)
        if request.scope["path"].removeprefix("/live") == "/compare":
            names = sorted(set(request.query_params.getlist("run")))
            return self._kept("/compare?" + urlencode([("run", name) for name in names]), names, self._several)
        return self._kept("/", None, self._list)

    def _kept(self, address: str, names: list[str] | None, make: Any) -> Page:
        known = self.runs.keys() if names else ()
        if any(name not in known for name in names or ()):
            raise HTTPException(404, "there is no run of that name")
        if address not in self.pages:
            self.pages[address] = Page(address, functools.partial(self._stamp, names), functools.partial(make, names))
        self.pages.move_to_end(address)
        while (
            len(self.pages) > PAGES
        ):  # a browser that still shows a forgotten one gets it again with its next question
            self.pages.popitem(last=False)
        return self.pages[address]

    def _stamp(self, names: list[str] | None) -> str:
        found = dict(self.runs.items())
        return views.stamp_of([found[name] for name in (sorted(found) if names is None else names) if name in found])

    def _one(self, names: list[str], blobs: LiveBlobs) -> Document:
        run = self.runs[names[0]]
        made = document(
            (), blobs, title=run.name, subtitle="A training, as it goes.", facts=views.facts_of(run),
            sections=views.sections_of(run),
        )  # fmt: skip
        views.with_more(made, [run], blobs)
        return made

    def _several(self, names: list[str], blobs: LiveBlobs) -> Document:
        found = dict(self.runs.items())
        runs = [found[name] for name in names if name in found]
        made = document(
            (), blobs, title="Runs compared", facts=[("Runs", _listed(names))],
            sections=views.compared(runs),
        )  # fmt: skip
        views.with_more(made, runs, blobs)
        return made

    def _list(self, names: None, blobs: LiveBlobs) -> Document:
        runs = sorted(self.runs.values(), key=lambda run: run.started, reverse=True)
        rows = [self._row(run) for run in runs]
        panel = {
            "id": "runs-1", "kind": "runs", "title": "All runs", "caption": "", "notes": [], "meta": {},
            "rows": rows, "compare": "/compare",
        }  # fmt: skip
        made = document((), blobs, title="Trainings", subtitle="Every run in this folder, the latest first.")
        made["sections"] = [{"id": "runs", "title": "Runs", "lead": "", "panels": [panel]}]
        return made

    def _row(self, run: Any) -> dict[str, Any]:
        """A line of the list, made again only for runs that have something new."""
        key, stamp = str(run.path), views.stamp_of([run])
        known = self.rows.get(key)
        if known is None or known[0] != stamp:
            try:
                known = stamp, views.row_of(run)
            except FluoroscopeError:
                known = stamp, views.damaged_row(run)
        if len(self.rows) >= ROWS:
            self.rows.clear()
        self.rows[key] = known
        row = known[1]
        return {**row, "seconds": views.seconds_of(run)} if row["state"] == "running" else row


def _listed(names: Sequence[str]) -> str:
    """Names for the head of a page; long ones are cut in the middle, where names differ least."""
    tail = (LONGEST_NAME - 1) // 2
    return " · ".join(  # names may have commas
        name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1 - tail]}…{name[-tail:]}" for name in names
    )
