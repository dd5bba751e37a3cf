"""What tests of the service are made of: a loader that counts, an address, a free port."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from aegis_yield.pipelines.predict import Forecaster


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
