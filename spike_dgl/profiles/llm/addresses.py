"""Addresses of servers: validation, detection of private networks, and removal of secrets."""

from __future__ import annotations

import ipaddress
import os
import re
from urllib.parse import unquote, urlsplit

from spike_dgl.errors import ConfigError

OPENAI = "https://api.openai.com/v1"
BASE_URL_VARIABLE = "OPENAI_BASE_URL"
PROXY_VARIABLES = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")

_PRIVATE_ENDINGS = (
    ".localhost", ".local", ".localdomain", ".lan", ".home", ".home.arpa", ".internal", ".intranet", ".private",
    ".corp", ".svc", ".ts.net",
)  # fmt: skip
_ENDPOINTS = ("/chat/completions", "/completions", "/embeddings", "/responses")


def check_address(setting: str, base_url: str) -> str:
    """Return an address if it is valid and contains no secret.

    Raises
    ------
    ConfigError
        If it is not a valid address, ends with the path of an endpoint, or contains a secret, which is not shown.
    """
    example = f"\n  Give an address such as {setting}=http://localhost:8000/v1"
    try:
        parts = urlsplit(base_url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address or re.search(r"[\s\"']", base_url):
        shown = "" if "@" in base_url else f" '{base_url}'"
        raise ConfigError(f"{setting}{shown} is not the address of a server{example}")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError(
            f"{setting} must not contain a user name, password or query: run folders and messages show it\n"
            "  Put keys into the environment variable that api_key_variable names."
        )
    for endpoint in _ENDPOINTS:
        if parts.path.rstrip("/").endswith(endpoint):
            remedy = f"{setting}={base_url.rstrip('/').removesuffix(endpoint)}"
            raise ConfigError(
                f"{setting} ends with {endpoint}, which is appended automatically\n  Set {remedy}"
            )
    return base_url


def is_private(address: str) -> bool:
    """Return whether an address is on this machine or in a private network, judging by IP address or host name."""
    host = (urlsplit(address).hostname or "").rstrip(".")
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return "." not in host or host.endswith(_PRIVATE_ENDINGS)


def without_secrets(text: str, key_variable: str | None) -> str:
    """Replace the API key, which a server may have echoed, and user names and passwords in addresses."""
    key = os.environ.get(key_variable, "").strip() if key_variable else ""
    for secret in filter(None, (key, *_passwords())):
        text = text.replace(secret, "[key]" if secret == key else "[hidden]")
    return re.sub(r"://[^\s/@]+@", "://[hidden]@", text)


def _passwords() -> list[str]:
    """Return the passwords in the environment's addresses, as written and percent-decoded."""
    addresses = (os.environ.get(name, "") for name in (*PROXY_VARIABLES, BASE_URL_VARIABLE))
    written = [
        found[1]
        for found in (re.search(r"://[^\s/@:]*:([^\s/]+)@", address) for address in addresses)
        if found
    ]
    return [*written, *map(unquote, written)]
