"""Proxies and certificates of the environment: selection and validation."""

from __future__ import annotations

import importlib.util
import os
import ssl
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from spike_dgl.errors import ConfigError
from spike_dgl.profiles.llm.addresses import PROXY_VARIABLES
from spike_dgl.profiles.llm.client import ClientOptions

_FILE, _FOLDER = "SSL_CERT_FILE", "SSL_CERT_DIR"


def takes_proxy(options: ClientOptions) -> bool:
    """Return whether requests may use a proxy: not for private hosts, nor for hosts in NO_PROXY."""
    return not options.is_local and not proxy_bypass(urlsplit(options.address).hostname or "")


def proxy_variable(options: ClientOptions) -> str:
    """Return the name of the variable with the proxy that requests use; empty if they use none."""
    kinds = (urlsplit(options.address).scheme, "all")
    named = (_variable(kind) for kind in kinds if getproxies().get(kind))
    return next(named, "") if takes_proxy(options) else ""


def check_proxies(options: ClientOptions) -> None:
    """Check all proxies of the environment, since the openai package's HTTP client opens all of them.

    Raises
    ------
    ConfigError
        If a proxy cannot be used. The message shows its variable, but not its address, which may contain a password.
    """
    remedy = f"bypass the proxy: NO_PROXY={urlsplit(options.address).hostname}"
    for kind in ("http", "https", "all"):
        if address := getproxies().get(kind):
            _check_proxy(_variable(kind), address, remedy)


def _variable(kind: str) -> str:
    names = (name for name in PROXY_VARIABLES if name.lower() == f"{kind}_proxy" and os.environ.get(name))
    return next(names, "the system")


def _check_proxy(name: str, address: str, remedy: str) -> None:
    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        is_address = bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address:
        problem = f"the proxy in {name} is not an address such as http://host:3128"
        raise ConfigError(f"{problem}\n  Correct it, or {remedy}")
    if parts.scheme not in ("http", "https", "socks5", "socks5h"):
        problem = f"{name} has a proxy of an unknown kind, {parts.scheme}://"
        raise ConfigError(f"{problem}\n  Use http://, https:// or socks5://, or {remedy}")
    if parts.scheme.startswith("socks") and importlib.util.find_spec("socksio") is None:
        raise ConfigError(
            f"{name} has a SOCKS proxy, which needs the package socksio\n  pip install socksio, or {remedy}"
        )


def certificates() -> ssl.SSLContext | bool:
    """Load the certificates of the environment; return True for the default ones.

    Raises
    ------
    ConfigError
        If a variable does not contain the path of a certificate file or folder.
    """
    named = {name: value for name in (_FILE, _FOLDER) if (value := os.environ.get(name))}
    for name, value in named.items():
        if not (Path(value).is_file() if name == _FILE else Path(value).is_dir()):
            raise ConfigError(
                f"{name} is '{value}', which does not exist\n  Correct the path, or unset {name}."
            )
    if not named:
        return True
    try:
        return ssl.create_default_context(cafile=named.get(_FILE), capath=named.get(_FOLDER))
    except (ssl.SSLError, OSError) as error:
        problem = f"{_FILE} is '{named.get(_FILE)}', which contains no certificates ({error})"
        raise ConfigError(f"{problem}\n  Name a file in PEM format, or unset {_FILE}.") from None
