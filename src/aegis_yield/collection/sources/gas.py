"""Gas on Ethereum: the median block of each day, from eth_feeHistory."""

from __future__ import annotations

from typing import Final

from aegis_yield.collection.datasets import DatasetSpec

DATASETS: Final[tuple[DatasetSpec, ...]] = ()
"""What this source offers."""
