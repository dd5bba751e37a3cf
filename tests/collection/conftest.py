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


@pytest.fixture(autouse=True)
def _silent_server() -> None:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)


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
