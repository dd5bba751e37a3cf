"""A replay server: real daily tables, served in the formats of the sources that they could have come from.

The collector does not know that it is not talking to the real hosts. Every answer is made from the tables when it is
asked for, so what is collected can be compared with them value by value.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

HOURS = 24
DAY_MS = 86_400_000
NAMESPACE = uuid.UUID("d2bb36db-2d93-4a4e-8069-60d1bddf6036")
PREFIXES = {
    "defillama_yields": "/yields", "defillama_api": "/api", "defillama_coins": "/coins", "lido": "/lido",
    "defillama_stablecoins": "/stablecoins", "ethereum": "/rpc", "binance": "/binance", "bybit": "/bybit",
    "okx": "/okx",    "hyperliquid": "/hyperliquid", "fear_greed": "/fng", "coingecko": "/coingecko", "fred": "/fred",
}  # fmt: skip
FRED_KEY = "0123456789abcdef0123456789abcdef"
FUNDED = {"ETHUSDT": "delta-neutral:binance:eth"}
CANDLES = {"ETHUSDT": "eth_price", "BTCUSDT": "btc_price"}


@dataclass(frozen=True)
class Tables:
    """What is replayed: the three tables, cut to the strategies that are served."""

    yields: pl.DataFrame
    strategies: pl.DataFrame
    market: pl.DataFrame


def pool_ids(strategies: pl.DataFrame) -> dict[str, str]:
    """The uuid under which each strategy is served: its own at DefiLlama, else one made from its name."""
    return {
        row["strategy_id"]: row["llama_id"] or str(uuid.uuid5(NAMESPACE, row["strategy_id"]))
        for row in strategies.iter_rows(named=True)
    }


class Replay:
    """Serves tables through a local server."""

    def __init__(self, server: HTTPServer, tables: Tables, chain: Callable[[Request], Response] | None = None) -> None:
        self.server, self.tables = server, tables
        self.pools = pool_ids(tables.strategies)
        self._strategy_of = {pool: strategy for strategy, pool in self.pools.items()}
        self._days = {key[0]: rows for key, rows in tables.yields.partition_by("strategy_id", as_dict=True).items()}
        self._answer = {
            "/yields/pools": self._pool_list,
            "/api/protocols": lambda _: _json([]),
            "/binance/fapi/v1/fundingRate": self._funding,
            "/binance/fapi/v1/klines": self._klines,
            "/bybit/v5/market/kline": lambda _: _json(_BYBIT_EMPTY),
            "/hyperliquid/info": lambda _: _json([]),
            "/fng/fng/": self._fear_greed,
            "/fred/fred/series/observations": self._fred,
            "/api/v2/historicalChainTvl": self._chain_tvl,
            "/stablecoins/stablecoincharts/all": self._stablecoins,
            "/rpc": chain or _no_chain,
        }
        server.expect_request(re.compile(".*")).respond_with_handler(self._respond)

    def environment(self) -> dict[str, str]:
        """Settings that make every host this server."""
        url = self.server.url_for("").rstrip("/")
        found = {f"AEGIS_SRC__{host.upper()}__BASE_URL": url + prefix for host, prefix in PREFIXES.items()}
        found |= {f"AEGIS_SRC__{host.upper()}__REQUESTS_PER_SECOND": "0" for host in PREFIXES}
        keys = {"AEGIS_SRC__FRED__API_KEY": FRED_KEY, "AEGIS_SRC__DEFILLAMA_YIELDS__API_KEY": "k" * 32}
        return {**found, **keys, "AEGIS_OFFLINE": "1", "AEGIS_SRC__CLIENT__BACKOFF_BASE_S": "0.01"}

    def _respond(self, request: Request) -> Response:
        path = request.path
        if path in self._answer:
            return self._answer[path](request)
        place, _, name = path.rpartition("/")
        if place == "/yields/chart":
            return self._chart(name)
        if place == "/yields/chartLendBorrow":
            return self._lending(name)
        if place == "/coins/chart":
            return _json({"coins": {}})
        if place == "/api/protocol":
            return _json({"id": "1", "name": name, "tvl": [], "chainTvls": {}})
        if path.startswith("/lido/v1/protocol/steth/apr"):
            return _json(
                {"data": [], "meta": {}, "pagination": {"page": 1, "pageSize": 100, "itemCount": 0, "pageCount": 0}}
            )
        return Response(f"nothing at {path}", status=404)

    def _pool_list(self, _: Request) -> Response:
        rows = self.tables.strategies.to_dicts()
        return _json(
            {"status": "success", "data": [self._pool_item(row) for row in rows if row["strategy_id"] in self._days]}
        )

    def _pool_item(self, row: dict[str, Any]) -> dict[str, Any]:
        last = self._days[row["strategy_id"]].row(-1, named=True)
        return {
            "chain": row["chain"], "project": row["project"], "symbol": row["symbol"], "tvlUsd": last["tvl_usd"] or 1e6,
            "apyBase": None, "apyReward": None, "apy": 100 * max(last["apy"], 0.0), "rewardTokens": None,
            "pool": self.pools[row["strategy_id"]], "stablecoin": False, "ilRisk": "no", "exposure": "single",
            "poolMeta": None, "outlier": False, "underlyingTokens": None, "count": 100, "predictions": None,
        }  # fmt: skip

    def _chart(self, pool: str) -> Response:
        rows = self._days.get(self._strategy_of.get(pool, ""))
        if rows is None:
            return _json({"status": "success", "data": []})
        stamp = rows["date"].dt.strftime("%Y-%m-%dT23:01:24.670Z").to_list()
        names = {
            "tvlUsd": ("tvl_usd", 1.0),
            "apy": ("apy", 100.0),
            "apyBase": ("apy_base", 100.0),
            "apyReward": ("apy_reward", 100.0),
        }
        columns = {name: (rows[column] * factor).to_list() for name, (column, factor) in names.items()}
        nothing = {"il7d": None, "apyBase7d": None, "pricePerShare": None}
        data = [
            {"timestamp": moment, **dict(zip(columns, values, strict=True)), **nothing}
            for moment, *values in zip(stamp, *columns.values(), strict=True)
        ]
        return _json({"status": "success", "data": data})

    def _lending(self, pool: str) -> Response:
        rows = self._days.get(self._strategy_of.get(pool, ""), self.tables.yields.head(0))
        rows = rows.filter(
            pl.any_horizontal(pl.col("total_supply_usd", "total_borrow_usd", "borrow_apy").is_not_null())
        )
        data = [
            {
                "timestamp": f"{row['date']}T23:01:24.670Z", "totalSupplyUsd": row["total_supply_usd"],
                "totalBorrowUsd": row["total_borrow_usd"], "debtCeilingUsd": None, "apyBase": 100 * row["apy"],
                "apyReward": None, "apyBaseBorrow": _times(row["borrow_apy"], 100), "apyRewardBorrow": None,
            }
            for row in rows.iter_rows(named=True)
        ]  # fmt: skip
        return _json({"status": "success", "data": data})

    def _funding(self, request: Request) -> Response:
        """Three payments a day that add up to the day's funding; the day with two payments has two."""
        rows = self._days.get(FUNDED.get(request.args["symbol"], ""), self.tables.yields.head(0))
        start, end = int(request.args["startTime"]), int(request.args["endTime"])
        found = []
        for day, apy in rows.select("date", "apy").iter_rows():
            midnight = _ms(day)
            for hour in (0, 8, 16):
                moment = midnight + hour * 3_600_000
                if start <= moment <= end:
                    found.append(
                        {
                            "symbol": request.args["symbol"], "fundingRate": repr(apy / 365 / 3), "fundingTime": moment,
                            "markPrice": "", "rateType": "Regular",
                        }
                    )  # fmt: skip
        return _json(found[: int(request.args.get("limit", 100))])

    def _klines(self, request: Request) -> Response:
        prices = dict(self.tables.market.select("date", CANDLES[request.args["symbol"]]).drop_nulls().iter_rows())
        start, end = int(request.args["startTime"]), int(request.args["endTime"])
        opened = -(-start // 3_600_000) * 3_600_000
        found = []
        while opened <= end and len(found) < int(request.args.get("limit", 500)):
            price = prices.get(_day(opened))
            if price is not None:
                text = repr(price)
                found.append([opened, text, text, text, text, "1", opened + 3_599_999, "1", 1, "1", "1", "0"])
            opened += 3_600_000
        return _json(found)

    def _fear_greed(self, _: Request) -> Response:
        rows = self.tables.market.select("date", "fear_greed").drop_nulls().sort("date", descending=True)
        data = [
            {"value": repr(value), "value_classification": "Neutral", "timestamp": str(_ms(day) // 1000)}
            for day, value in rows.iter_rows()
        ]
        return _json({"name": "Fear and Greed Index", "data": data, "metadata": {"error": None}})

    def _fred(self, request: Request) -> Response:
        if request.args.get("api_key") != FRED_KEY:
            return Response(json.dumps({"error_code": 400, "error_message": "Bad Request. api_key"}), status=400)
        column = {"VIXCLS": "vix", "DFF": "fed_funds_pct"}[request.args["series_id"]]
        observations = [
            {
                "realtime_start": str(day),
                "realtime_end": str(day),
                "date": str(day),
                "value": "." if value is None else repr(value),
            }
            for day, value in self.tables.market.select("date", column).iter_rows()
        ]
        return _json({"count": len(observations), "offset": 0, "limit": 100000, "observations": observations})

    def _chain_tvl(self, _: Request) -> Response:
        rows = self.tables.market.select("date", "defi_tvl_usd").drop_nulls()
        return _json([{"date": _ms(day) // 1000, "tvl": value} for day, value in rows.iter_rows()])

    def _stablecoins(self, _: Request) -> Response:
        rows = self.tables.market.select("date", "stablecoin_supply_usd").drop_nulls()
        return _json(
            [
                {
                    "date": str(_ms(day) // 1000),
                    "totalCirculatingUSD": {"peggedUSD": value},
                    "totalCirculating": {"peggedUSD": value},
                }
                for day, value in rows.iter_rows()
            ]
        )


_BYBIT_EMPTY = {"retCode": 0, "retMsg": "OK", "result": {"category": "linear", "list": []}, "retExtInfo": {}, "time": 0}


def _no_chain(_: Request) -> Response:
    return Response("no node here", status=404)


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else factor * value


def _ms(day: dt.date) -> int:
    return (day - dt.date(1970, 1, 1)).days * DAY_MS


def _day(milliseconds: int) -> dt.date:
    return dt.date(1970, 1, 1) + dt.timedelta(days=milliseconds // DAY_MS)


def _json(content: Any) -> Response:
    return Response(json.dumps(content), content_type="application/json")


def catalogue_text(shipped: str, tables: Tables, pools: dict[str, str], more: Sequence[str]) -> str:
    """The shipped catalogue and, after it, further strategies as pools under their own names."""
    rows = {row["strategy_id"]: row for row in tables.strategies.iter_rows(named=True)}
    entries = [
        f"[[strategy]]\nid = {json.dumps(name)}\nproject = {json.dumps(rows[name]['project'])}\n"
        f"chain = {json.dumps(rows[name]['chain'])}\nsymbol = {json.dumps(rows[name]['symbol'])}\n"
        f'category = "{rows[name]["category"]}"\n'
        f'sources = [{{ dataset = "defillama/chart", entity = "{pools[name]}" }}]\n'
        for name in more
    ]
    return shipped + "\n" + "\n".join(entries)
