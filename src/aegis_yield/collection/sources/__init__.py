"""Every source, and every dataset that can be demanded of it."""

from __future__ import annotations

from typing import Final

from aegis_yield.collection.datasets import DatasetSpec
from aegis_yield.collection.sources import (
    aave,
    binance,
    bybit,
    coingecko,
    defillama,
    defillama_market,
    erc4626,
    fear_greed,
    fred,
    gas,
    hyperliquid,
    lido,
    lido_api,
    okx,
)
from aegis_yield.domain.errors import RequestError

_SOURCES: Final = (
    aave, binance, bybit, coingecko, defillama, defillama_market, erc4626, fear_greed, fred, gas, hyperliquid,
    lido, lido_api, okx,
)  # fmt: skip

DATASETS: Final[dict[tuple[str, str], DatasetSpec]] = {
    (spec.source, spec.name): spec for source in _SOURCES for spec in source.DATASETS
}
"""Every dataset by source and name."""


def dataset_of(source: str, name: str) -> DatasetSpec:
    """Return a dataset.

    Raises
    ------
    RequestError
        If no source offers it.
    """
    spec = DATASETS.get((source, name))
    if spec is None:
        raise RequestError("dataset", f"{source}/{name}", ", ".join(sorted(f"{s}/{n}" for s, n in DATASETS)))
    return spec
