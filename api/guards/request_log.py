"""The log of requests: each has an id, and leaves one line when it is answered."""

from __future__ import annotations

import logging
import re
import secrets
import time
from http import HTTPStatus
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.guards.addresses import client_of
from api.problems import problem
from api.request_context import REQUEST_ID

access = logging.getLogger("aegis_yield.access")
logger = logging.getLogger("aegis_yield.service")

_ID: Final = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
"""What a client may call its request: nothing that could be mistaken for more in a log or a header."""

_MAX_PATH: Final = 200


class RequestLog:
    """Gives a request its id, and writes down what became of it.

    Others put ``answer_headers`` (added to the answer, whatever it is) and ``key_name`` into the request's state.
    Query, headers and body are never written down.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; what nobody expected becomes a 500, and a trace in the log."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        visit = _Visit(scope, send)
        try:
            await self.app(scope, receive, visit.send)
        except Exception as error:
            logger.error("unexpected %s at %s", type(error).__name__, scope["path"][:_MAX_PATH], exc_info=error)
            if visit.status:
                visit.was_cut = True
                raise  # a part of an answer is out: only a closed connection tells that the rest is missing
            detail = "an unexpected error, logged at the service"
            await problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail)(scope, receive, visit.send)
        finally:
            if access.isEnabledFor(logging.INFO):
                access.info("request", extra={"fields": visit.fields()})


class _Visit:
    """What is known of one request while it is answered."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.status = 0
        self.was_cut = False
        self._n_bytes = 0
        self._scope = scope
        self._send = send
        self._began = time.perf_counter()
        self._id = _id_of(scope)
        REQUEST_ID.set(self._id)
        scope.setdefault("state", {}).update(
            request_id=self._id, answer_headers=((b"x-request-id", self._id.encode()),)
        )

    async def send(self, message: Message) -> None:
        """Pass an answer on, with the headers that guards want in it."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), *self._scope["state"]["answer_headers"]]
        else:
            self._n_bytes += len(message.get("body", b""))
        await self._send(message)

    def fields(self) -> dict[str, Any]:
        """Return the line for the log."""
        scope, state = self._scope, self._scope["state"]
        found = scope.get("route")
        fields = {
            "method": scope["method"],
            "route": getattr(found, "path", None) or scope["path"][:_MAX_PATH],
            "status": self.status or state.get("status", 0),
            "ms": round((time.perf_counter() - self._began) * 1e3, 3),
            "bytes": self._n_bytes,
            "client": client_of(scope),
            "request_id": self._id,
        }
        if "key_name" in state:
            fields["key"] = state["key_name"]
        return {**fields, "cut": True} if self.was_cut else fields


def _id_of(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _ID.fullmatch(value):
            return str(value.decode("ascii"))
    return secrets.token_hex(16)
