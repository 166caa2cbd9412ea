"""Addresses as routes know them."""

from __future__ import annotations

from starlette.types import Scope


def path_of(scope: Scope) -> str:
    """Path of a request inside the application, without the prefix of a proxy or of an application around it.

    To be asked for before the request is passed on: routes change the scope.
    """
    path, prefix = scope["path"], scope.get("root_path", "")
    inside: str = path[len(prefix) :] if f"{path}/".startswith(f"{prefix}/") else path
    return inside
