from __future__ import annotations

import pytest
from rough_market import N_DAYS, rough_dataset

from aegis_yield.domain.dataset import Dataset
from aegis_yield.preprocessing.panel import Panel, build_panel


@pytest.fixture(scope="session")
def rough() -> Dataset:
    return rough_dataset()


@pytest.fixture(scope="session")
def rough_panel(rough: Dataset) -> Panel:
    panel = build_panel(rough)
    assert panel.n_days == N_DAYS
    return panel
