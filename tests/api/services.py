"""What tests of the service are made of: a loader that counts, an address, a free port."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import uvicorn

from aegis_yield.domain.limits import DEFAULT_HORIZON_DAYS, DEFAULT_LEVEL
from aegis_yield.pipelines.predict import Answer, Forecaster, Question
from api.ml_service import create_app
from api.settings import ServiceSettings


@dataclass
class CountingLoader:
    """Gives a forecaster away and counts how often it was asked for."""

    forecaster: Forecaster
    calls: int = 0

    def __call__(self) -> Forecaster:
        self.calls += 1
        return self.forecaster


@dataclass(frozen=True)
class Service:
    """A service that listens on a free loopback port."""

    url: str
    port: int
    loader: CountingLoader


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(forecaster: Forecaster, settings: ServiceSettings | None = None) -> Iterator[Service]:
    """A real uvicorn in a thread of its own."""
    loader, port = CountingLoader(forecaster), free_port()
    config = uvicorn.Config(create_app(settings or ServiceSettings(), loader), port=port, log_level="critical")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    give_up = time.monotonic() + 20
    while not server.started and time.monotonic() < give_up:
        time.sleep(0.01)
    try:
        yield Service(f"http://127.0.0.1:{port}", port, loader)
    finally:
        server.should_exit = True
        thread.join(timeout=20)


def forecast_among_all(
    forecaster: Forecaster,
    names: Sequence[str],
    horizon_days: int = DEFAULT_HORIZON_DAYS,
    level: float = DEFAULT_LEVEL,
) -> Answer:
    """What the service says of strategies: it forecasts everything at once, which moves the eighth digit."""
    everything = forecaster.ask(Question(None, horizon_days, level))
    rows = {row.strategy_id: row for row in everything.rows}
    meant = {name: forecaster.names.resolve(name, forecaster.known_strategies) for name in names}
    return replace(everything, rows=[replace(rows[strategy], name=name) for name, strategy in meant.items()])
