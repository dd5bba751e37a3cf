"""Exchanges on a local server: each heeds start, end, limit and order as the real one does, and notes what it is asked.

A test says what is true, may queue answers to be given instead of the true ones, and may switch a habit off.
"""

from __future__ import annotations

import datetime as dt
import json
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import polars as pl
from harness import Bench
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from aegis_yield.collection.units import Demand

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
SINCE = dt.date(2024, 1, 5)
NOW = dt.datetime(2024, 3, 20, 13, 30, tzinfo=dt.UTC)

Row = tuple[Any, ...]
"""(time in ms, rate, mark price) of a settlement, (time in ms, open, high, low, close, volume) of a candle."""


def ms(*moment: int) -> int:
    return int(dt.datetime(*moment, tzinfo=dt.UTC).timestamp() * 1000)


def utc(time_ms: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(time_ms / 1000, dt.UTC)


def settlements(times: Iterable[int], mark: bool = False) -> list[Row]:
    """Make up a settlement for each time, all different; values are text of eight decimals, as exchanges give them."""
    chance = random.Random(7)
    return [(time, f"{chance.uniform(-5e-4, 5e-4):.8f}", f"{chance.uniform(2e3, 4e3):.8f}" if mark else None) for time in times]  # noqa: E501 # fmt: skip


def candles(times: Iterable[int]) -> list[Row]:
    chance = random.Random(8)
    made = []
    for time in times:
        a, b, c, d = sorted(round(chance.uniform(2e3, 4e3), 2) for _ in range(4))
        made.append((time, str(b), str(d), str(a), str(c), f"{chance.uniform(0, 1e5):.3f}"))
    return made


def hours(first: int, last: int, step: int = 1) -> Iterator[int]:
    return iter(range(first, last, step * HOUR_MS))


def switching_times() -> list[int]:
    """Every 8 hours until 10 February, then every hour, with one gap of 2 hours; from before SINCE to after NOW."""
    switch, gap = ms(2024, 2, 10), ms(2024, 2, 20, 7)
    times = [*hours(ms(2023, 12, 20), switch, 8), *hours(switch, ms(2024, 3, 21))]
    return [time for time in times if time != gap]


def json_answer(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(json.dumps(content), status, headers, content_type="application/json")


class Exchange:
    """One endpoint of one exchange for one market.

    Attributes
    ----------
    truth : list of Row
        All there is, oldest first.
    asked : list of dict
        The requests, as the exchange understood them.
    instead : deque
        The next answers; None stands for the true one.
    largest_page : int
        No page is longer, whatever the request's limit.
    heeds_cursor : bool
        Whether it looks at where a page is to begin (Binance, Hyperliquid) or end (Bybit, OKX).
    repeated : int
        So many rows before the place where a page should begin are handed out again.
    changed : callable
        May give a row another form on the way out.
    """

    source = ""
    dataset = "funding"
    entity = ""
    path = ""
    method = "GET"
    largest_page = 0

    def __init__(self, server: HTTPServer, truth: Iterable[Row]) -> None:
        self.truth = sorted(truth)
        self.asked: list[dict[str, Any]] = []
        self.instead: deque[Response | None] = deque()
        self.heeds_cursor, self.repeated = True, 0
        self.changed: Callable[[Any], Any] = lambda row: row
        server.expect_request(self.path, method=self.method).respond_with_handler(self._respond)

    @property
    def demand(self) -> Demand:
        return Demand(self.source, self.dataset, self.entity)

    def expected(self, since: dt.date = SINCE, now: dt.datetime = NOW) -> list[Row]:
        """What a history must hold: the truth from ``since`` to ``now``."""
        first, last = ms(since.year, since.month, since.day), now.timestamp() * 1000
        return [self._kept(row) for row in self.truth if first <= row[0] <= last]

    def _kept(self, row: Row) -> Row:
        if self.dataset == "funding":
            price = float(row[2]) if row[2] else None
            return (self.source, self.entity, utc(row[0] // HOUR_MS * HOUR_MS), float(row[1]), price, True)
        return (self.source, self.entity, "1h", utc(row[0]), *map(float, row[1:]), True)

    def collected(self, bench: Bench) -> list[Row]:
        """What a history holds of this market."""
        rows = bench.history.latest(self.dataset).filter(
            pl.col("venue") == self.source, pl.col("symbol") == self.entity
        )
        return rows.drop("ingested_at", "raw_id", "row_no", "revision").rows()

    def pages(self) -> list[tuple[int, int]]:
        """The windows asked for, first and last millisecond."""
        return [self.window(asked) for asked in self.asked]

    def window(self, asked: dict[str, Any]) -> tuple[int, int]:
        return int(asked["startTime"]), int(asked["endTime"])

    def _respond(self, request: Request) -> Response:
        asked = self.understood(request)
        self.asked.append(asked)
        prepared = self.instead.popleft() if self.instead else None
        return prepared if prepared is not None else self.answer(asked)

    def understood(self, request: Request) -> dict[str, Any]:
        return dict(request.args)

    def answer(self, asked: dict[str, Any]) -> Response:
        raise NotImplementedError

    def oldest(self, first: int, last: int, limit: int) -> list[Row]:
        """The first rows of a window, oldest first."""
        if not self.heeds_cursor:
            return [row for row in self.truth if row[0] <= last][:limit]
        start = sum(row[0] < first for row in self.truth)
        return [row for row in self.truth[max(0, start - self.repeated) :] if row[0] <= last][:limit]

    def newest(self, first: int, last: int, limit: int) -> list[Row]:
        """The last rows of a window, newest first."""
        last = last if self.heeds_cursor else self.truth[-1][0]
        end = sum(row[0] <= last for row in self.truth) + self.repeated
        return [row for row in self.truth[:end] if row[0] >= first][::-1][:limit]


class Binance(Exchange):
    source, entity, path, largest_page = "binance", "ETHUSDT", "/fapi/v1/fundingRate", 1000

    def answer(self, asked: dict[str, Any]) -> Response:
        if asked.get("symbol") != self.entity:
            return json_answer({"code": -1121, "msg": "Invalid symbol."}, 400)
        if "startTime" not in asked and "endTime" not in asked:
            return json_answer([self.written(row) for row in self.truth[-200:]])
        limit = min(int(asked.get("limit", 100)), self.largest_page)
        rows = self.oldest(int(asked.get("startTime", 0)), int(asked.get("endTime", 10**15)), limit)
        return json_answer([self.changed(self.written(row)) for row in rows])

    def written(self, row: Row) -> Any:
        time, rate, mark = row
        return {"symbol": self.entity, "fundingTime": time, "fundingRate": rate, "markPrice": mark or ""}


class BinanceCandles(Binance):
    dataset, path, largest_page = "candles", "/fapi/v1/klines", 1500

    def answer(self, asked: dict[str, Any]) -> Response:
        assert asked["interval"] == "1h"
        return super().answer({"limit": 500, **asked})

    def written(self, row: Row) -> Any:
        return [*row, row[0] + HOUR_MS - 1, "1.5", 12, "0.5", "0.7", "0"]


class Bybit(Exchange):
    source, entity, path, largest_page = "bybit", "ETHUSDT", "/v5/market/funding/history", 200
    names = ("startTime", "endTime")

    def window(self, asked: dict[str, Any]) -> tuple[int, int]:
        return int(asked[self.names[0]]), int(asked[self.names[1]])

    def answer(self, asked: dict[str, Any]) -> Response:
        start, end = self.names
        if asked.get("category") != "linear" or asked.get("symbol") != self.entity:
            return self.envelope([], 10001, "params error: Symbol Invalid")
        if start in asked and end not in asked:
            return self.envelope([], 10001, "Time is invalid")
        limit = min(int(asked.get("limit", 200)), self.largest_page)
        rows = self.newest(int(asked.get(start, 0)), int(asked.get(end, 10**15)), limit)
        return self.envelope([self.changed(self.written(row)) for row in rows])

    def envelope(self, rows: list[Any], code: int = 0, message: str = "OK") -> Response:
        result = {"category": "linear", "list": rows} if code == 0 else {}
        return json_answer({"retCode": code, "retMsg": message, "result": result, "retExtInfo": {}, "time": 1})

    def written(self, row: Row) -> Any:
        return {"symbol": self.entity, "fundingRate": row[1], "fundingRateTimestamp": str(row[0])}


class BybitCandles(Bybit):
    dataset, path, largest_page = "candles", "/v5/market/kline", 1000
    names = ("start", "end")

    def answer(self, asked: dict[str, Any]) -> Response:
        assert asked["interval"] == "60"
        return super().answer(asked)

    def written(self, row: Row) -> Any:
        return [str(row[0]), *row[1:], "123.4"]


class Okx(Exchange):
    source, entity, path, largest_page = "okx", "ETH-USDT-SWAP", "/api/v5/public/funding-rate-history", 400
    keeps_from = 0
    """Older settlements are not told."""

    def window(self, asked: dict[str, Any]) -> tuple[int, int]:
        return int(asked.get("before", -1)) + 1, int(asked["after"]) - 1

    def answer(self, asked: dict[str, Any]) -> Response:
        if asked.get("instId") != self.entity:
            return json_answer({"code": "51001", "msg": "Instrument ID doesn't exist.", "data": []})
        # `before` means newer than, `after` means older than; with neither bound the newest come.
        newer_than, older_than = int(asked.get("before", 0)), int(asked.get("after", 10**15))
        limit = min(int(asked.get("limit", 100)), self.largest_page)
        rows = self.newest(max(newer_than + 1, self.keeps_from), older_than - 1, limit)
        return json_answer({"code": "0", "msg": "", "data": [self.changed(self.written(row)) for row in rows]})

    def written(self, row: Row) -> Any:
        return {
            "formulaType": "noRate", "fundingRate": "0.05", "fundingTime": str(row[0]), "instId": self.entity,
            "instType": "SWAP", "method": "next_period", "realizedRate": row[1],
        }  # fmt: skip


class Hyperliquid(Exchange):
    source, entity, path, method, largest_page = "hyperliquid", "ETH", "/info", "POST", 500

    def understood(self, request: Request) -> dict[str, Any]:
        asked = json.loads(request.data)
        assert asked["type"] == "fundingHistory"
        return dict(asked)

    def answer(self, asked: dict[str, Any]) -> Response:
        if asked["coin"] != self.entity:
            return json_answer(None, 500)
        rows = self.oldest(asked["startTime"], asked.get("endTime", 10**15), self.largest_page)
        return json_answer([self.changed(self.written(row)) for row in rows])

    def written(self, row: Row) -> Any:
        return {"coin": self.entity, "fundingRate": row[1], "premium": "0.00031774", "time": row[0]}


class HyperliquidCandles(Hyperliquid):
    dataset, largest_page = "candles", 5000

    def understood(self, request: Request) -> dict[str, Any]:
        asked = json.loads(request.data)
        assert asked["type"] == "candleSnapshot"
        assert asked["req"]["interval"] == "1h"
        return dict(asked["req"])

    def oldest(self, first: int, last: int, limit: int) -> list[Row]:
        # All candles that overlap the window, of the newest that are kept.
        return super().oldest(first - HOUR_MS + 1, last, 10**9)[-limit:]

    def written(self, row: Row) -> Any:
        time, *prices, volume = row
        named = dict(zip("ohlc", prices, strict=True))
        return {"t": time, "T": time + HOUR_MS - 1, "s": self.entity, "i": "1h", **named, "v": volume, "n": 12}


FUNDING: tuple[type[Exchange], ...] = (Binance, Bybit, Okx, Hyperliquid)
CANDLES: tuple[type[Exchange], ...] = (BinanceCandles, BybitCandles, HyperliquidCandles)
