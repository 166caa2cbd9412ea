"""Paths of requests inside the application, and the HTTP methods that each path supports."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send


def path_of(scope: Scope) -> str:
    """Return the path of a request without the prefix of a proxy or a mounting application.

    Call it before the request is forwarded, since routing changes the scope.
    """
    path, prefix = scope["path"], scope.get("root_path", "")
    inside: str = path[len(prefix) :] if f"{path}/".startswith(f"{prefix}/") else path
    return inside


class Prefix:
    """Middleware for a path prefix of a proxy, which may forward or strip the prefix."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self.app, self._prefix = app, prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request with the prefix as its root path."""
        await self.app({**scope, "root_path": self._prefix}, receive, send)


class Methods:
    """Middleware for HEAD wherever there is GET, OPTIONS everywhere, and 405 with all methods of a path.

    FastAPI's routes support neither HEAD nor OPTIONS, and their 405 names the methods of only one of several routes.
    A path with a trailing slash is redirected to the path without it. The redirect is relative, since the scheme, host
    and path that this server sees are not the client's behind a proxy.

    Parameters
    ----------
    methods
        HTTP methods of each path. Requests for other paths are forwarded.
    """

    def __init__(self, app: ASGIApp, methods: Mapping[str, Collection[str]]) -> None:
        self.app, self._methods = app, methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer OPTIONS, 405 and redirects, and forward the other requests."""
        answer = self._answer(scope) if scope["type"] == "http" else None
        if answer is not None:
            await answer(scope, receive, send)
        elif scope["type"] == "http" and scope["method"] == "HEAD":
            # A copy, because the server needs the original scope with HEAD.
            await self.app({**scope, "method": "GET"}, receive, _without_body(send))
        else:
            await self.app(scope, receive, send)

    def _answer(self, scope: Scope) -> Response | None:
        path, method = path_of(scope), scope["method"]
        if path not in self._methods:
            return self._redirect(path, scope)
        allowed = {*self._methods[path], "OPTIONS"} | ({"HEAD"} if "GET" in self._methods[path] else set())
        allow = {"Allow": ", ".join(sorted(allowed))}
        if method == "OPTIONS":
            return Response(status_code=204, headers=allow)
        return None if method in allowed else JSONResponse({"detail": "Method Not Allowed"}, 405, allow)

    def _redirect(self, path: str, scope: Scope) -> Response | None:
        if path == "":  # the prefix without a slash, which would break the pages' relative links
            target = f"{scope['path'].split('/')[-1]}/"
        elif path.endswith("/") and path[:-1] in self._methods:
            target = f"../{path.split('/')[-2]}"
        else:
            return None
        query = scope["query_string"].decode("latin-1")
        return Response(status_code=307, headers={"Location": f"{target}?{query}" if query else target})


def _without_body(send: Send) -> Send:
    async def send_head(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return send_head
