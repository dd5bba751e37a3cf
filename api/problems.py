"""Errors as problem documents (RFC 9457): one family, one status, one body."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from aegis_yield.domain.errors import (
    AegisError,
    BundleError,
    DataError,
    HistoryError,
    RequestError,
    UnknownStrategyError,
)
from api.redaction import without_folders
from api.request_context import REQUEST_ID
from api.schemas import FieldFault, Problem

logger = logging.getLogger("aegis_yield.service")

MEDIA_TYPE: Final = "application/problem+json"
_SHOWN_CHARACTERS: Final = 200

FAULTS: Final[dict[int | str, dict[str, Any]]] = {
    status: {"model": Problem, "content": {MEDIA_TYPE: {}}}
    for status in (400, 401, 403, 404, 408, 413, 421, 422, 429, 500, 503, 504)
}
"""What routes say in OpenAPI of the errors they answer."""

STATUS: Final[tuple[tuple[type[AegisError], HTTPStatus], ...]] = (
    (UnknownStrategyError, HTTPStatus.NOT_FOUND),
    (RequestError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (HistoryError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (BundleError, HTTPStatus.SERVICE_UNAVAILABLE),
    (DataError, HTTPStatus.SERVICE_UNAVAILABLE),
    (AegisError, HTTPStatus.SERVICE_UNAVAILABLE),
)
"""First match wins: what a client did wrong is 4xx, what this machine lacks is 503."""


def problem(
    status: HTTPStatus,
    detail: str,
    errors: list[FieldFault] | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Return a problem document as a response."""
    body = Problem(title=status.phrase, status=int(status), detail=detail, errors=errors, request_id=REQUEST_ID.get())
    return JSONResponse(
        body.model_dump(exclude_none=True), status_code=int(status), headers=headers, media_type=MEDIA_TYPE
    )


def status_of(error: AegisError) -> HTTPStatus:
    """Return the HTTP status of one of this project's errors."""
    return next(status for family, status in STATUS if isinstance(error, family))


def install(app: FastAPI) -> None:
    """Let every error of an app leave as a problem document."""
    app.add_exception_handler(AegisError, _on_aegis_error)
    app.add_exception_handler(RequestValidationError, _on_bad_request)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(Exception, _on_surprise)


async def _on_aegis_error(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, AegisError):
        raise TypeError("registered for AegisError only") from error
    status = status_of(error)
    return problem(status, without_folders(str(error)) if status >= HTTPStatus.INTERNAL_SERVER_ERROR else str(error))


async def _on_bad_request(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise TypeError("registered for RequestValidationError only") from error
    faults = [_fault_of(fault) for fault in error.errors()]
    detail = "; ".join(f"{fault.field}: received {fault.received}, {fault.problem}" for fault in faults)
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, faults)


def _fault_of(fault: dict[str, Any]) -> FieldFault:
    if fault["type"] == "json_invalid":
        place, reason = fault["loc"][-1], fault.get("ctx", {}).get("error", "not JSON")
        return FieldFault(field="body", received=f"broken JSON at character {place}", problem=str(reason))
    field = ".".join(str(part) for part in fault["loc"] if part != "body") or "body"
    received = repr(fault.get("input"))[:_SHOWN_CHARACTERS]
    return FieldFault(field=field[:_SHOWN_CHARACTERS], received=received, problem=str(fault["msg"]))


async def _on_http_error(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise TypeError("registered for HTTPException only") from error
    return problem(HTTPStatus(error.status_code), str(error.detail), headers=error.headers)


async def _on_surprise(request: Request, error: Exception) -> JSONResponse:
    # The trace goes to the log, never into an answer.
    logger.error("unexpected %s at %s", type(error).__name__, request.url.path, exc_info=error)
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "an unexpected error, logged at the service")
