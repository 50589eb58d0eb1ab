"""The studio's pages: each is the report page, filled with what there is now, that asks again for what comes later."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from fluoroscope.render.page import document, filled, json_text
from fluoroscope.render.template import template
from fluoroscope.studio import views
from fluoroscope.studio.live_blobs import LiveBlobs

__all__ = ["studio_app"]

SECONDS = 1.0
POLICY, LIVE_POLICY = "default-src 'none';", "default-src 'none'; connect-src 'self';"
Document = dict[str, Any]


class Page:
    """One page over time: its document is made again only when its runs have something new."""

    def __init__(self, address: str, stamp: Callable[[], str], make: Callable[[LiveBlobs], Document]) -> None:
        self.address, self.stamp, self.make = address, stamp, make
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
                    "blobs": f"/blobs{self.address}/",
                    "seconds": SECONDS,
                    "stamp": stamp,
                    "home": "" if self.address == "/" else "/",
                }
                self._known = stamp, made
            return self._known[1]

    def changed(self, stamp: str) -> Document | None:
        """The document, or None where it is still the one of ``stamp``."""
        return None if stamp == self.stamp() else self.now()


def studio_app(runs: Mapping[str, Any]) -> Starlette:
    """The app over ``runs``, see :func:`fluoroscope.open_runs`."""
    desk = _Desk(runs)
    routes = []
    for path in ("/", "/run/{name:path}", "/compare"):
        routes += [
            Route(path, desk.page),
            Route(f"/live{path}", desk.live),
        ]
    routes.append(Route("/blobs/{address:path}/{number:int}", desk.blob))
    return Starlette(routes=routes)


class _Desk:
    """Finds the page that a request asks for."""

    def __init__(self, runs: Mapping[str, Any]) -> None:
        self.runs = runs
        self.pages: dict[str, Page] = {}

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
        page = self.pages.get("/" + request.path_params["address"].removeprefix("/"))
        data = page.blobs.get(request.path_params["number"]) if page else None
        if data is None:
            raise HTTPException(404, "these data are no longer shown; the page will ask for newer ones")
        return Response(data, media_type="application/octet-stream")

    def _of(self, request: Request) -> Page:
        address = request.url.path.removeprefix("/live")
        if address.startswith("/run/"):
            return self._kept(address, [request.path_params["name"]], self._one)
        if address == "/compare":
            names = sorted(set(request.query_params.getlist("run")))
            return self._kept("/compare/" + "/".join(names), names, self._several)
        return self._kept("/", None, self._list)

    def _kept(self, address: str, names: list[str] | None, make: Any) -> Page:
        for name in names or ():
            if name not in self.runs:
                raise HTTPException(404, "there is no run of that name")
        if address not in self.pages:
            self.pages[address] = Page(address, functools.partial(self._stamp, names), functools.partial(make, names))
        return self.pages[address]

    def _stamp(self, names: list[str] | None) -> str:
        return views.stamp_of([self.runs[name] for name in (sorted(self.runs) if names is None else names)])

    def _one(self, names: list[str], blobs: LiveBlobs) -> Document:
        run = self.runs[names[0]]
        return document(
            (), blobs, title=run.name, subtitle="A training, as it goes.", facts=views.facts_of(run),
            sections=views.sections_of(run),
        )  # fmt: skip

    def _several(self, names: list[str], blobs: LiveBlobs) -> Document:
        runs = [self.runs[name] for name in names]
        return document(
            (), blobs, title="Runs compared", facts=[("Runs", ", ".join(names))],
            sections=views.compared(runs),
        )  # fmt: skip

    def _list(self, names: None, blobs: LiveBlobs) -> Document:
        runs = sorted((self.runs[name] for name in self.runs), key=lambda run: run.started, reverse=True)
        rows = [views.row_of(run) for run in runs]
        panel = {
            "id": "runs-1", "kind": "runs", "title": "All runs", "caption": "", "notes": [], "meta": {},
            "rows": rows, "compare": "/compare",
        }  # fmt: skip
        made = document((), blobs, title="Trainings", subtitle="Every run in this folder, the latest first.")
        made["sections"] = [{"id": "runs", "title": "Runs", "lead": "", "panels": [panel]}]
        return made
