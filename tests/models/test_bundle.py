from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aegis_yield.domain.forecast import QUANTILE_LEVELS, ForecastKeys, Forecasts
from aegis_yield.models.bundle import Bundle, _digest, bundle_bytes, bundle_digest, load_bundle
from aegis_yield.models.calibration import HORIZON_GRID, Calibrator
from aegis_yield.models.evidence import MAX_SCORES_PER_HORIZON
from aegis_yield.models.fitting import FittedModel, Progress
from aegis_yield.models.own_records import strategy_codes
from aegis_yield.models.recipes import AnchoredRecipe, Recipe, TextbookRecipe
from aegis_yield.models.torch_runtime import torch
from aegis_yield.preprocessing.features import FEATURE_NAMES
from aegis_yield.preprocessing.origins import ModelInputs

MakeBundle = Callable[..., Bundle]
RECIPES = [AnchoredRecipe(), TextbookRecipe(0.06, 0.02, 0.1, 0.3)]


def saved(bundle: Bundle, folder: Path) -> Path:
    path = folder / "lstm_v1.pth"
    path.write_bytes(bundle_bytes(bundle))
    return path


def forecasts(bundle: Bundle, inputs: ModelInputs, keys: ForecastKeys, horizon: int) -> Forecasts:
    return bundle.calibrator.forecasts(bundle.model.locate(inputs, horizon), keys, horizon, QUANTILE_LEVELS)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("horizon", [1, 7, 30])
def test_a_saved_bundle_forecasts_the_same_bits(
    make_bundle: MakeBundle, inputs: ModelInputs, keys: ForecastKeys, tmp_path: Path, recipe: Recipe, horizon: int
) -> None:
    bundle = make_bundle(2, recipe=recipe)
    loaded = load_bundle(saved(bundle, tmp_path))
    for name in ("location", "scale", "volatility"):
        before, after = (getattr(b.model.locate(inputs, horizon), name) for b in (bundle, loaded))
        assert np.array_equal(before, after), name
    for name in ("apy", "volatility", "quantiles"):
        before, after = (getattr(forecasts(b, inputs, keys, horizon), name) for b in (bundle, loaded))
        assert np.array_equal(before, after), name


def test_a_fitted_model_survives_saving(
    fitted: tuple[FittedModel, Progress], inputs: ModelInputs, keys: ForecastKeys, tmp_path: Path
) -> None:
    bundle = Bundle(fitted[0].model, Calibrator(fitted[0].scores), {"curves": fitted[0].curves})
    loaded = load_bundle(saved(bundle, tmp_path))
    before, after = (forecasts(b, inputs, keys, 7) for b in (bundle, loaded))
    assert np.array_equal(before.quantiles, after.quantiles)
    assert np.array_equal(before.volatility, after.volatility)


def test_everything_comes_back(make_bundle: MakeBundle, tmp_path: Path) -> None:
    bundle = make_bundle(2)
    loaded = load_bundle(saved(bundle, tmp_path))
    assert loaded.provenance == bundle.provenance
    assert loaded.data_end == "2025-06-01"
    assert loaded.calibrator.halflife_days == bundle.calibrator.halflife_days
    for name in ("ratio", "category", "horizon_days", "known_day", "state", "strategy"):
        before, after = getattr(bundle.calibrator.pool, name), getattr(loaded.calibrator.pool, name)
        assert np.array_equal(before, after)
        assert before.dtype == after.dtype


def test_records_come_back(make_bundle: MakeBundle, inputs: ModelInputs, keys: ForecastKeys, tmp_path: Path) -> None:
    bundle = make_bundle(2)
    pool = replace(bundle.calibrator.pool, strategy=strategy_codes(np.resize(keys.strategy_id, 200)))
    bundle = replace(bundle, calibrator=replace(bundle.calibrator, pool=pool, record_prior=4.0))
    loaded = load_bundle(saved(bundle, tmp_path))
    assert loaded.calibrator.record_prior == 4.0
    before, after = (forecasts(b, inputs, keys, 7).quantiles for b in (bundle, loaded))
    assert np.array_equal(before, after)
    without = replace(bundle, calibrator=replace(bundle.calibrator, record_prior=None))
    assert not np.array_equal(forecasts(without, inputs, keys, 7).quantiles, before)


def test_a_bundle_of_format_2_forecasts_as_it_did(
    make_bundle: MakeBundle, inputs: ModelInputs, keys: ForecastKeys, tmp_path: Path
) -> None:
    """It does not know whose its ratios are, and asks no record."""
    bundle = make_bundle(2)
    content = torch.load(saved(bundle, tmp_path), weights_only=True)
    content["format_version"] = 2
    del content["calibration"]["strategy"], content["calibration"]["record_prior"], content["digest"]
    path = tmp_path / "two.pth"
    torch.save(content | {"digest": _digest(content)}, path)
    loaded = load_bundle(path)
    assert loaded.calibrator.record_prior is None
    before, after = (forecasts(b, inputs, keys, 7).quantiles for b in (bundle, loaded))
    assert np.array_equal(before, after)
    assert not loaded.calibrator.pool.strategy.any()


