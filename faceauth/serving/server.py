"""The server process: the address that it listens at, connections that say nothing, and its end."""

import asyncio
import errno
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from faceauth.errors import UsageError

# A connection that brings no new request in so many seconds is looked at, and closed the second time.
IDLE_SECONDS = 10
MAX_CONNECTIONS = 1024
# For requests that are under way when the server is asked to end.
FAREWELL_SECONDS = 10


def listen(host: str, port: int) -> socket.socket:
    """Takes an address, before anything slow is loaded.

    Args:
        host: A name or number of this machine.
        port: A port; 0 takes any that is free.

    Raises:
        UsageError: The address is in use, or not this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise UsageError(
            f"'{host}' is no address of this machine: {error.strerror}.", "Use --host 127.0.0.1."
        ) from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        # At once: two sockets may be bound to one address as long as neither listens.
        listener.listen(MAX_CONNECTIONS)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            message, hint = f"Port {port} of {host} is in use.", "Choose another one: --port 0 takes any."
        elif error.errno == errno.EACCES:
            message, hint = f"Port {port} may not be used by this user.", "Choose one above 1023."
        else:
            message, hint = f"{host} port {port} cannot be used: {error.strerror}.", "Use --host 127.0.0.1."
        raise UsageError(message, hint) from error
    return listener


def address_of(listener: socket.socket) -> str:
    """Returns the address that a browser on this machine opens."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def run_until_stopped(app: ASGIApp, listener: socket.socket, *, when_ready: Callable[[], None]) -> None:
    """Serves until Ctrl-C or SIGTERM; requests that are under way are answered first.

    Args:
        app: The application.
        listener: What `listen` returned.
        when_ready: Called once requests are answered.

    Raises:
        KeyboardInterrupt: It was stopped by Ctrl-C.
        SystemExit: It was stopped by SIGTERM; its code is 143.
    """
    config = uvicorn.Config(
        app,
        http=QuietProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=FAREWELL_SECONDS,
    )
    _Server(config, when_ready).run(sockets=[listener])


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, when_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._when_ready = when_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._when_ready()


class QuietProtocol(H11Protocol):
    """HTTP/1.1 with an end for connections that are opened and bring no request.

    uvicorn waits for ever for the headers of a first request, and for the rest of one that it has refused.
    """

    _last_cycle: Any = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begins to look after a connection."""
        super().connection_made(transport)
        self.loop.call_later(IDLE_SECONDS, self._look_after)

    def _look_after(self) -> None:
        if self.transport.is_closing():
            return
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if not is_answering and self.cycle is self._last_cycle:
            self.transport.close()
            return
        self._last_cycle = self.cycle
        self.loop.call_later(IDLE_SECONDS, self._look_after)


@contextmanager
def ending_with_sigterm() -> Iterator[None]:
    """Makes SIGTERM an orderly end with exit code 143, in which all that was begun is cleared away."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
