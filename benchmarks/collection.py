"""How fast collection is: a snapshot of 20,000 pools, and 500 charts of 1,000 days, end to end, against a plain loop.

    python benchmarks/collection.py

starts a local server of its own and collects from it with rate limits off. The peer is what a notebook does: ask one
chart after another with the same HTTP library, put the rows into one table, keep nothing else.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import multiprocessing as mp
import os
import resource
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path

import httpx2
import polars as pl

from aegis_yield.collection.plan import Wish
from aegis_yield.pipelines.collect import CollectionFolder, collect

DAYS = 1000
CATALOGUE = "[defaults]\nhistory_days = 30\n"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pools", type=int, default=20_000, help="pools in the snapshot")
    parser.add_argument("--charts", type=int, default=500, help="charts of 1,000 days")
    order = parser.parse_args()
    context = mp.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=serve, args=(theirs, order.pools, order.charts), daemon=True)
    server.start()
    url = ours.recv()
    try:
        snapshot = measured(context, (collect_snapshot, url, 0))
        charts = measured(context, (collect_charts, url, order.charts))
        plain = measured(context, (plain_loop, url, order.charts))
    finally:
        server.terminate()
    print(
        f"snapshot of {order.pools:,} pools, asked, landed, checked, stored: {snapshot[0]:.1f} s, {snapshot[1]:.0f} MiB"
    )
    print(f"{order.charts} charts of {DAYS:,} days, asked, landed, checked, stored, tables written: "
          f"{charts[0]:.1f} s, {charts[1]:.0f} MiB")  # fmt: skip
    print(f"plain loop over the same charts, nothing kept but one table: {plain[0]:.1f} s, {plain[1]:.0f} MiB")
    print(f"the collector takes {charts[0] / plain[0]:.2f} times the plain loop")


Job = tuple[Callable[[str, int], None], str, int]


def measured(context: mp.context.SpawnContext, job: Job) -> tuple[float, float]:
    """Run a job in a process of its own; return seconds and the most memory it had, in MiB."""
    ours, theirs = context.Pipe()
    process = context.Process(target=_measure, args=(theirs, job))
    process.start()
    seconds, memory = ours.recv()
    process.join()
    return float(seconds), float(memory)


def _measure(pipe: Connection, job: Job) -> None:
    work, url, size = job
    began = time.perf_counter()
    work(url, size)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pipe.send((time.perf_counter() - began, peak / (1024**2 if sys.platform == "darwin" else 1024)))


def collect_snapshot(url: str, _: int) -> None:
    """Collect the list of pools and nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        _set_up(url, Path(folder))
        result = collect(CollectionFolder(Path(folder)), Wish(sources=("defillama",)))
        assert not result.failures, result.failures


def collect_charts(url: str, n_charts: int) -> None:
    """Follow the pools that are served as charts."""
    with tempfile.TemporaryDirectory() as folder:
        _set_up(url, Path(folder))
        result = collect(CollectionFolder(Path(folder)), Wish(universe="project=charted"))
        assert not result.failures, result.failures
        assert result.tables is not None
        assert result.tables["rows"]["yields"] == n_charts * (DAYS - 1)


def plain_loop(url: str, n_charts: int) -> None:
    """Ask one chart after another and make one table of them."""
    frames = []
    with httpx2.Client() as client:
        for number in range(n_charts):
            rows = client.get(f"{url}/chart/{pool_id(number)}").json()["data"]
            frames.append(pl.DataFrame(rows, infer_schema_length=None).with_columns(pl.lit(number).alias("pool")))
    assert pl.concat(frames).height == n_charts * DAYS


def _set_up(url: str, folder: Path) -> None:
    catalogue = folder / "catalogue.toml"
    catalogue.write_text(CATALOGUE)
    os.environ["AEGIS_CATALOGUE"] = str(catalogue)
    os.environ["AEGIS_OFFLINE"] = "1"
    for host in ("DEFILLAMA_YIELDS", "DEFILLAMA_API"):
        os.environ[f"AEGIS_SRC__{host}__BASE_URL"] = url
        os.environ[f"AEGIS_SRC__{host}__REQUESTS_PER_SECOND"] = "0"
    for host in ("DEFILLAMA_COINS", "DEFILLAMA_STABLECOINS", "ETHEREUM", "BINANCE", "BYBIT", "OKX", "HYPERLIQUID",
                 "FEAR_GREED", "LIDO", "COINGECKO", "FRED"):  # fmt: skip
        os.environ[f"AEGIS_SRC__{host}__BASE_URL"] = url


def pool_id(number: int) -> str:
    """Return the uuid of the pool with a number."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, str(number)))


def serve(pipe: Connection, n_pools: int, n_charts: int) -> None:
    """Serve the list of pools and the charts, prepared beforehand, until killed."""
    pools = _pool_list(n_pools, n_charts)
    chart = _chart()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = {"/pools": pools, "/protocols": b"[]"}.get(self.path, chart)
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    pipe.send(f"http://127.0.0.1:{server.server_port}")
    server.serve_forever()


def _pool_list(n_pools: int, n_charts: int) -> bytes:
    items = [
        {
            "chain": "Ethereum", "project": "charted" if number < n_charts else "listed", "symbol": f"T{number}",
            "tvlUsd": 10_000 + number, "apyBase": 3.29338, "apyReward": None, "apy": 3.29338, "rewardTokens": None,
            "pool": pool_id(number), "apyPct1D": -0.04, "apyPct7D": 0.3, "apyPct30D": None, "stablecoin": True,
            "ilRisk": "no", "exposure": "single", "poolMeta": None, "mu": 4.1, "sigma": 0.05, "count": 1141,
            "predictions": {"predictedClass": "Stable/Up", "predictedProbability": 74, "binnedConfidence": 2},
            "outlier": False, "underlyingTokens": ["0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48"], "il7d": None,
            "apyBase7d": None, "apyMean30d": 3.1, "volumeUsd1d": None, "volumeUsd7d": None, "apyBaseInception": None,
        }
        for number in range(n_pools)
    ]  # fmt: skip
    return json.dumps({"status": "success", "data": items}).encode()


def _chart() -> bytes:
    """A chart that ends today: its last row is provisional and reaches no table."""
    first = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=DAYS - 1)
    items = [
        {
            "timestamp": f"{first + dt.timedelta(days=day)}T23:01:24.670Z", "tvlUsd": 11_074_372_760 + day,
            "apy": 3.0 + day % 97 / 100, "apyBase": 3.0 + day % 97 / 100, "apyReward": None, "il7d": None,
            "apyBase7d": None, "pricePerShare": None,
        }
        for day in range(DAYS)
    ]  # fmt: skip
    return json.dumps({"status": "success", "data": items}).encode()


if __name__ == "__main__":
    main()
