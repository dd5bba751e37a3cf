"""Caching: reads carry a tag of what they were made from; who has it already gets 304 and no body."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import Depends, FastAPI, Request, Response

from aegis_yield import __version__
from api.state import Current

MAX_AGE_S: Final = 10
"""So long a client may use what it has without asking; new tables are seen some seconds later anyway."""

UNCHANGED: Final[dict[int | str, dict[str, Any]]] = {
    304: {"description": "What the client has is still so: its ETag was sent in If-None-Match."}
}
"""What cached reads say in OpenAPI, beside their errors."""

_TAG_CHARS: Final = 32


class NotModifiedError(Exception):
    """The client has what it asks for."""

    def __init__(self, validators: Mapping[str, str]) -> None:
        super().__init__()
        self.validators = validators


@dataclass(frozen=True)
class Reading:
    """A read that may be cached.

    Attributes
    ----------
    headers : dict of str to str
        ``ETag`` and ``Cache-Control``.
    """

    headers: dict[str, str]

    def json(self, body: bytes) -> Response:
        """Return the answer."""
        return Response(body, headers=self.headers, media_type="application/json")


def reading(request: Request, *made_from: str) -> Reading:
    """Return how a read may be cached.

    Parameters
    ----------
    request : Request
        May carry the tag of what the client has.
    made_from : str
        All that the answer depends on.

    Raises
    ------
    NotModifiedError
        If the client has it.
    """
    digest = hashlib.sha256("\x1f".join((__version__, *made_from)).encode()).hexdigest()[:_TAG_CHARS]
    headers = {"ETag": f'W/"{digest}"', "Cache-Control": f"private, max-age={MAX_AGE_S}"}
    if digest in _held(request):
        raise NotModifiedError(headers)
    return Reading(headers)


async def reading_of_state(request: Request, served: Current) -> Reading:
    """Return how a read may be cached that depends on model, tables, the day and what was asked.

    Raises
    ------
    NotModifiedError
        If the client has it.
    """
    today = dt.datetime.now(dt.UTC).date().isoformat()  # ages of data go by it
    return reading(request, served.key, today, request.url.path, request.url.query)


CachedRead = Annotated[Reading, Depends(reading_of_state)]
"""How a read of the state may be cached; where the client has it, the route is not run."""


def install(app: FastAPI) -> None:
    """Let an app answer 304."""
    app.add_exception_handler(NotModifiedError, _on_not_modified)


async def _on_not_modified(_: Request, error: Exception) -> Response:
    if not isinstance(error, NotModifiedError):
        raise TypeError("registered for NotModifiedError only") from error
    return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=dict(error.validators))


def _held(request: Request) -> set[str]:
    """Return the tags that a client has; ``*`` is no tag, and answered in full."""
    listed = ",".join(request.headers.getlist("if-none-match"))
    return {tag.strip().removeprefix("W/").strip('"') for tag in listed.split(",")}
