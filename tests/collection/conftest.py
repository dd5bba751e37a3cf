"""A local server for every test, silent, and benches that close what they open."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import Bench
from pytest_httpserver import HTTPServer
from toy_source import TOYS

from aegis_yield.collection import sources


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the toy source be one of those that there are."""
    for name, spec in TOYS.items():
        monkeypatch.setitem(sources.DATASETS, name, spec)


@pytest.fixture(autouse=True)
def _silent_server() -> None:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)


@pytest.fixture(scope="session")
def _second_server() -> Iterator[HTTPServer]:
    with HTTPServer(threaded=True) as server:
        yield server


@pytest.fixture
def threaded_server(_second_server: HTTPServer) -> HTTPServer:
    """Another server than ``httpserver``, one that answers several requests at a time."""
    _second_server.clear()
    return _second_server


@pytest.fixture
def make_bench(tmp_path: Path, httpserver: HTTPServer) -> Iterator[Callable[..., Bench]]:
    """Make benches: ``make_bench(now=..., since=..., environment=...)``."""
    made: list[Bench] = []

    def make(now: dt.datetime, since: dt.date, **more: Any) -> Bench:
        made.append(Bench(tmp_path / f"bench{len(made)}", httpserver, now, since, **more))
        return made[-1]

    yield make
    for bench in made:
        bench.close()
