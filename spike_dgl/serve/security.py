"""Access control, limits on requests, and security headers of responses."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import os
import re
from collections.abc import Sequence
from pathlib import Path

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spike_dgl.errors import SpikeError
from spike_dgl.serve import limits
from spike_dgl.serve.methods import path_of
from spike_dgl.serve.problems import too_busy

TOKEN_VARIABLE = "SPIKE_DGL_TOKEN"
SHORTEST_TOKEN = 16
API = "/api/"
OPEN_PATHS = ("", "/", "/docs", "/openapi.json", "/health", "/ready")
OPEN_FOLDER = "/static/"
ORIGIN = re.compile(
    r"(?:http(?!.*:80$)|https(?!.*:443$))://(?:[a-z0-9.-]+|\[[0-9a-f:]+\])(?::\d{1,5})?", re.ASCII
)
LOCAL_NAMES = ["localhost", "127.0.0.1", "[::1]"]

HEADERS = {
    # Scripts and styles only from files of this server: nothing inline, nothing from other hosts.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def read_token(file: Path | None) -> str | None:
    """Read the token from `file`, or else from the environment; return None if there is none.

    An option with the token itself would show it in the list of processes. Raises `SpikeError` for a file that cannot
    be read, and for a token that is too short or contains characters that a header cannot have.
    """
    if file is not None:
        source = str(file)
        try:
            token = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SpikeError(
                f"{file}: cannot be read ({error})\n  Check the path given to --token-file."
            ) from None
    elif TOKEN_VARIABLE in os.environ:
        source, token = f"the environment variable {TOKEN_VARIABLE}", os.environ[TOKEN_VARIABLE].strip()
    else:
        return None
    if len(token) < SHORTEST_TOKEN or not (token.isascii() and token.isprintable()) or " " in token:
        raise SpikeError(
            f"{source}: a token has at least {SHORTEST_TOKEN} printable ASCII characters and no space\n"
            '  Generate one: python -c "import secrets; print(secrets.token_urlsafe())"'
        )
    return token


def is_local(host: str) -> bool:
    """Return whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_origins(origins: Sequence[str]) -> None:
    """Raise `SpikeError` for an origin that is not in the form that browsers send, and for ``*``."""
    for origin in origins:
        if not ORIGIN.fullmatch(origin):
            raise SpikeError(
                f"'{origin}' is not a valid origin\n"
                "  Give scheme, lower-case host, and port unless it is the default: --cors-origin https://shop.example"
            )


def is_open(scope: Scope) -> bool:
    """Return whether a request is for a page or a probe, which contain no data. Unknown paths count as data."""
    path = path_of(scope)
    return path in OPEN_PATHS or path.startswith(OPEN_FOLDER)


class SecurityHeaders:
    """Middleware that adds security headers to every response, and forbids caches to store data."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request, and add the headers to the response."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = HEADERS if is_open(scope) else {**HEADERS, "Cache-Control": "no-store"}

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(headers)
            await send(message)

        await self.app(scope, receive, send_with_headers)


class TokenGate:
    """Middleware that requires the token for all requests but those for pages and probes."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app, self._expected = app, f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request if its Authorization header contains the token."""
        if scope["type"] == "http" and not is_open(scope):
            given = Headers(scope=scope).get("authorization", "").encode("latin-1")
            if not hmac.compare_digest(given, self._expected):
                refused = JSONResponse(
                    {"detail": "this server requires a token: Authorization: Bearer TOKEN"},
                    status_code=401,
                    headers={"WWW-Authenticate": "Bearer"},
                )
                await refused(scope, receive, send)
                return
        await self.app(scope, receive, send)


class RequestLimit:
    """Middleware that answers 503 above `limits.REQUESTS` concurrent API requests. Pages and probes have no limit."""

    def __init__(self, app: ASGIApp) -> None:
        self.app, self._in_progress = app, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request, or answer 503 if there are too many."""
        if scope["type"] != "http" or not path_of(scope).startswith(API):
            await self.app(scope, receive, send)
        elif self._in_progress >= limits.REQUESTS:
            await too_busy("too many requests at once")(scope, receive, send)
        else:
            self._in_progress += 1
            try:
                await self.app(scope, receive, send)
            finally:
                self._in_progress -= 1


class BodyLimit:
    """Middleware that rejects a body that is too large or arrives too slowly, without reading it to its end."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body, and forward the request with it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            body = await asyncio.wait_for(_read(receive), limits.BODY_SECONDS)
        except (_TooLarge, asyncio.TimeoutError) as error:
            status = 413 if isinstance(error, _TooLarge) else 408
            message = (
                f"a body may have {limits.BODY_BYTES:,} bytes and take {limits.BODY_SECONDS:.0f} s at most"
            )
            refused = JSONResponse({"detail": message}, status_code=status, headers={"Connection": "close"})
            await refused(scope, receive, send)
            return
        rest = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive_again() -> Message:
            return rest.pop() if rest else await receive()

        await self.app(scope, receive_again, send)


class _TooLarge(Exception):  # noqa: N818
    pass


async def _read(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return bytes(body)
        body += message.get("body", b"")
        if len(body) > limits.BODY_BYTES:
            raise _TooLarge
        if not message.get("more_body", False):
            return bytes(body)
