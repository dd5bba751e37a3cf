"""Asking a forecaster: names, days, levels, what is left out, and nothing from later days."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from bundles import market, trained_until
from hypothesis import given, settings
from hypothesis import strategies as st

import aegis_yield
from aegis_yield.domain.dataset import Dataset
from aegis_yield.domain.errors import HistoryError, RequestError, UnknownStrategyError
from aegis_yield.domain.forecast import QUANTILE_COLUMNS
from aegis_yield.models.bundle import bundle_digest
from aegis_yield.pipelines.calibrate import calibrate
from aegis_yield.pipelines.predict import Answer, Forecaster, Question, predict, to_json
from aegis_yield.preprocessing.cleaning import clean

AAVE, LIDO, DELTA = "aave-v3:ethereum:usdc", "lido:ethereum:steth", "delta-neutral:binance:eth"
FIRST, LAST = market().first_date, market().last_date


def with_yields(forecaster: Forecaster, yields: pl.DataFrame, **tables: pl.DataFrame) -> Forecaster:
    """Return the same model on other tables, with nothing remembered."""
    dataset = clean(replace(market(), yields=yields.sort("strategy_id", "date"), **tables))
    return Forecaster(dataset, forecaster.bundle, forecaster.model_version, forecaster.names)


def rows_of(strategy: str, dates: Sequence[dt.date]) -> pl.DataFrame:
    """Return rows of a strategy cut from the market."""
    return market().yields.filter((pl.col("strategy_id") == strategy) & pl.col("date").is_in(dates))


def last_days(count: int, before: int = 0) -> list[dt.date]:
    return [LAST - dt.timedelta(days=before + n) for n in range(count)]


def numbers(answer: Answer) -> list[tuple[Any, ...]]:
    return [(row.apy, row.low, row.high, row.volatility, row.last_apy, row.as_of) for row in answer.rows]


@pytest.mark.parametrize("name", [AAVE, "AAVE", " aave ", AAVE.upper()])
def test_an_alias_is_its_strategy_whatever_the_case(forecaster: Forecaster, name: str) -> None:
    answer = forecaster.ask(Question([name]))
    assert numbers(answer) == numbers(forecaster.ask(Question(["aave"])))
    assert (answer.rows[0].name, answer.rows[0].strategy_id) == (name, AAVE)


def test_answers_come_in_the_order_asked(forecaster: Forecaster) -> None:
    answer = forecaster.ask(Question(["delta", "aave", LIDO]))
    assert [row.strategy_id for row in answer.rows] == [DELTA, AAVE, LIDO]
    assert [row.category for row in answer.rows] == ["delta_neutral", "lending", "staking"]


def test_a_forecast_does_not_depend_on_what_else_was_asked(forecaster: Forecaster) -> None:
    alone = forecaster.ask(Question(["lido"])).rows[0]
    together = forecaster.ask(Question(None)).rows
    same = next(row for row in together if row.strategy_id == LIDO)
    assert (same.apy, same.low, same.volatility) == pytest.approx((alone.apy, alone.low, alone.volatility), rel=1e-5)


@pytest.mark.parametrize(("name", "closest"), [("aav", "aave"), ("lid", "lido"), ("delta-neutral:binance:et", DELTA)])
def test_an_unknown_name_is_refused_with_the_closest(forecaster: Forecaster, name: str, closest: str) -> None:
    with pytest.raises(UnknownStrategyError, match=f"unknown strategy '{name}'; closest names: ") as refusal:
        forecaster.ask(Question([name]))
    assert refusal.value.closest[0] == closest


def test_an_alias_whose_strategy_has_no_rows_is_unknown(forecaster: Forecaster) -> None:
    without = with_yields(forecaster, market().yields.filter(pl.col("strategy_id") != LIDO))
    with pytest.raises(UnknownStrategyError, match="unknown strategy 'lido'"):
        without.ask(Question(["aave", "lido"]))


@pytest.mark.parametrize(("rows", "fails"), [(29, True), (30, False)])
def test_thirty_rows_in_sixty_days_are_needed(forecaster: Forecaster, rows: int, fails: bool) -> None:
    others = market().yields.filter(pl.col("strategy_id") != LIDO)
    short = with_yields(forecaster, pl.concat([others, rows_of(LIDO, last_days(60)[: 2 * rows : 2])]))
    if not fails:
        assert short.ask(Question(["lido"])).rows[0].strategy_id == LIDO
        return
    with pytest.raises(
        HistoryError, match=f"{LIDO}: too little history, received {rows} rows in the 60 days to {LAST}"
    ):
        short.ask(Question(["lido"]))


@pytest.mark.parametrize("day", [FIRST - dt.timedelta(days=1), LAST + dt.timedelta(days=1), dt.date.max])
def test_a_day_outside_the_data_is_refused(forecaster: Forecaster, day: dt.date) -> None:
    with pytest.raises(RequestError, match=f"as_of: received '{day}', allowed is a date from {FIRST} to {LAST}"):
        forecaster.ask(Question(["aave"], as_of=day))


def test_a_day_before_a_strategy_was_born_is_refused(forecaster: Forecaster) -> None:
    later = market().yields.filter((pl.col("strategy_id") != LIDO) | (pl.col("date") > trained_until()))
    with pytest.raises(HistoryError, match=f"{LIDO}: no row up to the day asked about"):
        with_yields(forecaster, later).ask(Question(["lido"], as_of=trained_until()))


@settings(max_examples=15, deadline=None)
@given(day=st.dates(FIRST + dt.timedelta(days=60), LAST), seed=st.integers(0, 2**32 - 1))
def test_rows_after_the_day_asked_about_change_nothing(forecaster: Forecaster, day: dt.date, seed: int) -> None:
    changed = with_yields(
        forecaster, scrambled(market().yields, day, seed), market=scrambled(market().market, day, seed)
    )
    question = Question(["aave", "delta"], 7, 0.8, as_of=day)
    before, after = forecaster.ask(question), changed.ask(question)
    assert numbers(before) == numbers(after)
    assert before.forecasts.sort("strategy_id").equals(after.forecasts.sort("strategy_id"))


def scrambled(table: pl.DataFrame, day: dt.date, seed: int) -> pl.DataFrame:
    noise = pl.Series(np.random.default_rng(seed).lognormal(-2, 2, table.height))
    late = [
        pl.when(pl.col("date") > day).then(noise).otherwise(pl.col(name)).alias(name)
        for name, kind in table.schema.items()
        if kind == pl.Float64
    ]
    return table.with_columns(late)


def test_asking_about_the_last_day_is_asking_now(forecaster: Forecaster) -> None:
    assert numbers(forecaster.ask(Question(["aave"], as_of=LAST))) == numbers(forecaster.ask(Question(["aave"])))


def test_the_day_asked_about_decides_what_is_known(forecaster: Forecaster) -> None:
    day = trained_until() + dt.timedelta(days=40)
    row = forecaster.ask(Question(["lido"], as_of=day)).rows[0]
    assert (row.as_of, row.data_age_days) == (day, 0)
    assert row.last_apy == rows_of(LIDO, [day])["apy"].item()


def test_data_age_counts_days_to_today(forecaster: Forecaster) -> None:
    before = dt.datetime.now(dt.UTC).date()
    row = forecaster.ask(Question(["lido"])).rows[0]
    after = dt.datetime.now(dt.UTC).date()
    assert row.as_of == LAST
    assert row.data_age_days in {(before - LAST).days, (after - LAST).days}


def test_repeated_questions_get_the_same_answer(forecaster: Forecaster) -> None:
    fresh = with_yields(forecaster, market().yields)
    answers = [numbers(fresh.ask(Question(["aave", "delta"], as_of=day))) for day in last_days(70) + last_days(70)]
    assert answers[:70] == answers[70:]


def test_a_higher_level_is_a_wider_interval(forecaster: Forecaster) -> None:
    rows = [forecaster.ask(Question(["aave"], level=level)).rows[0] for level in (0.5, 0.8, 0.9, 0.98)]
    assert [row.low for row in rows] == sorted((row.low for row in rows), reverse=True)
    assert [row.high for row in rows] == sorted(row.high for row in rows)
    assert rows[0].high - rows[0].low < rows[3].high - rows[3].low
    assert len({row.apy for row in rows}) == 1


@pytest.mark.parametrize(("level", "ends"), [(0.5, ("q25", "q75")), (0.9, ("q05", "q95")), (0.95, ("q025", "q975"))])
def test_the_interval_is_bounded_by_its_quantiles(forecaster: Forecaster, level: float, ends: tuple[str, str]) -> None:
    answer = forecaster.ask(Question(["aave"], level=level))
    assert (answer.rows[0].low, answer.rows[0].high) == answer.forecasts.select(ends).row(0)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"horizon_days": 0}, "horizon_days: received 0"),
        ({"horizon_days": 31}, "horizon_days: received 31"),
        ({"horizon_days": 7.5}, "horizon_days: received 7.5"),
        ({"horizon_days": True}, "horizon_days: received True"),
        ({"level": 0.49}, "level: received 0.49"),
        ({"level": 0.99}, "level: received 0.99"),
        ({"level": float("nan")}, "level: received nan"),
        ({"strategies": []}, "strategies: received []"),
    ],
)
def test_impossible_questions_are_refused_by_name(change: dict[str, Any], named: str) -> None:
    with pytest.raises(RequestError, match="allowed is") as refusal:
        Question(**{"strategies": ["aave"], **change})
    assert str(refusal.value).startswith(named)


@pytest.fixture(scope="session")
def mixed(forecaster: Forecaster) -> Forecaster:
    """A market in which one strategy ended, one is young and one sleeps for a week."""
    others = market().yields.filter(~pl.col("strategy_id").is_in([AAVE, LIDO, DELTA]))
    ended, young = rows_of(AAVE, last_days(100, before=30)), rows_of(LIDO, last_days(12))
    return with_yields(forecaster, pl.concat([others, ended, young, rows_of(DELTA, last_days(100, before=7))]))


def test_asking_for_all_leaves_out_what_ended_or_is_too_young_and_says_why(mixed: Forecaster) -> None:
    answer = mixed.ask(Question(None))
    assert set(answer.left_out) >= {AAVE, LIDO}
    assert answer.left_out[AAVE].startswith(f"{AAVE}: no row since {LAST - dt.timedelta(days=30)}")
    assert "received 12 rows" in answer.left_out[LIDO]
    assert DELTA in {row.strategy_id for row in answer.rows}


def test_all_means_all(mixed: Forecaster) -> None:
    answer = mixed.ask(Question(None))
    names = [row.strategy_id for row in answer.rows]
    assert names == sorted(names)
    assert sorted([*names, *answer.left_out]) == mixed.known_strategies == sorted(set(market().yields["strategy_id"]))


def test_a_strategy_that_sleeps_is_forecast_from_its_newest_row(mixed: Forecaster) -> None:
    row = mixed.ask(Question(["delta"])).rows[0]
    assert row.as_of == LAST - dt.timedelta(days=7)
    assert row.last_apy == rows_of(DELTA, [row.as_of])["apy"].item()


def test_an_ended_strategy_can_still_be_asked_for_by_name(mixed: Forecaster) -> None:
    assert mixed.ask(Question([AAVE])).rows[0].as_of == LAST - dt.timedelta(days=30)


def test_the_table_carries_all_quantiles(mixed: Forecaster) -> None:
    answer = mixed.ask(Question(None, 30))
    expected = ["strategy_id", "origin", "horizon_days", "apy", "volatility", *QUANTILE_COLUMNS]
    assert answer.forecasts.columns == expected
    assert answer.forecasts.height == len(answer.rows)
    assert set(answer.forecasts["horizon_days"]) == {30}


def test_simulated_data_and_hindsight_are_noted(forecaster: Forecaster) -> None:
    now, then = (
        forecaster.ask(Question(["aave"], as_of=day)) for day in (LAST, trained_until() - dt.timedelta(days=9))
    )
    assert now.simulated is True
    assert [note[:22] for note in now.notes] == ["SIMULATED market data:", "this model was trained"]
    assert now.notes == then.notes[:2]
    assert then.notes[2].endswith("no proof of skill")


@pytest.mark.parametrize(("days", "is_behind"), [(28, False), (29, True)])
def test_intervals_that_have_not_learned_for_long_are_noted(forecaster: Forecaster, days: int, is_behind: bool) -> None:
    later = replace(forecaster, dataset=market().known_at(trained_until() + dt.timedelta(days=days)))
    said = "intervals have learned from no outcome of the last 29 days of data: let them, with aegis calibrate --update"
    notes = later.ask(Question(["aave"])).notes
    assert any(note.startswith(said) for note in notes) is is_behind
    learned = replace(later, bundle=calibrate(later.bundle, later.dataset).bundle)
    assert learned.ask(Question(["aave"])).notes == notes[:2]


def test_real_data_is_not_called_simulated(forecaster: Forecaster) -> None:
    real = with_yields(forecaster, market().yields.with_columns(source=pl.lit("measured")))
    answer = real.ask(Question(["aave"]))
    assert answer.simulated is False
    assert answer.notes == ("this model was trained on SIMULATED data",)


def test_the_answer_as_plain_values_survives_json(forecaster: Forecaster) -> None:
    answer = forecaster.ask(Question(["aave", "lido"], 7, 0.8))
    plain = to_json(answer)
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert list(plain["predictions"]) == ["aave", "lido"]
    first, row = plain["predictions"]["aave"], answer.rows[0]
    assert (first["apy"], first["volatility"], first["horizon_days"]) == (row.apy, row.volatility, 7)
    assert first["confidence_interval"] == {"level": 0.8, "lower": row.low, "upper": row.high}


def test_one_call_forecasts_from_files(tables: Path, tiny_model: Path, forecaster: Forecaster) -> None:
    answer = predict(["aave", "lido"], 14, data=str(tables), model=tiny_model, level=0.8)
    assert numbers(answer) == numbers(forecaster.ask(Question(["aave", "lido"], 14, 0.8)))
    assert answer.model_version == f"lstm_v1-{bundle_digest(tiny_model)}"


def test_one_call_without_names_forecasts_everything(tables: Path, tiny_model: Path) -> None:
    answer = aegis_yield.predict(data=tables, model=tiny_model)
    assert len(answer.rows) + len(answer.left_out) == 12


def test_defaults_come_from_the_home_folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEGIS_HOME", str(home))
    opened = Forecaster.open()
    assert opened.dataset.name == "simulated market (seed 7)"
    assert opened.names.defaults == ("aave", "lido", "delta")
    assert opened.model_version.startswith("lstm_v1-")


def test_a_dataset_without_a_market_can_be_forecast(forecaster: Forecaster) -> None:
    bare: Dataset = replace(market(), market=pl.DataFrame(schema={"date": pl.Date}))
    answer = Forecaster(bare, forecaster.bundle, "v", forecaster.names).ask(Question(["aave", "lido", "delta"]))
    assert all(np.isfinite([row.apy, row.low, row.high, row.volatility]).all() for row in answer.rows)
