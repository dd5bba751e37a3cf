"""Bodies of requests: read whole before anything looks at them, within a size and a time."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import problem

CLIENT_LEFT: Final = 499
"""For the log only, as other servers call it: the client went away before it had asked."""


class BodyLimits:
    """Refuses bodies over a size, announced or only found while reading, and bodies that come too slowly."""

    def __init__(self, app: ASGIApp, max_bytes: int, timeout_s: float) -> None:
        self.app = app
        self.max_bytes = max_bytes
        self.timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with its body whole, or answer 408 or 413."""
        headers = dict(scope["headers"]) if scope["type"] == "http" else {}
        announced = headers.get(b"content-length", b"0")
        if announced == b"0" and b"transfer-encoding" not in headers:  # there is no body, as in every GET
            await self.app(scope, receive, send)
            return
        if announced.isdigit() and int(announced) > self.max_bytes:
            await self._too_large(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self.timeout_s):
                body, is_whole = await self._read(receive)
        except TimeoutError:
            detail = f"body: not complete after {self.timeout_s:g} s"
            await problem(HTTPStatus.REQUEST_TIMEOUT, detail, headers={"connection": "close"})(scope, receive, send)
            return
        if body is None:
            await self._too_large(scope, receive, send)
        elif is_whole:
            await self.app(scope, _replay(body, receive), send)
        else:
            scope["state"]["status"] = CLIENT_LEFT

    async def _too_large(self, scope: Scope, receive: Receive, send: Send) -> None:
        detail = f"body: received more than {self.max_bytes:,} bytes, allowed are {self.max_bytes:,}"
        await problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)(scope, receive, send)

    async def _read(self, receive: Receive) -> tuple[bytes | None, bool]:
        """Return the body, None if it is too large; and whether it is whole."""
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return b"", False
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > self.max_bytes:
                return None, False
            chunks.append(chunk)
            if not message.get("more_body", False):
                return b"".join(chunks), True


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def replayed() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed
