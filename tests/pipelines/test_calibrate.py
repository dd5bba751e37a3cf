"""Calibration that goes on after training: what it learns, what it leaves, and where it is written."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bundles import market

from aegis_yield.domain.errors import DataError
from aegis_yield.models.bundle import Bundle, bundle_bytes, bundle_digest, load_bundle
from aegis_yield.models.calibration import HORIZON_GRID, ScorePool
from aegis_yield.models.own_records import strategy_codes
from aegis_yield.pipelines import calibrate as module
from aegis_yield.pipelines.calibrate import calibrate, check_kind, learned_version, write
from aegis_yield.registry import publish


def known_until(bundle: Bundle, last: dt.date) -> Bundle:
    """Return a bundle that was trained on rows up to a day."""
    data = {**bundle.provenance.get("data", {}), "last_date": last.isoformat()}
    return replace(bundle, provenance={**bundle.provenance, "data": data})


@pytest.fixture
def old(tiny_bundle: Bundle) -> Bundle:
    asking = replace(tiny_bundle, calibrator=replace(tiny_bundle.calibrator, record_prior=8.0))
    return known_until(asking, market().last_date - dt.timedelta(days=70))


def test_outcomes_since_training_are_learned_at_every_horizon(old: Bundle) -> None:
    found = calibrate(old, market())
    new = found.bundle.calibrator.pool.where(
        np.arange(len(found.bundle.calibrator.pool)) >= len(found.bundle.calibrator.pool) - found.n_outcomes
    )
    assert set(new.horizon_days) == set(HORIZON_GRID)
    trained = dt.date.fromisoformat(old.data_end).toordinal() - dt.date(1970, 1, 1).toordinal()
    assert (new.known_day - new.horizon_days).min() > trained
    assert found.bundle.data_end == market().last_date.isoformat()
    assert found.bundle.model is old.model
    assert found.changes
    assert found.path is None


def test_each_outcome_goes_on_its_own_strategys_record(old: Bundle) -> None:
    calibrator = calibrate(old, market()).bundle.calibrator
    assert calibrator.record_prior == 8.0
    ids = market().strategies["strategy_id"].to_numpy()
    assert set(calibrator.pool.strategy.tolist()) <= set(strategy_codes(ids).tolist())
    known, weight = np.ones(len(calibrator.pool), dtype=bool), np.ones(len(calibrator.pool))
    assert len(set(calibrator.pool.records.factors(strategy_codes(ids), known, weight, 8.0).tolist())) > 1


def test_learning_twice_learns_nothing_twice(old: Bundle) -> None:
    once = calibrate(old, market()).bundle
    with pytest.raises(DataError, match="collect newer data first"):
        calibrate(once, market())


def test_an_update_is_the_next_version_and_the_old_one_stays(old: Bundle, tmp_path: Path) -> None:
    (tmp_path / "lstm_v1.pth").write_bytes(b"what served before")
    found = write(calibrate(old, market()), tmp_path)
    assert found.path == tmp_path / "lstm_v2.pth"
    assert (tmp_path / "lstm_v1.pth").read_bytes() == b"what served before"
    loaded = load_bundle(found.path)
    assert loaded.provenance["calibrated"]["n_outcomes"] == found.n_outcomes
    assert np.array_equal(loaded.calibrator.pool.ratio, found.bundle.calibrator.pool.ratio)


def test_a_bundle_that_learns_for_years_stays_small(old: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SCORES_PER_HORIZON", 20)
    pool = calibrate(old, market()).bundle.calibrator.pool
    _, count = np.unique(pool.horizon_days, return_counts=True)
    assert count.max() <= 20
    whole = calibrate(replace(old), market())
    assert whole.bundle.calibrator.pool.known_day.max() == pool.known_day.max()


def outcomes_of(bundle: Bundle) -> list[tuple[int, ...]]:
    """Return each ratio by whose forecast it is, how far ahead, and when it was known."""
    pool = bundle.calibrator.pool
    return sorted(zip(pool.strategy.tolist(), pool.horizon_days.tolist(), pool.known_day.tolist(), strict=True))


def without_ratios(bundle: Bundle) -> Bundle:
    return replace(bundle, calibrator=replace(bundle.calibrator, pool=ScorePool.empty()))


def test_learning_week_after_week_is_learning_it_all_at_once(old: Bundle) -> None:
    fresh = without_ratios(old)
    weekly = fresh
    for weeks_ago in (5, 4, 3, 2, 1, 0):
        weekly = calibrate(weekly, market().known_at(market().last_date - dt.timedelta(days=7 * weeks_ago))).bundle
    at_once = calibrate(fresh, market()).bundle
    assert outcomes_of(weekly) == outcomes_of(at_once)
    assert len(set(outcomes_of(weekly))) == len(outcomes_of(weekly))
    last = (market().last_date - dt.date(1970, 1, 1)).days
    pool = weekly.calibrator.pool
    assert {int(pool.known_day[pool.horizon_days == horizon].max()) for horizon in HORIZON_GRID} == {last}


def test_learning_on_any_day_counts_no_outcome_twice(old: Bundle) -> None:
    bundle = without_ratios(old)
    for days_ago in (40, 31, 30, 22, 11, 3, 0):
        bundle = calibrate(bundle, market().known_at(market().last_date - dt.timedelta(days=days_ago))).bundle
        found = outcomes_of(bundle)
        assert len(set(found)) == len(found)
        assert max(day for *_, day in found) <= (dt.date.fromisoformat(bundle.data_end) - dt.date(1970, 1, 1)).days


def test_a_version_says_from_which_it_was_made_and_is_not_made_twice(old: Bundle, tmp_path: Path) -> None:
    source = publish(bundle_bytes(old), tmp_path)
    learned = learned_version(source, market())
    held = load_bundle(learned)
    assert learned.name == "lstm_v2.pth"
    assert held.calibrated["from"] == f"lstm_v1-{bundle_digest(source)}"
    assert held.calibrated["n_scores"] == len(held.calibrator.pool)
    assert held.training_id == old.training_id
    assert learned_version(source, market()) == learned  # as after a kill before it was promoted
    eve = market().known_at(market().last_date - dt.timedelta(days=1))
    assert learned_version(source, eve).name == "lstm_v3.pth"
    again = learned_version(learned_version(source, eve), market())
    assert again.name == "lstm_v4.pth"  # the same last day, from other intervals
    assert load_bundle(again).calibrated["from"].startswith("lstm_v3-")


def test_a_model_learns_only_from_its_own_kind_of_data(old: Bundle) -> None:
    check_kind(old, market())
    with pytest.raises(DataError, match="received real data for a model that was trained on simulated data"):
        check_kind(old, replace(market(), yields=market().yields.drop("source")))
