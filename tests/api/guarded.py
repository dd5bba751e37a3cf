"""What tests of the guards are made of: a service with keys, a server on a port, talk below HTTP."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from services import CountingLoader, free_port
from starlette.testclient import TestClient
from starlette.types import ASGIApp
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from aegis_yield.pipelines.keys import create_key
from aegis_yield.pipelines.predict import Forecaster
from api.guards.connections import protocol
from api.ml_service import create_app
from api.settings import LifeSettings, ServiceSettings

LOOPBACK = "http://127.0.0.1:5000"


@dataclass(frozen=True)
class Doors:
    """A key file with a key of each scope."""

    path: Path
    keys: dict[str, str]

    def bearer(self, scope: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self.keys[scope]}"}


def make_doors(path: Path) -> Doors:
    return Doors(path, {scope: create_key(path, f"{scope}er", scope)[1] for scope in ("read", "optimize", "admin")})


@contextmanager
def opened(
    forecaster: Forecaster, life: dict[str, Any], base_url: str = LOOPBACK, **settings: Any
) -> Iterator[TestClient]:
    """The service with these settings, asked as if through a connection to ``base_url``."""
    chosen = ServiceSettings(service=LifeSettings(**life), **settings)
    app = create_app(chosen, CountingLoader(forecaster))
    with TestClient(app, base_url=base_url, raise_server_exceptions=False) as client:
        yield client


@contextmanager
def listening(app: ASGIApp, life: LifeSettings, base: type[asyncio.Protocol] = AutoHTTPProtocol) -> Iterator[int]:
    """A real server in a thread, with the protocol that guards connections."""
    port = free_port()
    config = uvicorn.Config(
        app,
        port=port,
        http=protocol(life, base),
        log_config=None,
        ws="none",
        timeout_keep_alive=life.keep_alive_s,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    give_up = time.monotonic() + 20
    while not server.started and time.monotonic() < give_up:
        time.sleep(0.01)
    try:
        yield port
    finally:
        server.should_exit = True
        thread.join(timeout=20)


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def heard(connection: socket.socket) -> bytes:
    """Everything until the other side closes."""
    parts = []
    try:
        while part := connection.recv(65_536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def answer_in(text: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the one answer in what was heard."""
    head, _, body = text.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(first.split()[1]), headers, body


def problem_in(text: bytes, status: int) -> dict[str, Any]:
    """Check that what was heard is one problem document."""
    found, headers, body = answer_in(text)
    assert found == status, text
    assert headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = json.loads(body)
    assert document["status"] == status
    assert document["detail"]
    return document
