"""Remedies for repeated failures."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from spike_dgl.errors import LanguageModelError
from spike_dgl.profiles.llm.client import ClientOptions
from spike_dgl.profiles.llm.failures import Failure
from spike_dgl.profiles.llm.proxies import proxy_variable

PAGE = "docs/language-models.md"
DOUBTFUL = 3
"""Number of distinct requests rejected before the first answer from which the settings count as wrong."""


def refuses_all(results: Sequence[str | Failure], client: ClientOptions) -> LanguageModelError | None:
    """Return an error if a server rejects all requests for an unknown reason, otherwise None."""
    refusals = [each for each in results if isinstance(each, Failure) and each.reason == "invalid"]
    if len(refusals) < max(DOUBTFUL, len(results)):
        return None
    return LanguageModelError(
        f"{client.address} rejects all requests: {refusals[-1].detail}\n"
        f"  No node counts as failed. Correct the settings {client.request_setting('*')}, see {PAGE}."
    )


def remedy_of(failure: Failure, client: ClientOptions) -> str:
    """Return a sentence for an error message that says which setting to change."""
    if failure.reason == "no connection":
        return _of_no_connection(failure.detail, client)
    reasoning = (
        f"switch off the model's reasoning: {client.request_setting('reasoning_effort')}=none, or see {PAGE}"
    )
    remedies = {
        "timed out": f"Raise {client.setting('timeout')}, or lower {client.setting('concurrency')}.",
        "rate limited": f"Set {client.setting('requests_per_minute')} and {client.setting('tokens_per_minute')} "
        "to the limits of your account.",
        "server error": "Run the same command again when the server works.",
        "cut off": f"Raise {client.request_setting('max_tokens')}, or {reasoning}",
        "empty": f"If the answer consists only of reasoning, {reasoning}",
        "markup": f"Try another model or another chat template on the server, or {reasoning}",
        "prompt too long": f"Lower {client.request_setting('prompt_tokens')}, or increase the server's context length.",
    }
    return remedies.get(failure.reason, "`main.py profile status` shows the reasons.")


def _of_no_connection(detail: str, client: ClientOptions) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in detail:
        return "Set SSL_CERT_FILE to the file of the certificate that signed the server's certificate."
    if "SSL" in detail:
        return f"If the server does not use https, set {client.setting('base_url')}=http://..."
    if variable := proxy_variable(client):
        host = urlsplit(client.address).hostname
        return f"Check the proxy in {variable}, or bypass it: NO_PROXY={host}"
    return f"Check that the server is running, and that {client.setting('base_url')} is right."
