"""Error responses: a status and a JSON body with the reason."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError

from spike_dgl.errors import SpikeError, UnknownIdError
from spike_dgl.serve import limits
from spike_dgl.serve.worker import Busy


def problem(status: int, detail: Any, headers: Mapping[str, str] | None = None) -> Response:
    """Return a response with a status and the reason."""
    # Pure ASCII, since `detail` may repeat a lone surrogate from the request, which UTF-8 cannot encode.
    content = json.dumps({"detail": detail})
    return Response(content, status, headers, media_type="application/json")


def too_busy(reason: str) -> Response:
    """Return a response with status 503 and the time after which to retry."""
    return problem(503, f"{reason}; retry later", {"Retry-After": str(limits.RETRY_SECONDS)})


async def _unknown_id(_: Request, error: Exception) -> Response:
    return problem(404, str(error))


async def _cannot(_: Request, error: Exception) -> Response:
    return problem(409, str(error))


async def _busy(_: Request, error: Exception) -> Response:
    return too_busy(str(error))


async def _invalid(_: Request, error: Exception) -> Response:
    """Return what is invalid, without the values sent, which may be long or invalid text."""
    assert isinstance(error, RequestValidationError)
    parts = [{key: part[key] for key in ("loc", "msg", "type")} for part in error.errors()]
    return problem(422, parts)


ANSWERS_TO_ERRORS: dict[type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
    UnknownIdError: _unknown_id,
    SpikeError: _cannot,
    Busy: _busy,
    RequestValidationError: _invalid,
}
