"""What the terminal says of versions: which learned after their training, and which have the same networks."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from bundles import bundle_content, market
from rich.console import Console, RenderableType

from aegis_yield.models.bundle import load_bundle
from aegis_yield.pipelines.calibrate import calibrate, write
from aegis_yield.pipelines.shelf import Shelf, list_versions
from aegis_yield.registry.aliases import Why, promote
from aegis_yield.registry.settings import TrackingSettings
from aegis_yield.reporting.version_tables import comparison_table, version_table, versions_table


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """A training, and what it became by learning: the champion."""
    (tmp_path / "lstm_v1.pth").write_bytes(bundle_content())
    write(calibrate(load_bundle(tmp_path / "lstm_v1.pth"), market()), tmp_path, tmp_path / "lstm_v1.pth")
    promote(tmp_path, "lstm_v2", Why("a test"))
    return Shelf(tmp_path, TrackingSettings.of(tmp_path, {"AEGIS_TRACKING__ENABLED": "0"}))


def printed(table: RenderableType, width: int = 80) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width).print(table)
    return stream.getvalue()


def test_the_list_says_to_which_day_a_version_was_trained_and_recalibrated(shelf: Shelf) -> None:
    later, original = list_versions(shelf)
    lines = printed(versions_table([later, original])).splitlines()
    trained, learned = original.provenance["data"]["last_date"], market().last_date.isoformat()
    (of_later,) = (line for line in lines if "lstm_v2" in line)
    (of_original,) = (line for line in lines if "lstm_v1" in line)
    assert trained in of_later
    assert learned in of_later
    assert trained in of_original
    assert learned not in of_original


def test_a_version_says_what_its_intervals_learned_from(shelf: Shelf) -> None:
    text = printed(version_table(list_versions(shelf)[0], {}, ()), 120)
    assert "calibrated.until" in text
    assert "lstm_v1-" in text


def test_two_versions_of_one_training_are_said_to_have_the_same_networks(shelf: Shelf) -> None:
    later, original = list_versions(shelf)
    text = printed(comparison_table((original, later), ({}, {})), 120)
    assert "the same networks" in text
    assert "calibrated.n_outcomes" in text
    assert "the same parameters and data" in printed(comparison_table((original, original), ({}, {})), 120)
