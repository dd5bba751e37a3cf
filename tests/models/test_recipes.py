from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from aegis_yield.domain.dataset import Dataset
from aegis_yield.models.recipes import (
    LARGEST_LINEAR_RATIO,
    MARKET_NOISE,
    MAX_LOG_SCALE,
    MIN_LOG_SCALE,
    SCALE_WEIGHT,
    TARGET_CLIP,
    AnchoredRecipe,
    Targets,
    TextbookRecipe,
    recipe_from_state,
)
from aegis_yield.models.torch_runtime import torch
from aegis_yield.preprocessing.features import FEATURE_NAMES, MARKET_FEATURES, WINDOW_DAYS
from aegis_yield.preprocessing.panel import Panel, to_date
from aegis_yield.preprocessing.windows import WindowSet

N = 50
IS_MARKET = torch.tensor([*(name in MARKET_FEATURES for name in FEATURE_NAMES), False])
"""The horizon comes last."""


@pytest.fixture
def targets() -> Targets:
    rng = np.random.default_rng(0)
    anchor, scale = rng.uniform(0.0, 0.1, N), rng.uniform(1e-4, 1e-2, N)
    return Targets(anchor, scale, anchor + scale * rng.laplace(size=N), rng.uniform(0.0, 0.3, N))


@pytest.fixture
def outputs() -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(N, 2, requires_grad=True)


@pytest.fixture
def training_windows() -> torch.Tensor:
    torch.manual_seed(2)
    return torch.randn(2_000, WINDOW_DAYS, len(FEATURE_NAMES) + 1)


def noise_in(windows: torch.Tensor) -> torch.Tensor:
    """What blurring adds to the market channels, shape (batch, window, n_market)."""
    return (AnchoredRecipe().blur(windows) - windows)[:, :, IS_MARKET]


def one_target(move: float) -> Targets:
    """A single outcome ``move`` local scales away from its anchor."""
    return Targets(np.array([0.05]), np.array([0.01]), np.array([0.05 + 0.01 * move]), np.array([0.1]))


def spread_loss(error: float, log_scale: float = 0.0) -> float:
    """What the loss adds for the spread when the location is ``error`` local scales off."""
    outputs = torch.tensor([[0.0, log_scale]])
    return (float(AnchoredRecipe().loss(outputs, one_target(error))) - error) / SCALE_WEIGHT


def test_the_anchored_loss_is_l1_plus_laplace_likelihood(targets: Targets, outputs: torch.Tensor) -> None:
    total = 0.0
    for anchor, scale, apy, (location, log_scale) in zip(
        targets.anchor, targets.scale, targets.apy, outputs.detach().tolist(), strict=True
    ):
        error = abs((apy - anchor) / scale - location)
        ratio = error / math.exp(log_scale)
        if ratio >= LARGEST_LINEAR_RATIO:
            ratio = LARGEST_LINEAR_RATIO * (1 + math.log(ratio / LARGEST_LINEAR_RATIO))
        total += error + SCALE_WEIGHT * (log_scale + ratio)
    assert float(AnchoredRecipe().loss(outputs.detach(), targets)) == pytest.approx(total / N, rel=1e-5)


def test_the_location_feels_the_l1_loss_alone(targets: Targets, outputs: torch.Tensor) -> None:
    AnchoredRecipe().loss(outputs, targets).backward()
    move = torch.from_numpy((targets.apy - targets.anchor) / targets.scale)
    expected = torch.sign(outputs[:, 0].detach() - move) / N
    torch.testing.assert_close(outputs.grad[:, 0], expected.float())


def test_the_spread_feels_the_likelihood_alone(targets: Targets, outputs: torch.Tensor) -> None:
    AnchoredRecipe().loss(outputs, targets).backward()
    move = torch.from_numpy((targets.apy - targets.anchor) / targets.scale).float()
    ratio = (move - outputs[:, 0].detach()).abs() / outputs[:, 1].detach().exp()
    slope = 1.0 - torch.clamp(ratio, max=LARGEST_LINEAR_RATIO)  # the logarithmic tail pulls with its bound
    torch.testing.assert_close(outputs.grad[:, 1], SCALE_WEIGHT * slope / N, rtol=1e-4, atol=1e-6)


def test_the_likelihood_is_least_at_the_true_spread() -> None:
    grid = np.linspace(-1.0, 3.0, 401)
    losses = [spread_loss(4.0, log_scale) for log_scale in grid]
    assert grid[int(np.argmin(losses))] == pytest.approx(math.log(4.0), abs=0.011)


