"""Routes by what they need: which are open, which are expensive; what is not named here needs a key to read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

HEALTH: Final = frozenset({"/health/live", "/health/ready"})
EXPENSIVE: Final = frozenset({"/risk", "/optimize", "/frontier"})
"""They have a deadline, a rate and a scope of their own."""

DOCUMENTATION: Final = frozenset({"/docs", "/redoc", "/docs/oauth2-redirect"})
_OPEN: Final = HEALTH | DOCUMENTATION | {"/", "/openapi.json", "/favicon.ico"}
_OPEN_FOLDERS: Final = ("/static/", "/static-offline-docs/")


def path_of(scope: Mapping[str, Any]) -> str:
    """Return a request's path as routes know it: without the folder under which a proxy shows the service."""
    path: str = scope["path"]
    root: str = scope.get("root_path") or ""
    if root and path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/"):
        return path[len(root) :] or "/"
    return path


def is_open(path: str) -> bool:
    """Say whether a path is answered without a key."""
    return path in _OPEN or path.startswith(_OPEN_FOLDERS)


def scope_needed(path: str) -> str:
    """Return the scope that a path needs."""
    return "optimize" if path.rstrip("/") in EXPENSIVE else "read"
