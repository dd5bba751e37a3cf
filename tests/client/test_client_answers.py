"""The client asks the real service: every route, both clients, large batches, what is refused."""

from __future__ import annotations

import asyncio
import datetime as dt
import inspect
from typing import Any

import httpx2
import numpy as np
import pytest
from bundles import market
from processes import Running, eventually

from aegis_yield.client import AsyncClient, Client, RefusedError
from aegis_yield.client.forecasts import Prediction
from aegis_yield.domain.errors import RequestError

SMALL: dict[str, Any] = {"strategies": ["aave", "lido", "compound"], "scenarios": 100}
A_STRATEGY = "aave-v3:ethereum:usdc"
MANY = 1_200


def many_names() -> list[str]:
    return sorted(market().yields["strategy_id"].unique())


def test_forecasts_are_what_the_service_says(asked: Client, live: Running) -> None:
    answer = asked.predict(["aave", "lido"], horizon_days=5, level=0.8)
    body = {"strategies": ["aave", "lido"], "horizon_days": 5, "level": 0.8}
    raw = httpx2.post(f"{live.url}/predict", json=body).json()
    assert list(answer.predictions) == ["aave", "lido"]
    for name, prediction in answer.predictions.items():
        said = raw["predictions"][name]
        assert (prediction.apy, prediction.volatility) == (said["apy"], said["volatility"])
        assert vars(prediction.confidence_interval) == said["confidence_interval"]
        assert prediction.as_of == dt.date.fromisoformat(said["as_of"])
    assert (answer.horizon_days, answer.simulated) == (5, True)
    assert answer.model_version == raw["model_version"]


def test_explanations_add_up(asked: Client) -> None:
    prediction = asked.predict(["aave"], explain=True).predictions["aave"]
    reasons = prediction.explanation
    assert reasons is not None
    parts = reasons.ewma + reasons.today_over_ewma + reasons.usual_drift + reasons.other_features + reasons.calibration
    assert parts + sum(share.apy for share in reasons.features) == pytest.approx(prediction.apy, abs=1e-6)
    assert all(isinstance(day, dt.date) for day in reasons.days)


def test_a_stream_gives_the_same_forecasts_and_its_end(asked: Client) -> None:
    names = many_names()
    with asked.stream(names) as stream:
        assert stream.end is None
        found = dict(stream)
    whole = asked.predict(names)
    assert found == whole.predictions
    assert stream.end is not None
    assert (stream.end.count, stream.end.model_version) == (len(names), whole.model_version)


def test_a_stream_may_be_left_early(asked: Client) -> None:
    with asked.stream(many_names()) as stream:
        _, prediction = next(iter(stream))
    assert isinstance(prediction, Prediction)
    assert stream.end is None
    assert asked.ready().status == "ready"


def test_a_large_batch_comes_in_lines_and_reads_as_one(asked: Client) -> None:
    names = [*many_names(), "aave", "lido"] * 200
    assert len(names) > MANY
    answer = asked.predict(names)
    assert set(answer.predictions) == set(names)


def test_strategies_are_listed_found_and_followed(asked: Client) -> None:
    page = asked.strategies(category="lending", sort="-forecast_apy", limit=2, spark_days=5)
    rates = [row.forecast_apy for row in page.strategies if row.forecast_apy is not None]
    assert rates == sorted(rates, reverse=True)
    assert {row.category for row in page.strategies} == {"lending"}
    assert all(row.spark is not None and len(row.spark) == 5 for row in page.strategies)
    one = asked.strategy("aave", horizon_days=3, level=0.5)
    assert (one.strategy_id, one.horizon_days, one.level) == (A_STRATEGY, 3, 0.5)
    fan = asked.fan(A_STRATEGY, horizon_days=4)
    assert (fan.horizons, len(fan.apy), {len(row) for row in fan.apy}) == ((1, 2, 3, 4), 4, {len(fan.levels)})


def test_history_has_the_days_and_columns_that_were_asked_for(asked: Client) -> None:
    last = asked.strategy("aave").last_date
    start = last - dt.timedelta(days=9)
    past = asked.history(A_STRATEGY, start=start, end=last, columns=["apy", "tvl_usd"], drawdown=True)
    assert (past.dates[0], past.dates[-1], len(past.dates)) == (start, last, 10)
    assert set(past.columns) == {"apy", "tvl_usd", "drawdown"}
    assert {len(column) for column in past.columns.values()} == {10}


def test_decisions_are_made(asked: Client) -> None:
    risk = asked.risk(**SMALL, weights={"aave": 0.5})
    assert [row.name for row in risk.rows] == SMALL["strategies"]
    assert risk.portfolio is not None
    assert risk.portfolio.cash == pytest.approx(0.5)
    allocation = asked.optimize(**SMALL, capital_usd=100_000.0, max_share=0.6, current={"aave": 1_000.0})
    assert sum(allocation.weights.values()) <= 1.0 + 1e-6
    assert max(allocation.weights.values(), default=0.0) <= 0.6 + 1e-6
    frontier = asked.frontier(**SMALL)
    aversions = [point.risk_aversion for point in frontier.points]
    assert aversions == sorted(aversions)
    assert frontier.references