def test_the_bounded_tail_joins_without_a_step() -> None:
    below, above = (spread_loss(LARGEST_LINEAR_RATIO * (1 + e)) for e in (-1e-4, 1e-4))
    assert below == pytest.approx(above, abs=1e-2)
    assert below < above


def test_the_bounded_tail_is_logarithmic() -> None:
    ratios = [LARGEST_LINEAR_RATIO * 2**k for k in range(8)]
    tails = [spread_loss(1.0, -math.log(ratio)) + math.log(ratio) for ratio in ratios]
    assert np.diff(tails) == pytest.approx([LARGEST_LINEAR_RATIO * math.log(2.0)] * 7, rel=1e-3)


def test_a_perfect_forecast_has_a_finite_gradient() -> None:
    outputs = torch.tensor([[0.0, 0.5]], requires_grad=True)
    AnchoredRecipe().loss(outputs, one_target(0.0)).backward()
    assert torch.isfinite(outputs.grad).all()


def test_a_target_beyond_the_clip_counts_as_the_clip() -> None:
    outputs = torch.tensor([[0.3, -0.2]])
    far, at_clip = (AnchoredRecipe().loss(outputs, one_target(move)) for move in (1e6, TARGET_CLIP))
    assert float(far) == pytest.approx(float(at_clip), rel=1e-6)


def test_reading_undoes_the_anchoring(targets: Targets) -> None:
    outputs = np.stack([(targets.apy - targets.anchor) / targets.scale, np.full(N, -0.7)], axis=1)
    reading = AnchoredRecipe().read(outputs, targets.anchor, targets.scale)
    np.testing.assert_allclose(reading.location, targets.apy, atol=1e-14)
    np.testing.assert_allclose(reading.spread, targets.scale * np.exp(-0.7))
    assert reading.volatility is None


def test_the_spread_read_stays_within_its_multiples() -> None:
    outputs = np.array([[0.0, -99.0], [0.0, 99.0]])
    reading = AnchoredRecipe().read(outputs, np.zeros(2), np.full(2, 0.01))
    np.testing.assert_allclose(reading.spread, 0.01 * np.exp([MIN_LOG_SCALE, MAX_LOG_SCALE]))


def test_the_textbook_recipe_takes_mean_and_deviation(targets: Targets) -> None:
    recipe = TextbookRecipe.fit(targets)
    assert (recipe.apy_mean, recipe.apy_std) == pytest.approx((np.mean(targets.apy), np.std(targets.apy)))
    assert recipe.volatility_mean == pytest.approx(np.mean(targets.volatility))
    assert recipe.volatility_std == pytest.approx(np.std(targets.volatility))


def test_the_textbook_loss_is_the_mean_squared_error(targets: Targets, outputs: torch.Tensor) -> None:
    recipe = TextbookRecipe.fit(targets)
    reading = recipe.read(outputs.detach().double().numpy(), targets.anchor, targets.scale)
    apy = (reading.location - targets.apy) / recipe.apy_std
    out = outputs.detach().numpy()[:, 1].astype(float)
    volatility = out - (targets.volatility - recipe.volatility_mean) / recipe.volatility_std
    expected = (np.mean(apy**2) + np.mean(volatility**2)) / 2
    assert float(recipe.loss(outputs.detach(), targets)) == pytest.approx(expected, rel=1e-5)


def test_the_textbook_reading_inverts_the_standardisation(targets: Targets) -> None:
    recipe = TextbookRecipe.fit(targets)
    z = np.stack([targets.apy, targets.volatility], axis=1)
    z = (z - [recipe.apy_mean, recipe.volatility_mean]) / [recipe.apy_std, recipe.volatility_std]
    reading = recipe.read(z, targets.anchor, targets.scale)
    np.testing.assert_allclose(reading.location, targets.apy)
    np.testing.assert_allclose(reading.volatility, targets.volatility, atol=1e-12)
    assert (recipe.read(z - 1e3, targets.anchor, targets.scale).volatility == 0.0).all()


