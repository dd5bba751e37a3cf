from __future__ import annotations

from pathlib import Path

import pytest

from aegis_yield.domain.dataset import Dataset
from aegis_yield.pipelines.datasets import reference_folder, simulated_dataset
from aegis_yield.simulation import MarketSpec


@pytest.fixture(scope="session")
def reference_data() -> Path:
    folder = reference_folder()
    if not (folder / "yields.parquet").is_file():
        pytest.skip(f"reference data absent: no yields.parquet in {folder} (set AEGIS_REFERENCE_DATA)")
    return folder


@pytest.fixture(scope="session")
def small_market() -> Dataset:
    return simulated_dataset(MarketSpec(n_strategies=12, n_days=400, seed=3))
