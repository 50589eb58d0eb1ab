"""Who may look: this machine's own browser, with the key that was printed, and no page from elsewhere.

The server listens on the loopback address unless told otherwise. Every request must name one of the hosts it was
started for (which stops DNS rebinding) and bring the key, in the address once and in a cookie from then on. There is no
request that changes anything: only GET and HEAD are answered.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from urllib.parse import quote, urlencode

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["COOKIE", "Guard"]

COOKIE = "fluoroscope-key"  # with the port: cookies know no ports, and two studios have two keys
HEADERS = {
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class Guard:
    """ASGI middleware: refuses what is not asked by the one who holds the key, and adds headers to every answer."""

    def __init__(self, app: ASGIApp, *, key: str, hosts: Sequence[str], port: int = 0) -> None:
        self.app, self.key, self.hosts, self.cookie = app, key, frozenset(hosts), f"{COOKIE}-{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        answer = self._refusal(request) or self._welcome(request)
        await (answer or self.app)(scope, receive, _with_headers(send))

    def _refusal(self, request: Request) -> Response | None:
        if request.headers.get("host", "") not in self.hosts:
            return PlainTextResponse("This studio does not answer under that name.", 421)
        if request.method not in ("GET", "HEAD"):
            return PlainTextResponse("The studio only shows; it takes nothing.", 405)
        site, mode = request.headers.get("sec-fetch-site", "none"), request.headers.get("sec-fetch-mode", "navigate")
        if site not in ("none", "same-origin") and mode != "navigate":
            return PlainTextResponse("The studio answers its own pages only.", 403)
        return None

    def _welcome(self, request: Request) -> Response | None:
        """A key in the address becomes a cookie; without either the door stays closed."""
        given = request.query_params.get("key")
        if given is not None and self._fits(given):
            answer = RedirectResponse(_without_key(request), 303)
            answer.set_cookie(self.cookie, self.key, httponly=True, samesite="lax")
            return answer
        if self._fits(request.cookies.get(self.cookie, "")):
            return None
        return PlainTextResponse("Open the address that `fluoroscope studio` printed; it holds the key.", 403)

    def _fits(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.key.encode())


def _without_key(request: Request) -> str:
    """The address on this host that was asked for, its escapes as they came, less the key."""
    path = request.scope.get("raw_path", b"").decode("ascii") or quote(request.scope["path"])
    left = urlencode([(name, value) for name, value in request.query_params.multi_items() if name != "key"])
    return "/" + path.partition("?")[0].lstrip("/") + (f"?{left}" if left else "")


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
        await send(message)

    return sending
