"""Remedies of failures that happen again and again."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from spike_dgl.errors import LanguageModelError
from spike_dgl.profiles.llm.client import ClientOptions
from spike_dgl.profiles.llm.failures import Failure
from spike_dgl.profiles.llm.proxies import proxy_variable

PAGE = "docs/language-models.md"
DOUBTFUL = 3
"""So many different requests that a server refuses before it has answered any are the mistake of the set-up."""


def refuses_all(results: Sequence[str | Failure], client: ClientOptions) -> LanguageModelError | None:
    """Return the error of a server that refuses everything, for reasons that nobody has foreseen; None else."""
    refusals = [each for each in results if isinstance(each, Failure) and each.reason == "invalid"]
    if len(refusals) < max(DOUBTFUL, len(results)):
        return None
    return LanguageModelError(
        f"{client.address} refuses all requests: {refusals[-1].detail}\n"
        f"  This counts against no node. Correct the settings of {client.request_setting('*')}, as {PAGE} says."
    )


def remedy_of(failure: Failure, client: ClientOptions) -> str:
    """Say which setting to change, as a sentence for an error message."""
    if failure.reason == "no connection":
        return _of_no_connection(failure.detail, client)
    thinking = f"switch off the model's thinking: {client.request_setting('reasoning_effort')}=none, or as {PAGE} says"
    remedies = {
        "timed out": f"Raise {client.setting('timeout')}, or lower {client.setting('concurrency')}.",
        "rate limited": f"Set {client.setting('requests_per_minute')} and {client.setting('tokens_per_minute')} "
        "to the limits of your account.",
        "server error": "Run the same command again when the server is well.",
        "cut off": f"Raise {client.request_setting('max_tokens')}, or {thinking}",
        "empty": f"Does the model think and then write nothing? Then {thinking}",
        "markup": f"Another model, or another chat template of the server, may help; or {thinking}",
        "prompt too long": f"Lower {client.request_setting('prompt_tokens')}, or raise the server's context.",
    }
    return remedies.get(failure.reason, "`main.py profile status` counts the reasons.")


def _of_no_connection(detail: str, client: ClientOptions) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in detail:
        return "Name the file of the certificate that signed the server's: SSL_CERT_FILE=FILE"
    if "SSL" in detail:
        return f"Does the server speak https? Else {client.setting('base_url')}=http://..."
    if variable := proxy_variable(client):
        host = urlsplit(client.address).hostname
        return f"Is the proxy right that {variable} names? NO_PROXY={host} leaves it out."
    return f"Is the server running, and {client.setting('base_url')} right?"
