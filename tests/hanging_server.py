"""A server of the worst kind: it takes every connection and never answers."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

HEALTHY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nOK"


class HangingServer:
    """Listens on a free port of this machine."""

    def __init__(self, says_it_is_healthy: bool) -> None:
        self.asked: list[bytes] = []
        """First line of every request."""
        self._polite = says_it_is_healthy
        self._held: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        with contextlib.suppress(OSError):  # the listener is closed at the end
            while True:
                connection, _ = self._listener.accept()
                self._held.append(connection)
                threading.Thread(target=self._hold, args=(connection,), daemon=True).start()

    def _hold(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            received = connection.recv(65_536)
            self.asked.append(received.partition(b"\r\n")[0])
            if self._polite and b" /health " in self.asked[-1]:
                connection.sendall(HEALTHY)
                connection.close()

    def close(self) -> None:
        self._listener.close()
        for connection in self._held:
            connection.close()


@contextlib.contextmanager
def hanging_server(says_it_is_healthy: bool = False) -> Iterator[HangingServer]:
    """Run one while the block runs."""
    server = HangingServer(says_it_is_healthy)
    try:
        yield server
    finally:
        server.close()
