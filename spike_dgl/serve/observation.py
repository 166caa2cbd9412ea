"""Observation of requests: metrics, access log and request ids."""

from __future__ import annotations

import json
import logging
import re
import time
import uuid
from collections.abc import Collection
from datetime import datetime, timezone

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spike_dgl.serve.deployment import Deployment
from spike_dgl.serve.methods import path_of
from spike_dgl.serve.metrics import OTHER, Metrics

REQUEST_ID = "X-Request-ID"
VALID_ID = re.compile(r"[\w.:=+/-]{1,128}", re.ASCII)
STATIC = "/static"
PATH_LENGTH = 200
"""Maximum length of a path in the access log."""

logger = logging.getLogger(__name__)
access_logger = logging.getLogger("spike_dgl.serve.access")


class Observation:
    """Middleware that measures and logs each request, and sets its id in the response.

    The id is the one that the client or a proxy sent, or a new one. An unexpected exception is logged with the id, and
    answered with status 500. While the server drains, responses close the connection, so that a load balancer sends
    the next request to another server.

    Parameters
    ----------
    deployment
        Deployment whose `draining` is read.
    metrics
        Metrics that record each request.
    routes
        Paths that become labels of the metrics.
    """

    def __init__(
        self, app: ASGIApp, deployment: Deployment, metrics: Metrics, routes: Collection[str]
    ) -> None:
        self.app, self._deployment, self._metrics, self._routes = app, deployment, metrics, routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request, and observe the response."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0
        path, request_id = path_of(scope), _request_id(scope)

        async def send_observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID] = request_id
                if self._deployment.draining:
                    headers["Connection"] = "close"
            await send(message)

        with self._metrics.in_progress.track_inprogress():
            try:
                await self.app(scope, receive, send_observed)
            except Exception:
                logger.exception("request %s failed", request_id)
                if status:
                    raise
                failed = JSONResponse(
                    {"detail": f"internal server error; see the server's log for request {request_id}"}, 500
                )
                await failed(scope, receive, send_observed)
            finally:
                self._record(scope, path, status or 500, time.perf_counter() - started, request_id)

    def _record(self, scope: Scope, path: str, status: int, seconds: float, request_id: str) -> None:
        route = STATIC if path.startswith(f"{STATIC}/") else path if path in self._routes else OTHER
        self._metrics.record(scope["method"], route, status, seconds)
        if access_logger.isEnabledFor(logging.INFO):
            # No query and no headers: they contain user ids and the token.
            line = {
                "time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
                "client": (scope.get("client") or [""])[0],
                "method": scope["method"],
                "path": path[:PATH_LENGTH],
                "status": status,
                "seconds": round(seconds, 6),
                "request_id": request_id,
            }
            access_logger.info(json.dumps(line))


def _request_id(scope: Scope) -> str:
    sent = Headers(scope=scope).get(REQUEST_ID, "")
    return sent if VALID_ID.fullmatch(sent) else uuid.uuid4().hex
