"""Fuzzing of the API by its OpenAPI document: valid and invalid requests get the documented responses."""

from __future__ import annotations

from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import checks

from spike_dgl.serve.api import create_app
from tests.serve.conftest import open_service

PROMISED = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]
KNOWN = {"user": "0", "item": "2", "users": ["0", "1"], "items": ["2", "4"], "candidates": ["2", "3"]}


def test_requests_get_the_documented_responses(run: Path) -> None:
    ask_everything(run, examples=10)


@pytest.mark.slow
def test_many_more_requests(run: Path) -> None:
    ask_everything(run, examples=100)


def ask_everything(run: Path, *, examples: int) -> None:
    """Number of valid and of invalid requests for each operation."""
    document = schemathesis.openapi.from_asgi("/openapi.json", create_app(open_service(run)))
    quiet = settings(
        max_examples=examples, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    operations = [found.ok() for found in document.get_all_operations()]
    assert len(operations) > 10
    for operation in operations:
        for mode in schemathesis.GenerationMode:
            if mode is schemathesis.GenerationMode.NEGATIVE and not (operation.query or operation.body):
                continue  # without parameters, so no request can be invalid
            quiet(given(operation.as_strategy(generation_mode=mode))(ask))()


def ask(case: schemathesis.Case) -> None:
    case.call_and_validate(checks=PROMISED)
    # Random ids are unknown and only give status 404, so repeat the requests with ids of the data.
    changed = False
    for asked in (case.query, case.body):
        if isinstance(asked, dict):
            for name in KNOWN.keys() & asked.keys():
                asked[name], changed = KNOWN[name], True
    if changed:
        case.call_and_validate(checks=PROMISED)
