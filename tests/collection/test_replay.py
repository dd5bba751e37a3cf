"""Collecting from a server that replays real tables gives those tables back, and the same forecast."""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from pytest_httpserver import HTTPServer
from replay import Replay, Tables, catalogue_text
from replay_chain import replay_node

from aegis_yield.domain.dataset import Dataset
from aegis_yield.pipelines.predict import Forecaster, Question
from aegis_yield.preprocessing.tables import read_dataset, write_dataset

CHECKOUT = Path(__file__).resolve().parents[2]
DEFAULTS = (
    "aave-v3:ethereum:usdc", "lido:ethereum:steth", "delta-neutral:binance:eth", "ethena-usde:ethereum:susde",
    "compound-v3:ethereum:usdc",
)  # fmt: skip
CARRY = "delta-neutral:lido-binance:steth-eth"
LAST = dt.date(2025, 9, 30)
"""The tables' last day. The node's clock runs on, and with it the indices of its contracts."""

NUMBERS = ("apy", "apy_base", "tvl_usd", "borrow_apy", "utilization", "total_supply_usd", "total_borrow_usd")
MARKET = (
    "eth_price",
    "btc_price",
    "gas_gwei",
    "defi_tvl_usd",
    "stablecoin_supply_usd",
    "fear_greed",
    "vix",
    "fed_funds_pct",
)
GAS_SINCE = dt.date(2025, 5, 1)
"""Gas is read block by block; what a forecast looks back on is enough."""


@dataclass(frozen=True)
class Case:
    """What was replayed, since when, and where it was collected into."""

    tables: Tables
    since: dt.date
    folder: Path
    environment: dict[str, str]
    has_gas: bool

    @property
    def collected(self) -> Path:
        return self.folder / "processed"

    @property
    def market_columns(self) -> tuple[str, ...]:
        return MARKET if self.has_gas else tuple(name for name in MARKET if name != "gas_gwei")


