"""Calibration that goes on after training: what it learns, what it leaves, and where it is written."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bundles import market

from aegis_yield.domain.errors import DataError
from aegis_yield.models.bundle import Bundle, load_bundle
from aegis_yield.models.calibration import HORIZON_GRID
from aegis_yield.models.own_records import strategy_codes
from aegis_yield.pipelines import calibrate as module
from aegis_yield.pipelines.calibrate import calibrate, write


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
