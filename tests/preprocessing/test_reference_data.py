"""The real data: rows are counted, figures agree with those published beside it."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from aegis_yield.domain.dataset import Dataset
from aegis_yield.domain.targets import realised_volatility
from aegis_yield.preprocessing.cleaning import quality_report
from aegis_yield.preprocessing.tables import read_dataset
from aegis_yield.preprocessing.units import percent_suspects

pytestmark = pytest.mark.reference


@pytest.fixture(scope="module")
def real(reference_data: Path) -> Dataset:
    return read_dataset(reference_data)  # a warning of percent would fail here


def test_it_is_read_whole(real: Dataset, reference_data: Path) -> None:
    assert real.yields.height == pl.scan_parquet(reference_data / "yields.parquet").select(pl.len()).collect().item()
    assert real.yields.height == 233_327
    assert real.yields["strategy_id"].n_unique() == 830
    assert (str(real.first_date), str(real.last_date)) == ("2019-05-07", "2025-09-30")


def test_no_value_is_changed(real: Dataset, reference_data: Path) -> None:
    raw = pl.read_parquet(reference_data / "yields.parquet").sort("strategy_id", "date")
    columns = [name for name in raw.columns if name != "is_outlier"]
    assert real.yields.select(columns).equals(raw.select(columns))
    assert (real.yields["is_outlier"] >= raw["is_outlier"]).all()


def test_nobody_is_suspected_of_percent(real: Dataset) -> None:
    assert percent_suspects(real) == []


def test_percent_would_be_noticed(real: Dataset) -> None:
    inflated = Dataset(real.yields.with_columns(pl.col("apy") * 100), real.strategies, real.market, "x100")
    usual = {"aave-v3:ethereum:usdc", "lido:ethereum:steth", "compound-v3:ethereum:usdc"}
    assert usual <= set(percent_suspects(inflated))


def test_the_quality_report_counts_gaps_as_a_loop_does(real: Dataset) -> None:
    dates = real.yields.group_by("strategy_id").agg("date")["date"].to_list()
    steps = [(b - a).days for own in dates for a, b in itertools.pairwise(own)]
    report = quality_report(real)
    assert report.n_gaps == sum(step > 1 for step in steps)
    assert report.n_missing_days == sum(step - 1 for step in steps)


# The data's own notes: "about 0.06 for Aave USDC, 0.03 for Lido, 0.2 for sUSDe" (7 days).
@pytest.mark.parametrize(
    ("strategy", "published"),
    [("aave-v3:ethereum:usdc", 0.06), ("lido:ethereum:steth", 0.03), ("ethena-usde:ethereum:susde", 0.2)],
)
def test_weekly_volatility_is_as_published(real: Dataset, strategy: str, published: float) -> None:
    own = real.yields.filter(pl.col("strategy_id") == strategy).upsample("date", every="1d")
    weeks = np.lib.stride_tricks.sliding_window_view(own["apy"].to_numpy(), 8)
    assert np.nanmedian(realised_volatility(weeks)) == pytest.approx(published, rel=0.2)
