from __future__ import annotations

from collections.abc import Iterator

import pytest
from bundles import forecaster, home, plain_environment, tables, tiny_bundle, tiny_model
from services import CountingLoader, Service, running
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
    with running(forecaster) as started:
        yield started
