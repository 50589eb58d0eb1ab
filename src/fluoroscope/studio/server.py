"""Starting the studio: a port on this machine, a key, and uvicorn."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fluoroscope.errors import OptionError
from fluoroscope.studio.app import studio_app
from fluoroscope.studio.security import Guard

__all__ = ["Studio", "open_studio"]

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


@dataclass
class Studio:
    """A studio that is ready to serve; ``address`` holds the key and is for the user's eyes."""

    app: Any
    listener: socket.socket
    address: str

    def serve(self) -> None:
        """Answer until interrupted."""
        import uvicorn

        config = uvicorn.Config(self.app, log_level="warning", access_log=False, lifespan="off")
        uvicorn.Server(config).run(sockets=[self.listener])


def open_studio(runs: Mapping[str, Any], *, port: int = 0, host: str = "127.0.0.1") -> Studio:
    """Take a port (0: any free one) of ``host`` and make the app.

    Raises:
        OptionError: the port is taken or not allowed.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise OptionError(
            "the studio can't listen there",
            got=f"{host}:{port}, {error.strerror or error}",
            remedy="choose another port, or none: any free one is taken",
        ) from error
    listener.listen(64)
    number = listener.getsockname()[1]
    key = secrets.token_urlsafe(24)
    names = {*LOOPBACK, host}
    guarded = Guard(studio_app(runs), key=key, hosts=[f"{name}:{number}" for name in names], port=number)
    shown = host if host not in ("0.0.0.0", "::") else "127.0.0.1"
    return Studio(guarded, listener, f"http://{shown}:{number}/?key={key}")