def test_the_textbook_inputs_are_the_raw_levels(small_market: Dataset, panel: Panel, windows: WindowSet) -> None:
    rows = np.flatnonzero(windows.eligible & (np.abs(windows.apy[: len(windows.day)]) < 2.0))[::37]
    levels = TextbookRecipe(0.0, 1.0, 0.0, 1.0).inputs(windows.features[rows])
    np.testing.assert_allclose(levels[:, 0], windows.apy[rows], rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(levels[:, 1], windows.scale[rows], rtol=1e-4)
    keyed = small_market.yields.with_columns(key=pl.col("strategy_id") + pl.col("date").cast(pl.String))
    tvl = dict(keyed.drop_nulls("tvl_usd").select("key", "tvl_usd").iter_rows())
    names = [f"{panel.strategy_ids[windows.strategy[r]]}{to_date(windows.day[r])}" for r in rows]
    known = [(tvl[name], level) for name, level in zip(names, levels[:, 2], strict=True) if name in tvl]
    assert len(known) > 30
    np.testing.assert_allclose(*np.array(known).T, rtol=1e-4)


def test_the_textbook_gas_price_is_the_days_own(small_market: Dataset, windows: WindowSet) -> None:
    rows = np.flatnonzero(windows.eligible)[::37]
    gas = dict(small_market.market.select("date", "gas_gwei").iter_rows())
    expected = [gas[to_date(day)] for day in windows.day[rows]]
    levels = TextbookRecipe(0.0, 1.0, 0.0, 1.0).inputs(windows.features[rows])
    np.testing.assert_allclose(levels[:, 3], expected, rtol=1e-4)


def test_the_textbook_ether_volatility_is_that_of_thirty_days(small_market: Dataset, windows: WindowSet) -> None:
    row = int(np.flatnonzero(windows.eligible)[-1])
    prices = small_market.market.filter(pl.col("date") <= to_date(windows.day[row]))["eth_price"].to_numpy()[-31:]
    expected = np.sqrt(365.0 * np.mean(np.diff(np.log(prices)) ** 2))
    level = TextbookRecipe(0.0, 1.0, 0.0, 1.0).inputs(windows.features[row])[4]
    assert level == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("recipe", [AnchoredRecipe(), TextbookRecipe(0.05, 0.02, 0.1, 0.3)])
def test_a_recipe_can_be_made_again_from_its_state(recipe: AnchoredRecipe | TextbookRecipe) -> None:
    assert recipe_from_state(recipe.name, recipe.to_state()) == recipe


def test_an_unknown_recipe_is_refused() -> None:
    with pytest.raises(ValueError, match="'secret', allowed is anchored or textbook"):
        recipe_from_state("secret", {})


def test_only_market_channels_are_blurred(training_windows: torch.Tensor) -> None:
    before = training_windows.clone()
    blurred = AnchoredRecipe().blur(training_windows)
    assert torch.equal(training_windows, before)  # not in place
    changed = blurred != training_windows
    assert not changed[:, :, ~IS_MARKET].any()
    assert changed[:, :, IS_MARKET].float().mean() > 0.99
    assert int(IS_MARKET.sum()) == len(MARKET_FEATURES)


def test_the_noise_is_the_same_on_all_days_of_a_window(training_windows: torch.Tensor) -> None:
    noise = noise_in(training_windows)
    torch.testing.assert_close(noise, noise[:, :1].expand_as(noise), rtol=0.0, atol=1e-5)


def test_every_window_and_channel_has_its_own_noise(training_windows: torch.Tensor) -> None:
    first_day = noise_in(training_windows)[:, 0].double().numpy()  # (batch, n_market)
    np.testing.assert_allclose(first_day.std(axis=0), MARKET_NOISE, rtol=0.1)
    np.testing.assert_allclose(first_day.mean(axis=0), 0.0, atol=0.1)
    np.testing.assert_allclose(np.corrcoef(first_day.T), np.eye(len(MARKET_FEATURES)), atol=0.1)
    assert abs(np.corrcoef(first_day[:-1].ravel(), first_day[1:].ravel())[0, 1]) < 0.05


def test_the_noise_is_drawn_anew_from_the_seeded_generator(training_windows: torch.Tensor) -> None:
    torch.manual_seed(7)
    first, second = (AnchoredRecipe().blur(training_windows) for _ in range(2))
    torch.manual_seed(7)
    assert torch.equal(AnchoredRecipe().blur(training_windows), first)
    assert not torch.equal(first, second)


def test_the_textbook_recipe_blurs_nothing(training_windows: torch.Tensor) -> None:
    blurred = TextbookRecipe(0.0, 1.0, 0.0, 1.0).blur(training_windows)
    assert torch.equal(blurred, training_windows)
