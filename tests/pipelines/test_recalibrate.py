from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
from bundles import market, trained_until
from lifted_models import lifted

from aegis_yield.models.bundle import Bundle
from aegis_yield.pipelines.recalibrate import recalibrate


def test_forecasts_that_lie_too_high_are_moved_down(tiny_bundle: Bundle) -> None:
    adapted, calm = recalibrate(tiny_bundle, market(), 7)
    _, changes = recalibrate(lifted(tiny_bundle, 4.0), market(), 7)
    assert len(adapted.calibrator.pool) > len(tiny_bundle.calibrator.pool)
    usual = {change.category: change.shift for change in calm}
    assert np.median([change.shift - usual[change.category] for change in changes]) < -0.1


def test_without_days_after_training_nothing_changes(tiny_bundle: Bundle) -> None:
    adapted, changes = recalibrate(tiny_bundle, market().known_at(trained_until()), 7)
    assert changes == []
    assert len(adapted.calibrator.pool) == len(tiny_bundle.calibrator.pool)


def test_only_what_is_known_is_learned(tiny_bundle: Bundle) -> None:
    day = trained_until() + dt.timedelta(days=40)
    adapted, _ = recalibrate(tiny_bundle, market().known_at(day), 7)
    assert adapted.calibrator.pool.known_day.max() <= (day - dt.date(1970, 1, 1)).days


def test_the_bundle_itself_stays_as_it_is(tiny_bundle: Bundle) -> None:
    size = len(tiny_bundle.calibrator.pool)
    recalibrate(tiny_bundle, market(), 7)
    assert len(tiny_bundle.calibrator.pool) == size


def test_a_change_is_said_in_words(tiny_bundle: Bundle) -> None:
    _, changes = recalibrate(tiny_bundle, market(), 7)
    assert "new outcomes make 90 % intervals" in str(changes[0])
    assert sum(change.n_outcomes for change in changes) == pytest.approx(12 * 14, abs=60)
