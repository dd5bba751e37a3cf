from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest

from aegis_yield.domain.forecast import (
    QUANTILE_COLUMNS,
    QUANTILE_LEVELS,
    ForecastKeys,
    Forecasts,
    interval_levels,
    levels_for,
)

DESIGN_COLUMNS = [
    "strategy_id", "origin", "horizon_days", "apy", "volatility",
    "q025", "q05", "q10", "q25", "q50", "q75", "q90", "q95", "q975",
]  # fmt: skip


def forecasts(levels: tuple[float, ...] = QUANTILE_LEVELS, **changes: np.ndarray) -> Forecasts:
    keys = ForecastKeys(
        np.array(["a", "b"], dtype=object),
        np.array(["2025-01-05", "2025-01-06"], dtype="datetime64[D]"),
        np.array([0, 3]),
    )
    arrays = {
        "apy": np.array([0.05, 0.2]),
        "volatility": np.array([0.06, 0.1]),
        "quantiles": np.array([[0.05], [0.2]]) + 0.01 * np.arange(len(levels)),
    }
    return Forecasts(keys=keys, horizon_days=7, levels=levels, **(arrays | changes))


@pytest.mark.parametrize("field", ["apy", "volatility", "quantiles"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_forecast_that_is_not_finite_is_refused(field: str, bad: float) -> None:
    array = np.array(getattr(forecasts(), field))
    array.flat[-1] = bad
    with pytest.raises(ValueError, match="NaN or infinite"):
        forecasts(**{field: array})


def test_crossing_quantiles_are_refused() -> None:
    quantiles = np.array(forecasts().quantiles)
    quantiles[1, [3, 4]] = quantiles[1, [4, 3]]
    with pytest.raises(ValueError, match="cross"):
        forecasts(quantiles=quantiles)


def test_equal_quantiles_do_not_cross() -> None:
    assert forecasts(quantiles=np.full((2, 9), 0.05)).interval(0.9)[0].tolist() == [0.05, 0.05]


@pytest.mark.parametrize(
    ("field", "shape"), [("apy", (3,)), ("volatility", (2, 1)), ("quantiles", (2, 8)), ("quantiles", (9, 2))]
)
def test_arrays_of_the_wrong_shape_are_refused(field: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="do not fit 2 rows and 9 levels"):
        forecasts(**{field: np.zeros(shape)})


@pytest.mark.parametrize(("level", "low", "high"), [(0.95, 0, 8), (0.9, 1, 7), (0.8, 2, 6), (0.5, 3, 5)])
def test_the_interval_lies_between_the_two_right_quantiles(level: float, low: int, high: int) -> None:
    lower, upper = forecasts().interval(level)
    assert lower.tolist() == forecasts().quantiles[:, low].tolist()
    assert upper.tolist() == forecasts().quantiles[:, high].tolist()


def test_an_interval_whose_quantiles_are_not_carried_is_refused() -> None:
    with pytest.raises(KeyError):
        forecasts().interval(0.6)
    lower, upper = forecasts(levels=levels_for(0.6)).interval(0.6)
    assert (lower < upper).all()


@pytest.mark.parametrize("level", [0.5, 0.6, 0.75, 0.8, 0.9, 0.95, 0.98, 1 / 3 + 0.5])
def test_levels_for_an_interval_hold_the_standard_ones_and_its_two_ends(level: float) -> None:
    levels = levels_for(level)
    assert list(levels) == sorted(set(levels))
    assert set(QUANTILE_LEVELS) <= set(levels)
    low, high = interval_levels(level)
    assert {low, high} <= set(levels)
    assert high - low == pytest.approx(level, abs=2e-6)
    assert low + high == pytest.approx(1.0, abs=2e-6)


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.95])
def test_standard_levels_are_not_doubled_by_rounding(level: float) -> None:
    assert levels_for(level) == QUANTILE_LEVELS


def test_the_table_has_the_promised_columns_in_order() -> None:
    assert forecasts().to_frame().columns == DESIGN_COLUMNS


def test_the_table_holds_the_values() -> None:
    row = forecasts().to_frame().row(1, named=True)
    assert (row["strategy_id"], row["origin"], row["horizon_days"]) == ("b", dt.date(2025, 1, 6), 7)
    assert (row["apy"], row["volatility"]) == (0.2, 0.1)
    assert [row[name] for name in QUANTILE_COLUMNS] == forecasts().quantiles[1].tolist()


def test_the_table_of_a_wider_forecast_keeps_to_the_standard_quantiles() -> None:
    wide = forecasts(levels=levels_for(0.6))
    frame = wide.to_frame()
    assert frame.columns == DESIGN_COLUMNS
    assert frame["q25"].to_list() == wide.quantiles[:, wide.levels.index(0.25)].tolist()


def test_joined_forecasts_are_their_parts_in_order() -> None:
    both = Forecasts.joined([forecasts(), forecasts(apy=np.array([1.0, 2.0]))], 7, QUANTILE_LEVELS)
    assert both.keys.strategy_id.tolist() == ["a", "b", "a", "b"]
    assert both.apy.tolist() == [0.05, 0.2, 1.0, 2.0]
    assert both.to_frame().height == 4


def test_joining_nothing_gives_an_empty_table_of_the_same_form() -> None:
    empty = Forecasts.joined([], 7, QUANTILE_LEVELS).to_frame()
    assert empty.height == 0
    assert empty.schema == forecasts().to_frame().schema
    assert empty.schema["origin"] == pl.Date
