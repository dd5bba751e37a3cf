"""``/strategies``, one strategy, its history and its fan: against the tables and the forecaster themselves."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from bundles import market
from services import forecast_among_all
from starlette.testclient import TestClient
from test_predict_endpoint import IDS, problem_of

from aegis_yield.domain.forecast import QUANTILE_COLUMNS, QUANTILE_LEVELS
from aegis_yield.pipelines.predict import Forecaster, Question
from api.history import MAX_DAYS
from api.listing import SortKey
from api.ml_service import create_app
from api.settings import ServiceSettings

AAVE, LIDO = IDS["aave"], IDS["lido"]
LAST = market().last_date
GAP = LAST - dt.timedelta(days=3)


def rows_of(client: TestClient, **query: Any) -> list[dict[str, Any]]:
    response = client.get("/strategies", params=query)
    assert response.status_code == 200, response.text
    return list(response.json()["strategies"])


def own(strategy: str) -> pl.DataFrame:
    return market().yields.filter(pl.col("strategy_id") == strategy)


@pytest.fixture(scope="module")
def gappy(forecaster: Forecaster) -> Iterator[TestClient]:
    """A market where Aave has no row on one day, and Lido ended long ago."""
    ended = LAST - dt.timedelta(days=90)
    lost = (pl.col("strategy_id") == AAVE) & (pl.col("date") == GAP)
    lost |= (pl.col("strategy_id") == LIDO) & (pl.col("date") > ended)
    data = replace(market(), yields=market().yields.filter(~lost))
    with TestClient(create_app(ServiceSettings(), lambda: replace(forecaster, dataset=data))) as opened:
        yield opened


def test_each_row_carries_the_forecast_that_predict_gives(client: TestClient, forecaster: Forecaster) -> None:
    rows = {row["strategy_id"]: row for row in rows_of(client, horizon_days=14, level=0.8)}
    for row in forecast_among_all(forecaster, list(IDS), 14, 0.8).rows:
        found = rows[row.strategy_id]
        figures = (found["forecast_apy"], found["lower"], found["upper"], found["volatility"])
        assert figures == (row.apy, row.low, row.high, row.volatility)
        assert found["tvl_usd"] == own(row.strategy_id)["tvl_usd"].drop_nulls().item(-1)
        assert "no_forecast" not in found


def test_a_page_says_from_what_it_was_made(client: TestClient) -> None:
    page = client.get("/strategies").json()
    about = {name: page[name] for name in ("as_of", "model_version", "simulated", "horizon_days", "level")}
    assert about == {
        "as_of": LAST.isoformat(), "model_version": "lstm_v1-test", "simulated": True, "horizon_days": 7, "level": 0.9,
    }  # fmt: skip


@pytest.mark.parametrize("sort", SortKey.__args__)
def test_rows_are_sorted_by_any_column_either_way(client: TestClient, sort: str) -> None:
    column = sort.removeprefix("-")
    values = [row[column] for row in rows_of(client, sort=sort)]
    known = [value.lower() if isinstance(value, str) else value for value in values if value is not None]
    assert len(known) == 12
    assert known == sorted(known, reverse=sort.startswith("-"))


def test_equal_rows_are_sorted_by_id_and_unknown_ones_last(gappy: TestClient) -> None:
    for sort in ("forecast_apy", "-forecast_apy"):
        assert rows_of(gappy, sort=sort)[-1]["strategy_id"] == LIDO
    by_category = rows_of(gappy, sort="-category")
    for category in {row["category"] for row in by_category}:
        ids = [row["strategy_id"] for row in by_category if row["category"] == category]
        assert ids == sorted(ids)


def test_pages_follow_the_sorting(client: TestClient) -> None:
    whole = rows_of(client, sort="-tvl_usd")
    pages = [rows_of(client, sort="-tvl_usd", limit=5, offset=offset) for offset in (0, 5, 10)]
    assert [row for page in pages for row in page] == whole


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"chain": "base"}, pl.col("chain") == "Base"),
        ({"chain": "Base", "category": "lending"}, (pl.col("chain") == "Base") & (pl.col("category") == "lending")),
        ({"project": "AAVE-V3"}, pl.col("project") == "aave-v3"),
        ({"search": "UsDc"}, pl.col("strategy_id").str.contains("usdc") | (pl.col("symbol") == "USDC")),
        ({"search": " lido "}, pl.col("strategy_id").str.contains("lido")),
        ({"search": "delta"}, pl.col("strategy_id").str.contains("delta")),
        ({"search": "nothing like it"}, pl.lit(False)),
    ],
)  # fmt: skip
def test_filters_find_what_the_table_holds(client: TestClient, query: dict[str, str], expected: pl.Expr) -> None:
    page = client.get("/strategies", params=query).json()
    found = {row["strategy_id"] for row in page["strategies"]}
    assert found == set(market().strategies.filter(expected)["strategy_id"])
    assert page["total"] == len(found)


def test_an_alias_is_searched_too(client: TestClient) -> None:
    assert [row["aliases"] for row in rows_of(client, search="compound")] == [["compound"]]


def test_sparks_are_the_last_days_with_gaps(gappy: TestClient) -> None:
    rows = {row["strategy_id"]: row for row in rows_of(gappy, spark_days=7)}
    week = own(AAVE).tail(7)
    expected = [None if day == GAP else apy for day, apy in week.select("date", "apy").iter_rows()]
    assert rows[AAVE]["spark"] == expected
    assert rows[LIDO]["spark"] == [None] * 7
    assert all("spark" not in row for row in rows_of(gappy))


def test_a_strategy_without_a_forecast_says_why(gappy: TestClient) -> None:
    row = next(row for row in rows_of(gappy) if row["strategy_id"] == LIDO)
    assert (row["forecast_apy"], row["lower"], row["upper"], row["volatility"]) == (None,) * 4
    assert "no row since" in row["no_forecast"]


def test_one_strategy_is_its_row_of_the_page(client: TestClient) -> None:
    row = next(row for row in rows_of(client) if row["strategy_id"] == AAVE)
    by_id, by_alias = (client.get(f"/strategies/{name}").json() for name in (AAVE, "Aave"))
    assert by_id == by_alias
    assert row.items() <= by_id.items()


@pytest.mark.parametrize("suffix", ["", "/history", "/fan"])
def test_an_unknown_strategy_is_not_found(client: TestClient, suffix: str) -> None:
    document = problem_of(client.get(f"/strategies/lidoo{suffix}"), 404)
    assert "closest names: lido" in document["detail"]


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/strategies?sort=apy", "query.sort"),
        ("/strategies?spark_days=91", "query.spark_days"),
        ("/strategies?level=nan", "query.level"),
        ("/strategies?horizon_days=31", "query.horizon_days"),
        ("/strategies?colour=red", "query.colour"),
        ("/strategies/aave/fan?horizon_days=0", "query.horizon_days"),
        ("/strategies/aave/history?start=yesterday", "query.start"),
        ("/strategies/" + "x" * 201, "path.strategy_id"),
    ],
)
def test_a_bad_query_is_refused_by_name(client: TestClient, path: str, field: str) -> None:
    assert problem_of(client.get(path), 422)["errors"][0]["field"] == field


def test_history_is_the_table_with_gaps(gappy: TestClient) -> None:
    answer = gappy.get("/strategies/aave/history", params={"columns": "apy,tvl_usd,price"}).json()
    held = {day.isoformat(): row for day, *row in own(AAVE).select("date", "apy", "tvl_usd", "price").iter_rows()}
    assert answer["strategy_id"] == AAVE
    assert len(answer["dates"]) == (LAST - own(AAVE)["date"].item(0)).days + 1
    for day, *values in zip(answer["dates"], *answer["columns"].values(), strict=True):
        assert values == ([None] * 3 if day == GAP.isoformat() else held[day])


def test_history_between_two_days(client: TestClient) -> None:
    query = {"start": "2025-09-01", "end": "2025-09-10"}
    answer = client.get(f"/strategies/{LIDO}/history", params=query).json()
    days = [dt.date(2025, 9, day) for day in range(1, 11)]
    assert answer["dates"] == [day.isoformat() for day in days]
    assert answer["columns"]["apy"] == own(LIDO).filter(pl.col("date").is_in(days))["apy"].to_list()
    assert set(answer["columns"]) == {"apy", "tvl_usd"}


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31"])
def test_the_ends_of_the_calendar_are_days_too(client: TestClient, day: str) -> None:
    assert client.get(f"/strategies/aave/history?start={day}&end={day}").json()["dates"] == [day]
    assert client.get(f"/strategies/aave/history?end={day}").status_code == 200


def test_days_outside_of_the_rows_are_empty(client: TestClient) -> None:
    answer = client.get("/strategies/aave/history?start=2030-01-01&end=2030-01-03").json()
    assert answer["columns"]["apy"] == [None] * 3


def test_drawdown_is_the_fall_below_the_highest_value_so_far(client: TestClient) -> None:
    """Computed anew, day by day, for a strategy whose price moves."""
    strategy = "delta-neutral:binance:eth"
    table = market().yields.filter(pl.col("strategy_id") == strategy)
    value = peak = price_before = 1.0
    expected = []
    for row, (apy, price) in enumerate(table.select("apy", "price").iter_rows()):
        moved = 1.0 if row == 0 or price is None else price / price_before
        value *= max(1.0 + apy, 1e-6) ** (1 / 365) * moved
        price_before = price if price is not None else price_before
        peak = max(peak, value)
        expected.append(1.0 - value / peak)
    answer = client.get(f"/strategies/{strategy}/history?drawdown=true").json()
    found = [one for one in answer["columns"]["drawdown"] if one is not None]
    assert found == pytest.approx(expected, abs=1e-12)
    assert max(found) > 0.0


def test_a_window_does_not_change_a_days_drawdown(client: TestClient) -> None:
    whole = client.get("/strategies/delta/history?drawdown=true").json()
    part = client.get("/strategies/delta/history?drawdown=true&start=2025-09-01").json()
    start = whole["dates"].index("2025-09-01")
    assert part["columns"]["drawdown"] == whole["columns"]["drawdown"][start:]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("columns=apy,secret", "columns: received 'secret', allowed is some of apy,"),
        ("columns=,", "columns: received ','"),
        ("start=2025-09-02&end=2025-09-01", "start: received 2025-09-02, allowed is a day up to the end, 2025-09-01"),
        ("start=2000-01-01", f"at most {MAX_DAYS:,} days"),
    ],
)
def test_a_bad_history_is_refused_with_what_is_allowed(client: TestClient, query: str, said: str) -> None:
    assert said in problem_of(client.get(f"/strategies/aave/history?{query}"), 422)["detail"]


def test_history_reaches_back_five_thousand_days_and_no_further(client: TestClient) -> None:
    first = LAST - dt.timedelta(days=MAX_DAYS - 1)
    assert len(client.get(f"/strategies/aave/history?start={first}").json()["dates"]) == MAX_DAYS
    problem_of(client.get(f"/strategies/aave/history?start={first - dt.timedelta(days=1)}"), 422)


def test_a_fan_is_what_the_forecaster_says_at_each_horizon(client: TestClient, forecaster: Forecaster) -> None:
    answer = client.get("/strategies/lido/fan", params={"horizon_days": 4}).json()
    assert (answer["strategy_id"], answer["horizons"], answer["levels"]) == (LIDO, [1, 2, 3, 4], list(QUANTILE_LEVELS))
    for days in (1, 2, 3, 4):
        asked = forecaster.ask(Question([LIDO], days))
        quantiles = asked.forecasts.select(QUANTILE_COLUMNS).row(0)
        assert answer["apy"][days - 1] == pytest.approx(quantiles, abs=1e-7)
        assert answer["forecast_apy"][days - 1] == pytest.approx(asked.rows[0].apy, abs=1e-7)
        assert answer["volatility"][days - 1] == pytest.approx(asked.rows[0].volatility, abs=1e-6)


def test_a_longer_fan_begins_like_a_shorter_one(client: TestClient) -> None:
    short, long = (client.get("/strategies/aave/fan", params={"horizon_days": days}).json() for days in (5, 30))
    assert long["apy"][:5] == short["apy"]
    assert len(long["apy"]) == 30
    assert (np.diff(np.array(long["apy"]), axis=1) >= 0).all()
