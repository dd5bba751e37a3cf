"""The shape of distributions: what is taught comes back, untaught it is Laplace's, ranks are ranks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import laplace, norm

from aegis_yield.domain.errors import BundleError
from aegis_yield.domain.forecast import QUANTILE_LEVELS
from aegis_yield.models.bundle import Bundle, bundle_bytes, load_bundle
from aegis_yield.models.calibration import RECORD_PRIOR, SHAPED_STRENGTH, SIDE_LEVELS, WHOLE_STRENGTH, states_by
from aegis_yield.models.fitting import FittedModel, FittingSession
from aegis_yield.models.lstm import LstmModel, build_network
from aegis_yield.models.plan import TrainingPlan
from aegis_yield.models.ranks import N_KNOTS, FeatureRanks
from aegis_yield.models.shape import (
    LEAST_DISTANCE,
    MOVE_SHARE,
    N_FORECAST_INPUTS,
    Shape,
    ShapeNetwork,
    StateView,
    build_shape_network,
)
from aegis_yield.models.shape_training import FOLD_DAYS, ShapeLessons, fit_shape, fold_of, pinball_loss
from aegis_yield.models.torch_runtime import torch
from aegis_yield.models.validation import rows_as_inputs
from aegis_yield.preprocessing.features import FEATURE_NAMES
from aegis_yield.preprocessing.origins import ModelInputs
from aegis_yield.preprocessing.splits import TimeSplit
from aegis_yield.preprocessing.windows import WindowSet

SIDES = np.array(SIDE_LEVELS)
N_STATE = 2 * len(FEATURE_NAMES) + 1 + N_FORECAST_INPUTS


def untaught(members: int = 2) -> Shape:
    rng = np.random.default_rng(0)
    ranks = FeatureRanks.fit(rng.normal(size=(300, len(FEATURE_NAMES))).astype(np.float32))
    networks = []
    for seed in range(members):
        torch.manual_seed(seed)
        networks.append({name: p.detach() for name, p in ShapeNetwork(N_STATE).named_parameters()})
    return Shape(ranks, tuple(networks))


class Quiet:
    def started(self, label: str, max_epochs: int, windows_per_epoch: int) -> None: ...

    def advanced(self, n_windows: int, loss: float) -> None: ...

    def epoch_ended(self, report: Any) -> None: ...


@pytest.fixture(scope="module")
def shaped(windows: WindowSet, split: TimeSplit) -> FittedModel:
    plan = TrainingPlan(epochs=1, batch_size=256, members=1, volatility_members=0, shape_members=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("aegis_yield.models.fitting.LEAST_FOLD_ROWS", 200)
        return FittingSession(windows, split, plan).run(Quiet(), lambda progress: None)


def test_an_untaught_shape_is_laplaces(make_model: Callable[..., LstmModel], inputs: ModelInputs) -> None:
    plain, with_shape = make_model(), replace(make_model(), shape=untaught())
    raw, same = with_shape.locate(inputs, 7), plain.locate(inputs, 7)
    assert raw.shape is not None
    np.testing.assert_allclose(raw.shape, np.tile(laplace.ppf(SIDES), (len(inputs), 1)), rtol=1e-5)
    np.testing.assert_allclose(raw.distances(), same.distances(), rtol=1e-5)
    moved = MOVE_SHARE * (same.location - inputs.last_apy)
    np.testing.assert_allclose(raw.location, inputs.last_apy + moved, rtol=1e-5, atol=1e-9)


def always(quantiles: np.ndarray, **shares: Any) -> Shape:
    """A shape that says the same of every state."""
    plain = untaught(1)
    weights = plain.members[0] | {"head.bias": torch.from_numpy(np.arcsinh(quantiles).astype(np.float32))}
    return Shape(plain.ranks, (weights,), **shares)


@pytest.mark.parametrize("move_share", [0.0, 0.4, 1.0])
def test_what_is_taught_is_tempered(
    make_model: Callable[..., LstmModel], inputs: ModelInputs, move_share: float
) -> None:
    """Against a loop over rows and levels."""
    taught = np.array([-9.0, -6.0, -2.0, -0.5, 0.3, 0.4, 3.0, 20.0, 90.0])
    share = (0.9, 0.7, 0.5, 0.0, 0.2, 0.4, 1.0, 0.6)
    plain = make_model().locate(inputs, 7)
    raw = replace(make_model(), shape=always(taught, laplace_share=share, move_share=move_share)).locate(inputs, 7)
    assert raw.shape is not None
    for row in range(len(inputs)):
        spread, last = plain.scale[row], inputs.last_apy[row]
        median = last + move_share * (plain.location[row] + 0.3 * spread - last)
        assert raw.location[row] == pytest.approx(median, rel=1e-4, abs=1e-6 * spread)
        for place, (level, q) in enumerate(zip(SIDES, np.delete(taught, 4), strict=True)):
            own, theirs = abs(q - 0.3), abs(float(laplace.ppf(level)))
            expected = np.sign(level - 0.5) * np.exp((1 - share[place]) * np.log(own) + share[place] * np.log(theirs))
            assert raw.shape[row, place] == pytest.approx(expected, rel=1e-4)


def test_shapes_without_any_width_keep_a_little(make_model: Callable[..., LstmModel], inputs: ModelInputs) -> None:
    raw = replace(make_model(), shape=always(np.zeros(9), laplace_share=(0.0,) * 8)).locate(inputs, 7)
    np.testing.assert_allclose(np.abs(raw.shape), LEAST_DISTANCE, rtol=1e-4)


@pytest.mark.parametrize("shares", [{"laplace_share": [0.5] * 7}, {"laplace_share": [1.5] * 8}, {"move_share": -0.1}])
def test_impossible_shares_are_refused(shaped: FittedModel, tmp_path: Path, shares: dict[str, Any]) -> None:
    assert shaped.model.shape is not None
    model = replace(shaped.model, shape=replace(shaped.model.shape, **shares))
    (tmp_path / "m.pth").write_bytes(bundle_bytes(Bundle(model, shaped.calibrator, {})))
    with pytest.raises(BundleError, match="shape is not of the expected form"):
        load_bundle(tmp_path / "m.pth")


def test_the_pinball_loss_is_least_at_the_quantiles() -> None:
    draws = np.random.default_rng(1).normal(size=40_000)
    goal = torch.from_numpy(draws.astype(np.float32))
    best = torch.from_numpy(np.quantile(draws, QUANTILE_LEVELS).astype(np.float32))
    least = float(pinball_loss(goal, best.expand(len(goal), -1)))
    for level in range(len(QUANTILE_LEVELS)):
        for step in (-0.1, 0.1):
            moved = best.clone()
            moved[level] += step
            assert float(pinball_loss(goal, moved.expand(len(goal), -1))) > least


class Known:
    """A stand-in for fitted networks in lessons: location 0, spread 1, so that the standing is the scaled move."""

    def __call__(self, windows: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(windows), 2)


def lessons_with(windows: WindowSet, standing: np.ndarray) -> ShapeLessons:
    """Return lessons in which the standing of every outcome at one day is what is given."""
    from aegis_yield.models.batches import BatchSource, fit_scaler
    from aegis_yield.models.recipes import AnchoredRecipe

    n = len(standing)
    features = np.tile(windows.features[:1], (n, 1)) * 0.0
    features[:, 0] = np.sign(np.arange(n) % 2 - 0.5)
    apy = np.full(n + 30, 0.05)
    data = replace(
        windows,
        features=features,
        apy=apy,
        scale=np.full(n, 0.01),
        day=np.arange(n),
        strategy=np.zeros(n, dtype=int),
        category=np.full(n, 2),
        eligible=np.ones(n, dtype=bool),
        max_horizon=np.ones(n, dtype=int),
    )
    rows = np.arange(6, n - 1)
    apy[rows + 1] = 0.05
    recipe = AnchoredRecipe()
    source = BatchSource.build(data, fit_scaler(data, rows, recipe), recipe)
    moves = 0.05 + 0.01 * standing

    class Planted(BatchSource):
        def targets(self, chosen: np.ndarray, horizons: np.ndarray) -> Any:
            found = super().targets(chosen, horizons)
            return replace(found, apy=moves[chosen])

    return ShapeLessons(Planted(data, source.view), (Known(), Known()), rows, np.ones(len(rows), dtype=int))  # type: ignore[arg-type]


def test_a_planted_skew_is_learned(windows: WindowSet) -> None:
    """Where the first feature is up outcomes are three times as wide above as below, else the other way round."""
    n = 30_000
    rng = np.random.default_rng(5)
    up = np.arange(n) % 2 == 1
    size = np.abs(rng.normal(size=n))
    above = rng.random(n) < 0.5
    wide = np.where(above == up, 3.0, 1.0)
    lessons = lessons_with(windows, np.where(above, 1.0, -1.0) * wide * size)
    shape = fit_shape(lessons, seed=0, members=1)
    assert shape is not None
    states, _ = lessons.epoch(np.random.default_rng(0), shape.ranks)
    network = build_shape_network(shape.members[0])
    with torch.inference_mode():
        found = np.sinh(network(torch.from_numpy(states)).numpy())
    is_up = states[:, 0] > 0
    found = np.delete(found, 4, axis=1)
    half = norm.ppf(0.5 + np.abs(SIDES - 0.5))
    for mask, below, over in ((is_up, 1.0, 3.0), (~is_up, 3.0, 1.0)):
        expected = np.where(SIDES < 0.5, -below, over) * half
        np.testing.assert_allclose(found[mask].mean(axis=0), expected, rtol=0.2)


def test_each_origin_is_forecast_by_the_network_that_was_not_taught_with_it() -> None:
    days = np.arange(0, 3 * FOLD_DAYS)
    assert fold_of(days).tolist() == [0] * FOLD_DAYS + [1] * FOLD_DAYS + [0] * FOLD_DAYS


def test_fitting_teaches_a_shape_and_calibrates_it_in_part(shaped: FittedModel, windows: WindowSet) -> None:
    assert shaped.model.shape is not None
    assert len(shaped.model.shape.members) == 2
    assert shaped.calibrator.strength == SHAPED_STRENGTH
    assert shaped.calibrator.record_prior == RECORD_PRIOR
    bare = replace(shaped, model=replace(shaped.model, shape=None)).calibrator
    assert (bare.strength, bare.record_prior) == (WHOLE_STRENGTH, None)
    raw = shaped.model.locate(rows_as_inputs(windows, np.flatnonzero(windows.eligible)[::50]), 7)
    assert np.isfinite(raw.distances()).all()
    assert raw.shape.std(axis=0).min() > 0  # it depends on the state
    assert ((raw.shape > 0) == (SIDES > 0.5)).all()
    unshaped = replace(shaped.model, shape=None).locate(
        rows_as_inputs(windows, np.flatnonzero(windows.eligible)[::50]), 7
    )
    assert not np.array_equal(raw.location, unshaped.location)  # the median is the shape's
    assert {"scout fold 1", "scout fold 2", "final fold 1", "final fold 2"} <= shaped.curves.keys()


def test_a_shape_survives_saving_bit_by_bit(shaped: FittedModel, inputs: ModelInputs, tmp_path: Path) -> None:
    path = tmp_path / "m.pth"
    path.write_bytes(bundle_bytes(Bundle(shaped.model, shaped.calibrator, {})))
    loaded = load_bundle(path)
    assert loaded.calibrator.strength == SHAPED_STRENGTH
    assert loaded.calibrator.record_prior == RECORD_PRIOR
    assert np.array_equal(loaded.calibrator.pool.strategy, shaped.calibrator.pool.strategy)
    assert np.array_equal(loaded.model.locate(inputs, 7).shape, shaped.model.locate(inputs, 7).shape)
    assert bundle_bytes(loaded) == path.read_bytes()


def test_the_same_seed_teaches_the_same_shape(windows: WindowSet, shaped: FittedModel) -> None:
    from aegis_yield.models.batches import BatchSource

    model = shaped.model
    network = build_network(model.architecture, model.members[0])
    source = BatchSource.build(windows, model.scaler, model.recipe)
    rows = windows.origins_between(0, int(windows.day.max()))
    lessons = ShapeLessons(source, (network, network), rows, windows.max_horizon[rows])
    one, other, third = (fit_shape(lessons, seed, 1) for seed in (0, 0, 1))
    assert all(torch.equal(one.members[0][name], other.members[0][name]) for name in one.members[0])
    assert not torch.equal(one.members[0]["head.bias"], third.members[0]["head.bias"])


def test_too_few_origins_teach_no_shape(windows: WindowSet, shaped: FittedModel) -> None:
    from aegis_yield.models.batches import BatchSource

    source = BatchSource.build(windows, shaped.model.scaler, shaped.model.recipe)
    rows = np.flatnonzero(windows.eligible)[:100]
    assert fit_shape(ShapeLessons(source, (Known(), Known()), rows, np.ones(100, dtype=int)), 0, 1) is None  # type: ignore[arg-type]


def test_ranks_are_normal_scores_of_the_training_rows() -> None:
    rng = np.random.default_rng(2)
    rows = np.stack([rng.lognormal(size=5_000), np.zeros(5_000), rng.integers(0, 2, 5_000)], axis=1)
    ranks = FeatureRanks.fit(rows.astype(np.float32))
    found = ranks.transform(rows.astype(np.float32))
    assert found.dtype == np.float32
    expected = norm.ppf((np.argsort(np.argsort(rows[:, 0])) + 0.5) / 5_000)
    inner = np.abs(expected) < 1.8
    scaled = (np.clip(expected, *norm.ppf([0.004, 0.996])) - ranks.mean[0]) / ranks.std[0]
    assert np.abs(found[inner, 0] - scaled[inner]).max() < 0.12
    assert (found[:, 1] == 0).all()
    assert len(np.unique(found[:, 2])) == 2
    assert ranks.first[1] == N_KNOTS
    order = np.argsort(rows[:, 0])
    assert (np.diff(found[order, 0]) >= 0).all()


def test_what_was_never_seen_has_the_outermost_rank() -> None:
    rows = np.linspace(0, 1, 500, dtype=np.float32)[:, None]
    ranks = FeatureRanks.fit(rows)
    far = ranks.transform(np.array([[-1e6], [1e6]], dtype=np.float32))
    np.testing.assert_allclose(far[:, 0], ranks.transform(rows)[[0, -1], 0])


def test_the_room_above_the_floor_is_part_of_the_state() -> None:
    n = 3
    view = StateView(
        np.zeros((n, 2)), np.zeros((n, len(FEATURE_NAMES))), np.zeros(n), np.log(np.full(n, 2.0)), np.array([-8, -2, 0])
    )
    ranks = untaught().ranks
    states = view.inputs(ranks)
    np.testing.assert_allclose(states[:, 4], np.arcsinh([4.0, 1.0, 0.0]), rtol=1e-6)
    assert states.shape == (n, 2 + N_FORECAST_INPUTS + len(FEATURE_NAMES))


def test_states_are_by_how_long_a_move_lasts() -> None:
    assert states_by(np.array([-0.3, 0.3, 0.9])).tolist() == [0, 1, 2]
