from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from aegis_yield.simulation import SimulatedMarket
from aegis_yield.simulation.lifecycle import Lifecycle, apply_lifecycle, simulate_lifecycle
from aegis_yield.simulation.paths import Paths
from aegis_yield.simulation.streams import Purpose, Streams

N_DAYS = 1_000


@pytest.fixture(scope="module")
def life() -> Lifecycle:
    flagship = [True] * 5 + [False] * 995
    return simulate_lifecycle(Streams(7, Purpose.LIFECYCLE, range(1_000), flagship), N_DAYS)


def first_and_last(life: Lifecycle) -> tuple[np.ndarray, np.ndarray]:
    return life.present.argmax(axis=1), N_DAYS - 1 - life.present[:, ::-1].argmax(axis=1)


def test_flagships_are_always_there_and_never_doctored(life: Lifecycle) -> None:
    assert life.present[:5].all()
    assert (life.shown_day[:5] == np.arange(N_DAYS)).all()
    assert (life.glitch[:5] == 1.0).all()
    assert (life.decline[:5] == 1.0).all()


def test_births_are_spread_and_everyone_is_born(life: Lifecycle) -> None:
    first, _ = first_and_last(life)
    assert life.present.any(axis=1).all()
    assert (first == 0).mean() == pytest.approx(0.35, abs=0.06)
    assert first.max() > 0.85 * N_DAYS


def test_about_four_in_five_are_alive_at_the_end(life: Lifecycle) -> None:
    _, last = first_and_last(life)
    assert (last >= N_DAYS - 7).mean() == pytest.approx(0.80, abs=0.05)


def test_capital_leaves_before_a_death(life: Lifecycle) -> None:
    first, last = first_and_last(life)
    dead = np.flatnonzero((last < N_DAYS - 50) & (last - first > 100))
    # A gap can hide the very last days of a few.
    assert np.quantile(life.decline[dead, last[dead]], 0.9) < 0.15
    assert (life.decline[dead, last[dead] - 60] == 1.0).all()


def test_gaps_are_mostly_short(life: Lifecycle) -> None:
    lengths = []
    for row in life.present:
        seen = np.flatnonzero(row)
        lengths += [int(step) - 1 for step in np.diff(seen) if step > 1]
    assert len(lengths) > 1_000
    assert np.median(lengths) <= 5
    assert max(lengths) > 20


def test_some_sources_repeat_themselves_for_weeks(life: Lifecycle) -> None:
    age = np.arange(N_DAYS) - life.shown_day
    assert 0.03 < (age.max(axis=1) >= 14).mean() < 0.25
    assert age.min() == 0


def test_a_stale_source_shows_old_values_and_a_glitch_one_wrong_one() -> None:
    ones = np.ones((1, 4))
    rising = np.array([[1.0, 2.0, 3.0, 4.0]])
    life = Lifecycle(
        present=ones.astype(bool),
        shown_day=np.array([[0, 1, 1, 3]]),
        decline=np.array([[1.0, 1.0, 1.0, 0.5]]),
        glitch=np.array([[100.0, 1.0, 1.0, 1.0]]),
        has_tvl=np.array([[False]]),
    )
    paths = Paths(apy_base=rising, apy_reward=rising, tvl_usd=rising, price=ones)
    shown, faded = apply_lifecycle(paths, life, is_fading=False), apply_lifecycle(paths, life, is_fading=True)
    assert shown.apy_base.tolist() == [[100.0, 2.0, 2.0, 4.0]]
    assert faded.apy_base.tolist() == [[100.0, 2.0, 2.0, 2.0]]
    assert shown.apy_reward.tolist() == [[1.0, 2.0, 2.0, 2.0]]
    assert np.isnan(shown.tvl_usd).all()


def test_gaps_births_and_deaths_reach_the_table(wide_market: SimulatedMarket) -> None:
    lives = wide_market.yields.group_by("strategy_id").agg(
        pl.len(), pl.col("date").min().alias("first"), pl.col("date").max().alias("last")
    )
    days = (lives["last"] - lives["first"]).dt.total_days() + 1
    first_day, last_day = wide_market.yields["date"].min(), wide_market.yields["date"].max()
    assert (lives["len"] < days).mean() > 0.4
    assert (lives["first"] > first_day).mean() > 0.5
    assert 0.12 < (lives["last"] < last_day).mean() < 0.30


def test_some_sources_do_not_report_capital(wide_market: SimulatedMarket) -> None:
    unknown = wide_market.yields.group_by("strategy_id").agg(pl.col("tvl_usd").is_null().mean())["tvl_usd"]
    assert set(unknown) == {0.0, 1.0}
    assert unknown.mean() == pytest.approx(0.10, abs=0.03)
