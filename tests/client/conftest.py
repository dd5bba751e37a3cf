from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "api"))  # this folder may be run alone

from bundles import home, plain_environment, tables, tiny_model
from processes import Running, running
from pytest_httpserver import HTTPServer

from aegis_yield.client import Client, Retries

__all__ = ["home", "plain_environment", "tables", "tiny_model"]

QUICK = Retries(attempts=3, first_wait_s=0.01, longest_wait_s=0.02, budget_s=5.0)


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory, tables: Path, tiny_model: Path) -> Iterator[Running]:
    """The service as a process of its own, which records what it gives out."""
    folder = tmp_path_factory.mktemp("served")
    extra = {"AEGIS_DATA": str(tables), "AEGIS_MODEL": str(tiny_model), "AEGIS_SERVICE__RECORD": "true"}
    with running(folder, folder / "log", **extra) as service:
        yield service


@pytest.fixture
def asked(live: Running) -> Iterator[Client]:
    with Client(live.url, timeout_s=120.0) as client:
        yield client


@pytest.fixture
def faulty(httpserver: HTTPServer) -> Iterator[Client]:
    """A client of a server that answers as a test wants."""
    with Client(httpserver.url_for("/"), timeout_s=5.0, retries=QUICK) as client:
        yield client
