"""The description of keys in the OpenAPI document: how one is sent, and which operations take one."""

from __future__ import annotations

from typing import Any, Final

from api.guards.routes import is_open, scope_needed

_SCHEMES: Final = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A key: aegis keys create --name NAME"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same key."},
}


def describe_keys(document: dict[str, Any]) -> None:
    """Add to an OpenAPI document that operations may be sent a key; whether they must, the service's settings say."""
    document.setdefault("components", {})["securitySchemes"] = _SCHEMES
    for path, operations in document["paths"].items():
        if is_open(path):
            continue
        for operation in operations.values():
            scope = [scope_needed(path)]
            operation["security"] = [{}, {"bearer": scope}, {"header": scope}]
