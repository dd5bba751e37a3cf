"""The engine against published values and closed forms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from engine_programs import even, market, naive_drawdowns, naive_tail_mean, tail_program, whole
from scipy import stats

from aegis_yield.domain.errors import RequestError
from aegis_yield.portfolio.engine import CVaR, Drawdown, Limit, Program, RiskLimit, Variance, solve, solve_ratio
from aegis_yield.portfolio.engine.references import equal, hierarchical_risk_parity, inverse_volatility, risk_parity
from aegis_yield.portfolio.engine.risks import tail_mean
from aegis_yield.utils.typing import FloatArray

# Rockafellar and Uryasev 2000: S&P 500, government bonds, small caps, monthly
MEAN = np.array([0.0101110, 0.0043532, 0.0137058])
COVARIANCE = np.array(
    [[0.00324625, 0.00022983, 0.00420395], [0.00022983, 0.00049937, 0.00019247], [0.00420395, 0.00019247, 0.00764097]]
)
TARGET = Limit("return", MEAN, lower=0.011)
PUBLISHED = {0.90: (0.067847, 0.096975), 0.95: (0.090200, 0.115908), 0.99: (0.132128, 0.152977)}


def gaussian(n: int) -> FloatArray:
    """Return n draws whose sample mean and covariance are the published ones exactly."""
    draws = np.random.default_rng(2000).standard_normal((n, 3))
    draws = np.vstack([draws, -draws])
    white = draws @ np.linalg.inv(np.linalg.cholesky(np.cov(draws.T, bias=True))).T
    return white @ np.linalg.cholesky(COVARIANCE).T + MEAN


def test_rockafellar_uryasev_least_variance() -> None:
    found = solve(Program(np.zeros(3), np.ones(3), (whole(3), TARGET), risk=Variance(COVARIANCE)))
    assert found.certified
    assert found.values == pytest.approx([0.452013, 0.115573, 0.432414], abs=2e-6)
    assert -found.objective == pytest.approx(0.00378529, abs=5e-9)


@pytest.mark.parametrize("level", PUBLISHED)
def test_rockafellar_uryasev_tail_of_the_least_variance(level: float) -> None:
    at_risk, tail = PUBLISHED[level]
    x = solve(Program(np.zeros(3), np.ones(3), (whole(3), TARGET), risk=Variance(COVARIANCE))).values
    deviation, z = float(np.sqrt(x @ COVARIANCE @ x)), float(stats.norm.ppf(level))
    assert z * deviation - MEAN @ x == pytest.approx(at_risk, abs=2e-6)
    assert stats.norm.pdf(z) / (1 - level) * deviation - MEAN @ x == pytest.approx(tail, abs=2e-6)


@pytest.mark.parametrize("level", PUBLISHED)
def test_rockafellar_uryasev_least_tail_of_gaussian_scenarios(level: float) -> None:
    draws = gaussian(10_000)
    found = solve(Program(np.zeros(3), np.ones(3), (whole(3), TARGET), risk=CVaR(draws, even(20_000), level)))
    assert found.certified
    assert -found.objective == pytest.approx(PUBLISHED[level][1], rel=0.02)
    assert -found.objective == pytest.approx(naive_tail_mean(-draws @ found.values, even(20_000), level), rel=1e-12)


def test_two_assets_of_least_variance() -> None:
    a, b, r = 0.04, 0.09, 0.02  # variances and covariance
    found = solve(Program(np.zeros(2), np.ones(2), (whole(2),), risk=Variance(np.array([[a, r], [r, b]]))))
    assert found.values == pytest.approx([(b - r) / (a + b - 2 * r), (a - r) / (a + b - 2 * r)], abs=1e-8)


def test_mean_variance_without_limits_is_the_textbook_formula() -> None:
    gain, aversion = np.array([0.05, 0.04, 0.03]), 3.0
    covariance = np.diag([0.04, 0.02, 0.09]) + 0.005
    wanted = np.linalg.solve(2 * aversion * covariance, gain)
    assert (wanted > 0).all()
    found = solve(Program(gain, np.full(3, np.inf), risk=Variance(covariance), aversion=aversion))
    assert found.certified
    assert found.values == pytest.approx(wanted, rel=1e-6)


def test_the_best_sharpe_ratio_is_the_tangency_portfolio() -> None:
    gain, free = np.array([0.05, 0.04, 0.03]), 0.01
    covariance = np.diag([0.04, 0.02, 0.09]) + 0.005
    wanted = np.linalg.solve(covariance, gain - free)
    found = solve_ratio(Program(gain, np.ones(3), (whole(3),), risk=Variance(covariance, root=True)), hurdle=free)
    assert found.status == "optimal"
    assert found.values == pytest.approx(wanted / wanted.sum(), rel=1e-5)
    assert found.objective == pytest.approx(np.sqrt((gain - free) @ np.linalg.solve(covariance, gain - free)), rel=1e-9)


def test_assets_that_are_alike_share_equally() -> None:
    covariance = 0.04 * np.eye(5) + 0.01
    found = solve(Program(np.zeros(5), np.ones(5), (whole(5),), risk=Variance(covariance)))
    assert found.values == pytest.approx(even(5), abs=1e-7)


def test_exchangeable_scenarios_share_equally() -> None:
    # every permutation of the same outcomes: by symmetry and convexity equal weights have the least tail
    outcomes = np.array([[-0.5, 0.1, 0.2], [0.1, 0.2, -0.5], [0.2, -0.5, 0.1]])
    found = solve(Program(np.zeros(3), np.ones(3), (whole(3),), risk=CVaR(outcomes, even(3), 0.5)))
    assert -found.objective == pytest.approx(0.2 / 3, rel=1e-12)


@pytest.mark.parametrize(("hazard", "loss"), [(0.02, 0.5), (0.05, 0.3), (0.2, 1.0)])
def test_the_tail_of_a_rare_loss(hazard: float, loss: float) -> None:
    risk = CVaR(np.array([[-loss], [0.0]]), np.array([hazard, 1 - hazard]))
    assert risk.of(np.ones(1)) == pytest.approx(min(hazard / 0.05, 1.0) * loss)


def test_tails_and_drawdowns_are_those_of_plain_loops() -> None:
    rng = np.random.default_rng(5)
    losses, probability = rng.normal(size=200), rng.dirichlet(np.ones(200))
    for level in (0.0, 0.3, 0.95, 0.999):
        wanted = naive_tail_mean(losses, probability, level)
        assert tail_mean(losses, probability, level) == pytest.approx(wanted, rel=1e-9)
    paths, values = np.cumsum(rng.normal(0, 1, (6, 30, 3)), axis=1), rng.uniform(0, 1, 3)
    probability = rng.dirichlet(np.ones(6))
    walks = [naive_drawdowns(path @ values) for path in paths]
    deepest = naive_tail_mean(np.array([walk.max() for walk in walks]), probability, 0.7)
    assert Drawdown(paths, probability, 0.7, "path").of(values) == pytest.approx(deepest, rel=1e-9)
    moments = naive_tail_mean(np.concatenate(walks), np.repeat(probability / 30, 30), 0.7)
    assert Drawdown(paths, probability, 0.7).of(values) == pytest.approx(moments, rel=1e-9)


@pytest.mark.parametrize("per", ["moment", "path"])
def test_a_cut_of_a_drawdown_touches_where_it_was_taken_and_holds_elsewhere(per: str) -> None:
    rng = np.random.default_rng(6)
    risk = Drawdown(np.cumsum(rng.normal(0, 1, (5, 12, 4)), axis=1), even(5), 0.5, per)  # type: ignore[arg-type]
    here, there = rng.uniform(0, 1, 4), rng.uniform(0, 1, 4)
    rows, offsets = risk.cuts(np.arange(len(risk.weight)), here)
    assert rows @ here + offsets == pytest.approx(risk.losses(here), abs=1e-12)
    assert (rows @ there + offsets <= risk.losses(there) + 1e-12).all()


def test_a_budget_binds_and_its_price_is_the_slope_of_the_optimum() -> None:
    returns = market(400, 8, seed=2)
    tail = CVaR(returns, even(400))
    plain = Program(returns.mean(0), np.ones(8), (whole(8),), risk_limits=(RiskLimit("tail", tail, 0.03),))
    found = solve(plain)
    assert found.certified
    assert tail.of(found.values) == pytest.approx(0.03, rel=1e-8)
    step = 1e-6
    higher = solve(replace(plain, risk_limits=(RiskLimit("tail", tail, 0.03 + step),)))
    assert (higher.objective - found.objective) / step == pytest.approx(found.shadow_prices["tail"], rel=1e-3)


def test_the_price_of_capital_is_the_slope_of_the_optimum() -> None:
    returns = market(400, 8, seed=4)
    plain = tail_program(returns, cap=0.3)
    found, step = solve(plain), 1e-6
    more = solve(replace(plain, limits=(whole(8, 1 + step),)))
    assert (more.objective - found.objective) / step == pytest.approx(found.shadow_prices["budget"], rel=1e-3)
    assert (found.reduced_gains[found.values <= 0] <= 1e-9).all()
    assert (found.reduced_gains[found.values >= 0.3] >= -1e-9).all()
    inside = (found.values > 1e-6) & (found.values < 0.3 - 1e-6)
    assert found.reduced_gains[inside] == pytest.approx(0.0, abs=1e-9)


def test_ratio_without_anything_above_the_hurdle() -> None:
    program = tail_program(market(200, 5))
    found = solve_ratio(program, hurdle=1.0)
    assert found.status == "nothing_beats_cash"
    assert found.objective == pytest.approx(program.gain.max() - 1.0)
    assert found.values == pytest.approx(np.eye(5)[program.gain.argmax()])


def test_ratio_with_a_gain_that_bears_no_risk() -> None:
    returns = np.column_stack([market(200, 3), np.full(200, 0.01)])
    returns[:, 3] += np.linspace(0, 0.001, 200)
    found = solve_ratio(Program(returns.mean(0), np.ones(4), (whole(4),), risk=CVaR(returns, even(200))), hurdle=0.002)
    assert (found.status, found.objective) == ("riskless", np.inf)
    assert CVaR(returns, even(200)).of(found.values) <= 1e-9


def test_a_ratio_is_not_taken_to_a_variance() -> None:
    with pytest.raises(RequestError, match="standard deviation"):
        solve_ratio(Program(np.ones(2), np.ones(2), risk=Variance(np.eye(2))))


def test_two_assets_of_equal_risk_contribution_are_of_inverse_volatility() -> None:
    covariance = np.array([[0.04, 0.018], [0.018, 0.09]])
    assert risk_parity(covariance) == pytest.approx(inverse_volatility(covariance), abs=1e-12)
    assert inverse_volatility(covariance) == pytest.approx([0.6, 0.4])
    assert equal(4) == pytest.approx(0.25)


@pytest.mark.parametrize("seed", range(3))
def test_risk_parity_shares_the_variance_by_budget(seed: int) -> None:
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(30, 12)) * rng.uniform(0.01, 5, 12)
    covariance, budget = root.T @ root, rng.dirichlet(np.ones(12))
    weights = risk_parity(covariance, budget)
    shares = weights * (covariance @ weights)
    assert (weights > 0).all()
    assert weights.sum() == pytest.approx(1)
    assert shares / shares.sum() == pytest.approx(budget, rel=1e-8)


def test_hierarchical_risk_parity_of_independent_assets_is_inverse_variance_by_halves() -> None:
    variance = np.array([0.01, 0.04, 0.09, 0.16])
    weights = hierarchical_risk_parity(np.diag(variance))
    assert weights == pytest.approx((1 / variance) / (1 / variance).sum())
    assert hierarchical_risk_parity(np.array([[2.0]])) == pytest.approx([1.0])


def test_references_refuse_what_has_no_risk() -> None:
    with pytest.raises(RequestError, match="positive diagonal"):
        inverse_volatility(np.diag([1.0, 0.0]))
    with pytest.raises(RequestError, match="budget"):
        risk_parity(np.eye(2), np.array([1.0, 0.0]))


@pytest.mark.parametrize(
    ("covariance", "words"),
    [
        (np.array([[1.0, 2.0], [2.0, 1.0]]), "positive semi-definite"),
        (np.array([[1.0, 0.5], [0.0, 1.0]]), "symmetric"),
        (np.array([[np.nan]]), "finite"),
    ],
)
def test_a_covariance_that_is_none_is_refused(covariance: FloatArray, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        Variance(covariance)


def test_a_singular_covariance_is_fine() -> None:
    returns = market(5, 12)
    found = solve(Program(np.zeros(12), np.ones(12), (whole(12),), risk=Variance(np.cov(returns.T), root=True)))
    assert found.certified


def test_a_program_refuses_what_does_not_fit() -> None:
    ones = np.ones(2)
    with pytest.raises(RequestError, match="names"):
        Program(ones, ones, (Limit("a", ones), Limit("a", ones)))
    with pytest.raises(RequestError, match="gain"):
        Program(np.array([1.0, np.nan]), ones)
    with pytest.raises(RequestError, match="lower <= upper"):
        Program(ones, ones, (Limit("a", ones, 2.0, 1.0),))
    with pytest.raises(RequestError, match="risk of 2 columns"):
        Program(ones, ones, risk=Variance(np.eye(3)))
    with pytest.raises(RequestError, match="probability"):
        CVaR(np.ones((2, 2)), np.array([0.5, 0.6]))
    with pytest.raises(RequestError, match="level"):
        CVaR(np.ones((2, 2)), np.array([0.5, 0.5]), 1.0)
