from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from aegis_yield.simulation import SimulatedMarket, administered, amm, funding, lending, staking
from aegis_yield.simulation.pegs import divergence_price, pegged_price
from aegis_yield.simulation.shocks import CommonShocks, simulate_shocks
from aegis_yield.simulation.streams import Purpose, Streams
from aegis_yield.utils.typing import FloatArray


@pytest.fixture(scope="module")
def common() -> CommonShocks:
    return simulate_shocks(7, 1_000)


def streams(n_strategies: int = 40) -> Streams:
    return Streams(7, Purpose.MECHANISM, range(n_strategies))


def autocorrelation(paths: FloatArray, lag: int) -> float:
    return float(np.median([np.corrcoef(row[:-lag], row[lag:])[0, 1] for row in paths]))


def test_funding_of_one_event_as_an_exchange_writes_it() -> None:
    def by_hand(premium: float) -> float:
        paid = premium + max(-0.0005, min(0.0005, 0.0001 - premium))
        return max(-0.02, min(0.02, paid))

    premia = np.array([-0.5, -0.0008, -0.0004, 0.0, 0.0006, 0.0009, 0.5])
    assert funding.funding_per_event(premia, 0.0001) == pytest.approx([by_hand(float(p)) for p in premia])


def test_funding_sits_at_the_interest_part_while_the_premium_is_small() -> None:
    quiet = funding.funding_per_event(np.linspace(-0.0004, 0.0006, 11), 0.0001)
    assert quiet * 3 * 365 == pytest.approx([0.1095] * 11)


def test_funding_turns_negative_now_and_then_and_comes_back(market: SimulatedMarket) -> None:
    funded = market.yields.filter(pl.col("strategy_id").str.starts_with("delta-neutral:"))
    assert 0.05 < funded.select((pl.col("apy") < 0).mean()).item() < 0.35
    assert 0.08 < funded["apy"].median() < 0.12


def test_funding_keeps_its_regime_for_weeks_but_not_for_seasons(common: CommonShocks) -> None:
    paid = funding.perpetual_funding(streams(), common).apy_base
    assert 0.5 < autocorrelation(paid, 1) < 0.95
    assert 0.15 < autocorrelation(paid, 7) < 0.75
    assert autocorrelation(paid, 90) < 0.3


def test_coins_share_their_regime(common: CommonShocks) -> None:
    paid = funding.perpetual_funding(streams(), common).apy_base
    months = paid[:, :990].reshape(40, 33, 30).mean(axis=2)
    between = np.corrcoef(np.clip(months, -1.0, 2.0))
    assert np.median(between[np.triu_indices(40, 1)]) > 0.4


def test_utilisation_is_slow_below_the_kink_and_pulled_back_above_it(common: CommonShocks) -> None:
    book = lending.stable_lending(streams(), common).book
    assert book is not None
    moves = np.diff(book.utilization, axis=1)
    high = book.utilization[:, :-1] > 0.96
    assert high.any()
    assert moves[high].mean() < -0.01
    assert abs(moves[~high].mean()) < 0.002


def test_collateral_is_hardly_borrowed_and_stablecoins_are(common: CommonShocks) -> None:
    stable = lending.stable_lending(streams(), common).book
    volatile = lending.volatile_lending(streams(), common).book
    assert stable is not None
    assert volatile is not None
    assert np.median(stable.utilization) > 0.7
    assert np.median(volatile.utilization) < 0.2


def test_staking_reports_stand_still_and_then_step(common: CommonShocks) -> None:
    reported = staking.staking(streams(), common).apy_base
    unchanged = (np.diff(reported, axis=1) == 0.0).mean(axis=1)
    assert unchanged.min() == 0.0
    assert unchanged.max() == pytest.approx(6 / 7, abs=0.01)
    assert 0.02 < np.median(reported) < 0.08


def test_fees_are_skewed_and_rise_with_market_volatility(common: CommonShocks) -> None:
    fees = amm.volatile_pair(streams(), common).apy_base
    busy = common.log_volatility > np.quantile(common.log_volatility, 0.8)
    calm = common.log_volatility < np.quantile(common.log_volatility, 0.2)
    assert (fees >= 0.0).all()
    assert np.median(fees[:, busy].mean(axis=1) / fees[:, calm].mean(axis=1)) > 1.2
    assert (fees.mean(axis=1) > 1.1 * np.median(fees, axis=1)).mean() > 0.9


def test_about_four_pools_in_seven_earn_emissions_every_day(common: CommonShocks) -> None:
    rewards = amm.volatile_pair(streams(300), common).apy_reward
    earning = rewards[:, 0] > 0.0
    assert earning.mean() == pytest.approx(4 / 7, abs=0.08)
    assert (rewards[earning] > 0.0).all()
    assert (rewards[~earning] == 0.0).all()


def test_emissions_move_most_on_the_day_of_the_vote(common: CommonShocks) -> None:
    rewards = amm.correlated_pair(streams(300), common).apy_reward
    moves = np.abs(np.diff(np.log(rewards[rewards[:, 0] > 0.0]), axis=1))
    is_vote = np.arange(1, common.n_days) % 7 == 0
    assert np.median(moves[:, is_vote]) > 3.0 * np.median(moves[:, ~is_vote])


def test_a_committee_moves_in_quarter_points_and_rarely(common: CommonShocks) -> None:
    rate = administered.savings_rate(streams(), common).apy_base
    np.testing.assert_allclose(rate / 0.0025, np.round(rate / 0.0025), atol=1e-9)
    assert 0.95 < (np.diff(rate, axis=1) == 0.0).mean() < 0.999


def test_claims_on_bills_follow_the_policy_rate(common: CommonShocks) -> None:
    rate = administered.real_world_asset(streams(), common).apy_base
    level = np.median(rate, axis=0)[60:]
    assert np.corrcoef(level, common.fed_funds[60:])[0, 1] > 0.8


def test_a_position_in_a_pair_is_worth_two_root_r_over_one_plus_r(common: CommonShocks) -> None:
    quiet = divergence_price(streams(5), common, np.full((5, 1), 1e-9))
    assert quiet == pytest.approx(np.ones((5, 1_000)))
    moved = divergence_price(streams(5), common, np.full((5, 1), 0.05))
    assert ((moved > 0.0) & (moved <= 1.0)).all()
    assert moved.min() < 0.99


def test_pegs_break_on_the_day_of_a_panic(common: CommonShocks) -> None:
    price = np.median(pegged_price(streams(), common, daily_noise=0.0005, panic_discount=0.02), axis=0)
    panic = int(common.stress.argmax())
    assert price[common.stress < 0.01].mean() == pytest.approx(1.0, abs=0.002)
    assert price[panic] < 0.99


def test_common_shocks_are_clustered_and_lean_together(common: CommonShocks) -> None:
    eth, btc = np.diff(common.log_eth), np.diff(common.log_btc)
    assert 0.6 < np.corrcoef(eth, btc)[0, 1] < 0.95
    assert np.mean(eth**4) / np.mean(eth**2) ** 2 > 3.5
    assert autocorrelation(common.log_volatility[None, :], 7) > 0.4
    steps = np.diff(common.fed_funds)
    assert set(np.round(np.abs(steps[steps != 0.0]), 6)) == {0.0025}
