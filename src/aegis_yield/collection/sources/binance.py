"""Binance USDⓈ-M futures: funding of perpetuals and hourly candles."""

from __future__ import annotations

from typing import Final

from aegis_yield.collection.datasets import DatasetSpec

DATASETS: Final[tuple[DatasetSpec, ...]] = ()
"""What this source offers."""