def test_a_bundle_without_scores_is_a_bundle(
    make_bundle: MakeBundle, inputs: ModelInputs, keys: ForecastKeys, tmp_path: Path
) -> None:
    bundle = make_bundle(n_scores=0)
    loaded = load_bundle(saved(bundle, tmp_path))
    before, after = (forecasts(b, inputs, keys, 7).quantiles for b in (bundle, loaded))
    assert np.array_equal(before, after)


def test_equal_bundles_are_equal_bytes(make_bundle: MakeBundle, tmp_path: Path) -> None:
    content = bundle_bytes(make_bundle(2))
    assert bundle_bytes(make_bundle(2)) == content
    assert bundle_bytes(load_bundle(saved(make_bundle(2), tmp_path))) == content
    assert bundle_bytes(make_bundle(2, seed=1)) != content


def test_the_file_is_plain_data(make_bundle: MakeBundle, tmp_path: Path) -> None:
    content = torch.load(saved(make_bundle(2), tmp_path), weights_only=True)
    assert content["format"] == "aegis-yield-bundle"
    assert content["feature_names"] == list(FEATURE_NAMES)
    assert len(content["members"]) == 2
    assert content["architecture"]["hidden_1"] == 128
    parts = {"scaler", "calibration", "provenance", "recipe", "format_version", "volatility_map"}
    assert parts <= content.keys()


def test_three_members_and_all_scores_stay_below_two_megabytes(make_bundle: MakeBundle) -> None:
    assert len(bundle_bytes(make_bundle(3, n_scores=MAX_SCORES_PER_HORIZON * len(HORIZON_GRID)))) < 2_000_000


def test_the_digest_is_that_of_the_file(make_bundle: MakeBundle, tmp_path: Path) -> None:
    path = saved(make_bundle(), tmp_path)
    assert bundle_digest(path) == hashlib.sha256(path.read_bytes()).hexdigest()[:8]


def recalibrated(bundle: Bundle, until: str = "2025-07-01") -> Bundle:
    """Return what a bundle becomes when its intervals learn: more ratios, and a word about them."""
    added = replace(bundle.calibrator.pool, known_day=bundle.calibrator.pool.known_day + 400)
    learned = {"until": until, "sha256": "0" * 64, "n_outcomes": len(added)}
    return replace(
        bundle,
        calibrator=bundle.calibrator.updated(added),
        provenance={**bundle.provenance, "calibrated": learned},
    )


def test_training_and_calibration_have_last_days_of_their_own(make_bundle: MakeBundle) -> None:
    bundle = make_bundle(2)
    later = recalibrated(bundle)
    assert (bundle.trained_to, bundle.data_end, bundle.calibrated) == ("2025-06-01", "2025-06-01", {})
    assert (later.trained_to, later.data_end) == ("2025-06-01", "2025-07-01")
    nowhere = replace(later, provenance={"calibrated": "yesterday", "data": None})
    assert (nowhere.trained_to, nowhere.data_end, nowhere.calibrated) == ("unknown", "unknown", {})


def test_versions_of_one_training_have_one_identity(make_bundle: MakeBundle, tmp_path: Path) -> None:
    bundle = make_bundle(2)
    later = recalibrated(bundle)
    assert bundle.training_id == later.training_id == load_bundle(saved(later, tmp_path)).training_id
    assert recalibrated(later, "2025-08-01").training_id == bundle.training_id
    lifted = {name: weights + 1e-3 for name, weights in bundle.model.members[0].items()}
    others = [
        make_bundle(2, seed=1),
        replace(bundle, model=replace(bundle.model, members=(lifted, bundle.model.members[1]))),
        replace(bundle, model=replace(bundle.model, scaler=make_bundle(2, seed=1).model.scaler)),
        replace(bundle, provenance={**bundle.provenance, "data": {"last_date": "2025-06-02"}}),
    ]
    assert len({one.training_id for one in (bundle, *others)}) == 1 + len(others)


def test_a_bundle_of_an_earlier_format_keeps_its_identity_when_it_is_written_anew(
    make_bundle: MakeBundle, tmp_path: Path
) -> None:
    content = torch.load(saved(make_bundle(2), tmp_path), weights_only=True)
    content["format_version"] = 2
    del content["calibration"]["strategy"], content["calibration"]["record_prior"], content["digest"]
    path = tmp_path / "two.pth"
    torch.save(content | {"digest": _digest(content)}, path)
    earlier = load_bundle(path)
    assert load_bundle(saved(recalibrated(earlier), tmp_path)).training_id == earlier.training_id


def test_as_trained_a_bundle_knows_nothing_that_came_later(make_bundle: MakeBundle) -> None:
    bundle = make_bundle(2)
    pool = bundle.calibrator.pool
    pool = pool.where(pool.known_day <= np.datetime64(bundle.trained_to, "D").astype(int))
    bundle = replace(bundle, calibrator=replace(bundle.calibrator, pool=pool))
    assert len(bundle.calibrator.pool) > 0
    again = recalibrated(bundle).as_trained()
    assert again.provenance == bundle.provenance
    for name in ("ratio", "category", "horizon_days", "known_day", "state", "strategy"):
        assert np.array_equal(getattr(again.calibrator.pool, name), getattr(bundle.calibrator.pool, name)), name
    assert (again.calibrator.halflife_days, again.model) == (bundle.calibrator.halflife_days, bundle.model)
    assert bundle.as_trained() is bundle
