from __future__ import annotations

import dataclasses
import datetime as dt

import polars as pl
import pytest

from aegis_yield.domain.categories import CATEGORIES, CATEGORY_CODE, NEVER_NEGATIVE
from aegis_yield.domain.dataset import Dataset
from aegis_yield.domain.errors import DataError

DAYS = [dt.date(2025, 1, day) for day in range(1, 11)]


def dataset(sources: list[str | None] | None = None, days: list[dt.date] = DAYS) -> Dataset:
    yields = pl.DataFrame({"strategy_id": ["a"] * len(days), "date": days, "apy": [0.05] * len(days)})
    if sources is not None:
        yields = yields.with_columns(pl.Series("source", sources, dtype=pl.String))
    strategies = pl.DataFrame({"strategy_id": ["a"], "category": ["lending"]})
    return Dataset(yields, strategies, pl.DataFrame({"date": days, "vix": [20.0] * len(days)}), "test")


@pytest.mark.parametrize("origin", [DAYS[0], DAYS[4], DAYS[-1]])
def test_nothing_later_than_the_origin_is_known(origin: dt.date) -> None:
    known = dataset().known_at(origin)
    expected = [day for day in DAYS if day <= origin]
    assert known.yields["date"].to_list() == expected
    assert known.market["date"].to_list() == expected
    assert known.last_date == origin


def test_knowing_less_leaves_the_dataset_itself_alone() -> None:
    whole = dataset()
    assert whole.known_at(DAYS[2]).name == whole.name
    assert whole.yields.height == 10
    with pytest.raises(dataclasses.FrozenInstanceError):
        whole.name = "x"  # type: ignore[misc]


def test_knowing_everything_changes_nothing() -> None:
    assert dataset().known_at(DAYS[-1]).yields.equals(dataset().yields)


@pytest.mark.parametrize(
    ("sources", "simulated"),
    [
        (None, False),
        ([None] * 10, False),
        (["llama"] * 10, False),
        (["simulated"] * 10, True),
        ([*["llama"] * 9, "simulated"], True),
        ([*[None] * 9, "simulated"], True),
    ],
)
def test_one_simulated_row_makes_a_dataset_simulated(sources: list[str | None] | None, simulated: bool) -> None:
    assert dataset(sources).is_simulated is simulated


def test_the_simulated_market_says_so(small_market: Dataset) -> None:
    assert small_market.is_simulated
    assert "simulated" in small_market.name


def test_first_and_last_date_are_those_of_the_yields() -> None:
    assert (dataset().first_date, dataset().last_date) == (DAYS[0], DAYS[-1])


@pytest.mark.parametrize("end", ["first_date", "last_date"])
def test_a_dataset_without_rows_has_no_dates(end: str) -> None:
    with pytest.raises(DataError, match="no rows of yields"):
        getattr(dataset().known_at(dt.date(2024, 1, 1)), end)


def test_the_categories_are_those_promised() -> None:
    promised = "lending, staking, delta_neutral, amm_lp, vault, savings_rate, fixed_yield, rwa, other"
    assert ", ".join(CATEGORIES) == promised
    assert [CATEGORY_CODE[name] for name in CATEGORIES] == list(range(9))
    assert set(CATEGORIES) > NEVER_NEGATIVE
