"""Trying out training on simulated data never changes a forecast that somebody acts on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from aegis_yield.domain.dataset import Dataset
from aegis_yield.domain.errors import BundleError
from aegis_yield.models.bundle import Bundle, bundle_bytes
from aegis_yield.pipelines.models import choose_model


@pytest.fixture
def shelf(tmp_path: Path, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a model of real data and a newer one of simulated data."""
    monkeypatch.setenv("AEGIS_HOME", str(tmp_path))
    folder = tmp_path / "models"
    folder.mkdir()
    data = tiny_bundle.provenance["data"]
    real = replace(tiny_bundle, provenance={**tiny_bundle.provenance, "data": {**data, "simulated": False}})
    (folder / "lstm_v1.pth").write_bytes(bundle_bytes(real))
    (folder / "lstm_v2.pth").write_bytes(bundle_bytes(tiny_bundle))
    return folder


def real(dataset: Dataset) -> Dataset:
    return replace(dataset, yields=dataset.yields.with_columns(pl.lit("collected").alias("source")))


def test_simulated_data_gets_the_newest_model(shelf: Path, small_market: Dataset) -> None:
    assert choose_model(small_market)[0] == shelf / "lstm_v2.pth"


def test_real_data_gets_the_newest_model_of_real_data(shelf: Path, small_market: Dataset) -> None:
    path, bundle = choose_model(real(small_market))
    assert (path, bundle.is_simulated) == (shelf / "lstm_v1.pth", False)


def test_a_model_asked_for_is_taken_whatever_it_learned_from(shelf: Path, small_market: Dataset) -> None:
    path, bundle = choose_model(real(small_market), shelf / "lstm_v2.pth")
    assert (path, bundle.is_simulated) == (shelf / "lstm_v2.pth", True)


def test_real_data_without_a_model_of_real_data_is_refused(
    shelf: Path, small_market: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aegis_yield.pipelines.models.candidate_models", lambda: [shelf / "lstm_v2.pth"])
    with pytest.raises(BundleError, match="every model here was trained on simulated data"):
        choose_model(real(small_market))
