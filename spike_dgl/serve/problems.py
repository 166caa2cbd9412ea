"""Why there is no answer, as JSON with a status."""

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
    """Answer with a status and what is wrong."""
    # Pure ASCII: a question may hold half a character (a lone surrogate), which UTF-8 cannot carry back.
    content = json.dumps({"detail": detail})
    return Response(content, status, headers, media_type="application/json")


def too_busy(reason: str) -> Response:
    """Status 503, with the time after which to ask again."""
    return problem(503, f"{reason}; ask again later", {"Retry-After": str(limits.RETRY_SECONDS)})


async def _unknown_id(_: Request, error: Exception) -> Response:
    return problem(404, str(error))


async def _cannot(_: Request, error: Exception) -> Response:
    return problem(409, str(error))


async def _busy(_: Request, error: Exception) -> Response:
    return too_busy(str(error))


async def _invalid(_: Request, error: Exception) -> Response:
    """What is wrong, without what was sent: that may be long, and may hold what is no valid text."""
    assert isinstance(error, RequestValidationError)
    parts = [{key: part[key] for key in ("loc", "msg", "type")} for part in error.errors()]
    return problem(422, parts)


ANSWERS_TO_ERRORS: dict[type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
    UnknownIdError: _unknown_id,
    SpikeError: _cannot,
    Busy: _busy,
    RequestValidationError: _invalid,
}
