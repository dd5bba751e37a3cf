"""Deadlines: whatever takes too long is answered 504 at that moment, whether or not the work can be stopped."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.guards.routes import EXPENSIVE, path_of
from api.problems import problem


class AnswerCutError(RuntimeError):
    """An answer under way took too long: its connection is closed, so that nobody takes a part for the whole."""


class Deadline:
    """Limits the time for an answer, except where a route has a deadline of its own."""

    def __init__(self, app: ASGIApp, limit_s: float) -> None:
        self.app = app
        self.limit_s = limit_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; answer 504 when its time is over."""
        if scope["type"] != "http" or path_of(scope) in EXPENSIVE:
            await self.app(scope, receive, send)
            return
        attempt = _Attempt(scope, send, self.limit_s)
        timer = asyncio.get_running_loop().call_later(self.limit_s, attempt.give_up)
        try:
            await self.app(scope, receive, attempt.send)
        except asyncio.CancelledError:
            if not attempt.is_late:
                raise
            attempt.task.uncancel()
        finally:
            timer.cancel()
        if attempt.is_late:
            await attempt.settle()


class _Attempt:
    """One request's answer, until its time is over."""

    def __init__(self, scope: Scope, send: Send, limit_s: float) -> None:
        self.is_late = False
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a request is answered in a task")
        self.task = task
        self._send = send
        self._scope = scope
        self._limit_s = limit_s
        self._has_started = False
        self._answering: asyncio.Task[None] | None = None

    async def send(self, message: Message) -> None:
        """Pass on what the route sends in time."""
        if self.is_late:
            return
        self._has_started = True
        await self._send(message)

    def give_up(self) -> None:
        """Answer now: a thread that works for the request may not notice for long that it is over."""
        self.is_late = True
        if not self._has_started:
            self._answering = asyncio.ensure_future(self._answer())
        self.task.cancel()

    async def _answer(self) -> None:
        answer = problem(HTTPStatus.GATEWAY_TIMEOUT, f"no answer within {self._limit_s:g} s")
        await answer(self._scope, _nothing, self._send)

    async def settle(self) -> None:
        """Wait until the late answer is sent; where a part of another was, have the connection closed."""
        if self._answering is None:
            raise AnswerCutError(f"an answer was not complete within {self._limit_s:g} s")
        await self._answering


async def _nothing() -> Message:
    return {"type": "http.disconnect"}
