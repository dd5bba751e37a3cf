"""Lido on Ethereum: what each rebase paid, from TokenRebased logs."""

from __future__ import annotations

from typing import Final

from aegis_yield.collection.datasets import DatasetSpec

DATASETS: Final[tuple[DatasetSpec, ...]] = ()
"""What this source offers."""
