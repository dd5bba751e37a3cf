"""Runs real units against a local server: the collector as it is, with a folder of its own and no rate limits."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path

from pytest_httpserver import HTTPServer

from aegis_yield.collection.client import Client
from aegis_yield.collection.history import History
from aegis_yield.collection.journal import Journal
from aegis_yield.collection.limits import HostFigures
from aegis_yield.collection.raw import RawZone
from aegis_yield.collection.reader import Reader
from aegis_yield.collection.runner import Failure, Moment, Runner, units_to_do
from aegis_yield.collection.settings import CollectionSettings, load_settings
from aegis_yield.collection.units import Demand, WorkUnit

HOSTS = (
    "defillama_yields", "defillama_api", "defillama_coins", "defillama_stablecoins", "ethereum", "lido", "binance",
    "bybit", "okx", "hyperliquid", "fear_greed", "coingecko", "fred",
)  # fmt: skip


def local_environment(url: str, **more: str) -> dict[str, str]:
    """Settings that point every host at one local server, with no rate limit and hardly any waiting."""
    environment = {f"AEGIS_SRC__{host.upper()}__BASE_URL": url for host in HOSTS}
    environment |= {f"AEGIS_SRC__{host.upper()}__REQUESTS_PER_SECOND": "0" for host in HOSTS}
    environment |= {"AEGIS_SRC__CLIENT__BACKOFF_BASE_S": "0.01", "AEGIS_OFFLINE": "1"}
    return environment | more


class Bench:
    """One collection folder and the server that it collects from."""

    def __init__(
        self,
        folder: Path,
        server: HTTPServer,
        now: dt.datetime,
        since: dt.date,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder, self.server = folder, server
        self.moment = Moment(now, since)
        self.settings: CollectionSettings = load_settings(
            environment=local_environment(server.url_for("").rstrip("/"), **dict(environment or {}))
        )
        self.failures: list[Failure] = []
        self.figures: dict[str, HostFigures] = {}
        self.reopen()

    def reopen(self) -> None:
        """Open the folder as a new process would."""
        self.raw = RawZone(self.folder / "raw")
        self.journal = Journal(self.folder / "raw" / "journal.sqlite3")
        self.history = History(self.folder / "processed" / "history")
        self.reader = Reader(self.raw, self.journal, self.history)

    def close(self) -> None:
        """Close the journal's file."""
        self.journal.close()

    def collect(self, demands: Sequence[Demand], now: dt.datetime | None = None) -> list[WorkUnit]:
        """Plan and run; return the units that were to be done."""
        moment = Moment(now or self.moment.now, self.moment.since)
        units = units_to_do(demands, moment, self.journal)

        async def run() -> None:
            async with Client(self.settings, self.raw) as client:
                runner = Runner(client, self.journal, self.reader, moment)
                await runner.run(units, dict.fromkeys(HOSTS, 2), lambda done, total: None)
                self.failures, self.figures = runner.failures, client.figures

        asyncio.run(run())
        return units
