from __future__ import annotations

from pathlib import Path

import pytest
from table_makers import TODAY, day, strategies_table, write_tables, yields_table

from aegis_yield.domain.dataset import Dataset
from aegis_yield.preprocessing.tables import read_dataset
from aegis_yield.preprocessing.units import UnitWarning, percent_suspects

PERCENT = [4.1, 4.3, 3.0, 3.2]


def test_percent_is_noticed_and_the_suspects_named(tmp_path: Path) -> None:
    folder = write_tables(tmp_path, yields=yields_table(apy=[0.041, 0.043, 3.0, 3.2]))
    with pytest.warns(UnitWarning, match=r"for b; divide by 100") as caught:
        read_dataset(folder, TODAY)
    assert len(caught) == 1


def test_the_values_are_left_as_they_are(tmp_path: Path) -> None:
    with pytest.warns(UnitWarning):
        dataset = read_dataset(write_tables(tmp_path, yields=yields_table(apy=PERCENT)), TODAY)
    assert dataset.yields["apy"].to_list() == PERCENT


@pytest.mark.parametrize("category", ["delta_neutral", "amm_lp", "vault", "fixed_yield", "other"])
def test_categories_that_may_pay_hundreds_of_percent_are_not_suspected(tmp_path: Path, category: str) -> None:
    strategies = strategies_table(category=[category] * 2)
    folder = write_tables(tmp_path, yields=yields_table(apy=PERCENT), strategies=strategies)
    assert percent_suspects(read_dataset(folder, TODAY)) == []


@pytest.mark.parametrize("category", ["lending", "staking", "savings_rate", "rwa"])
def test_categories_that_pay_single_digits_are(tmp_path: Path, category: str) -> None:
    folder = write_tables(
        tmp_path, yields=yields_table(apy=PERCENT), strategies=strategies_table(category=[category] * 2)
    )
    with pytest.warns(UnitWarning, match="for a, b;"):
        read_dataset(folder, TODAY)


def test_a_single_spike_is_not_percent(tmp_path: Path) -> None:
    spiked = yields_table(strategy_id=["a"] * 4, date=[day(n) for n in range(1, 5)], apy=[0.04, 90, 0.04, 0.05])
    assert percent_suspects(read_dataset(write_tables(tmp_path, yields=spiked), TODAY)) == []


def test_the_simulated_market_is_not_suspected(small_market: Dataset) -> None:
    assert percent_suspects(small_market) == []
