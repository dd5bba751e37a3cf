"""A small world to collect from: one local server stands for all hosts, with a catalogue of its own.

What it serves ends at the moment of asking, as the real hosts' data does. A test can slow it down, break some of its
paths, rewrite its past, and see what was asked.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

HOURS_MS, DAY_MS = 3_600_000, 86_400_000
EPOCH = dt.date(1970, 1, 1)
FIRST_DAYS = 75
HISTORY_DAYS = 35
PREFIXES = {
    "defillama_yields": "yields", "defillama_api": "api", "defillama_coins": "coins", "lido": "lido",
    "defillama_stablecoins": "stablecoins", "ethereum": "rpc", "binance": "binance", "bybit": "bybit", "okx": "okx",
    "hyperliquid": "hyperliquid", "fear_greed": "fng", "coingecko": "coingecko", "fred": "fred",
}  # fmt: skip
AAVE, LIDO = "aa70268e-4b52-42bf-a116-608b370f9501", "747c1d2a-c668-4682-b9f9-296708a3dd90"
CATALOGUE = f"""
[defaults]
history_days = {HISTORY_DAYS}

[[strategy]]
id = "aave-v3:ethereum:usdc"
project = "aave-v3"
chain = "Ethereum"
symbol = "USDC"
category = "lending"
sources = [{{ dataset = "defillama/chart", entity = "{AAVE}" }}]
price = {{ of = "coingecko:usd-coin" }}

[[strategy]]
id = "lido:ethereum:steth"
project = "lido"
chain = "Ethereum"
symbol = "STETH"
category = "staking"
sources = [{{ dataset = "defillama/chart", entity = "{LIDO}" }}]

[[strategy]]
id = "delta-neutral:binance:eth"
project = "delta-neutral-binance"
chain = "CEX"
symbol = "ETH"
category = "delta_neutral"
sources = [{{ dataset = "binance/funding", entity = "ETHUSDT" }}]

[[strategy]]
id = "delta-neutral:lido-binance:steth-eth"
project = "delta-neutral-lido-binance"
chain = "Ethereum"
symbol = "STETH-ETH"
category = "delta_neutral"

[strategy.carry]
long = "lido:ethereum:steth"
short = "delta-neutral:binance:eth"

[[market]]
column = "eth_price"
sources = [{{ dataset = "binance/candles", entity = "ETHUSDT" }}]

[[market]]
column = "eth_volatility"
sources = [{{ dataset = "binance/candles", entity = "ETHUSDT" }}]

[[market]]
column = "fear_greed"
sources = [{{ dataset = "fear_greed/index", entity = "*" }}]

[[market]]
column = "vix"
sources = [{{ dataset = "fred/observations", entity = "VIXCLS" }}]
"""


def pool_of(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, name))


def listed_pool(pool: str, project: str, symbol: str, **more: Any) -> dict[str, Any]:
    """One item of DefiLlama's list of pools."""
    item = {
        "chain": "Ethereum", "project": project, "symbol": symbol, "tvlUsd": 5e6, "apyBase": 3.0, "apyReward": None,
        "apy": 3.0, "pool": pool, "stablecoin": False, "ilRisk": "no", "exposure": "single", "poolMeta": None,
        "outlier": False, "underlyingTokens": None,
    }  # fmt: skip
    return item | more


def today() -> dt.date:
    return dt.datetime.now(dt.UTC).date()


def ms_of(day: dt.date) -> int:
    return (day - EPOCH).days * DAY_MS


class World:
    """The hosts, and what they say."""

    def __init__(self, server: HTTPServer, folder: Path) -> None:
        self.server = server
        self.catalogue = folder / "catalogue.toml"
        self.catalogue.write_text(CATALOGUE)
        self.pools = [listed_pool(AAVE, "aave-v3", "USDC", stablecoin=True), listed_pool(LIDO, "lido", "STETH")]
        self.pools += [listed_pool(pool_of(f"vault {n}"), "yearn", f"YV{n}", tvlUsd=1e6 * n) for n in range(1, 9)]
        self.protocols = [{"slug": "aave-v3", "name": "Aave", "category": "Lending"}]
        self.protocols += [{"slug": "yearn", "name": "Yearn", "category": "Yield Aggregator"}]
        self.rewritten: dict[tuple[str, dt.date], float] = {}
        self.broken: dict[str, Callable[[], Response]] = {}
        self.gone: set[str] = set()
        self.delay_s = 0.0
        self.asked: list[str] = []
        self._lock = threading.Lock()

    def environment(self, **more: str) -> dict[str, str]:
        """Settings that make every host this server."""
        url = self.server.url_for("/")
        found = {f"AEGIS_SRC__{host.upper()}__BASE_URL": url + prefix for host, prefix in PREFIXES.items()}
        found |= {f"AEGIS_SRC__{host.upper()}__REQUESTS_PER_SECOND": "0" for host in PREFIXES}
        found |= {"AEGIS_OFFLINE": "1", "AEGIS_SRC__CLIENT__BACKOFF_BASE_S": "0.01", "AEGIS_SRC__CLIENT__ATTEMPTS": "2"}
        return {**found, "AEGIS_CATALOGUE": str(self.catalogue), **more}

    def wait_for(self, n_requests: int, seconds: float = 30.0) -> None:
        """Return once so many requests have come."""
        until = time.monotonic() + seconds
        while len(self.asked) < n_requests:
            assert time.monotonic() < until, f"{len(self.asked)} requests came, {n_requests} were expected"
            time.sleep(0.005)

    def apy_percent(self, pool: str, day: dt.date) -> float:
        """What the chart of a pool says of a day: smooth, different for every pool."""
        wave = (uuid.UUID(pool).int % 1000 + 37 * day.toordinal()) % 101
        return self.rewritten.get((pool, day), 2.0 + wave / 50)

    @staticmethod
    def funding_rate(moment_ms: int) -> float:
        return ((moment_ms // (8 * HOURS_MS)) % 13 - 3) * 1e-5

    @staticmethod
    def close(moment_ms: int) -> float:
        return 3000.0 + (moment_ms // HOURS_MS * 7919) % 211

    def __call__(self, request: Request) -> Response:
        with self._lock:
            self.asked.append(request.path)
        time.sleep(self.delay_s)
        for prefix, respond in self.broken.items():
            if request.path.startswith(prefix):
                return respond()
        return self._answer(request)

    def _answer(self, request: Request) -> Response:
        host, _, rest = request.path.strip("/").partition("/")
        last = rest.rpartition("/")[2]
        if host == "yields" and rest == "pools":
            return as_json({"status": "success", "data": self.pools})
        if host == "yields" and rest.startswith("chart/"):
            return as_json({"status": "success", "data": self._chart(last)})
        if host == "api" and rest == "protocols":
            return as_json(self.protocols)
        if host == "coins":
            return as_json({"coins": {last: {"symbol": "X", "confidence": 0.99, "prices": self._prices(request)}}})
        if host == "fng":
            days = [
                EPOCH + dt.timedelta(days=n)
                for n in range((today() - EPOCH).days - FIRST_DAYS, (today() - EPOCH).days + 1)
            ]
            data = [{"value": str(day.day), "timestamp": str(ms_of(day) // 1000)} for day in reversed(days)]
            return as_json({"name": "Fear and Greed Index", "data": data, "metadata": {"error": None}})
        if last == "fundingRate":
            return as_json([self._payment(moment) for moment in self._moments(request, 8)])
        if last == "klines":
            return as_json([self._candle(moment) for moment in self._moments(request, 1)])
        return Response(f"nothing at {request.path}", status=404)

    def _chart(self, pool: str) -> list[dict[str, Any]]:
        if pool not in {item["pool"] for item in self.pools} | self.gone:
            return []
        days = [today() - dt.timedelta(days=n) for n in range(FIRST_DAYS, -1, -1)]
        stamps = [f"{day}T23:01:24.670Z" if day < today() else f"{day}T00:00:01.000Z" for day in days]
        rates = [self.apy_percent(pool, day) for day in days]
        return [
            {"timestamp": stamp, "tvlUsd": 1_000_000, "apy": apy, "apyBase": apy, "apyReward": None}
            for stamp, apy in zip(stamps, rates, strict=True)
        ]

    def _prices(self, request: Request) -> list[dict[str, float]]:
        start, span = int(request.args["start"]), int(request.args["span"])
        moments = [start + 86_400 * n for n in range(span)]
        return [{"timestamp": moment, "price": 1.0 + moment // 86_400 % 7 / 1000} for moment in moments]

    def _moments(self, request: Request, hours: int) -> list[int]:
        step, limit = hours * HOURS_MS, int(request.args["limit"])
        start = max(int(request.args["startTime"]), ms_of(today()) - FIRST_DAYS * DAY_MS)
        end = min(int(request.args["endTime"]), int(time.time() * 1000))
        return list(range(-(-start // step) * step, end + 1, step))[:limit]

    def _payment(self, moment: int) -> dict[str, Any]:
        rate = repr(self.funding_rate(moment))
        return {"symbol": "ETHUSDT", "fundingRate": rate, "fundingTime": moment, "markPrice": "3000"}

    def _candle(self, moment: int) -> list[Any]:
        text = repr(self.close(moment))
        return [moment, text, text, text, text, "1", moment + HOURS_MS - 1, "1", 1, "1", "1", "0"]


def as_json(content: Any) -> Response:
    return Response(json.dumps(content), content_type="application/json")


@contextmanager
def quiet_server() -> Iterator[HTTPServer]:
    """A server that answers several requests at a time and says nothing."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with HTTPServer(threaded=True) as server:
        yield server


def small_world(server: HTTPServer, folder: Path) -> World:
    """Let a server be the small world, as it was never changed."""
    server.clear()
    world = World(server, folder)
    server.expect_request(re.compile(".*")).respond_with_handler(world)
    return world


def tables_of(folder: Path) -> dict[str, bytes]:
    """The bytes of the three tables. A kill in mid-write leaves a hidden file beside them that nobody reads."""
    return {path.name: path.read_bytes() for path in sorted((folder / "processed").glob("[!.]*.parquet"))}


def frames_of(folder: Path) -> Mapping[str, pl.DataFrame]:
    """The three tables."""
    return {path.stem: pl.read_parquet(path) for path in sorted((folder / "processed").glob("*.parquet"))}
