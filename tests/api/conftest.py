from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from bundles import forecaster, home, plain_environment, tables, tiny_bundle, tiny_model
from services import CountingLoader, Service, free_port
from starlette.testclient import TestClient

from aegis_yield.pipelines.predict import Forecaster
from api.ml_service import create_app
from api.settings import ServiceSettings

__all__ = ["forecaster", "home", "plain_environment", "tables", "tiny_bundle", "tiny_model"]


@pytest.fixture(scope="session")
def client(forecaster: Forecaster) -> Iterator[TestClient]:
    app = create_app(ServiceSettings(), CountingLoader(forecaster))
    with TestClient(app, raise_server_exceptions=False) as opened:
        yield opened


@pytest.fixture(scope="session")
def service(forecaster: Forecaster) -> Iterator[Service]:
    """A real uvicorn in a thread of its own."""
    loader, port = CountingLoader(forecaster), free_port()
    config = uvicorn.Config(create_app(ServiceSettings(), loader), port=port, log_level="critical")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    give_up = time.monotonic() + 20
    while not server.started and time.monotonic() < give_up:
        time.sleep(0.01)
    yield Service(f"http://127.0.0.1:{port}", port, loader)
    server.should_exit = True
    thread.join(timeout=20)
