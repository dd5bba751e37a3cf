"""Aave v3 on Ethereum: supply and borrow indices from ReserveDataUpdated logs."""

from __future__ import annotations

from typing import Final

from aegis_yield.collection.datasets import DatasetSpec

DATASETS: Final[tuple[DatasetSpec, ...]] = ()
"""What this source offers."""
