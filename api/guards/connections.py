"""Connections: a client that stops half-way, in either direction, is cut; one that only waits makes room for others."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar

from uvicorn.protocols.http.auto import AutoHTTPProtocol

from api.problems import MEDIA_TYPE
from api.settings import PatienceSettings, read_settings

if TYPE_CHECKING:
    from uvicorn.protocols.http.h11_impl import H11Protocol as _Protocol
else:
    _Protocol = object

logger = logging.getLogger("aegis_yield.service")


class PatientProtocol(_Protocol):
    """A mixin for uvicorn's HTTP protocols, which wait for ever for the head of a request and for slow readers."""

    limits: ClassVar[PatienceSettings] = PatienceSettings()
    waiting_since = 0.0
    _reading: asyncio.TimerHandle | None = None
    _writing: asyncio.TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the head of the first request; make room for it if there is none."""
        super().connection_made(transport)
        _bound_unsent(transport, self.limits.write_timeout_s)
        self._await_head()
        if len(self.connections) > self.limits.max_connections:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers."""
        self._stop_reading_timer()
        self._stop_writing_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; a head that is complete ends the wait for it."""
        if self.transport.is_closing():
            return
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self._head_bytes = 0
            self.waiting_since = self.loop.time()
            self._stop_reading_timer()
        elif self._is_between_requests() and not self.transport.is_closing():
            self._count_head(len(data))

    def on_response_complete(self) -> None:
        """Go on to the next request, or wait for it."""
        self.waiting_since = self.loop.time()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Wait for the client to read, but not for ever."""
        super().pause_writing()
        self._writing = self._writing or self.loop.call_later(self.limits.write_timeout_s, self._cut_reader)

    def resume_writing(self) -> None:
        """Go on writing."""
        self._stop_writing_timer()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP."""
        self._refuse(HTTPStatus.BAD_REQUEST, msg)

    @property
    def is_waiting_for_client(self) -> bool:
        """Whether nothing is done for this connection until its client does something."""
        return self.transport.is_closing() or self._is_between_requests() or self.cycle.more_body

    def _is_between_requests(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _await_head(self) -> None:
        self.waiting_since = self.loop.time()
        self._reading = self.loop.call_later(self.limits.header_timeout_s, self._head_is_late)

    def _count_head(self, n_bytes: int) -> None:
        if self._reading is None:
            self._await_head()
        if self.cycle is not None and self.cycle.more_body:
            return  # the rest of a body that was refused: let it run out while the timer allows
        self._head_bytes += n_bytes
        if self._head_bytes > self.limits.max_header_bytes:
            allowed = f"{self.limits.max_header_bytes:,} bytes"
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"head of the request: allowed are {allowed}")

    def _head_is_late(self) -> None:
        self._reading = None
        if self._head_bytes:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, f"head not complete after {self.limits.header_timeout_s:g} s")
        else:
            self.transport.abort()  # nothing was asked, or the answer is out: there is nobody to tell

    def _cut_reader(self) -> None:
        logger.info("a client that stopped reading was cut")
        self.transport.abort()

    def _make_room(self) -> None:
        others = (one for one in self.connections if one is not self and isinstance(one, PatientProtocol))
        idle = [one for one in others if one.is_waiting_for_client]
        if idle:
            min(idle, key=lambda one: one.waiting_since).transport.abort()
        else:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections", (b"retry-after: 1\r\n",))

    def _refuse(self, status: HTTPStatus, detail: str, headers: tuple[bytes, ...] = ()) -> None:
        """Answer below the application, where there is no request yet, and close."""
        logger.info("refused a connection: %d %s", status, detail)
        if not self._is_between_requests() and self.cycle.response_started:
            self.transport.abort()  # an answer is under way: another in its middle would be read as a part of it
            return
        document = {"type": "about:blank", "title": status.phrase, "status": int(status), "detail": detail}
        body = json.dumps(document).encode()
        head = (
            b"HTTP/1.1 %d %s\r\n" % (status, status.phrase.encode()),
            b"content-type: %s\r\n" % MEDIA_TYPE.encode(),
            b"content-length: %d\r\n" % len(body),
            b"cache-control: no-store\r\nx-content-type-options: nosniff\r\nconnection: close\r\n",
            *headers,
        )
        self.transport.write(b"".join((*head, b"\r\n", body)))
        self.transport.close()

    def _stop_reading_timer(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def _stop_writing_timer(self) -> None:
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None


def protocol(limits: PatienceSettings, base: type[asyncio.Protocol] = AutoHTTPProtocol) -> type[asyncio.Protocol]:
    """Return the protocol for a server with these limits, by default on the fastest parser that is installed."""
    return type("Guarded", (PatientProtocol, base), {"limits": limits})


def _bound_unsent(transport: asyncio.Transport, seconds: float) -> None:
    """Let the system give up a client that takes nothing more, even when the connection is already being closed."""
    found = transport.get_extra_info("socket")
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if found is not None and option is not None and found.family != socket.AF_UNIX:
        with contextlib.suppress(OSError):
            found.setsockopt(socket.IPPROTO_TCP, option, int(seconds * 1_000))


def __getattr__(name: str) -> Any:
    # For `uvicorn --http api.guards.connections:Guarded`, with limits from the environment.
    if name != "Guarded":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = protocol(read_settings().service)
    return globals()[name]
