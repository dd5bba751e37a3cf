"""Documentation: the OpenAPI document says of errors what they are: problem documents, not plain JSON."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from api.guards.description import describe_keys
from api.problems import MEDIA_TYPE

_JSON = "application/json"
_FIRST_ERROR = 400


def install(app: FastAPI) -> None:
    """Let an app's OpenAPI document name the media type of errors."""
    original = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            _mend(original())
            describe_keys(original())
        return original()

    app.openapi = openapi  # type: ignore[method-assign]  # the way that FastAPI's own documentation shows


def _mend(document: dict[str, Any]) -> None:
    """Move the schemas of errors from ``application/json``, where FastAPI puts them, to their own media type."""
    for path in document["paths"].values():
        for operation in path.values():
            for status, response in operation["responses"].items():
                content = response.get("content", {})
                if status.isdigit() and int(status) >= _FIRST_ERROR and _JSON in content:
                    response["content"] = {MEDIA_TYPE: content[_JSON]}