def test_limits_that_conflict_come_with_their_relaxation(asked: Client) -> None:
    with pytest.raises(RefusedError) as caught:
        asked.optimize(**SMALL, min_invested=1.0, max_share=0.1)
    assert caught.value.status == 422
    assert caught.value.problem["conflict"]
    assert caught.value.problem["relaxation"]


def test_models_and_recorded_forecasts_are_read(asked: Client) -> None:
    (served,) = [version for version in asked.models().models if version.is_served]
    detail = asked.model(served.version)
    assert (detail.sha256, detail.plan is not None) == (served.sha256, True)
    given = asked.predict(["lido"]).predictions["lido"]
    assert given.forecast_id is not None
    name = given.forecast_id

    def is_recorded() -> bool:
        try:
            return asked.forecast(name).forecast.id.startswith(name)
        except RefusedError:
            return False

    assert eventually(is_recorded)
    assert asked.forecast(name).forecast.apy == pytest.approx(given.apy)
    assert asked.ready().model_version == served.model_version


def test_a_refusal_carries_what_the_service_says(asked: Client) -> None:
    with pytest.raises(RefusedError, match="unknown strategy 'aawe'") as caught:
        asked.predict(["aawe"])
    assert caught.value.status == 404
    assert caught.value.request_id
    assert caught.value.request_id in str(caught.value)
    with pytest.raises(RefusedError, match="horizon_days") as caught:
        asked.predict(["aave"], horizon_days=99)
    assert caught.value.problem["errors"][0]["field"] == "horizon_days"


@pytest.mark.parametrize("name", ["a b", "a?b#c", "a%2Fb", "../models", "ü/é"])
def test_a_name_stays_a_name_in_a_path(asked: Client, name: str) -> None:
    with pytest.raises(RefusedError, match="unknown strategy") as caught:
        asked.strategy(name)
    assert caught.value.status == 404
    assert repr(name) in caught.value.detail


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_what_is_no_name_is_not_asked_for(asked: Client, name: str) -> None:
    with pytest.raises(RequestError, match="strategy_id"):
        asked.strategy(name)


def test_the_asynchronous_client_answers_the_same(asked: Client, live: Running) -> None:
    names = many_names()[:4]

    async def ask() -> tuple[Any, ...]:
        async with AsyncClient(live.url, timeout_s=120.0) as client:
            first, page, past = await asyncio.gather(
                client.predict(names), client.strategies(limit=3), client.history("aave", drawdown=True)
            )
            async with await client.stream(names) as stream:
                found = {name: prediction async for name, prediction in stream}
            return first, page, past, found, stream.end

    first, page, past, found, end = asyncio.run(ask())
    assert first == asked.predict(names)
    assert page == asked.strategies(limit=3)
    assert past == asked.history("aave", drawdown=True)
    assert found == first.predictions
    assert end is not None
    assert end.count == 4


def test_every_asynchronous_call_gives_what_the_other_client_gives(asked: Client, live: Running) -> None:
    version = asked.ready().model_version.partition("-")[0]
    questions: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
        ("strategy", ("aave",), {}),
        ("fan", ("aave", 3), {}),
        ("risk", (), SMALL),
        ("frontier", (), SMALL),
        ("models", (), {}),
        ("model", (version,), {}),
        ("ready", (), {}),
    ]

    async def ask() -> list[Any]:
        async with AsyncClient(live.url, timeout_s=120.0) as client:
            assert "AsyncClient" in repr(client)
            allocation = await client.optimize(**SMALL)
            assert allocation.certificate.certified
            with pytest.raises(RefusedError):
                await client.forecast("abcdef")
            with pytest.raises(RefusedError, match="unknown strategy"):
                await client.stream(["aawe"])
            return [await getattr(client, name)(*args, **options) for name, args, options in questions]

    assert asyncio.run(ask()) == [getattr(asked, name)(*args, **options) for name, args, options in questions]


def test_numbers_and_lists_of_numpy_may_be_sent(asked: Client) -> None:
    names, capital = np.array(SMALL["strategies"]), np.float64(5e4)
    allocation = asked.optimize(strategies=tuple(map(str, names)), capital_usd=capital, scenarios=np.int64(100))  # type: ignore[typeddict-item]
    assert allocation.capital_usd == 5e4


def test_both_clients_offer_the_same() -> None:
    def offered(kind: type) -> dict[str, str]:
        methods = {name: found for name, found in vars(kind).items() if not name.startswith("_")}
        return {name: str(list(inspect.signature(found).parameters.values())) for name, found in methods.items()}

    assert offered(Client) == offered(AsyncClient)
    assert inspect.signature(Client) == inspect.signature(AsyncClient)
