"""Tables of forecasts: made once, in a thread, for all who ask; given out with today's age; swapped whole."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import polars as pl
import pytest
from bundles import market
from real_data import aged, today
from services import forecast_among_all
from starlette.testclient import TestClient
from test_freshness import WHY, Place, eventually, place, serves
from test_large_batches import NDJSON, whole
from test_predict_endpoint import IDS, PROMISED

from aegis_yield.domain.errors import BundleError, DataError, HistoryError, UnknownStrategyError
from aegis_yield.pipelines.predict import Answer, Forecaster, Question, to_json
from aegis_yield.registry.aliases import promote, rollback
from api import forecast_tables
from api.forecast_tables import ForecastTables, answers_of
from api.ml_service import create_app
from api.names import NameIndex

__all__ = ["place"]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Question]:
    """Every question that a forecaster computes."""
    questions: list[Question] = []
    ask = Forecaster.ask

    def noted(self: Forecaster, question: Question) -> Answer:
        questions.append(question)
        return ask(self, question)

    monkeypatch.setattr(Forecaster, "ask", noted)
    return questions


def test_a_table_is_made_once_for_all_who_ask_at_once(forecaster: Forecaster, asked: list[Question]) -> None:
    async def many() -> set[int]:
        tables = ForecastTables(forecaster)
        found = await asyncio.gather(*(tables.at(7, 0.9) for _ in range(50)))
        return {id(table) for table in [*found, await tables.at(7, 0.9)]}

    assert len(asyncio.run(many())) == 1
    assert len(asked) == 1


def test_who_gives_up_waiting_takes_nothing_from_the_others(forecaster: Forecaster, asked: list[Question]) -> None:
    async def first_gives_up() -> None:
        tables = ForecastTables(forecaster)
        first, second = (asyncio.create_task(tables.at(7, 0.9)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).cells
        assert first.cancelled()

    asyncio.run(first_gives_up())
    assert len(asked) == 1


def test_what_is_there_is_given_out_while_another_table_is_made(
    forecaster: Forecaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask, go_on = Forecaster.ask, threading.Event()

    def held(self: Forecaster, question: Question) -> Answer:
        if question.horizon_days == 30:
            assert go_on.wait(20)
        return ask(self, question)

    monkeypatch.setattr(Forecaster, "ask", held)

    async def both() -> None:
        tables = ForecastTables(forecaster)
        await tables.at(7, 0.9)
        slow = asyncio.create_task(tables.at(30, 0.9))
        await asyncio.sleep(0.05)
        assert (await asyncio.wait_for(tables.at(7, 0.9), 5)).cells
        assert not slow.done()
        go_on.set()
        assert (await slow).answer.question.horizon_days == 30

    asyncio.run(both())


def test_a_failure_is_told_to_all_and_tried_again(forecaster: Forecaster, monkeypatch: pytest.MonkeyPatch) -> None:
    ask, broken = Forecaster.ask, [True]

    def moody(self: Forecaster, question: Question) -> Answer:
        if broken:
            raise DataError("no rows any more")
        return ask(self, question)

    monkeypatch.setattr(Forecaster, "ask", moody)

    async def several() -> None:
        tables = ForecastTables(forecaster)
        found = await asyncio.gather(*(tables.at(7, 0.9) for _ in range(3)), return_exceptions=True)
        assert [type(one) for one in found] == [DataError] * 3
        broken.clear()
        assert (await tables.at(7, 0.9)).cells

    asyncio.run(several())


def test_the_age_goes_by_the_day_on_which_it_is_given_out(
    forecaster: Forecaster, asked: list[Question], monkeypatch: pytest.MonkeyPatch
) -> None:
    days = [market().last_date + dt.timedelta(days=n) for n in (1, 2)]

    async def over_midnight() -> list[str]:
        tables, texts = ForecastTables(forecaster), []
        for day in days:
            monkeypatch.setattr(forecast_tables, "_today", lambda day=day: day)
            table = await tables.at(7, 0.9)
            texts.append(table.cells[IDS["aave"]].json(with_id=False).decode())
        return texts

    before, after = asyncio.run(over_midnight())
    assert '"data_age_days":1,' in before
    assert after == before.replace('"data_age_days":1,', '"data_age_days":2,')
    assert len(asked) == 1  # nothing was forecast anew


def test_an_ended_strategy_is_forecast_when_it_is_asked_for(forecaster: Forecaster, asked: list[Question]) -> None:
    old = aged(forecaster, 0, {IDS["lido"]: 60})

    async def by_name() -> None:
        tables = ForecastTables(old)
        table = await tables.at(7, 0.9)
        assert table.find([IDS["lido"]]) is None
        for _ in range(2):
            (cell,) = await tables.cells(table, [IDS["lido"]])
            assert cell.row.as_of == today() - dt.timedelta(days=60)
        aave, lido = await tables.cells(table, [IDS["aave"], IDS["lido"]])
        assert [[row.strategy_id for row in answer.rows] for answer in answers_of([aave, lido, aave])] == [
            [IDS["aave"]],
            [IDS["lido"]],
        ]

    asyncio.run(by_name())
    assert [question.strategies for question in asked] == [None, [IDS["lido"]]]


def test_a_refusal_is_remembered(forecaster: Forecaster, asked: list[Question]) -> None:
    young = market().last_date - dt.timedelta(days=9)
    kept = (pl.col("strategy_id") != IDS["lido"]) | (pl.col("date") > young)
    short = replace(forecaster, dataset=replace(market(), yields=market().yields.filter(kept)))

    async def twice() -> list[str]:
        tables, said = ForecastTables(short), []
        table = await tables.at(7, 0.9)
        for _ in range(2):
            with pytest.raises(HistoryError) as refused:
                await tables.cells(table, [IDS["lido"]])
            said.append(str(refused.value))
        return said

    first, second = asyncio.run(twice())
    assert first == second
    assert "too little history, received 9 rows" in first
    assert [question.strategies for question in asked] == [None, [IDS["lido"]]]


def test_tables_not_asked_for_longest_go_first(
    forecaster: Forecaster, asked: list[Question], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forecast_tables, "MAX_KEPT", 24)  # two tables of twelve

    async def three() -> list[int]:
        tables = ForecastTables(forecaster)
        for days in (1, 2, 1, 3, 1, 2):
            await tables.at(days, 0.9)
        return [question.horizon_days for question in asked]

    assert asyncio.run(three()) == [1, 2, 3, 2]


def test_a_model_whose_forecasts_are_no_numbers_is_not_served(
    forecaster: Forecaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = Forecaster.ask

    def broken(self: Forecaster, question: Question) -> Answer:
        answer = ask(self, question)
        return replace(answer, rows=[replace(row, apy=float("nan")) for row in answer.rows])

    monkeypatch.setattr(Forecaster, "ask", broken)
    with pytest.raises(BundleError, match="are no numbers"):
        ForecastTables(forecaster).warm()


@pytest.mark.parametrize("name", ["aave", "AAVE", " aave ", "aave-v3:ethereum:usdc", "Aave-V3:Ethereum:USDC"])
def test_names_mean_what_the_package_says(forecaster: Forecaster, name: str) -> None:
    meant = forecaster.names.resolve(name, forecaster.known_strategies)
    assert NameIndex(forecaster).find([name]) == {name: meant}


def test_an_unknown_name_is_answered_with_the_closest(forecaster: Forecaster) -> None:
    names = NameIndex(forecaster)
    assert names.find(["aave", "lidoo"]) is None
    with pytest.raises(UnknownStrategyError, match="closest names: lido"):
        names.resolve(["aave", "lidoo"])


def test_no_answer_of_any_kind_mixes_states_while_they_are_swapped(place: Place) -> None:
    """Batches, explanations, pages, fans and new horizons, asked for all the time while models change places."""
    versions = {}
    for version in ("lstm_v1", "lstm_v2"):
        one = Forecaster.open(place.tables, place.models / f"{version}.pth")
        rows = {h: to_json(forecast_among_all(one, PROMISED["strategies"], h))["predictions"] for h in (3, 7, 11)}
        versions[one.model_version] = rows
    with TestClient(create_app(place.settings)) as client, ThreadPoolExecutor(4) as pool:
        ended = threading.Event()
        asking = [pool.submit(lambda n=n: rounds(client, versions, n, ended)) for n in range(4)]
        for move, version in ((to_second, "lstm_v2"), (rollback, "lstm_v1"), (to_second, "lstm_v2")):
            move(place.models, WHY)
            assert eventually(serves(client, version))
        ended.set()
        seen = [one.result() for one in asking]
    assert set().union(*seen) == set(versions)


def to_second(folder: object, why: object) -> None:
    promote(folder, "lstm_v2", why)


def rounds(client: TestClient, versions: dict[str, dict[int, dict]], number: int, ended: threading.Event) -> set[str]:
    seen = set()
    while not ended.is_set():
        seen.add(check(client, versions, number))
        number += 1
    return seen


def check(client: TestClient, versions: dict[str, dict[int, dict]], number: int) -> str:
    """Ask one kind of question and hold its whole answer to the version that it names."""
    horizon = (3, 7, 11)[number % 3]
    kind = number % 4
    if kind == 3:
        answer = client.get("/strategies", params={"horizon_days": horizon}).json()
        rows = {row["strategy_id"]: row for row in answer["strategies"]}
        for promised in versions[answer["model_version"]][horizon].values():
            assert rows[promised["strategy_id"]]["forecast_apy"] == promised["apy"]
        return str(answer["model_version"])
    order = {**PROMISED, "horizon_days": horizon, "explain": kind == 2}
    if kind == 1:
        predictions, answer = whole(client.post("/predict", json=order, headers={"accept": NDJSON}).text)
    else:
        answer = client.post("/predict", json=order).json()
        predictions = answer["predictions"]
    for name, promised in versions[answer["model_version"]][horizon].items():
        assert {field: predictions[name][field] for field in promised if field != "forecast_id"} == {
            field: value for field, value in promised.items() if field != "forecast_id"
        }
        if kind == 2:
            why = predictions[name]["explanation"]
            parts = [why[part] for part in ("ewma", "today_over_ewma", "usual_drift", "other_features", "calibration")]
            assert sum(parts) + sum(one["apy"] for one in why["features"]) == pytest.approx(promised["apy"])
    return str(answer["model_version"])
