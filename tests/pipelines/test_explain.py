"""Asking why: parts that add up, of the forecast that was given, from nothing but its own inputs."""

from __future__ import annotations

import datetime as dt
import json
import time
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from bundles import market

from aegis_yield.domain.errors import RequestError, UnknownStrategyError
from aegis_yield.models.bundle import Bundle
from aegis_yield.pipelines.explain import FAMILIES, MAX_EXPLAINED, N_TOP, Explanation, ask_why, explain, to_json_with
from aegis_yield.pipelines.predict import Forecaster, Question, to_json
from aegis_yield.preprocessing.cleaning import clean
from aegis_yield.preprocessing.features import describe_features

NAMES = ["aave", "lido", "delta"]
LIDO = "lido:ethereum:steth"
LAST = market().last_date


def on_other_tables(forecaster: Forecaster, yields: pl.DataFrame, **tables: pl.DataFrame) -> Forecaster:
    dataset = clean(replace(market(), yields=yields.sort("strategy_id", "date"), **tables))
    return Forecaster(dataset, forecaster.bundle, forecaster.model_version, forecaster.names)


@pytest.fixture(scope="module")
def lively(forecaster: Forecaster) -> Forecaster:
    """A model that was trained for two seconds hardly moves; this one has a random last layer."""
    model = forecaster.bundle.model
    noise = torch.from_numpy(np.random.default_rng(0).normal(0.0, 0.5, (2, 32)))
    members = tuple({**w, "head.weight": w["head.weight"] + noise.half()} for w in model.members)
    bundle = Bundle(replace(model, members=members), forecaster.bundle.calibrator, forecaster.bundle.provenance)
    return replace(forecaster, bundle=bundle)


def attributed(explanation: Explanation) -> float:
    return sum(feature.apy for feature in explanation.features) + explanation.other_features


def scrambled(table: pl.DataFrame, after: dt.date) -> pl.DataFrame:
    noise = pl.Series(np.random.default_rng(1).lognormal(-2, 2, table.height))
    late = [
        pl.when(pl.col("date") > after).then(noise).otherwise(pl.col(name)).alias(name)
        for name, kind in table.schema.items()
        if kind == pl.Float64
    ]
    return table.with_columns(late)


@pytest.mark.parametrize("horizon_days", [1, 7, 30])
def test_the_parts_add_up_to_the_forecast(lively: Forecaster, horizon_days: int) -> None:
    answer, explanations = ask_why(lively, Question(NAMES, horizon_days))
    for row, why in zip(answer.rows, explanations, strict=True):
        parts = (why.ewma, why.today_over_ewma, why.usual_drift, attributed(why), why.calibration)
        assert sum(parts) == pytest.approx(row.apy, abs=1e-15)
        assert why.apy == row.apy
        assert why.ewma + why.today_over_ewma == pytest.approx(row.last_apy, abs=1e-15)
        assert sum(why.families.values()) == pytest.approx(attributed(why), abs=1e-15)
        assert sum(why.days.values()) == pytest.approx(attributed(why), abs=1e-15)
        assert abs(why.calibration) <= 1e-6 * abs(row.apy)  # nothing was changed after the networks spoke
        assert abs(why.gap) <= 1e-6 * abs(attributed(why))


def test_the_forecast_is_the_same_as_without_asking_why(lively: Forecaster) -> None:
    answer, _ = ask_why(lively, Question(NAMES, 14, 0.8))
    plain = lively.ask(Question(NAMES, 14, 0.8))
    assert answer.rows == plain.rows


def test_features_are_named_in_words_with_their_newest_value_the_largest_first(lively: Forecaster) -> None:
    _, [why] = ask_why(lively, Question(["aave"]))
    described = {name: (group, meaning) for name, group, meaning in describe_features()}
    assert len(why.features) == N_TOP
    sizes = [abs(feature.apy) for feature in why.features]
    assert sizes == sorted(sizes, reverse=True)
    for feature in why.features:
        group, meaning = described[feature.name]
        assert (feature.family, feature.meaning) == (FAMILIES.get(group, group), meaning)
    assert "category" not in why.families
    assert list(why.days) == [LAST - dt.timedelta(days=n) for n in range(6, -1, -1)]


def test_the_value_shown_is_that_of_the_newest_day(lively: Forecaster) -> None:
    answer, explanations = ask_why(lively, Question(None))
    ether = market().market.sort("date")["eth_price"]
    n_met = 0
    for row, why in zip(answer.rows, explanations, strict=True):
        newest = market().yields.filter((pl.col("strategy_id") == row.strategy_id) & (pl.col("date") == row.as_of))
        known = {
            "apy_level": np.arcsinh(newest["apy"].item() / 0.05),
            "tvl_log": np.log10(newest["tvl_usd"].item() or 1.0) - 6.0,
            "eth_return_7": np.log(ether[-1] / ether[-8]),
            "eth_return_30": np.log(ether[-1] / ether[-31]),
        }
        for feature in why.features:
            if row.as_of == LAST and feature.name in known:
                assert feature.value == pytest.approx(known[feature.name], abs=1e-5)
                n_met += 1
    assert n_met > 0


