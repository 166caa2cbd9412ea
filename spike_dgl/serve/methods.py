"""Addresses as routes know them, and the HTTP methods that each takes."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send


def path_of(scope: Scope) -> str:
    """Path of a request inside the application, without the prefix of a proxy or of an application around it.

    To be asked for before the request is passed on: routes change the scope.
    """
    path, prefix = scope["path"], scope.get("root_path", "")
    inside: str = path[len(prefix) :] if f"{path}/".startswith(f"{prefix}/") else path
    return inside


class Prefix:
    """The prefix under which a proxy shows the application, whether it passes the prefix on or strips it."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self.app, self._prefix = app, prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with its prefix."""
        await self.app({**scope, "root_path": self._prefix}, receive, send)


class Methods:
    """HEAD wherever there is GET, OPTIONS everywhere, and 405 with all methods of an address.

    FastAPI's routes know neither HEAD nor OPTIONS, and name in a 405 the methods of one route of several. An address
    with a slash too many leads to the one without by a relative redirect: FastAPI's would name scheme, host and path
    as this server sees them, which behind a proxy are not the client's.

    Parameters
    ----------
    methods
        Of each path. Other paths pass.
    """

    def __init__(self, app: ASGIApp, methods: Mapping[str, Collection[str]]) -> None:
        self.app, self._methods = app, methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what is about methods, and pass the rest on."""
        answer = self._answer(scope) if scope["type"] == "http" else None
        if answer is not None:
            await answer(scope, receive, send)
        elif scope["type"] == "http" and scope["method"] == "HEAD":
            # The copy leaves HEAD where the server looks for it.
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
        if path == "":  # the prefix alone, below which links of the pages lead
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