def replayed_tables(reference: Path, n_pools: int) -> Tables:
    """The default strategies and so many pools that DefiLlama could have served, each with all of its days."""
    yields = pl.read_parquet(reference / "yields.parquet").sort("strategy_id", "date")
    strategies = pl.read_parquet(reference / "strategies.parquet")
    spans = yields.group_by("strategy_id").agg(
        pl.len().alias("n"), pl.col("apy").min().alias("low"), pl.col("apy").max().alias("high")
    )
    fit = spans.filter(
        (pl.col("n") >= 60) & (pl.col("low") >= 0) & (pl.col("high") <= 1e4) & ~pl.col("strategy_id").is_in(DEFAULTS)
    )
    fit = fit.join(strategies.filter(pl.col("category") != "delta_neutral"), on="strategy_id", how="semi").sort(
        "strategy_id"
    )
    pools = fit["strategy_id"].gather_every(max(1, fit.height // n_pools)).head(n_pools).to_list()
    keep = pl.col("strategy_id").is_in([*DEFAULTS, *pools])
    # Sources tell the two sides of a lending pool, not their ratio.
    ratio = pl.when(pl.col("total_supply_usd") > 0).then(pl.col("total_borrow_usd") / pl.col("total_supply_usd"))
    yields = yields.filter(keep).with_columns(ratio.alias("utilization")).drop("is_outlier")
    return Tables(yields, strategies.filter(keep), pl.read_parquet(reference / "market.parquet"))


def collect(case: Case, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "scripts/collect.py", "--into", str(case.folder), *arguments]
    return subprocess.run(
        command, cwd=CHECKOUT, env=case.environment, capture_output=True, text=True, timeout=280, check=False
    )


def collected_case(reference: Path, folder: Path, n_pools: int, since: dt.date, has_gas: bool) -> Iterator[Case]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    tables = replayed_tables(reference, n_pools)
    node = replay_node(tables.yields, tables.market, dt.datetime.now(dt.UTC))
    with HTTPServer(threaded=True) as server:
        replay = Replay(server, tables, node.respond)
        named = [name for name in tables.strategies["strategy_id"] if name not in DEFAULTS]
        shipped = (CHECKOUT / "configs" / "catalogue.toml").read_text()
        catalogue = folder / "catalogue.toml"
        catalogue.write_text(catalogue_text(shipped, tables, replay.pools, named))
        environment = {**os.environ, **replay.environment(), "AEGIS_CATALOGUE": str(catalogue)}
        case = Case(tables, since, folder, environment, has_gas)
        sources = (
            "aave",
            "lido",
            "lido_api",
            "erc4626",
            "defillama",
            "binance",
            "bybit",
            "hyperliquid",
            "fear_greed",
            "fred",
        )
        runs = [("--since", str(since), "--sources", *sources)]
        runs += [("--since", str(GAS_SINCE), "--sources", "gas")] if has_gas else []
        for arguments in runs:
            done = collect(case, *arguments)
            assert done.returncode == 0, done.stdout + done.stderr
        yield case


@pytest.fixture(scope="module")
def small(reference_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    yield from collected_case(reference_data, tmp_path_factory.mktemp("small"), 20, dt.date(2025, 4, 1), has_gas=False)


@pytest.fixture(scope="module")
def large(reference_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    yield from collected_case(reference_data, tmp_path_factory.mktemp("large"), 500, dt.date(2022, 5, 1), has_gas=True)


def check_yields(case: Case) -> None:
    """Every day of every strategy, and no other: rates to 1e-9, amounts to a part in 1e9, gaps where they were."""
    found = pl.read_parquet(case.collected / "yields.parquet").filter(
        (pl.col("strategy_id") != CARRY) & (pl.col("date") <= LAST)
    )
    by_window = found.filter(pl.col("source").is_in(["aave", "lido", "binance"]))["strategy_id"].unique().to_list()
    expected = case.tables.yields.filter(~pl.col("strategy_id").is_in(by_window) | (pl.col("date") >= case.since))
    both = expected.join(found, on=["strategy_id", "date"], how="full", coalesce=True, suffix="_found")
    lost = both.filter(pl.col("apy").is_null() | pl.col("apy_found").is_null())
    assert lost.height == 0, lost
    assert float((both["apy"] - both["apy_found"]).abs().max()) < 1e-9
    for name in NUMBERS[1:]:
        known = both.filter(pl.col(name).is_not_null())
        if name == "apy_base":  # the chain tells what was paid and not what it was made of
            known = known.filter(~pl.col("strategy_id").is_in(by_window))
        assert known[f"{name}_found"].null_count() == 0, name
        error = (known[name] - known[f"{name}_found"]).abs() / known[name].abs().clip(lower_bound=1e-6)
        assert (error.max() or 0.0) < 1e-9, name


def check_market(case: Case) -> None:
    found = pl.read_parquet(case.collected / "market.parquet")
    for name in case.market_columns:
        since = GAS_SINCE if name == "gas_gwei" else case.since
        span = pl.col("date").is_between(since, LAST)
        expected = case.tables.market.filter(span).select("date", name).drop_nulls()
        both = expected.join(
            found.filter(span).select("date", pl.col(name).alias("found")).drop_nulls(), on="date", how="full"
        )
        assert both.height == expected.height, name
        assert both["found"].null_count() == 0, name
        assert float(((both[name] - both["found"]) / both[name].clip(lower_bound=1e-9)).abs().max()) < 1e-9, name


def check_carry(case: Case) -> None:
    """The delta strategy from its legs, with the shipped costs: 20 bp in 30 days, 10 bp a year, leverage 3."""
    found = pl.read_parquet(case.collected / "yields.parquet").filter(pl.col("date") <= LAST)
    days = {
        name: dict(found.filter(pl.col("strategy_id") == name).select("date", "apy").iter_rows())
        for name in (*DEFAULTS, CARRY)
    }
    lido, funding = days["lido:ethereum:steth"], days["delta-neutral:binance:eth"]
    assert set(days[CARRY]) == set(lido) & set(funding)
    for day, apy in days[CARRY].items():
        growth = 365 * ((1 + lido[day]) ** (1 / 365) - 1)
        costs = 0.0020 * 365 / 30 + 0.0010
        assert apy == pytest.approx((growth + funding[day] - costs) / (1 + 1 / 3), abs=1e-12)


def check_forecast(case: Case, folder: Path) -> None:
    """The same model says the same of the collected tables and of those that were replayed."""
    collected, columns = read_dataset(case.collected), case.market_columns
    same = pl.col("strategy_id") != CARRY
    until = pl.col("date") <= LAST
    market = collected.market.filter(until)
    theirs = Dataset(
        collected.yields.filter(same & until).drop("is_outlier", "quality_flags", "price"),
        collected.strategies.filter(same), market.select("date", *columns), "collected",
    )  # fmt: skip
    spans = theirs.yields.group_by("strategy_id").agg(pl.col("date").min().alias("first"))
    original = case.tables.yields.join(spans, on="strategy_id").filter(pl.col("date") >= pl.col("first")).drop("first")
    shown = market.select("date", *(pl.col(name).is_not_null().alias(f"has_{name}") for name in columns))
    joined = shown.join(case.tables.market, on="date", how="left")
    known = joined.select("date", *(pl.when(f"has_{name}").then(name).alias(name) for name in columns))
    ours = Dataset(original, case.tables.strategies, known.sort("date"), "original")
    answers = []
    for dataset in (ours, theirs):
        write_dataset(dataset, folder / dataset.name)
        forecaster = Forecaster.open(folder / dataset.name, None)
        answers.append(forecaster.ask(Question(None, 7, 0.9, LAST)).forecasts)
    assert answers[0]["strategy_id"].to_list() == answers[1]["strategy_id"].to_list()
    assert answers[0].height > 15
    numbers = [name for name, kind in answers[0].schema.items() if kind.is_float()]
    first, second = (answer.select(numbers).to_numpy() for answer in answers)
    np.testing.assert_allclose(second, first, rtol=1e-5, atol=1e-7)


def test_the_default_strategies_come_back(small: Case) -> None:
    check_yields(small)
    check_market(small)
    check_carry(small)


def test_the_forecast_is_the_same(small: Case, tmp_path: Path) -> None:
    check_forecast(small, tmp_path)


def sources_of(case: Case) -> dict[str, str]:
    found = pl.read_parquet(case.collected / "yields.parquet")
    return dict(found.group_by("strategy_id").agg(pl.col("source").unique().sort().str.join("+")).iter_rows())


def test_no_strategy_is_mixed_from_two_sources(small: Case) -> None:
    """The chain is preferred once it reaches half as far as the chart: here it does for Aave, not yet for Lido."""
    sources = sources_of(small)
    assert [sources[name] for name in DEFAULTS] == ["aave", "defillama", "binance", "defillama", "defillama"]
    assert set(sources.values()) == {"aave", "binance", "defillama", "legs"}


def test_a_second_run_brings_nothing(small: Case) -> None:
    before = {path.name: path.read_bytes() for path in small.collected.glob("*.parquet")}
    done = collect(small, "--since", "2025-04-01", "--sources", "defillama", "binance", "aave", "lido", "--json")
    assert done.returncode == 0, done.stderr
    appended = json.loads(done.stdout)["appended"].values()
    assert sum(rows["new"] + rows["revised"] + rows["rejected"] for rows in appended) == 0
    assert "warning" not in done.stderr
    assert {path.name: path.read_bytes() for path in small.collected.glob("*.parquet")} == before


@pytest.mark.slow
def test_five_hundred_pools_come_back_and_are_forecast_the_same(large: Case, tmp_path: Path) -> None:
    assert pl.read_parquet(large.collected / "strategies.parquet").height == 506
    assert [sources_of(large)[name] for name in DEFAULTS] == ["aave", "lido", "binance", "defillama", "defillama"]
    check_yields(large)
    check_market(large)
    check_carry(large)
    check_forecast(large, tmp_path)
