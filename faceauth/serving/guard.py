"""Who may ask: by what name, from which page, with which token; and the headers of all answers."""

import ipaddress
import secrets
import socket
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from faceauth.serving.refusals import RefusedError, error_json

# What anybody may see: the page holds nothing, and asks for the token itself.
OPEN_PATHS = ("/", "/health", "/openapi.json")

SECURITY_HEADERS = {
    # Nothing but this server's own files, and pictures that the page itself made; no inline code at all.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' blob: data:; media-src blob:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Pictures and verdicts stay out of the browser's store.
    "Cache-Control": "no-store",
}


class Guard:
    """Stands before an application, and lets only requests through that may ask.

    * The `Host` header is a number, this machine's name or one that was allowed: a stranger's page that has
      its own name point here (DNS rebinding) cannot read what this server answers.
    * What a browser sends from a page of another origin is refused, so that no page that one happens to have
      open can use the server.
    * With a token, all but the page, `/health` and the schema asks for `Authorization: Bearer TOKEN`.

    Args:
        app: The application.
        hosts: Names beside numbers and `localhost` that the server may be called by.
        token: The token; None asks for none.
    """

    def __init__(self, app: ASGIApp, *, hosts: Collection[str] = (), token: str | None = None) -> None:
        self._app = app
        self._hosts = {"localhost", socket.gethostname().lower(), *(host.lower() for host in hosts)}
        self._token = None if token is None else token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or hands it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(SECURITY_HEADERS)
            await send(message)

        try:
            self._check(scope, Headers(scope=scope))
        except RefusedError as error:
            refusal = JSONResponse(error_json(error), error.status, headers=error.headers)
            await refusal(scope, receive, send_safely)
        else:
            await self._app(scope, receive, send_safely)

    def _check(self, scope: Scope, headers: Headers) -> None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            raise RefusedError(
                421,
                "This server is not known by that name.",
                "Call it by its number or as localhost, or start it with --allow-host NAME.",
            )
        origin = headers.get("origin")
        is_foreign = (
            headers.get("sec-fetch-site", "none") in ("cross-site", "same-site")
            if origin is None
            else urlsplit(origin).netloc.lower() != hosts[0].lower()
        )
        # Following a link to the page is no harm.
        if is_foreign and not (scope["method"] == "GET" and scope["path"] == "/"):
            raise RefusedError(
                403, "The request comes from a page of another site.", "Open the page of this server itself."
            )
        if self._token is not None and not _is_open(scope["path"]):
            scheme, _, given = headers.get("authorization", "").partition(" ")
            is_right = secrets.compare_digest(given.strip().encode(), self._token)
            if scheme.lower() != "bearer" or not is_right:
                raise RefusedError(
                    401,
                    "This server asks for a token.",
                    "Send the header Authorization: Bearer TOKEN.",
                    headers={"WWW-Authenticate": "Bearer"},
                )

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name in self._hosts or is_number(name)


def is_number(host: str) -> bool:
    """Tells whether a host is the number of a machine (IPv4 or IPv6) and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_this_machine_only(host: str) -> bool:
    """Tells whether only programs on this machine can reach a server that is bound to a host."""
    return host == "localhost" or (is_number(host) and ipaddress.ip_address(host).is_loopback)


def _is_open(path: str) -> bool:
    return path in OPEN_PATHS or path.startswith("/assets/")