def test_every_family_is_one_of_a_few_and_all_groups_have_one() -> None:
    families = {FAMILIES.get(group, group) for _, group, _ in describe_features()} - {"category"}
    assert {"own rate", "technical", "tvl", "use", "market", "cross-section"} <= families
    assert len(families) <= 10


def test_a_floor_is_shown_as_what_it_adds(lively: Forecaster) -> None:
    model = lively.bundle.model
    sunk = [{**w, "head.bias": w["head.bias"] - 1000.0} for w in model.members]
    bundle = Bundle(replace(model, members=tuple(sunk)), lively.bundle.calibrator, lively.bundle.provenance)
    _, [why] = ask_why(replace(lively, bundle=bundle), Question(["aave"]))
    assert why.apy == 0.0
    below = why.ewma + why.today_over_ewma + why.usual_drift + attributed(why)
    assert below < 0.0
    assert why.calibration == pytest.approx(-below)


def test_explanations_come_in_the_order_asked_whatever_each_ones_newest_day(lively: Forecaster) -> None:
    ended = LAST - dt.timedelta(days=3)
    short = market().yields.filter((pl.col("strategy_id") != LIDO) | (pl.col("date") <= ended))
    other = on_other_tables(lively, short)
    answer, explanations = ask_why(other, Question(["delta", LIDO, "lido", "aave"]))
    assert [max(why.days) for why in explanations] == [LAST, ended, ended, LAST]
    assert [why.apy for why in explanations] == [row.apy for row in answer.rows]
    assert explanations[1] == explanations[2]
    alone = ask_why(other, Question(["lido"]))[1][0]
    assert alone.ewma == pytest.approx(explanations[1].ewma, rel=1e-12)
    assert alone.features[0].apy == pytest.approx(explanations[1].features[0].apy, rel=1e-6)


def test_rows_after_the_day_asked_about_explain_nothing(lively: Forecaster) -> None:
    day = LAST - dt.timedelta(days=40)
    tables = market()
    changed = on_other_tables(lively, scrambled(tables.yields, day), market=scrambled(tables.market, day))
    question = Question(["aave", "delta"], as_of=day)
    assert ask_why(lively, question)[1] == ask_why(changed, question)[1]


def test_all_strategies_are_explained_where_they_are_few(lively: Forecaster) -> None:
    answer, explanations = ask_why(lively, Question(None))
    assert len(answer.rows) == len(explanations) > 5


def test_too_many_are_refused_before_anything_is_computed(lively: Forecaster) -> None:
    names = [f"name {n}" for n in range(MAX_EXPLAINED + 1)]
    message = "explain: received '21 strategies', allowed is at most 20 strategies at once with an explanation"
    with pytest.raises(RequestError, match=message):
        ask_why(lively, Question(names))
    with pytest.raises(UnknownStrategyError):
        ask_why(lively, Question(names[1:]))
    answer = lively.ask(Question(["aave"]))
    with pytest.raises(RequestError, match=message):
        explain(lively, replace(answer, rows=answer.rows * 21))
    assert len(explain(lively, replace(answer, rows=answer.rows * 20))) == 20


def test_a_name_said_twice_counts_once(lively: Forecaster) -> None:
    answer, explanations = ask_why(lively, Question(["aave"] * 21))
    assert len(answer.rows) == len(explanations) == 1


def test_an_unknown_name_is_refused_as_ever(lively: Forecaster) -> None:
    with pytest.raises(UnknownStrategyError, match="unknown strategy 'lidoo'"):
        ask_why(lively, Question(["lidoo"]))


def test_plain_values_are_json_and_only_there_when_asked_for(lively: Forecaster) -> None:
    answer, explanations = ask_why(lively, Question(NAMES))
    assert to_json_with(answer, []) == to_json(answer)
    content = json.loads(json.dumps(to_json_with(answer, explanations), allow_nan=False))
    for name, why in zip(NAMES, explanations, strict=True):
        plain = content["predictions"][name].pop("explanation")
        assert plain["features"][0] == vars(why.features[0])
        assert plain["days"][LAST.isoformat()] == why.days[LAST]
    assert content == to_json(answer)


def test_one_forecast_is_explained_in_less_than_half_a_second(lively: Forecaster) -> None:
    answer, _ = ask_why(lively, Question(["aave"]))
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        explain(lively, answer)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.5
