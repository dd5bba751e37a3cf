from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from aegis_yield.simulation import MarketSpec, simulate_market
from aegis_yield.simulation.facts import stylised_facts

ROOT = Path(__file__).parents[2]

# Per category: bands for the median apy, the autocorrelation at 1 and 7 days, the normal volatility of a
# typical week. The reference data and other seeds lie within; noise around a constant does not.
BANDS = {
    "lending": ((0.003, 0.06), (0.5, 0.95), (0.25, 0.8), (0.003, 0.15)),
    "staking": ((0.025, 0.06), (0.6, 0.99), (0.3, 0.95), (0.004, 0.05)),
    "delta_neutral": ((0.08, 0.13), (0.5, 0.9), (0.2, 0.75), (0.6, 3.0)),
    "amm_lp": ((0.05, 0.4), (0.35, 0.8), (0.15, 0.6), (0.3, 3.0)),
    "vault": ((0.05, 0.16), (0.7, 0.98), (0.4, 0.9), (0.05, 0.5)),
    "savings_rate": ((0.02, 0.10), (0.9, 1.0), (0.7, 1.0), (0.0, 0.02)),
    "fixed_yield": ((0.04, 0.25), (0.6, 1.0), (0.3, 0.97), (0.03, 0.5)),
    "rwa": ((0.03, 0.15), (0.85, 1.0), (0.7, 1.0), (0.0, 0.1)),
    "other": ((0.01, 0.10), (0.6, 1.0), (0.3, 0.95), (0.0, 0.15)),
}


@pytest.fixture(scope="module")
def facts() -> dict[str, dict[str, float]]:
    made = simulate_market(MarketSpec(n_strategies=600, seed=11))
    return {row["category"]: row for row in stylised_facts(made.yields, made.strategies).to_dicts()}


@pytest.mark.parametrize("category", BANDS)
def test_facts_lie_within_their_bands(facts: dict[str, dict[str, float]], category: str) -> None:
    names = ("median", "ac_1", "ac_7", "vol_week")
    for name, (low, high) in zip(names, BANDS[category], strict=True):
        assert low <= facts[category][name] <= high, name


def test_tails_are_where_they_belong(facts: dict[str, dict[str, float]]) -> None:
    assert facts["delta_neutral"]["q01"] < -0.2
    assert 0.3 < facts["delta_neutral"]["q95"] < 2.0
    assert 0.04 < facts["lending"]["q95"] < 0.25
    assert 1.0 < facts["amm_lp"]["q95"] < 8.0
    assert facts["amm_lp"]["q99"] > 2.0 * facts["amm_lp"]["q95"]


def table(apy: list[float], days: list[int] | None = None) -> tuple[pl.DataFrame, pl.DataFrame]:
    first = dt.date(2024, 1, 1)
    dates = [first + dt.timedelta(days=day) for day in days or range(len(apy))]
    yields = pl.DataFrame({"strategy_id": ["a"] * len(apy), "date": dates, "apy": apy})
    return yields, pl.DataFrame({"strategy_id": ["a"], "category": ["other"]})


def test_facts_of_a_rate_that_alternates() -> None:
    row = stylised_facts(*table([0.02, 0.04] * 100)).row(0, named=True)
    assert row["median"] == pytest.approx(0.03)
    assert row["ac_1"] == pytest.approx(-1.0)
    assert row["ac_30"] == pytest.approx(1.0)
    assert row["vol_week"] == row["vol_life"] == pytest.approx(np.sqrt(365) * 0.02)
    assert (row["negative"], row["unchanged"]) == (0.0, 0.0)


def test_a_constant_rate_has_no_autocorrelation() -> None:
    row = stylised_facts(*table([0.05] * 200)).row(0, named=True)
    assert row["ac_1"] is None
    assert (row["vol_life"], row["unchanged"]) == (0.0, 1.0)


def test_moves_over_a_gap_do_not_count() -> None:
    days = [day for day in range(300) if day != 150]
    apy = [0.01 if day < 150 else 0.09 for day in days]
    assert stylised_facts(*table(apy, days)).row(0, named=True)["vol_life"] == 0.0


def test_short_histories_are_left_out() -> None:
    assert stylised_facts(*table([0.05, 0.06] * 30)).height == 0


def run_benchmark(*options: str, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "AEGIS_REFERENCE_DATA"}
    command = [sys.executable, str(ROOT / "benchmarks" / "stylised_facts.py"), "--days", "200", *options]
    return subprocess.run(
        command,
        env=environment | {"AEGIS_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_benchmark_without_real_data_says_what_to_set(tmp_path: Path) -> None:
    done = run_benchmark("--strategies", "20", home=tmp_path / "checkout")
    assert done.returncode == 0
    assert "Simulated data" in done.stdout
    assert "not available: set AEGIS_REFERENCE_DATA" in done.stdout


def test_the_benchmark_puts_real_data_beside_the_simulated(tmp_path: Path) -> None:
    yields, strategies = table([0.02, 0.04] * 100)
    yields.write_parquet(tmp_path / "yields.parquet")
    strategies.write_parquet(tmp_path / "strategies.parquet")
    done = run_benchmark("--strategies", "20", "--json", "--data", str(tmp_path), home=tmp_path)
    answer = json.loads(done.stdout)
    assert answer["real"]["other"]["median"] == pytest.approx(0.03)
    assert "lending" in answer["simulated"]


@pytest.mark.parametrize("options", [("--strategies", "2"), ("--data", "nowhere")])
def test_the_benchmark_refuses_what_it_cannot_do(tmp_path: Path, options: tuple[str, str]) -> None:
    done = run_benchmark(*options, home=tmp_path)
    assert done.returncode == 2
    assert options[1] in done.stderr
