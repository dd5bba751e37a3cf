"""OKX v5: funding of perpetuals, the last three months."""

from __future__ import annotations

from typing import Final

from aegis_yield.collection.datasets import DatasetSpec

DATASETS: Final[tuple[DatasetSpec, ...]] = ()
"""What this source offers."""
