"""How past forecasts turned out: the same as asking on each past day, and nothing from later days."""

from __future__ import annotations

import bisect
import datetime as dt
import math
from collections.abc import Sequence

import numpy as np
import pytest
from bundles import market
from changed_tables import AAVE, DELTA, LIDO, POOL, on_tables, scrambled_after
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_yield.domain.errors import HistoryError
from aegis_yield.domain.forecast import QUANTILE_COLUMNS, QUANTILE_LEVELS
from aegis_yield.pipelines.past import ORIGINS, STEP_DAYS, past_pits
from aegis_yield.pipelines.predict import Forecaster, Question

IDS = (LIDO, AAVE, POOL, DELTA)
FIRST, LAST = market().first_date, market().last_date
WEEK = dt.timedelta(days=STEP_DAYS)
RATES: dict[str, dict[dt.date, float]] = {
    name: dict(market().yields.filter(strategy_id=name).select("date", "apy").iter_rows()) for name in IDS
}


def origins(as_of: dt.date, horizon: int) -> list[dt.date]:
    """The days whose outcomes are learned from, oldest first."""
    newest = as_of - dt.timedelta(days=horizon)
    return [newest - WEEK * back for back in range(ORIGINS - 1, -1, -1) if newest - WEEK * back >= FIRST]


def paid(strategy: str, origin: dt.date, horizon: int) -> float:
    """What a depositor earned after the origin, a year; NaN if a day is missing."""
    growth = 1.0
    for day in range(1, horizon + 1):
        growth *= max(1.0 + RATES[strategy].get(origin + dt.timedelta(days=day), math.nan), 1e-6) ** (1.0 / 365.0)
    return growth ** (365.0 / horizon) - 1.0


def fell_at(quantiles: Sequence[float], outcome: float) -> float:
    """Where an outcome fell: linear between quantiles, exponential beyond the outermost ones."""
    p, q = QUANTILE_LEVELS, list(quantiles)
    if math.isnan(outcome):
        return math.nan
    if outcome < q[0]:
        return float(p[0] * (p[0] / p[1]) ** ((q[0] - outcome) / (q[1] - q[0])))
    if outcome > q[-1]:
        left = (1 - p[-1]) / (1 - p[-2])
        return float(1 - (1 - p[-1]) * left ** ((outcome - q[-1]) / (q[-1] - q[-2])))
    right = min(max(bisect.bisect_right(q, outcome), 1), len(q) - 1)
    share = (outcome - q[right - 1]) / (q[right] - q[right - 1])
    return float(p[right - 1] + share * (p[right] - p[right - 1]))


def asked(forecaster: Forecaster, strategy: str, origin: dt.date, horizon: int) -> float:
    """The PIT of one forecast, made by asking on that day."""
    if origin not in RATES[strategy]:
        return math.nan
    try:
        answer = forecaster.ask(Question([strategy], horizon, as_of=origin))
    except HistoryError:
        return math.nan
    return fell_at(answer.forecasts.select(QUANTILE_COLUMNS).row(0), paid(strategy, origin, horizon))


@pytest.mark.parametrize(("horizon", "days_before"), [(7, 0), (30, 3)])
def test_pits_equal_asking_on_each_past_day(forecaster: Forecaster, horizon: int, days_before: int) -> None:
    as_of = LAST - dt.timedelta(days=days_before)
    found = past_pits(forecaster, IDS, horizon, as_of)
    days = origins(as_of, horizon)
    assert found.shape == (len(days), len(IDS))
    for row in (0, 9, len(days) - 1):
        naive = [asked(forecaster, strategy, days[row], horizon) for strategy in IDS]
        assert found[row] == pytest.approx(naive, rel=1e-4, abs=1e-6, nan_ok=True)
    assert np.isfinite(found).sum() > 0.8 * found.size


def test_pits_lie_between_0_and_1_and_differ(forecaster: Forecaster) -> None:
    found = past_pits(forecaster, IDS, 7, LAST)
    known = found[np.isfinite(found)]
    assert ((known >= 0.0) & (known <= 1.0)).all()
    assert np.ptp(known) > 0.5


@settings(max_examples=4, deadline=None)
@given(back=st.integers(0, 150), seed=st.integers(0, 2**16))
def test_later_rows_change_no_pit(forecaster: Forecaster, back: int, seed: int) -> None:
    day = LAST - dt.timedelta(days=back)
    changed = on_tables(forecaster, scrambled_after(day, seed))
    before, after = past_pits(forecaster, IDS, 7, day), past_pits(changed, IDS, 7, day)
    assert np.isfinite(before).any()
    assert np.array_equal(before, after, equal_nan=True)


def test_rows_of_the_last_outcome_do_count(forecaster: Forecaster) -> None:
    changed = on_tables(forecaster, scrambled_after(LAST - dt.timedelta(days=3)))
    before, after = past_pits(forecaster, IDS, 7, LAST), past_pits(changed, IDS, 7, LAST)
    assert not np.array_equal(before[-1], after[-1], equal_nan=True)
    assert np.array_equal(before[:-1], after[:-1], equal_nan=True)


def test_columns_follow_the_order_asked_and_unknown_strategies_stay_empty(forecaster: Forecaster) -> None:
    found = past_pits(forecaster, IDS, 7, LAST)
    turned = past_pits(forecaster, ("nobody:knows:it", *IDS[::-1]), 7, LAST)
    assert np.isnan(turned[:, 0]).all()
    np.testing.assert_allclose(turned[:, :0:-1], found, rtol=1e-4, atol=1e-6)


def test_a_short_past_gives_fewer_rows(forecaster: Forecaster) -> None:
    as_of = FIRST + dt.timedelta(days=60)
    assert past_pits(forecaster, IDS, 7, as_of).shape == (len(origins(as_of, 7)), len(IDS))
    assert len(origins(as_of, 7)) < ORIGINS
    assert past_pits(forecaster, IDS, 7, FIRST + dt.timedelta(days=3)).shape == (0, len(IDS))


def test_what_is_remembered_is_what_would_be_found_anew(forecaster: Forecaster) -> None:
    fresh = Forecaster(forecaster.dataset, forecaster.bundle, forecaster.model_version, forecaster.names)
    wanted = past_pits(fresh, IDS, 7, LAST)
    past_pits(forecaster, (POOL,), 30, LAST)
    past_pits(forecaster, (POOL,), 7, LAST - WEEK)
    for strategy, column in zip(IDS, wanted.T, strict=True):
        np.testing.assert_array_equal(past_pits(forecaster, (strategy,), 7, LAST)[:, 0], column)
    np.testing.assert_array_equal(past_pits(forecaster, ("nobody", LIDO), 7, LAST)[:, 1], wanted[:, 0])
    assert np.isnan(past_pits(forecaster, ("nobody",), 7, LAST)).all()
